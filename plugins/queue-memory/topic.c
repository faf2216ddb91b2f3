#include <stdlib.h>
#include <string.h>

#include "topic.h"

/* Adds ENTRY to a table by its id. False when out of memory. */
static bool add_by_id(struct entry **table, struct entry *entry)
{
    entry->refused = false;
    HASH_ADD_KEYPTR(hh, *table, entry->id, strlen(entry->id), entry);
    return !entry->refused;
}

static struct entry *find(struct entry *table, const char *id)
{
    struct entry *entry = NULL;

    HASH_FIND(hh, table, id, strlen(id), entry);
    return entry;
}

struct topic *topic_new(const char *name)
{
    struct topic *topic = calloc(1, sizeof *topic);
    pthread_condattr_t attributes;

    if (!topic)
        return NULL;
    strncpy(topic->name, name, TOPIC_NAME_MAX);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&topic->filled, &attributes);
    pthread_condattr_destroy(&attributes);
    return topic;
}

static void free_entries(struct entry *table)
{
    struct entry *entry = table, *next;

    HASH_CLEAR(hh, table);
    for (; entry; entry = next) {
        next = entry->hh.next;
        free(entry);
    }
}

void topic_free(struct topic *topic)
{
    free_entries(topic->waiting);
    free_entries(topic->delivered);
    heap_free(&topic->delayed);
    heap_free(&topic->leases);
    pthread_cond_destroy(&topic->filled);
    free(topic);
}

uint32_t topic_count(const struct topic *topic)
{
    return topic->ready_count + topic->delayed.count + topic->leases.count;
}

static void ready_append(struct topic *topic, struct entry *entry)
{
    entry->place = ENTRY_READY;
    entry->next = NULL;
    entry->previous = topic->ready_last;
    if (topic->ready_last)
        topic->ready_last->next = entry;
    else
        topic->ready_first = entry;
    topic->ready_last = entry;
    topic->ready_count++;
}

static void ready_unlink(struct topic *topic, struct entry *entry)
{
    if (entry->previous)
        entry->previous->next = entry->next;
    else
        topic->ready_first = entry->next;
    if (entry->next)
        entry->next->previous = entry->previous;
    else
        topic->ready_last = entry->previous;
    topic->ready_count--;
}

/* Makes the waiting ENTRY ready now, if it is not yet. */
static void hasten(struct topic *topic, struct entry *entry, int64_t now)
{
    if (entry->place == ENTRY_READY)
        return;
    heap_remove(&topic->delayed, entry);
    entry->time = now;
    ready_append(topic, entry);
}

/* A delivered entry waits again; it merges with one of its id that waits already. */
static void deliver_again(struct topic *topic, struct entry *entry, int64_t now)
{
    struct entry *other = find(topic->waiting, entry->id);

    heap_remove(&topic->leases, entry);
    HASH_DEL(topic->delivered, entry);
    entry->out = 0;
    if (!other && add_by_id(&topic->waiting, entry)) {
        entry->time = now;
        ready_append(topic, entry);
        return;
    }
    if (other) {
        if (other->deliveries < entry->deliveries)
            other->deliveries = entry->deliveries;
        hasten(topic, other, now);
    }
    free(entry);
}

void topic_promote(struct topic *topic, int64_t now)
{
    struct entry *entry;

    while ((entry = heap_first(&topic->delayed)) && entry->time <= now) {
        heap_remove(&topic->delayed, entry);
        ready_append(topic, entry);
    }
    while ((entry = heap_first(&topic->leases)) && entry->time <= now)
        deliver_again(topic, entry, entry->time);
}

bool topic_waits(const struct topic *topic, const char *id)
{
    return find(topic->waiting, id);
}

static int push_again(struct topic *topic, struct entry *entry, int64_t due, int64_t now)
{
    if (entry->place != ENTRY_DELAYED || due >= entry->time)
        return 0;
    if (due <= now) {
        hasten(topic, entry, now);
        return 0;
    }
    heap_remove(&topic->delayed, entry);
    entry->time = due;
    heap_add(&topic->delayed, entry);
    return 0;
}

int topic_push(struct topic *topic, const char *id, int64_t due, int64_t now)
{
    struct entry *entry = find(topic->waiting, id);
    size_t size = strlen(id) + 1;

    if (entry)
        return push_again(topic, entry, due, now);
    if (heap_reserve(&topic->delayed) < 0 || !(entry = calloc(1, sizeof *entry + size)))
        return -1;
    memcpy(entry->id, id, size);
    if (!add_by_id(&topic->waiting, entry)) {
        free(entry);
        return -1;
    }
    entry->time = due;
    if (due <= now) {
        ready_append(topic, entry);
    } else {
        entry->place = ENTRY_DELAYED;
        heap_add(&topic->delayed, entry);
    }
    return 0;
}

/* Moves a lease's end. */
static void set_lease(struct topic *topic, struct entry *entry, int64_t lease_end)
{
    heap_remove(&topic->leases, entry);
    entry->time = lease_end;
    heap_add(&topic->leases, entry);
}

/* The entry that is ready goes out, although one of its id is out already. */
static void join_delivered(struct topic *topic, struct entry *entry, struct entry *other,
                           int64_t lease_end)
{
    other->out++;
    if (other->deliveries < entry->deliveries)
        other->deliveries = entry->deliveries;
    if (lease_end > other->time)
        set_lease(topic, other, lease_end);
    free(entry);
}

bool topic_take(struct topic *topic, int64_t lease_end, struct taken *ret_taken)
{
    struct entry *entry = topic->ready_first, *other;

    if (!entry || heap_reserve(&topic->leases) < 0)
        return false;
    ready_unlink(topic, entry);
    HASH_DEL(topic->waiting, entry);
    entry->deliveries++;
    ret_taken->deliveries = entry->deliveries;
    strcpy(ret_taken->id, entry->id);
    other = find(topic->delivered, entry->id);
    if (other) {
        join_delivered(topic, entry, other, lease_end);
        return true;
    }
    if (!add_by_id(&topic->delivered, entry)) {
        free(entry);
        return true;
    }
    entry->place = ENTRY_DELIVERED;
    entry->out = 1;
    entry->time = lease_end;
    heap_add(&topic->leases, entry);
    return true;
}

void topic_untake(struct topic *topic, const char *id, int64_t now)
{
    struct entry *entry = find(topic->delivered, id);

    if (!entry)
        return;
    entry->deliveries--;
    if (entry->out > 1) {
        entry->out--;
        topic_push(topic, id, now, now);
    } else {
        deliver_again(topic, entry, now);
    }
}

bool topic_renew(struct topic *topic, const char *id, int64_t lease_end)
{
    struct entry *entry = find(topic->delivered, id);

    if (!entry)
        return false;
    set_lease(topic, entry, lease_end);
    return true;
}

void topic_done(struct topic *topic, const char *id)
{
    struct entry *entry = find(topic->delivered, id);

    if (!entry || --entry->out > 0)
        return;
    heap_remove(&topic->leases, entry);
    HASH_DEL(topic->delivered, entry);
    free(entry);
}

int64_t topic_next(const struct topic *topic)
{
    const struct entry *due = heap_first(&topic->delayed);
    const struct entry *lease = heap_first(&topic->leases);
    int64_t next = due ? due->time : INT64_MAX;

    return lease && lease->time < next ? lease->time : next;
}

#include "cloud.h"

#include "chance.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* So many traces of things gone are kept; older changes cannot be asked for. */
#define TRACES 100000

/* Memory that runs out ends the process: a mock has nothing better to do. */
#define GROW(array, used, room)                                        \
    do {                                                               \
        if ((used) == (room)) {                                        \
            (room) = (room) ? 2 * (room) : 64;                         \
            void *grown = realloc((array), (room) * sizeof(*(array))); \
            if (grown == NULL) {                                       \
                abort();                                               \
            }                                                          \
            (array) = grown;                                           \
        }                                                              \
    } while (0)

static const char *const kind_names[KIND_COUNT] = {[KIND_FLAVOR] = "flavor",
                                                   [KIND_IMAGE] = "image",
                                                   [KIND_KEYPAIR] = "keypair",
                                                   [KIND_SECURITY_GROUP] = "security-group",
                                                   [KIND_AFFINITY_GROUP] = "affinity-group",
                                                   [KIND_NETWORK] = "network",
                                                   [KIND_SUBNET] = "subnet",
                                                   [KIND_ROUTER] = "router",
                                                   [KIND_PORT] = "port",
                                                   [KIND_FLOATING_IP] = "floating-ip",
                                                   [KIND_SERVER] = "server",
                                                   [KIND_SNAPSHOT] = "snapshot",
                                                   [KIND_VOLUME] = "volume"};

const char *kind_name(enum kind kind)
{
    return kind_names[kind];
}

int kind_find(const char *name)
{
    for (int kind = 0; kind < KIND_COUNT; kind++) {
        if (strcmp(name, kind_names[kind]) == 0) {
            return kind;
        }
    }
    return -1;
}

static char *copy_text(const char *text)
{
    char *copy = text ? strdup(text) : NULL;
    if (text != NULL && copy == NULL) {
        abort();
    }
    return copy;
}

/* --- Addresses --- */
static void drop_addresses(struct cloud *cloud, struct thing *port)
{
    struct address *address = port->in_use;
    while (address != NULL) {
        struct address *next = address->next;
        HASH_DEL(cloud->addresses, address);
        free(address);
        address = next;
    }
    port->in_use = NULL;
}

static void take_address(struct cloud *cloud, struct thing *thing, const json_t *subnet,
                         const json_t *text)
{
    struct address *address = calloc(1, sizeof(*address));
    struct address *other;
    if (address == NULL) {
        abort();
    }
    snprintf(address->key, sizeof(address->key), "%s %s", json_string_value(subnet),
             json_string_value(text));
    HASH_FIND_STR(cloud->addresses, address->key, other);
    if (other != NULL) {
        free(address);
        return;
    }
    HASH_ADD_STR(cloud->addresses, key, address);
    address->next = thing->in_use;
    thing->in_use = address;
}

static void take_addresses(struct cloud *cloud, struct thing *thing, const json_t *fields)
{
    size_t i;
    json_t *entry;
    const char *list = thing->kind == KIND_PORT ? "fixed_ips" : "external_ips";
    json_array_foreach(json_object_get(fields, list), i, entry)
    {
        take_address(cloud, thing, json_object_get(entry, "subnet"),
                     json_object_get(entry, "ip_address"));
    }
    if (thing->kind == KIND_FLOATING_IP) {
        take_address(cloud, thing, json_object_get(fields, "subnet"),
                     json_object_get(fields, "address"));
    }
}

/* --- What is used up --- */
static void add_amounts(struct amounts *sum, const struct amounts *more, int sign)
{
    sum->vcpus += sign * more->vcpus;
    sum->ram += sign * more->ram;
    sum->storage += sign * more->storage;
}

/* Counts what THING uses, with SIGN -1 no more. */
static void account(struct cloud *cloud, const struct thing *thing, int sign)
{
    add_amounts(&cloud->used, &thing->uses, sign);
    if (thing->place > 0 && thing->place <= PLACES) {
        add_amounts(&cloud->places[thing->place].used, &thing->uses, sign);
        cloud->places[thing->place].servers += (unsigned)sign;
    }
}

/* --- Things --- */
static void free_thing(struct cloud *cloud, struct thing *thing)
{
    drop_addresses(cloud, thing);
    free(thing->id);
    free(thing->tag);
    free(thing->network);
    free(thing->server);
    free(thing->router);
    free(thing->did);
    free(thing->status);
    free(thing->until);
    free(thing->word);
    free(thing->doing);
    free(thing->before);
    free(thing->fields);
    json_decref(thing->pools);
    free(thing);
}

void cloud_clear(struct cloud *cloud)
{
    for (int kind = 0; kind < KIND_COUNT; kind++) {
        struct thing *thing;
        struct thing *next;
        HASH_ITER(hh, cloud->index[kind], thing, next)
        {
            HASH_DEL(cloud->index[kind], thing);
            free_thing(cloud, thing);
        }
        free(cloud->order[kind]);
        cloud->order[kind] = NULL;
        cloud->order_used[kind] = cloud->order_room[kind] = cloud->live[kind] = 0;
    }
    for (size_t i = 0; i < cloud->trace_used; i++) {
        free(cloud->traces[i].id);
    }
    for (size_t i = 0; i < cloud->heap_used; i++) {
        free(cloud->heap[i].id);
    }
    free(cloud->traces);
    free(cloud->heap);
    cloud->traces = NULL;
    cloud->heap = NULL;
    cloud->trace_used = cloud->trace_room = cloud->heap_used = cloud->heap_room = 0;
    cloud->next_seq = 1;
    cloud->forgotten = 0;
    memset(&cloud->used, 0, sizeof(cloud->used));
    memset(cloud->places, 0, sizeof(cloud->places));
}

struct thing *cloud_find(const struct cloud *cloud, enum kind kind, const char *id)
{
    struct thing *thing;
    HASH_FIND_STR(cloud->index[kind], id, thing);
    return thing;
}

/* Where in the order the first thing with a sequence number of at least SEQ stands. Holes have kept
 * no number, so the search steps over them to the right. */
static size_t order_position(const struct cloud *cloud, enum kind kind, uint64_t seq)
{
    size_t low = 0;
    size_t high = cloud->order_used[kind];
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        size_t probe = middle;
        while (probe < high && cloud->order[kind][probe] == NULL) {
            probe++;
        }
        if (probe < high && cloud->order[kind][probe]->seq < seq) {
            low = probe + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct thing *cloud_next(const struct cloud *cloud, enum kind kind, uint64_t after)
{
    for (size_t at = order_position(cloud, kind, after + 1); at < cloud->order_used[kind]; at++) {
        if (cloud->order[kind][at] != NULL) {
            return cloud->order[kind][at];
        }
    }
    return NULL;
}

static void drop_from_order(struct cloud *cloud, const struct thing *thing)
{
    struct thing **order = cloud->order[thing->kind];
    size_t *used = &cloud->order_used[thing->kind];
    size_t at = order_position(cloud, thing->kind, thing->seq);
    while (order[at] != thing) {
        at++;
    }
    order[at] = NULL;
    if (*used > 64 && cloud->live[thing->kind] < *used / 2) {
        size_t kept = 0;
        for (size_t i = 0; i < *used; i++) {
            if (order[i] != NULL) {
                order[kept++] = order[i];
            }
        }
        *used = kept;
    }
}

static void add_trace(struct cloud *cloud, enum kind kind, const char *id, int64_t gone)
{
    if (cloud->trace_used == TRACES) {
        size_t half = TRACES / 2;
        cloud->forgotten = cloud->traces[half - 1].gone + 1;
        for (size_t i = 0; i < half; i++) {
            free(cloud->traces[i].id);
        }
        memmove(cloud->traces, cloud->traces + half, half * sizeof(*cloud->traces));
        cloud->trace_used = half;
    }
    GROW(cloud->traces, cloud->trace_used, cloud->trace_room);
    cloud->traces[cloud->trace_used++] =
        (struct trace){.kind = kind, .id = copy_text(id), .gone = gone};
}

static void remove_thing(struct cloud *cloud, struct thing *thing)
{
    if (thing->network != NULL && thing->kind == KIND_PORT) {
        struct thing *network = cloud_find(cloud, KIND_NETWORK, thing->network);
        if (network != NULL && network->ports > 0) {
            network->ports--;
        }
    }
    cloud->live[thing->kind]--;
    account(cloud, thing, -1);
    drop_from_order(cloud, thing);
    HASH_DEL(cloud->index[thing->kind], thing);
    add_trace(cloud, thing->kind, thing->id, thing->gone);
    free_thing(cloud, thing);
}

/* --- The heap of what is going to disappear --- */
static void heap_add(struct cloud *cloud, const struct thing *thing)
{
    GROW(cloud->heap, cloud->heap_used, cloud->heap_room);
    size_t at = cloud->heap_used++;
    struct leaving leaving = {.at = thing->gone, .kind = thing->kind, .id = copy_text(thing->id)};
    while (at > 0 && cloud->heap[(at - 1) / 2].at > leaving.at) {
        cloud->heap[at] = cloud->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    cloud->heap[at] = leaving;
}

static struct leaving heap_take(struct cloud *cloud)
{
    struct leaving first = cloud->heap[0];
    struct leaving last = cloud->heap[--cloud->heap_used];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= cloud->heap_used) {
            break;
        }
        if (child + 1 < cloud->heap_used && cloud->heap[child + 1].at < cloud->heap[child].at) {
            child++;
        }
        if (cloud->heap[child].at >= last.at) {
            break;
        }
        cloud->heap[at] = cloud->heap[child];
        at = child;
    }
    cloud->heap[at] = last;
    return first;
}

int64_t cloud_settle(struct cloud *cloud)
{
    struct timespec clock;
    clock_gettime(CLOCK_REALTIME, &clock);
    int64_t now = (int64_t)clock.tv_sec * 1000 + clock.tv_nsec / 1000000;
    cloud->last = now > cloud->last ? now : cloud->last;
    while (cloud->heap_used > 0 && cloud->heap[0].at <= cloud->last) {
        struct leaving leaving = heap_take(cloud);
        struct thing *thing = cloud_find(cloud, leaving.kind, leaving.id);
        if (thing != NULL && thing->gone == leaving.at) {
            remove_thing(cloud, thing);
        }
        free(leaving.id);
    }
    return cloud->last;
}

/* --- Records --- */
static void set_text(char **field, const json_t *entry, const char *key)
{
    const char *value = json_string_value(json_object_get(entry, key));
    if (*field == NULL || value == NULL || strcmp(*field, value) != 0) {
        free(*field);
        *field = copy_text(value);
    }
}

static struct thing *add_thing(struct cloud *cloud, enum kind kind, const json_t *entry)
{
    struct thing *thing = calloc(1, sizeof(*thing));
    if (thing == NULL) {
        abort();
    }
    thing->kind = kind;
    set_text(&thing->id, entry, "id");
    thing->seq = (uint64_t)json_integer_value(json_object_get(entry, "seq"));
    HASH_ADD_KEYPTR(hh, cloud->index[kind], thing->id, strlen(thing->id), thing);
    GROW(cloud->order[kind], cloud->order_used[kind], cloud->order_room[kind]);
    cloud->order[kind][cloud->order_used[kind]++] = thing;
    cloud->live[kind]++;
    if (thing->seq >= cloud->next_seq) {
        cloud->next_seq = thing->seq + 1;
    }
    return thing;
}

static int64_t number_of(const json_t *entry, const char *key)
{
    return json_integer_value(json_object_get(entry, key));
}

static void set_texts(struct thing *thing, const json_t *entry)
{
    set_text(&thing->tag, entry, "tag");
    set_text(&thing->network, entry, "network");
    set_text(&thing->server, entry, "server");
    set_text(&thing->router, entry, "router");
    set_text(&thing->did, entry, "did");
    set_text(&thing->status, entry, "status");
    set_text(&thing->until, entry, "until");
    set_text(&thing->word, entry, "word");
    set_text(&thing->doing, entry, "doing");
    set_text(&thing->before, entry, "before");
}

static void take_thing(struct cloud *cloud, enum kind kind, const char *id, const json_t *entry)
{
    json_t *fields = json_object_get(entry, "fields");
    struct thing *thing = cloud_find(cloud, kind, id);
    /* A keypair's id is its name: this may be another one than the one that ended before, which is
     * still here if the journal is read in one go. */
    if (thing != NULL && thing->seq != (uint64_t)number_of(entry, "seq")) {
        remove_thing(cloud, thing);
        thing = NULL;
    }
    bool fresh = thing == NULL;
    if (fresh) {
        thing = add_thing(cloud, kind, entry);
    }
    account(cloud, thing, -1);
    set_texts(thing, entry);
    thing->uses = (struct amounts){.vcpus = number_of(entry, "vcpus"),
                                   .ram = number_of(entry, "ram"),
                                   .storage = number_of(entry, "storage")};
    thing->place = (unsigned)number_of(entry, "place");
    account(cloud, thing, 1);
    free(thing->fields);
    thing->fields = json_dumps(fields, JSON_COMPACT);
    thing->created = number_of(entry, "created");
    thing->changed = number_of(entry, "changed");
    thing->ready = number_of(entry, "ready");
    thing->leaving = json_is_true(json_object_get(entry, "leaving"));
    thing->shared = json_is_true(json_object_get(entry, "shared"));
    thing->owned = json_is_true(json_object_get(entry, "owned"));
    int64_t gone = number_of(entry, "gone");
    if (gone != thing->gone && gone != 0) {
        thing->gone = gone;
        heap_add(cloud, thing);
    }
    if (kind == KIND_PORT || kind == KIND_ROUTER || kind == KIND_FLOATING_IP) {
        struct thing *network =
            fresh && kind == KIND_PORT ? cloud_find(cloud, KIND_NETWORK, thing->network) : NULL;
        if (network != NULL) {
            network->ports++;
        }
        drop_addresses(cloud, thing);
        take_addresses(cloud, thing, fields);
    } else if (kind == KIND_SUBNET) {
        json_decref(thing->pools);
        thing->pools = json_deep_copy(json_object_get(fields, "allocation_pools"));
    }
}

static int take_entry(struct cloud *cloud, const json_t *entry)
{
    const char *name = json_string_value(json_object_get(entry, "kind"));
    const char *id = json_string_value(json_object_get(entry, "id"));
    int64_t changed = number_of(entry, "changed");
    if (json_is_string(json_object_get(entry, "cloud"))) {
        snprintf(cloud->name, sizeof(cloud->name), "%s",
                 json_string_value(json_object_get(entry, "cloud")));
        cloud->seed = (uint64_t)number_of(entry, "seed");
        cloud->forgotten = number_of(entry, "forgotten");
        cloud->next_seq = (uint64_t)number_of(entry, "next");
        return 0;
    }
    int kind = name ? kind_find(name) : -1;
    if (kind < 0 || id == NULL) {
        return -1;
    }
    cloud->last = changed > cloud->last ? changed : cloud->last;
    if (json_is_true(json_object_get(entry, "trace"))) {
        add_trace(cloud, (enum kind)kind, id, number_of(entry, "gone"));
        return 0;
    }
    if (json_object_get(entry, "fields") == NULL) { /* it ends */
        struct thing *thing = cloud_find(cloud, (enum kind)kind, id);
        if (thing != NULL) {
            thing->gone = number_of(entry, "gone");
            thing->leaving = json_is_true(json_object_get(entry, "leaving"));
            thing->changed = changed;
            heap_add(cloud, thing);
        }
        return 0;
    }
    take_thing(cloud, (enum kind)kind, id, entry);
    return 0;
}

int cloud_apply(struct cloud *cloud, const char *record, size_t length)
{
    json_error_t error;
    json_t *entries = json_loadb(record, length, 0, &error);
    int result = json_is_array(entries) ? 0 : -1;
    size_t i;
    json_t *entry;
    json_array_foreach(entries, i, entry)
    {
        if (result == 0) {
            result = take_entry(cloud, entry);
        }
    }
    json_decref(entries);
    return result;
}

void cloud_begin(struct cloud *cloud)
{
    assert(cloud->changes == NULL);
    cloud->changes = json_array();
}

void cloud_abandon(struct cloud *cloud)
{
    json_decref(cloud->changes);
    cloud->changes = NULL;
}

static void set_optional(json_t *entry, const char *key, const char *value)
{
    if (value != NULL) {
        json_object_set_new(entry, key, json_string(value));
    }
}

static void set_number(json_t *entry, const char *key, int64_t value)
{
    if (value != 0) {
        json_object_set_new(entry, key, json_integer(value));
    }
}

static json_t *entry_of(const struct change *change, uint64_t seq)
{
    json_t *entry =
        json_pack("{s:s,s:s,s:I,s:I,s:I,s:s}", "kind", kind_names[change->kind], "id", change->id,
                  "seq", (json_int_t)seq, "created", (json_int_t)change->created, "changed",
                  (json_int_t)change->changed, "status", change->status);
    assert(entry != NULL);
    set_optional(entry, "tag", change->tag);
    set_optional(entry, "network", change->network);
    set_optional(entry, "server", change->server);
    set_optional(entry, "router", change->router);
    set_optional(entry, "did", change->did);
    set_optional(entry, "until", change->until);
    set_optional(entry, "word", change->word);
    set_optional(entry, "doing", change->doing);
    set_optional(entry, "before", change->before);
    set_number(entry, "ready", change->ready);
    set_number(entry, "gone", change->gone);
    set_number(entry, "vcpus", change->uses.vcpus);
    set_number(entry, "ram", change->uses.ram);
    set_number(entry, "storage", change->uses.storage);
    set_number(entry, "place", change->place);
    if (change->leaving) {
        json_object_set_new(entry, "leaving", json_true());
    }
    if (change->shared) {
        json_object_set_new(entry, "shared", json_true());
    }
    if (change->owned) {
        json_object_set_new(entry, "owned", json_true());
    }
    json_object_set_new(entry, "fields", change->fields);
    return entry;
}

void cloud_put(struct cloud *cloud, const struct change *change)
{
    struct thing *known = cloud_find(cloud, change->kind, change->id);
    uint64_t seq = known ? known->seq : cloud->next_seq++;
    json_array_append_new(cloud->changes, entry_of(change, seq));
}

struct change thing_change(const struct thing *thing, json_t *fields, int64_t now)
{
    return (struct change){.kind = thing->kind,
                           .id = thing->id,
                           .tag = thing->tag,
                           .network = thing->network,
                           .server = thing->server,
                           .router = thing->router,
                           .did = thing->did,
                           .status = thing->status,
                           .until = thing->until,
                           .word = thing->word,
                           .doing = thing->doing,
                           .before = thing->before,
                           .fields = fields ? fields : thing_fields(thing),
                           .created = thing->created,
                           .changed = now,
                           .ready = thing->ready,
                           .gone = thing->gone,
                           .leaving = thing->leaving,
                           .shared = thing->shared,
                           .owned = thing->owned,
                           .uses = thing->uses,
                           .place = thing->place};
}

void cloud_end_at(struct cloud *cloud, const struct thing *thing, int64_t at, bool leaving,
                  int64_t now)
{
    json_array_append_new(cloud->changes,
                          json_pack("{s:s,s:s,s:I,s:I,s:b}", "kind", kind_names[thing->kind], "id",
                                    thing->id, "changed", (json_int_t)now, "gone", (json_int_t)at,
                                    "leaving", leaving));
}

int cloud_commit(struct cloud *cloud, struct journal *journal)
{
    size_t i;
    json_t *entry;
    int result = 0;
    if (json_array_size(cloud->changes) > 0) {
        char *record = json_dumps(cloud->changes, JSON_COMPACT);
        assert(record != NULL);
        result = journal_append(journal, record, strlen(record));
        free(record);
    }
    if (result == 0) {
        json_array_foreach(cloud->changes, i, entry)
        {
            (void)take_entry(cloud, entry);
        }
        (void)cloud_settle(cloud);
    }
    cloud_abandon(cloud);
    return result;
}

static void produce_entry(struct journal_writer *writer, json_t *entry)
{
    char *record = json_dumps(entry, JSON_COMPACT);
    struct text text = {0};
    text_addf(&text, "[");
    text_add(&text, record, strlen(record));
    text_addf(&text, "]");
    journal_produce(writer, text.bytes, text.length);
    text_free(&text);
    free(record);
    json_decref(entry);
}

void cloud_produce(struct cloud *cloud, struct journal_writer *writer)
{
    produce_entry(writer,
                  json_pack("{s:s,s:I,s:I,s:I}", "cloud", cloud->name, "seed",
                            (json_int_t)cloud->seed, "forgotten", (json_int_t)cloud->forgotten,
                            "next", (json_int_t)cloud->next_seq));
    /* In the order of enum kind, so that a network is there before its ports. */
    for (int kind = 0; kind < KIND_COUNT; kind++) {
        for (size_t i = 0; i < cloud->order_used[kind]; i++) {
            const struct thing *thing = cloud->order[kind][i];
            if (thing != NULL) {
                struct change change = thing_change(thing, NULL, thing->changed);
                produce_entry(writer, entry_of(&change, thing->seq));
            }
        }
    }
    for (size_t i = 0; i < cloud->trace_used; i++) {
        const struct trace *trace = &cloud->traces[i];
        produce_entry(writer, json_pack("{s:s,s:s,s:I,s:b}", "kind", kind_names[trace->kind], "id",
                                        trace->id, "gone", (json_int_t)trace->gone, "trace", 1));
    }
}

void cloud_new_id(struct cloud *cloud, char ret_id[37])
{
    uint64_t number = cloud->next_seq++;
    uint64_t high = chance_bits(cloud->seed, cloud->name, 2 * number);
    uint64_t low = chance_bits(cloud->seed, cloud->name, 2 * number + 1);
    snprintf(ret_id, 37, "%08x-%04x-4%03x-%04x-%012llx", (unsigned)(high >> 32),
             (unsigned)(high >> 16) & 0xffff, (unsigned)high & 0xfff,
             ((unsigned)(low >> 48) & 0x3fff) | 0x8000,
             (unsigned long long)low & 0xffffffffffffull);
}

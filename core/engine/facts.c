/*
 * What far sides tell of themselves, remembered for a moment: so that what many ask at once is one call.
 *
 * Per VIM and kind there is at most one look in progress, and what the last one has told. Who asks says from when
 * on a look has to have begun for its answer to do: he gets what is remembered, or waits for the look in
 * progress, or for the one after it.
 *
 * Lock: facts->mutex; not held over a call of a driver or a callback.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/text.h"
#include "engine/vims_internal.h"

/* That these credentials are not told something will not change soon. */
#define REFUSAL_MS 60000

/* What one look has told; never changes, and is freed with the last who reads it. */
struct told {
    atomic_uint references;
    int64_t began;
    int code;
    struct failure failure;
    struct vim_item *items; /* texts are owned */
    size_t count;
};

/* One who waits. */
struct waiter {
    struct waiter *next;
    int64_t not_before;
    int64_t timeout_ms;
    vim_look_fn complete;
    void *argument;
};

struct fact {
    struct fact *next;
    char *kind;
    struct told *told; /* or NULL */
    struct waiter *waiters;
    int64_t began; /* the look in progress */
    bool running;
};

struct facts {
    pthread_mutex_t mutex;
    struct fact *first;
};

/* A look in progress. */
struct asking {
    struct vim_target *target;
    struct fact *fact;
};

struct facts *facts_new(void)
{
    struct facts *facts = MEMORY_NEW(struct facts);
    pthread_mutex_init(&facts->mutex, NULL);
    return facts;
}

static void told_release(struct told *told)
{
    if (told && atomic_fetch_sub(&told->references, 1) == 1) {
        for (size_t i = 0; i < told->count; i++) {
            item_free(&told->items[i]);
        }
        free(told->items);
        free(told);
    }
}

void facts_free(struct facts *facts)
{
    while (facts && facts->first) {
        struct fact *fact = facts->first;
        facts->first = fact->next;
        told_release(fact->told);
        free(fact->kind);
        free(fact);
    }
    if (facts) {
        pthread_mutex_destroy(&facts->mutex);
        free(facts);
    }
}

/* With the mutex held. */
static struct fact *find(struct facts *facts, const char *kind)
{
    struct fact *fact = facts->first;
    while (fact && strcmp(fact->kind, kind) != 0) {
        fact = fact->next;
    }
    if (!fact) {
        fact = MEMORY_NEW(struct fact);
        fact->kind = text_duplicate(kind);
        fact->next = facts->first;
        facts->first = fact;
    }
    return fact;
}

/* Does what was told do? Not if a step has changed something since. */
static bool does(const struct told *told, int64_t not_before, int64_t stepped)
{
    if (!told) {
        return false;
    }
    bool refused = told->code == VIM_E_DENIED || told->code == VIM_E_UNSUPPORTED;
    return (told->code == VIM_OK && told->began >= not_before && told->began > stepped) ||
           (refused && told->began >= not_before - REFUSAL_MS);
}

static struct told *told_new(int64_t began, int code, const struct vim_item *items, size_t count,
                             const struct failure *failure)
{
    struct told *told = MEMORY_NEW(struct told);
    atomic_init(&told->references, 1);
    told->began = began;
    told->code = code;
    if (code != VIM_OK && failure) {
        told->failure = *failure;
    }
    told->items = memory_new_array(count + 1, sizeof(*told->items));
    for (size_t i = 0; i < count; i++) {
        item_copy(&items[i], &told->items[i]);
    }
    told->count = count;
    return told;
}

/* Takes those for whom a look that began at BEGAN does out of the list. */
static struct waiter *take_waiters(struct fact *fact, int64_t began)
{
    struct waiter *taken = NULL;
    struct waiter **end = &taken;
    for (struct waiter **at = &fact->waiters; *at;) {
        struct waiter *waiter = *at;
        if (waiter->not_before > began) {
            at = &waiter->next;
            continue;
        }
        *at = waiter->next;
        waiter->next = NULL;
        *end = waiter;
        end = &waiter->next;
    }
    return taken;
}

static void tell(const struct told *told, vim_look_fn complete, void *argument)
{
    complete(argument, told->code, told->items, told->count, &told->failure);
}

static void looked(void *argument, int code, const struct vim_item *items, size_t count,
                   const struct failure *failure)
{
    struct asking *asking = argument;
    struct facts *facts = vim_target_facts(asking->target);
    struct fact *fact = asking->fact;
    pthread_mutex_lock(&facts->mutex);
    struct told *told = told_new(fact->began, code, items, count, failure);
    struct told *before = fact->told;
    fact->told = told;
    atomic_fetch_add(&told->references, 1);
    struct waiter *served = take_waiters(fact, fact->began);
    int64_t timeout_ms = fact->waiters ? fact->waiters->timeout_ms : 0;
    fact->running = fact->waiters != NULL;
    fact->began = clock_mono_ms();
    bool again = fact->running;
    pthread_mutex_unlock(&facts->mutex);
    told_release(before);
    if (again) {
        vim_target_look(asking->target, fact->kind, timeout_ms, looked, asking);
    }
    while (served) {
        struct waiter *waiter = served;
        served = waiter->next;
        tell(told, waiter->complete, waiter->argument);
        free(waiter);
    }
    told_release(told);
    if (!again) {
        vim_target_release(asking->target);
        free(asking);
    }
}

void vim_target_recall(struct vim_target *target, const char *kind, int64_t not_before,
                       int64_t timeout_ms, vim_look_fn complete, void *argument)
{
    struct facts *facts = vim_target_facts(target);
    pthread_mutex_lock(&facts->mutex);
    struct fact *fact = find(facts, kind);
    struct told *told =
        does(fact->told, not_before, vim_target_stepped(target)) ? fact->told : NULL;
    bool look = false;
    if (told) {
        atomic_fetch_add(&told->references, 1);
    } else {
        struct waiter *waiter = MEMORY_NEW(struct waiter);
        *waiter = (struct waiter){.next = fact->waiters,
                                  .not_before = not_before,
                                  .timeout_ms = timeout_ms,
                                  .complete = complete,
                                  .argument = argument};
        fact->waiters = waiter;
        look = !fact->running;
        if (look) {
            fact->running = true;
            fact->began = clock_mono_ms();
        }
    }
    pthread_mutex_unlock(&facts->mutex);
    if (told) {
        tell(told, complete, argument);
        told_release(told);
    } else if (look) {
        struct asking *asking = MEMORY_NEW(struct asking);
        *asking = (struct asking){.target = vim_target_hold(target), .fact = fact};
        vim_target_look(target, fact->kind, timeout_ms, looked, asking);
    }
}

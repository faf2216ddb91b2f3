/*
 * Per place and thread: how many have entered less those that have left (n), and the times of leaving less those of
 * entering (s). So at the time T the integral is s + n T, over all threads: every request that has left adds its
 * time there, and every one that has not adds T less the time at which it entered.
 *
 * n and s have to be read together. Each thread's counts have a number that is odd while they are being written; only
 * their thread writes, and a reader tries again.
 *
 * Locks: threads_mutex guards the list of threads' counts; read_mutex, taken before it, what was told last.
 */
#include "base/integral.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"

struct place {
    atomic_int_fast64_t inside, times;
    atomic_uint_fast64_t began;
};

/* Never freed: what has been counted stays. One whose thread has ended gets another one. */
struct counts {
    atomic_uint version; /* odd: being written */
    struct place places[INTEGRAL_COUNT];
    struct counts *next;
    bool in_use;
};

static pthread_mutex_t threads_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct counts *threads;
static pthread_key_t ends_key;
static pthread_once_t ends_once = PTHREAD_ONCE_INIT;
static _Thread_local struct counts *own_counts;
static _Thread_local enum integral_scope own_scope;

/* --- Threads ------------------------------------------------------------------------------------- */

static void thread_ends(void *argument)
{
    struct counts *counts = argument;
    own_counts = NULL;
    LOCK_GUARD(&threads_mutex);
    counts->in_use = false;
}

static void make_key(void)
{
    (void)pthread_key_create(&ends_key, thread_ends);
}

static struct counts *counts_take(void)
{
    LOCK_GUARD(&threads_mutex);
    struct counts *counts = threads;
    while (counts && counts->in_use) {
        counts = counts->next;
    }
    if (!counts) {
        size_t lines = (sizeof(struct counts) + MEMORY_LINE - 1) / MEMORY_LINE;
        counts = memory_new_lines(lines * MEMORY_LINE);
        counts->next = threads;
        threads = counts;
    }
    counts->in_use = true;
    return counts;
}

static __attribute__((noinline)) struct counts *counts_first(void)
{
    (void)pthread_once(&ends_once, make_key);
    own_counts = counts_take();
    (void)pthread_setspecific(ends_key, own_counts);
    return own_counts;
}

/* --- Counting -------------------------------------------------------------------------------------- */

/* The stores between the two versions release, so that none of them is seen without the odd version. */
static inline struct counts *write_begin(void)
{
    struct counts *counts = own_counts ? own_counts : counts_first();
    unsigned version = atomic_load_explicit(&counts->version, memory_order_relaxed);
    atomic_store_explicit(&counts->version, version + 1, memory_order_relaxed);
    return counts;
}

static inline void write_end(struct counts *counts)
{
    unsigned version = atomic_load_explicit(&counts->version, memory_order_relaxed);
    atomic_store_explicit(&counts->version, version + 1, memory_order_release);
}

static inline void place_add(struct place *place, int64_t inside, int64_t at_us)
{
    int64_t now = atomic_load_explicit(&place->inside, memory_order_relaxed) + inside;
    int64_t times = atomic_load_explicit(&place->times, memory_order_relaxed) - inside * at_us;
    atomic_store_explicit(&place->inside, now, memory_order_release);
    atomic_store_explicit(&place->times, times, memory_order_release);
}

static inline void place_enter(struct place *place, int64_t at_us)
{
    uint64_t began = atomic_load_explicit(&place->began, memory_order_relaxed);
    place_add(place, 1, at_us);
    atomic_store_explicit(&place->began, began + 1, memory_order_release);
}

void integral_begin(enum integral what, int64_t at_us)
{
    struct counts *counts = write_begin();
    place_enter(&counts->places[what], at_us);
    write_end(counts);
}

void integral_end(enum integral what, int64_t at_us)
{
    struct counts *counts = write_begin();
    place_add(&counts->places[what], -1, at_us);
    write_end(counts);
}

/* --- Scopes ---------------------------------------------------------------------------------------- */

static enum integral own_of(enum integral_scope scope)
{
    return scope == SCOPE_LOGIC ? OWN_LOGIC : scope == SCOPE_WORKER ? OWN_WORKER : INTEGRAL_NONE;
}

/* From one scope to another: what is worked on in the old one stands still. */
static void scope_change(enum integral_scope to, int64_t at_us)
{
    enum integral before = own_of(own_scope), after = own_of(to);
    own_scope = to;
    if (before == after) {
        return;
    }
    struct counts *counts = write_begin();
    if (before != INTEGRAL_NONE) {
        place_add(&counts->places[before], -1, at_us);
    }
    if (after != INTEGRAL_NONE) {
        place_enter(&counts->places[after], at_us);
    }
    write_end(counts);
}

enum integral_scope integral_enter(enum integral_scope scope, int64_t at_us)
{
    enum integral_scope before = own_scope;
    scope_change(scope, at_us);
    return before;
}

void integral_leave(enum integral_scope before, int64_t at_us)
{
    scope_change(before, at_us);
}

enum integral_scope integral_scope_now(void)
{
    return own_scope;
}

enum integral integral_call(enum integral_callee callee, int64_t at_us)
{
    static const enum integral first[] = {
        [SCOPE_NONE] = ASIDE_TO_STORE,
        [SCOPE_LOGIC] = LOGIC_TO_STORE,
        [SCOPE_WORKER] = WORKER_TO_STORE,
    };
    enum integral_scope scope = own_scope;
    if (scope == SCOPE_CALLEE) {
        return INTEGRAL_NONE;
    }
    enum integral call = (enum integral)(first[scope] + callee), own = own_of(scope);
    struct counts *counts = write_begin();
    if (own != INTEGRAL_NONE) {
        place_add(&counts->places[own], -1, at_us);
    }
    place_enter(&counts->places[call], at_us);
    write_end(counts);
    own_scope = SCOPE_CALLEE;
    return call;
}

void integral_return(enum integral call, int64_t at_us)
{
    if (call == INTEGRAL_NONE) {
        return;
    }
    own_scope = call >= ASIDE_TO_STORE    ? SCOPE_NONE
                : call >= WORKER_TO_STORE ? SCOPE_WORKER
                                          : SCOPE_LOGIC;
    enum integral own = own_of(own_scope);
    struct counts *counts = write_begin();
    place_add(&counts->places[call], -1, at_us);
    if (own != INTEGRAL_NONE) {
        place_add(&counts->places[own], 1, at_us);
    }
    write_end(counts);
}

/* Nothing waits for calls outside of a scope. */
static enum integral waits_of(enum integral call)
{
    return call >= ASIDE_TO_STORE    ? INTEGRAL_NONE
           : call >= WORKER_TO_STORE ? WAITS_WORKER
           : call >= LOGIC_TO_STORE  ? WAITS_LOGIC
                                     : WAITS_API;
}

/* It is the same call as before: nothing new has begun. */
static void call_move(enum integral call, int to_wait, int64_t at_us)
{
    if (call == INTEGRAL_NONE) {
        return;
    }
    enum integral waits = waits_of(call);
    struct counts *counts = write_begin();
    place_add(&counts->places[call], -to_wait, at_us);
    if (waits != INTEGRAL_NONE) {
        place_add(&counts->places[waits], to_wait, at_us);
    }
    write_end(counts);
}

void integral_wait(enum integral call, int64_t at_us)
{
    call_move(call, 1, at_us);
}

void integral_go_on(enum integral call, int64_t at_us)
{
    call_move(call, -1, at_us);
}

/* --- Reading --------------------------------------------------------------------------------------- */

struct copied {
    int64_t inside[INTEGRAL_COUNT], times[INTEGRAL_COUNT];
    uint64_t began[INTEGRAL_COUNT];
};

static bool try_copy(const struct counts *counts, struct copied *ret_copy)
{
    unsigned before = atomic_load_explicit(&counts->version, memory_order_acquire);
    for (int i = 0; i < INTEGRAL_COUNT; i++) {
        const struct place *place = &counts->places[i];
        ret_copy->inside[i] = atomic_load_explicit(&place->inside, memory_order_acquire);
        ret_copy->times[i] = atomic_load_explicit(&place->times, memory_order_acquire);
        ret_copy->began[i] = atomic_load_explicit(&place->began, memory_order_acquire);
    }
    unsigned after = atomic_load_explicit(&counts->version, memory_order_relaxed);
    return before % 2 == 0 && before == after;
}

int64_t integral_read(struct integral_sum ret_sums[INTEGRAL_COUNT])
{
    static pthread_mutex_t read_mutex = PTHREAD_MUTEX_INITIALIZER;
    static int64_t told[INTEGRAL_COUNT];
    struct integral_sum sums[INTEGRAL_COUNT] = {{0}};
    int64_t times[INTEGRAL_COUNT] = {0};
    LOCK_GUARD(&read_mutex);
    pthread_mutex_lock(&threads_mutex);
    struct counts *all = threads; /* the list only grows, at its beginning */
    pthread_mutex_unlock(&threads_mutex);
    int64_t now = clock_mono_us();
    for (const struct counts *counts = all; counts; counts = counts->next) {
        struct copied copy;
        while (!try_copy(counts, &copy)) {
            (void)sched_yield();
        }
        for (int i = 0; i < INTEGRAL_COUNT; i++) {
            sums[i].here += copy.inside[i];
            sums[i].began += copy.began[i];
            times[i] += copy.times[i];
        }
    }
    for (int i = 0; i < INTEGRAL_COUNT; i++) {
        /* While one thread after the other was read, requests moved on: by microseconds it may go back, or be off. */
        int64_t us = times[i] + sums[i].here * now;
        told[i] = us > told[i] ? us : told[i];
        sums[i].us = told[i];
        sums[i].here = sums[i].here > 0 ? sums[i].here : 0;
        ret_sums[i] = sums[i];
    }
    return now;
}

const char *integral_edge(enum integral what)
{
    static const char *const names[INTEGRAL_COUNT] = {
        [API_TO_LOGIC] = "api>logic",       [LOGIC_TO_STORE] = "logic>store",
        [LOGIC_TO_QUEUE] = "logic>queue",   [LOGIC_TO_NFVI] = "logic>nfvi",
        [WORKER_TO_STORE] = "worker>store", [WORKER_TO_QUEUE] = "worker>queue",
        [WORKER_TO_NFVI] = "worker>nfvi",   [ASIDE_TO_STORE] = "aside>store",
        [ASIDE_TO_QUEUE] = "aside>queue",   [ASIDE_TO_NFVI] = "aside>nfvi",
    };
    return what < INTEGRAL_COUNT && names[what] ? names[what] : "";
}

/*
 * Pulls from many threads, interrupt, idle pulls, and a queue that is full.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/text.h"
#include "check.h"
#include "plugin/instance.h"
#include "plugin/loader.h"
#include "queue_client.h"
#include "subject.h"

#define THREADS 6
#define ENTRIES 3000
#define LONG_LEASE_MS 600000

struct crowd {
    struct instance *queue;
    const char *topic;
    _Atomic(unsigned char) seen[ENTRIES];
    _Atomic(unsigned) pulled;
    _Atomic(unsigned) faults;
};

static void *pull_on(void *argument)
{
    struct crowd *crowd = argument;
    struct pulled *pulled = calloc(1, sizeof *pulled);
    int64_t end = clock_mono_ms() + 60000;

    while (pulled && atomic_load(&crowd->pulled) < ENTRIES && clock_mono_ms() < end) {
        queue_client_pull(crowd->queue, crowd->topic, 5, 50, LONG_LEASE_MS, pulled);
        for (size_t i = 0; i < pulled->count; i++) {
            unsigned number = (unsigned)strtoul(pulled->entries[i].id, NULL, 10);

            if (number >= ENTRIES || atomic_fetch_add(&crowd->seen[number], 1) != 0)
                atomic_fetch_add(&crowd->faults, 1);
            atomic_fetch_add(&crowd->pulled, 1);
            queue_client_done(crowd->queue, crowd->topic, pulled->entries[i].id);
        }
    }
    free(pulled);
    return NULL;
}

static void check_each_once(struct run *run)
{
    struct crowd *crowd = calloc(1, sizeof *crowd);
    unsigned pulled, faults;
    pthread_t threads[THREADS];
    char id[16];

    crowd->queue = run->instance;
    crowd->topic = run->unique;
    for (unsigned i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, pull_on, crowd);
    for (unsigned i = 0; i < ENTRIES; i++) {
        snprintf(id, sizeof id, "%u", i);
        if (queue_client_push(run->instance, run->unique, id, i % 3) != VIM_OK)
            check_fail(run, "push refused");
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    pulled = atomic_load(&crowd->pulled);
    faults = atomic_load(&crowd->faults);
    free(crowd);
    REQUIRE(run, pulled == ENTRIES, "%u of %d entries pulled", pulled, ENTRIES);
    REQUIRE(run, faults == 0, "%u entries were delivered twice within their lease", faults);
}

struct waiter {
    struct instance *queue;
    const char *topic;
    struct pulled pulled;
    int64_t took_ms;
    double cpu_seconds;
};

static double thread_cpu(void)
{
    struct rusage usage;

    getrusage(RUSAGE_THREAD, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void *wait_long(void *argument)
{
    struct waiter *waiter = argument;
    int64_t start = clock_mono_ms();
    double cpu = thread_cpu();

    queue_client_pull(waiter->queue, waiter->topic, 1, 50000, LONG_LEASE_MS, &waiter->pulled);
    waiter->took_ms = clock_mono_ms() - start;
    waiter->cpu_seconds = thread_cpu() - cpu;
    return NULL;
}

static void check_idle(struct run *run)
{
    struct waiter *waiter = calloc(1, sizeof *waiter);
    int64_t took;
    size_t count;
    double used;
    pthread_t thread;

    waiter->queue = run->instance;
    waiter->topic = run->unique;
    pthread_create(&thread, NULL, wait_long, waiter);
    clock_sleep_ms(1500);
    queue_client_push(run->instance, run->unique, "a", 0);
    pthread_join(thread, NULL);
    count = waiter->pulled.count;
    used = waiter->cpu_seconds;
    took = waiter->took_ms;
    free(waiter);
    REQUIRE(run, count == 1, "the pull that waited got nothing");
    REQUIRE(run, took < 40000, "a push does not wake the pull that waits");
    REQUIRE(run, used < 0.15, "%.3f s of processor time in %lld ms of waiting", used,
            (long long)took);
    check_note(run, "%.4f s of processor time in %lld ms", used, (long long)took);
}

static void check_interrupt(struct run *run)
{
    struct waiter *waiters = calloc(THREADS, sizeof *waiters);
    pthread_t threads[THREADS];
    int64_t longest = 0;

    for (unsigned i = 0; i < THREADS; i++) {
        waiters[i].queue = run->instance;
        waiters[i].topic = run->unique;
        pthread_create(&threads[i], NULL, wait_long, &waiters[i]);
    }
    /* A pull that begins after it need not end, so go on until all have. */
    clock_sleep_ms(300);
    for (unsigned i = 0; i < THREADS; i++) {
        queue_client_interrupt(run->instance);
        pthread_join(threads[i], NULL);
        if (waiters[i].took_ms > longest)
            longest = waiters[i].took_ms;
    }
    free(waiters);
    REQUIRE(run, longest < 40000, "a pull goes on for %lld ms", (long long)longest);
}

static void check_capacity(struct run *run)
{
    struct instance *queue = NULL;
    CLEANUP_TEXT struct text reason = {0};
    CLEANUP_TEXT struct text yaml = {0};
    bool has_option = false;
    int code = VIM_OK;
    char id[16];

    for (size_t i = 0; i < run->plugin->table.count; i++)
        has_option |= strcmp(run->plugin->table.options[i].name, "capacity") == 0;
    if (!has_option) {
        check_skip(run, "no option `capacity` to make it small");
        return;
    }
    subject_write_options(run, "capacity", "10", &yaml);
    if (subject_open_text(run, text_get(&yaml), &queue, &reason) != VIM_OK) {
        check_fail(run, "open: %s", text_get(&reason));
        return;
    }
    for (unsigned i = 0; i < 11 && code == VIM_OK; i++) {
        snprintf(id, sizeof id, "%u", i);
        code = queue_client_push(queue, run->unique, id, 0);
        if (code != VIM_OK && i < 10)
            check_fail(run, "entry %u of 10: %s", i + 1, code_name(code));
    }
    if (code != VIM_E_BUSY)
        check_fail(run, "entry 11 of 10: %s", code_name(code));
    subject_close(queue);
}

void queue_thread_group(struct run *run)
{
    static const struct check checks[] = {
        {"pulls from many threads get each entry once", check_each_once},
        {"a pull that waits uses no processor time, and a push wakes it", check_idle},
        {"interrupt ends the pulls that wait", check_interrupt},
        {"a queue that is full is VIM_E_BUSY", check_capacity},
    };

    run_checks_on_instance(run, checks, sizeof checks / sizeof checks[0]);
}

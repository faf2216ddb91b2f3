/*
 * Commits and reads from many threads at once.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "store_client.h"

#define THREADS 8
#define WINS 300 /* successful writes to the contended row, over all threads */

/* The shared state of one race. `winners[r]` is the thread, plus 1, that made revision r. */
struct race {
    struct instance *store;
    const char *collection;
    _Atomic(unsigned) winners[WINS + THREADS + 2];
    _Atomic(unsigned) wins;
    _Atomic(unsigned) faults;
    _Atomic(bool) stop;
    char fault[256]; /* the first; written by whoever raised `faults` from 0 */
};

struct racer {
    struct race *race;
    unsigned number;
};

static void fault(struct race *race, const char *text, uint64_t number)
{
    if (atomic_fetch_add(&race->faults, 1) == 0)
        snprintf(race->fault, sizeof race->fault, "%s (%" PRIu64 ")", text, number);
}

static void *compare_and_set(void *argument)
{
    struct racer *racer = argument;
    struct race *race = racer->race;
    char body[32];

    snprintf(body, sizeof body, "{\"writer\":%u}", racer->number);
    while (atomic_load(&race->wins) < WINS && !atomic_load(&race->faults)) {
        uint64_t revision = store_client_revision(race->store, race->collection, "row");
        int code = store_client_put(race->store, race->collection, "row", body, revision);

        if (code == VIM_OK) {
            atomic_fetch_add(&race->wins, 1);
            if (revision + 1 >= WINS + THREADS + 2)
                fault(race, "a revision was skipped", revision + 1);
            else if (atomic_exchange(&race->winners[revision + 1], racer->number + 1))
                fault(race, "two writers made the same revision", revision + 1);
            else if (store_client_revision(race->store, race->collection, "row") <= revision)
                fault(race, "a read after the commit does not see it: revision", revision + 1);
        } else if (code != VIM_E_CONFLICT) {
            fault(race, "neither VIM_OK nor VIM_E_CONFLICT: -code", (uint64_t)-code);
        }
    }
    return NULL;
}

static void run_threads(struct race *race, void *(*function)(void *))
{
    struct racer racers[THREADS];
    pthread_t threads[THREADS];

    for (unsigned i = 0; i < THREADS; i++) {
        racers[i] = (struct racer){.race = race, .number = i};
        if (pthread_create(&threads[i], NULL, function, &racers[i]) != 0)
            abort();
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

static struct race *race_new(struct run *run)
{
    struct race *race = calloc(1, sizeof *race);

    if (!race)
        abort();
    race->store = run->instance;
    race->collection = run->unique;
    return race;
}

static void race_end(struct run *run, struct race *race)
{
    if (atomic_load(&race->faults))
        check_fail(run, "%s", race->fault);
    free(race);
}

static void check_one_winner(struct run *run)
{
    struct race *race = race_new(run);
    uint64_t last;

    run_threads(race, compare_and_set);
    last = store_client_revision(run->instance, run->unique, "row");
    for (uint64_t i = 1; i <= last && i < WINS + THREADS + 2; i++)
        if (!atomic_load(&race->winners[i]))
            fault(race, "a revision that nobody made", i);
    if (last != atomic_load(&race->wins))
        fault(race, "the row's revision is not the number of successful writes", last);
    race_end(run, race);
}

/* Good and bad commits side by side: each gets its own answer. */
static void *mixed(void *argument)
{
    struct racer *racer = argument;
    struct race *race = racer->race;
    char good[32], second[32];

    for (unsigned i = 0; i < 60; i++) {
        struct vim_write writes[2] = {
            {.collection = race->collection, .id = good, .body = "{}"},
            {.collection = race->collection, .id = second, .body = "{}", .expect = i % 2 ? 7 : 0}};
        int code, expected = i % 2 ? VIM_E_CONFLICT : VIM_OK;

        snprintf(good, sizeof good, "good-%u-%u", racer->number, i);
        snprintf(second, sizeof second, "second-%u-%u", racer->number, i);
        code = store_client_commit(race->store, writes, 2, NULL);
        if (code != expected)
            fault(race, "a commit got another's answer: -code", (uint64_t)-code);
        if (store_client_revision(race->store, race->collection, good) != !(i % 2) ||
            store_client_revision(race->store, race->collection, second) != !(i % 2))
            fault(race, "rows are not as the commit was answered: round", i);
    }
    return NULL;
}

static void check_own_results(struct run *run)
{
    struct race *race = race_new(run);

    run_threads(race, mixed);
    race_end(run, race);
}

/* Two rows change together; a scan must never see one without the other. */
static void *write_pairs(void *argument)
{
    struct race *race = argument;

    for (unsigned i = 0; i < 200; i++) {
        struct vim_write writes[2] = {
            {.collection = race->collection, .id = "a", .body = "{}", .expect = VIM_EXPECT_ANY},
            {.collection = race->collection, .id = "z", .body = "{}", .expect = VIM_EXPECT_ANY}};

        if (store_client_commit(race->store, writes, 2, NULL) != VIM_OK)
            fault(race, "a commit of two rows fails: round", i);
    }
    atomic_store(&race->stop, true);
    return NULL;
}

static void check_snapshot(struct run *run)
{
    struct race *race = race_new(run);
    struct answer answer = {0};
    pthread_t thread;

    if (pthread_create(&thread, NULL, write_pairs, race) != 0)
        abort();
    while (!atomic_load(&race->stop)) {
        struct vim_scan scan = {.size = sizeof scan, .collection = run->unique};

        store_client_scan(run->instance, &scan, &answer);
        if (answer.count == 1 ||
            (answer.count == 2 && answer.rows[0].revision != answer.rows[1].revision))
            fault(race, "a scan saw half of a commit: rows", answer.count);
        answer_clear(&answer);
    }
    pthread_join(thread, NULL);
    race_end(run, race);
}

void store_race_group(struct run *run)
{
    static const struct check checks[] = {
        {"of writers with the same expectation exactly one wins", check_one_winner},
        {"concurrent commits get each its own answer", check_own_results},
        {"a scan sees one moment in time", check_snapshot},
    };

    run_checks_on_instance(run, checks, sizeof checks / sizeof checks[0]);
}

/*
 * What makes a driver's writes exactly-once and undoable, whatever is lost on the way.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "driver_client.h"
#include "driver_groups.h"
#include "driver_world.h"
#include "plugin/instance.h"
#include "subject.h"

#define STEPS_MAX 50
#define THREADS 4
#define LIVES 4

/* Makes what the sample refers to, so that a snapshot taken afterwards has it already. NULL after
 * check_fail(). */
static char *prepare(struct run *run, struct world *world, struct inventory *ret_before)
{
    char *spec = sample_make(run, world, "samples", run->trait->kind);

    if (spec && !inventory_take(run, ret_before)) {
        free(spec);
        spec = NULL;
    }
    return spec;
}

/* Requires that exactly one thing of the kind is there that was not BEFORE. What the far side makes on
 * the way (a server's ports) is of other kinds. */
static void require_one_more(struct run *run, const struct inventory *before, const char *id)
{
    struct inventory after = {0};
    char name[512], prefix[64];
    size_t count = 0;
    bool there = false;

    if (run->failed || !inventory_take(run, &after))
        return;
    snprintf(name, sizeof name, "%s/%s", run->trait->kind, id);
    snprintf(prefix, sizeof prefix, "%s/", run->trait->kind);
    for (size_t i = 0; i < after.count; i++) {
        count += text_starts_with(after.names[i], prefix);
        there |= strcmp(after.names[i], name) == 0;
    }
    for (size_t i = 0; i < before->count; i++)
        count -= text_starts_with(before->names[i], prefix);
    if (count != 1)
        check_fail(run, "one was asked for, and %zu more are there", count);
    else if (!there)
        check_fail(run, "%s was made, and is not in the list", id);
    inventory_clear(&after);
}

static void check_same_request(struct run *run)
{
    struct world world = {0};
    struct inventory before = {0};
    struct operation first, again;
    char *spec = prepare(run, &world, &before);
    int code;

    if (!spec) {
        world_clear(run, &world);
        return;
    }
    operation_init(&first, VIM_VERB_CREATE, run->trait->kind, NULL, spec);
    operation_init(&again, VIM_VERB_CREATE, run->trait->kind, NULL, spec);
    code = operation_carry(run, &first, 0, OPERATION_PLAIN);
    if (code != VIM_OK || !first.id)
        check_fail(run, "create: %s: %s", code_name(code), first.text);
    /* As after an answer that was lost: nothing is known but the request. */
    snprintf(again.request_id, sizeof again.request_id, "%s", first.request_id);
    again.attempt = 1;
    code = run->failed ? VIM_OK : operation_carry(run, &again, 0, OPERATION_PLAIN);
    if (code != VIM_OK)
        check_fail(run, "the repetition: %s: %s", code_name(code), again.text);
    else if (first.id)
        require_one_more(run, &before, first.id);
    if (again.id && first.id && strcmp(first.id, again.id) != 0)
        check_fail(run, "the repetition tells the id %s instead of %s", again.id, first.id);
    if (first.id)
        world_delete(run, run->trait->kind, first.id);
    if (again.id && first.id && strcmp(first.id, again.id) != 0)
        world_delete(run, run->trait->kind, again.id);
    operation_clear(&first);
    operation_clear(&again);
    free(spec);
    world_clear(run, &world);
    inventory_clear(&before);
}

static void check_resumption(struct run *run)
{
    struct world world = {0};
    struct inventory before = {0};
    struct operation create, delete;
    char *spec = prepare(run, &world, &before);
    int code;

    if (!spec) {
        world_clear(run, &world);
        return;
    }
    operation_init(&create, VIM_VERB_CREATE, run->trait->kind, NULL, spec);
    code = operation_carry(run, &create, 0, OPERATION_TORTURE);
    if (code != VIM_OK)
        check_fail(run, "create: %s: %s", code_name(code), create.text);
    else if (!create.id)
        check_fail(run, "create: VIM_OK, and no item was emitted");
    check_note(run, "create in %u steps, each of them made twice", create.steps / 2);
    if (create.id)
        require_one_more(run, &before, create.id);
    if (create.id) {
        operation_init(&delete, VIM_VERB_DELETE, run->trait->kind, create.id, NULL);
        code = operation_carry(run, &delete, 0, OPERATION_TORTURE);
        if (code != VIM_OK)
            check_fail(run, "delete: %s: %s", code_name(code), delete.text);
        operation_clear(&delete);
    }
    if (!run->failed)
        require_as_before(run, &before, "after create and delete, every step made twice");
    operation_clear(&create);
    free(spec);
    world_clear(run, &world);
    inventory_clear(&before);
}

/* Makes COUNT steps of a create, the last with its outcome LOST or not, then undoes it. True if the
 * create was done by then. */
static bool undo_after(struct run *run, const char *spec, const struct inventory *before,
                       uint32_t count, bool lost)
{
    struct operation operation;
    char when[64];
    int code = VIM_AGAIN;

    operation_init(&operation, VIM_VERB_CREATE, run->trait->kind, NULL, spec);
    if (count > lost)
        code = operation_carry(run, &operation, count - lost, OPERATION_PLAIN);
    if (lost && code != VIM_OK)
        operation_step(run->instance, &operation, SUBJECT_CALL_MS, true);
    operation.undo = true;
    snprintf(when, sizeof when, "undo after %u steps%s", count,
             lost ? ", the last one's outcome lost" : "");
    if (code < 0 && VIM_IS_PERMANENT(code))
        check_fail(run, "create: %s: %s", code_name(code), operation.text);
    if (!run->failed) {
        int undone = operation_carry(run, &operation, 0, OPERATION_TORTURE);

        if (undone != VIM_OK)
            check_fail(run, "%s: %s: %s", when, code_name(undone), operation.text);
        else
            require_as_before(run, before, when);
    }
    operation_clear(&operation);
    return code == VIM_OK;
}

static void check_undo(struct run *run)
{
    struct world world = {0};
    struct inventory before = {0};
    char *spec = prepare(run, &world, &before);
    bool done = false;
    uint32_t count = 0;

    for (; spec && !done && !run->failed && count < STEPS_MAX; count++) {
        done = undo_after(run, spec, &before, count, false);
        if (count > 0 && !run->failed && !done)
            undo_after(run, spec, &before, count, true);
    }
    check_note(run, "undone after 0..%u steps", count ? count - 1 : 0);
    free(spec);
    world_clear(run, &world);
    inventory_clear(&before);
}

/* One of several threads: create, get, delete on one shared instance. */
struct worker {
    struct run run; /* a copy of its own, for the reason of a failure */
    char *spec;
};

static void *work(void *argument)
{
    struct worker *worker = argument;
    struct run *run = &worker->run;
    struct operation operation;
    struct sights sights = {0};
    int code;

    operation_init(&operation, VIM_VERB_CREATE, run->trait->kind, NULL, worker->spec);
    code = operation_carry(run, &operation, 0, OPERATION_PLAIN);
    if (code != VIM_OK || !operation.id)
        check_fail(run, "create: %s: %s", code_name(code), operation.text);
    if (operation.id) {
        code = driver_get(run->instance, run->trait->kind, operation.id, SUBJECT_CALL_MS, &sights);
        if (code != VIM_OK || sights.count != 1)
            check_fail(run, "get: %s: %s", code_name(code), sights.text);
        sights_clear(&sights);
        world_delete(run, run->trait->kind, operation.id);
    }
    operation_clear(&operation);
    return NULL;
}

static void check_threads(struct run *run)
{
    struct worker *workers = calloc(THREADS, sizeof *workers);
    struct world world = {0};
    struct inventory before = {0};
    pthread_t threads[THREADS];
    unsigned started = 0;

    for (unsigned i = 0; i < THREADS && !run->failed; i++)
        workers[i].spec = sample_make(run, &world, "samples", run->trait->kind);
    if (!run->failed)
        inventory_take(run, &before);
    for (; started < THREADS && !run->failed; started++) {
        workers[started].run = *run;
        if (pthread_create(&threads[started], NULL, work, &workers[started]) != 0)
            abort();
    }
    for (unsigned i = 0; i < started; i++) {
        pthread_join(threads[i], NULL);
        if (workers[i].run.failed)
            check_fail(run, "%s", workers[i].run.reason);
    }
    if (!run->failed)
        require_as_before(run, &before, "after creates and deletes in parallel");
    for (unsigned i = 0; i < THREADS; i++)
        free(workers[i].spec);
    free(workers);
    world_clear(run, &world);
    inventory_clear(&before);
}

/* One life of a thing: created, looked at, listed, deleted. */
static void live(struct run *run, const char *spec)
{
    struct operation operation;
    struct sights sights = {0};
    struct inventory listed = {0};
    int code;

    operation_init(&operation, VIM_VERB_CREATE, run->trait->kind, NULL, spec);
    code = operation_carry(run, &operation, 0, OPERATION_PLAIN);
    if (code != VIM_OK || !operation.id) {
        check_fail(run, "create: %s: %s", code_name(code), operation.text);
    } else {
        driver_get(run->instance, run->trait->kind, operation.id, SUBJECT_CALL_MS, &sights);
        inventory_take(run, &listed);
        world_delete(run, run->trait->kind, operation.id);
    }
    operation_clear(&operation);
    sights_clear(&sights);
    inventory_clear(&listed);
}

/* The first life may open what the others use, and a pool may grow by a connection later. What every life
 * leaves behind ends a daemon that runs for months. */
static void check_descriptors(struct run *run)
{
    struct world world = {0};
    char *spec = sample_make(run, &world, "samples", run->trait->kind);
    unsigned descriptors = 0, threads = 0;

    for (unsigned i = 0; spec && i <= LIVES && !run->failed; i++) {
        live(run, spec);
        if (i == 0) {
            descriptors = count_descriptors();
            threads = count_threads();
        }
    }
    if (spec && !run->failed && count_descriptors() >= descriptors + LIVES)
        check_fail(run, "%u file descriptors before, %u after %d creates and deletes", descriptors,
                   count_descriptors(), LIVES);
    if (spec && !run->failed && count_threads() >= threads + LIVES)
        check_fail(run, "%u threads before, %u after %d creates and deletes", threads,
                   count_threads(), LIVES);
    free(spec);
    world_clear(run, &world);
}

void driver_task_group(struct run *run)
{
    static const uint32_t verbs = VIM_VERB_CREATE | VIM_VERB_DELETE | VIM_VERB_GET | VIM_VERB_LIST;
    const struct kind_check checks[] = {
        {verbs, true, "the same request twice makes one thing", check_same_request, NULL},
        {verbs, true, "fresh instances and repeated steps change nothing", check_resumption, NULL},
        {verbs, true, "undo after any step leaves nothing", check_undo, NULL},
        {verbs, true, "several threads on one instance", check_threads, NULL},
        {verbs, true, "calls leave no descriptor and no thread", check_descriptors, NULL},
    };

    run_kind_checks(run, checks, sizeof checks / sizeof checks[0]);
}

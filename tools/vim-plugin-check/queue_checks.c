/*
 * push, pull, renew, done and depth, sentence by sentence of queue.h. Waits are bounded from below
 * by the clock (never too early) and from above by patience alone (late is slow, not wrong).
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "check.h"
#include "queue_client.h"

#define LONG_LEASE_MS 600000
#define PATIENCE_MS 5000

/* A sleep of the queue's may end a clock tick early. */
#define TICK_MS 2

#define PUSH(run, id, delay) queue_client_push((run)->instance, (run)->unique, id, delay)

/* Pulls one entry, waiting for it, and requires it to be ID in its nth delivery. */
static void require_pulled(struct run *run, uint32_t lease_ms, const char *id, uint64_t deliveries)
{
    struct pulled pulled = {0};
    int code = queue_client_pull(run->instance, run->unique, 1, PATIENCE_MS, lease_ms, &pulled);

    if (code != VIM_OK)
        check_fail(run, "pull: %s", code_name(code));
    else if (pulled.count != 1)
        check_fail(run, "%zu entries instead of %s", pulled.count, id);
    else if (strcmp(pulled.entries[0].id, id) != 0 ||
             strcmp(pulled.entries[0].topic, run->unique) != 0)
        check_fail(run, "pulled %s of topic %s instead of %s", pulled.entries[0].id,
                   pulled.entries[0].topic, id);
    else if (pulled.entries[0].deliveries != deliveries)
        check_fail(run, "delivery %" PRIu64 " of %s says that it is number %" PRIu64, deliveries,
                   id, pulled.entries[0].deliveries);
}

/* Nothing can be pulled now. */
static void require_nothing(struct run *run)
{
    struct pulled pulled = {0};
    int code = queue_client_pull(run->instance, run->unique, 10, 0, LONG_LEASE_MS, &pulled);

    if (code != VIM_OK)
        check_fail(run, "a pull of nothing: %s", code_name(code));
    else if (pulled.count)
        check_fail(run, "%s comes, and nothing should", pulled.entries[0].id);
}

static void check_push_pull(struct run *run)
{
    int code = PUSH(run, "a", 0);

    REQUIRE(run, code == VIM_OK, "push: %s", code_name(code));
    require_pulled(run, LONG_LEASE_MS, "a", 1);
    require_nothing(run);
}

static void check_delay(struct run *run)
{
    int64_t start = clock_mono_ms();

    PUSH(run, "a", 200);
    require_nothing(run);
    require_pulled(run, LONG_LEASE_MS, "a", 1);
    REQUIRE(run, clock_mono_ms() - start >= 200 - TICK_MS, "delivered after %lld of 200 ms",
            (long long)(clock_mono_ms() - start));
}

static void check_lease(struct run *run)
{
    int64_t start;

    PUSH(run, "a", 0);
    start = clock_mono_ms();
    require_pulled(run, 200, "a", 1);
    require_pulled(run, LONG_LEASE_MS, "a", 2);
    REQUIRE(run, clock_mono_ms() - start >= 200 - TICK_MS, "delivered again after %lld of 200 ms",
            (long long)(clock_mono_ms() - start));
}

static void check_done(struct run *run)
{
    PUSH(run, "a", 0);
    require_pulled(run, 100, "a", 1);
    queue_client_done(run->instance, run->unique, "a");
    clock_sleep_ms(250);
    require_nothing(run);
    REQUIRE(run, queue_client_done(run->instance, run->unique, "unknown") == VIM_OK,
            "done of an unknown id is refused");
}

static void check_renew(struct run *run)
{
    int code;

    PUSH(run, "a", 0);
    require_pulled(run, 300, "a", 1);
    code = queue_client_renew(run->instance, run->unique, "a", LONG_LEASE_MS);
    REQUIRE(run, code == VIM_OK, "renew: %s", code_name(code));
    clock_sleep_ms(500);
    require_nothing(run);
    /* From now on, not in addition: the lease can be made shorter. */
    queue_client_renew(run->instance, run->unique, "a", 50);
    require_pulled(run, LONG_LEASE_MS, "a", 2);
    queue_client_done(run->instance, run->unique, "a");
    code = queue_client_renew(run->instance, run->unique, "a", 50);
    REQUIRE(run, code == VIM_E_NOT_FOUND, "renew after done: %s", code_name(code));
    code = queue_client_renew(run->instance, run->unique, "unknown", 50);
    REQUIRE(run, code == VIM_E_NOT_FOUND, "renew of an unknown id: %s", code_name(code));
}

/* The two may become one: none may be lost, and it is due at the earlier time. */
static void check_dedupe(struct run *run)
{
    struct pulled pulled = {0};

    PUSH(run, "a", LONG_LEASE_MS);
    PUSH(run, "a", 0);
    require_pulled(run, LONG_LEASE_MS, "a", 1);
    PUSH(run, "b", 0);
    PUSH(run, "b", LONG_LEASE_MS);
    require_pulled(run, LONG_LEASE_MS, "b", 1);
    PUSH(run, "c", 0);
    PUSH(run, "c", 0);
    queue_client_pull(run->instance, run->unique, 10, PATIENCE_MS, LONG_LEASE_MS, &pulled);
    REQUIRE(run, pulled.count == 1 || pulled.count == 2, "%zu entries of two pushes", pulled.count);
    check_note(run, "two pushes of one id gave %zu entries", pulled.count);
}

static void check_push_while_out(struct run *run)
{
    PUSH(run, "a", 0);
    require_pulled(run, LONG_LEASE_MS, "a", 1);
    PUSH(run, "a", 0);
    require_pulled(run, LONG_LEASE_MS, "a", 1);
}

static void check_topics(struct run *run)
{
    struct pulled pulled = {0};
    char other[48];

    snprintf(other, sizeof other, "%.30s-x", run->unique);
    queue_client_push(run->instance, other, "a", 0);
    require_nothing(run);
    PUSH(run, "a", 0);
    require_pulled(run, LONG_LEASE_MS, "a", 1);
    queue_client_done(run->instance, run->unique, "a");
    queue_client_pull(run->instance, other, 10, PATIENCE_MS, LONG_LEASE_MS, &pulled);
    REQUIRE(run, pulled.count == 1, "%zu entries in the other topic", pulled.count);
}

static void check_maximum(struct run *run)
{
    struct pulled pulled = {0};
    unsigned total = 0;
    char id[16];

    for (unsigned i = 0; i < 100; i++) {
        snprintf(id, sizeof id, "%u", i);
        PUSH(run, id, 0);
    }
    queue_client_pull(run->instance, run->unique, 7, 0, LONG_LEASE_MS, &pulled);
    REQUIRE(run, pulled.count <= 7, "%zu entries of at most 7", pulled.count);
    total = (unsigned)pulled.count;
    while (total < 100) {
        queue_client_pull(run->instance, run->unique, 100, PATIENCE_MS, LONG_LEASE_MS, &pulled);
        REQUIRE(run, pulled.count > 0, "%u of 100 entries come", total);
        total += (unsigned)pulled.count;
    }
    REQUIRE(run, total == 100, "%u of 100 entries come", total);
}

/* emit() that wants no more: what was not taken is not lost. */
static void check_stops(struct run *run)
{
    struct pulled pulled = {.stop_after = 2};
    unsigned total;
    char id[16];

    for (unsigned i = 0; i < 10; i++) {
        snprintf(id, sizeof id, "%u", i);
        PUSH(run, id, 0);
    }
    queue_client_pull(run->instance, run->unique, 10, PATIENCE_MS, 300, &pulled);
    REQUIRE(run, pulled.count == 2, "%zu entries although two were enough", pulled.count);
    for (unsigned i = 0; i < 2; i++)
        queue_client_done(run->instance, run->unique, pulled.entries[i].id);
    total = 2;
    pulled.stop_after = 0;
    while (total < 10) {
        queue_client_pull(run->instance, run->unique, 10, PATIENCE_MS, LONG_LEASE_MS, &pulled);
        REQUIRE(run, pulled.count > 0, "%u of 10 entries come", total);
        total += (unsigned)pulled.count;
    }
}

static void check_wait(struct run *run)
{
    struct pulled pulled = {0};
    int64_t start = clock_mono_ms();

    queue_client_pull(run->instance, run->unique, 1, 200, LONG_LEASE_MS, &pulled);
    REQUIRE(run, clock_mono_ms() - start >= 200 - TICK_MS, "waits %lld of 200 ms",
            (long long)(clock_mono_ms() - start));
    start = clock_mono_ms();
    queue_client_pull_within(run->instance, run->unique, 1, 600000, LONG_LEASE_MS, 200, &pulled);
    REQUIRE(run, clock_mono_ms() - start < 30000, "a pull goes on when no time is left");
}

static void check_depth(struct run *run)
{
    struct depth depth;
    int code = queue_client_depth(run->instance, run->unique, &depth);

    REQUIRE(run, code == VIM_OK, "of an unknown topic: %s", code_name(code));
    REQUIRE(run, depth.waiting == 0 && depth.delayed == 0 && depth.delivered == 0,
            "of an unknown topic: not 0, or not told");
    PUSH(run, "a", 0);
    require_pulled(run, LONG_LEASE_MS, "a", 1);
    PUSH(run, "b", 0);
    PUSH(run, "c", 0);
    PUSH(run, "later", LONG_LEASE_MS);
    clock_sleep_ms(50);
    queue_client_depth(run->instance, run->unique, &depth);
    REQUIRE(run, depth.waiting == 2 && depth.delayed == 1 && depth.delivered == 1,
            "waiting %" PRId64 ", delayed %" PRId64 ", delivered %" PRId64 " instead of 2, 1, 1",
            depth.waiting, depth.delayed, depth.delivered);
    REQUIRE(run, depth.oldest_ms >= 50 - TICK_MS, "oldest_ms is %" PRId64 " after 50 ms",
            depth.oldest_ms);
}

static void check_limits(struct run *run)
{
    static const char *const topics[] = {"", "Upper", "with space", "a.b",
                                         "123456789012345678901234567890123"};
    static const char *const ids[] = {"", "a b", "a\n", "\xc3\xa9"};
    char long_id[202];
    int code;

    memset(long_id, 'i', sizeof long_id);
    long_id[201] = '\0';
    for (size_t i = 0; i < sizeof topics / sizeof topics[0]; i++) {
        code = queue_client_push(run->instance, topics[i], "a", 0);
        REQUIRE(run, code == VIM_E_INVALID, "topic \"%s\": %s", topics[i], code_name(code));
    }
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        code = PUSH(run, ids[i], 0);
        REQUIRE(run, code == VIM_E_INVALID, "id \"%s\": %s", ids[i], code_name(code));
    }
    code = PUSH(run, long_id, 0);
    REQUIRE(run, code == VIM_E_INVALID, "an id of 201 bytes: %s", code_name(code));
    long_id[200] = '\0';
    code = PUSH(run, long_id, 0);
    REQUIRE(run, code == VIM_OK, "an id of 200 bytes: %s", code_name(code));
    require_pulled(run, LONG_LEASE_MS, long_id, 1);
}

void queue_group(struct run *run)
{
    static const struct check checks[] = {
        {"what is pushed is pulled, once", check_push_pull},
        {"an entry comes not before its delay", check_delay},
        {"an entry whose lease runs out is delivered again, and counts", check_lease},
        {"done ends an entry; unknown ids are fine", check_done},
        {"renew sets the lease from now; VIM_E_NOT_FOUND if not out", check_renew},
        {"a push for a waiting entry keeps the earlier time", check_dedupe},
        {"a push for an entry that is out is a new entry", check_push_while_out},
        {"topics are separate", check_topics},
        {"a pull takes at most its maximum, and nothing is lost", check_maximum},
        {"entries that were not wanted any more are not lost", check_stops},
        {"a pull waits as long as it is told, and as there is time", check_wait},
        {"depth counts waiting, delayed, delivered, and the oldest", check_depth},
        {"what exceeds the limits is VIM_E_INVALID", check_limits},
    };

    run_checks_on_instance(run, checks, sizeof checks / sizeof checks[0]);
}

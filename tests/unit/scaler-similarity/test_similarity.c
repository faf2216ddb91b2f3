/* The formulas of scaler-similarity against numbers that were worked out by hand. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "similarity.h"

#define WINDOWS 24u

static char kept[VIM_KEPT_MAX + 1];

static void keep(struct vim_call *call, const char *cursor)
{
    (void)call;
    snprintf(kept, sizeof kept, "%s", cursor ? cursor : "");
}

static int refuse(struct vim_call *call, int code, uint32_t retry_after_ms, const char *text)
{
    (void)call, (void)retry_after_ms, (void)text;
    return code;
}

static const struct vim_host host = {.size = sizeof host, .keep = keep, .fail = refuse};
static struct similarity_config config = {"little", 4, 0.8, 0.72, 1.5, 0.05, 0.3};
static struct similarity similarity = {.host = &host, .config = &config};

#define NEAR(a, b, tolerance) assert_true(fabs((a) - (b)) <= (tolerance))

static const double *flat(double value)
{
    static double pool[64][WINDOWS];
    static unsigned next;
    double *series = pool[next++ % 64];

    for (uint32_t i = 0; i < WINDOWS; i++)
        series[i] = value;
    return series;
}

/* BEFORE until window STEP, AFTER from it on. */
static const double *stepped(double before, double after, uint32_t step)
{
    double *series = (double *)flat(before);

    for (uint32_t i = step; i < WINDOWS; i++)
        series[i] = after;
    return series;
}

/* --- Equation 2 ------------------------------------------------------------------------------ */

static void distances_compare_with_the_degradation(void **state)
{
    /* Throughput falls by 0.1 twice; usage of the first rises by as much, of the second falls too. */
    const double x[] = {1.0, 0.9, 0.8}, rising[] = {0.5, 0.6, 0.7}, falling[] = {0.7, 0.6, 0.5};

    (void)state;
    NEAR(equation_distance(x, rising, 3, 2), 0.0, 1e-12);
    NEAR(equation_distance(x, falling, 3, 2), 0.2, 1e-12);
    assert_true(isnan(equation_distance(x, rising, 3, 0)));
}

static void points_are_means(void **state)
{
    const double series[] = {9, 1, 3, 5, NAN, 7, 11};
    double points[4];

    (void)state;
    /* Groups of two end at the last window; the first window is left over. */
    assert_int_equal(equation_points(series, 7, 2, VIM_NO_INDEX, points), 3);
    NEAR(points[0], 2, 1e-12);
    NEAR(points[1], 5, 1e-12);
    NEAR(points[2], 9, 1e-12);
    /* A step in window 3: windows 0..2 and 4..6. */
    assert_int_equal(equation_points(series, 7, 2, 3, points), 2);
    NEAR(points[0], 13.0 / 3, 1e-12);
    NEAR(points[1], 9, 1e-12);
}

/* --- Sizing ---------------------------------------------------------------------------------- */

static void peak_of_the_scalability_law(void **state)
{
    /* X = 95.238 r / (1 + 0.28 (r - 1) + 0.10 r (r - 1)): N* = sqrt(0.72 / 0.10) = 2.683. */
    struct usl_level levels[4];
    const struct usl_level rising[] = {{1, 100}, {2, 190}, {3, 270}};

    (void)state;
    for (uint32_t i = 0; i < 4; i++) {
        double r = i + 1;

        levels[i].replicas = i + 1;
        levels[i].throughput = 95.238 * r / (1 + 0.28 * (r - 1) + 0.10 * r * (r - 1));
    }
    NEAR(sizing_peak(levels, 4), 2.6833, 1e-3);
    /* Without the first: X1 is found as well. */
    NEAR(sizing_peak(levels + 1, 3), 2.6833, 1e-3);
    assert_true(isnan(sizing_peak(levels, 2)));
    /* r X1 / X - 1 = 0.0526, 0.1111: linear but for rounding, so the peak is far away. */
    assert_true(sizing_peak(rising, 3) > 15);
}

static void load_takes_half_of_a_trend(void **state)
{
    (void)state;
    NEAR(sizing_load(100, 20), 110, 1e-12);
    NEAR(sizing_load(100, -20), 100, 1e-12);
    NEAR(sizing_load(100, 400), 125, 1e-12); /* clipped at half the rate */
    NEAR(sizing_load(100, NAN), 100, 1e-12);
}

static void need_rounds_up(void **state)
{
    (void)state;
    /* 100/s of 20 ms are 2 busy replicas; at 0.72 they are 2.78. */
    assert_int_equal(sizing_need(100, 0.020, 0.72), 3);
    assert_int_equal(sizing_need(108, 0.020, 0.72), 3); /* exactly 3.0 */
    assert_int_equal(sizing_need(109, 0.020, 0.72), 4);
    assert_int_equal(sizing_need(0, 0.020, 0.72), 1);
    assert_int_equal(sizing_need(1e9, 1, 0.72), 10000);
}

static void waiting_tells_slots(void **state)
{
    (void)state;
    /* M/M/1: the share of waiting is the load itself. */
    NEAR(slots_waiting(1, 0.5), 0.5, 1e-9);
    NEAR(slots_waiting(1, 0.9), 0.9, 1e-9);
    /* M/M/4 at 0.8: C = 0.5964, so 0.7455 of a service time is waited: 0.427. Approximated within 0.02. */
    NEAR(slots_waiting(4, 0.8), 0.427, 0.02);
    NEAR(slots_waiting(4, 1.0), 1, 0);
}

/* Whatever the load, the bare time that a visit is made of is found again. */
static void bare_time_is_found_at_all_loads(void **state)
{
    (void)state;
    for (double load = 0.1; load < 0.95; load += 0.1) {
        /* M/M/1 of 20 ms: 20 / (1 - load). */
        NEAR(slots_bare(0.020 / (1 - load), load / 0.020, 1, 1), 0.020, 2e-4);
        /* A pool of 8 with 100 ms. */
        NEAR(slots_bare(0.100 / (1 - slots_waiting(8, load)), 8 * load / 0.100, 8, 1), 0.100, 1e-3);
    }
}

/* Eight slots of 100 ms: visits last as long at any load; a single server's would not. */
static void a_pool_is_told_from_a_queue(void **state)
{
    static double own[WINDOWS], calls[WINDOWS];
    const double pool_loads[] = {0.2, 0.5, 0.3, 0.6}, queue_loads[] = {0.3, 0.8, 0.5, 0.7};
    struct vim_policy_block *block = &similarity.view.blocks[0];
    struct measure *measure = &similarity.measures[0];

    (void)state;
    memset(&similarity.view, 0, sizeof similarity.view);
    similarity.view.block_count = 1;
    similarity.view.snapshot.windows = WINDOWS;
    similarity.recent = WINDOWS - 4;
    *block = (struct vim_policy_block){
        .name = "db", .desired = 1, .ready = 1, .own_in_flight = own, .calls = calls};
    for (int pool = 0; pool < 2; pool++) {
        similarity.memory[0] = (struct memory){.slots = 1};
        for (uint32_t i = 0; i < 40; i++) {
            double load = pool ? pool_loads[i % 4] : queue_loads[i % 4];

            for (uint32_t at = 0; at < WINDOWS; at++)
                calls[at] = pool ? 80 * load : 50 * load;
            *measure = (struct measure){.own = pool ? 8 * load / (1 - slots_waiting(8, load))
                                                    : load / (1 - load)};
            measure->utilisation = measure->own / (1 + measure->own);
            slots_measure(&similarity, 0);
            if (i >= SEEN_ENOUGH)
                NEAR(measure->utilisation, load, 0.02);
        }
        NEAR(similarity.memory[0].slots, pool ? 8 : 1, 0);
    }
}

static void spare_is_what_the_promise_leaves(void **state)
{
    (void)state;
    /* a + s sqrt(a) servers for a load of a: 4 + 0.5 * 2 = 5, used by 0.8. */
    NEAR(promise_utilisation(0.5, 5), 0.8, 1e-9);
    NEAR(promise_spare(0.8, 5), 0.5, 1e-9);
    assert_true(isinf(promise_spare(0, 5)));
    /* The more there are, the fuller they may be. */
    assert_true(promise_utilisation(0.5, 10) > promise_utilisation(0.5, 5));
}

/* p95 far below its promise: replicas may be fuller; above it they may not be as full as they are. */
static void spare_follows_the_promise(void **state)
{
    (void)state;
    memset(&similarity.view, 0, sizeof similarity.view);
    similarity.view.block_count = 1;
    similarity.view.snapshot.windows = WINDOWS;
    similarity.view.snapshot.slo_p95_ms = 1000;
    similarity.view.blocks[0].ready = 4;
    similarity.tier = VIM_TIER_IN_FLIGHT;
    similarity.recent = WINDOWS - 4;
    similarity.memory[0] = (struct memory){.slots = 1};
    similarity.measures[0].utilisation = 0.7;
    for (int broken = 0; broken < 2; broken++) {
        similarity.spare = NAN;
        similarity.spare_seen = 0;
        similarity.view.snapshot.latency_p95 = flat(broken ? 1200 : 300);
        promise_learn(&similarity, false);
        NEAR(promise_target(&similarity, 0, 2), 0.72, 1e-9);
        for (int i = 0; i < 100; i++)
            promise_learn(&similarity, true);
        assert_true(broken ? promise_target(&similarity, 0, 4) < 0.65
                           : promise_target(&similarity, 0, 4) > 0.75);
        assert_true(promise_gate(&similarity, 0, 4) > promise_target(&similarity, 0, 4));
    }
    similarity.view.snapshot.slo_p95_ms = 0;
    promise_learn(&similarity, true);
    NEAR(promise_target(&similarity, 0, 4), 0.72, 1e-12);
    NEAR(promise_gate(&similarity, 0, 4), 0.8, 1e-12);
}

/* --- Whole decisions ------------------------------------------------------------------------- */

struct world {
    struct vim_policy_snapshot snapshot;
    struct vim_policy_block blocks[3];
    struct vim_policy_edge edges[2];
    struct vim_policy_score scores[3];
    struct vim_policy_decision decision;
};

/* api -> logic -> db; logic has 16 threads, of which 4 work and 12 wait for the db. */
static struct world make_world(void)
{
    struct world world = {
        .snapshot = {.size = sizeof world.snapshot,
                     .windows = WINDOWS,
                     .window_ms = 5000,
                     .end = 36130000, /* 10:02:10 */
                     .service = "test",
                     .throughput = flat(100),
                     .offered = flat(100),
                     .latency_p95 = flat(900),
                     .in_flight = stepped(40, 102, 12),
                     .block_count = 3,
                     .block_stride = sizeof world.blocks[0],
                     .edge_count = 2,
                     .edge_stride = sizeof world.edges[0],
                     .budget_cores = INFINITY},
    };

    for (int i = 0; i < 3; i++)
        world.blocks[i] = (struct vim_policy_block){.flags = VIM_BLOCK_SCALABLE,
                                                    .desired = 1,
                                                    .ready = 1,
                                                    .minimum = 1,
                                                    .maximum = 10,
                                                    .cpu = flat(0.5)};
    world.blocks[0].name = "api";
    world.blocks[0].in_flight = stepped(40, 102, 12);
    world.blocks[0].own_in_flight = flat(2);
    world.blocks[1].name = "logic";
    world.blocks[1].in_flight = stepped(38, 100, 12);
    world.blocks[1].own_in_flight = flat(4);
    world.blocks[1].thread_queue = stepped(22, 84, 12);
    world.blocks[2].name = "db";
    world.blocks[2].in_flight = flat(12);
    world.blocks[2].own_in_flight = flat(12);
    world.edges[0] = (struct vim_policy_edge){
        .caller = 0, .callee = 1, .visits = flat(100), .in_flight = stepped(38, 100, 12)};
    world.edges[1] = (struct vim_policy_edge){
        .caller = 1, .callee = 2, .visits = flat(100), .in_flight = flat(12)};
    return world;
}

static void decide(struct world *world)
{
    world->snapshot.blocks = world->blocks;
    world->snapshot.edges = world->edges;
    memset(&world->decision, 0, sizeof world->decision);
    world->decision.size = sizeof world->decision;
    world->decision.scores = world->scores;
    world->decision.score_count = 3;
    world->decision.score_stride = sizeof world->scores[0];
    assert_int_equal(similarity_decide(NULL, &similarity, &world->snapshot, &world->decision),
                     VIM_OK);
}

static void queue_is_handed_on_to_what_it_waits_for(void **state)
{
    struct world world = make_world();

    (void)state;
    config.mode = "little";
    decide(&world);
    /* s = 4/16: logic holds 4 + 84/4 = 25, the db 12 + 63 = 75, api 2: together N = 102. */
    NEAR(world.scores[0].level, 2.0 / 102, 1e-9);
    NEAR(world.scores[1].level, 25.0 / 102, 1e-9);
    NEAR(world.scores[2].level, 75.0 / 102, 1e-9);
    NEAR(world.scores[2].saturation, 75.0 / 76, 1e-9);
    /* N rises by 62, the db by 46.5: D = 15.5/62; score 1.5 L - D. */
    NEAR(world.scores[2].similarity, 0.25, 1e-9);
    NEAR(world.scores[2].score, 1.5 * 75 / 102 - 0.25, 1e-9);
    assert_int_equal(world.decision.verdict, VIM_SCALE_OUT);
    assert_int_equal(world.decision.block, 2);
    assert_string_equal(world.decision.reason,
                        "db: 75 % of the +62 requests in flight since 10:00:10 wait here; "
                        "utilisation 0.99, 1 -> 2 replicas");
}

/* What is next to idle is scaled out for one reason only, and the sentence has it. */
static void a_broken_promise_is_named(void **state)
{
    struct world world = make_world();

    (void)state;
    world.snapshot.in_flight = flat(0.3);
    for (uint32_t i = 0; i < 3; i++) {
        world.blocks[i].in_flight = world.blocks[i].own_in_flight = flat(0.1);
        world.blocks[i].thread_queue = flat(0);
    }
    world.edges[0].in_flight = world.edges[1].in_flight = flat(0.1);
    world.snapshot.latency_p95 = flat(400);
    world.snapshot.slo_p95_ms = 300;
    decide(&world);
    assert_int_equal(world.decision.verdict, VIM_SCALE_OUT);
    assert_non_null(
        strstr(world.decision.reason, " replicas; p95 of 400 ms breaks the promise of 300 ms"));
    world.snapshot.slo_p95_ms = 500;
    decide(&world);
    assert_int_not_equal(world.decision.verdict, VIM_SCALE_OUT);
    assert_null(strstr(world.decision.reason, "breaks the promise"));
}

/* Numbers of one block that do not fit together, each a few per cent off: the queue still waits for the
 * db, and is not taken for logic's own. */
static void a_queue_longer_than_the_total_stays_a_queue(void **state)
{
    struct world world = make_world();

    (void)state;
    world.blocks[1].in_flight = stepped(38, 800, 12);
    world.blocks[1].own_in_flight = flat(1);
    world.blocks[1].thread_queue = stepped(22, 820, 12);
    world.snapshot.in_flight = stepped(40, 802, 12);
    decide(&world);
    assert_int_equal(world.decision.block, 2);
    assert_true(world.scores[1].level < 0.1);
}

static void literal_equation_three(void **state)
{
    struct world world = make_world();

    (void)state;
    config.mode = "literal";
    /* One replica of logic more: 132 -> 125 requests/s. x' = -0.0530; db +0.067, logic -0.028. */
    world.snapshot.throughput = stepped(132, 125, 12);
    world.blocks[0].cpu = flat(0.2);
    world.blocks[1].cpu = stepped(0.0968, 0.0688, 12);
    world.blocks[2].cpu = stepped(0.222, 0.289, 12);
    world.snapshot.last = (struct vim_policy_action){1, 1, 12, VIM_OUTCOME_UNCLEAR};
    world.snapshot.slo_p95_ms = 500;
    decide(&world);
    NEAR(world.scores[2].similarity, 0.067 - 7.0 / 132, 1e-9);
    NEAR(world.scores[1].similarity, 0.028 + 7.0 / 132, 1e-9);
    NEAR(world.scores[0].similarity, 7.0 / 132, 1e-9);
    assert_int_equal(world.decision.verdict, VIM_SCALE_OUT);
    assert_int_equal(world.decision.block, 2);
    config.mode = "little";
}

/* 100 calls/s to the db are under way for 0.9 s, with round trips of RTT, but the db has only 2 of them. */
static struct world make_far_world(double rtt)
{
    struct world world = make_world();

    world.blocks[1].thread_queue = flat(0);
    world.blocks[2].in_flight = world.blocks[2].own_in_flight = flat(2);
    world.edges[1].in_flight = stepped(20, 92, 12);
    world.edges[1].rtt = stepped(1, rtt, 12);
    world.snapshot.slo_p95_ms = 500;
    return world;
}

static void slow_network_is_named(void **state)
{
    struct world world = make_far_world(900);

    (void)state;
    world.edges[1].retransmits = flat(3);
    decide(&world);
    assert_int_equal(world.decision.verdict, VIM_NOT_SCALABLE);
    assert_int_equal(world.decision.edge, 1);
    assert_non_null(strstr(world.decision.reason, "network logic > db: 92 %"));
}

/* What ends is quick, but 102 requests are in flight for 100 that end in a second. */
static void slow_network_is_named_where_requests_do_not_end(void **state)
{
    struct world world = make_far_world(900);

    (void)state;
    world.snapshot.latency_p95 = flat(40);
    decide(&world);
    assert_int_equal(world.decision.verdict, VIM_NOT_SCALABLE);
    assert_int_equal(world.decision.edge, 1);
    world.snapshot.slo_p95_ms = 1200;
    decide(&world);
    assert_int_not_equal(world.decision.verdict, VIM_NOT_SCALABLE);
}

/* The same where a call goes to and fro three times, as TCP tells. */
static void all_round_trips_of_a_call_are_the_networks(void **state)
{
    struct world world = make_far_world(300);

    (void)state;
    world.blocks[2].in_flight = world.blocks[2].own_in_flight = NULL;
    decide(&world);
    assert_int_equal(world.decision.block, 2);
    world.edges[1].network = stepped(1, 90, 12);
    decide(&world);
    assert_int_equal(world.decision.verdict, VIM_NOT_SCALABLE);
    assert_int_equal(world.decision.edge, 1);
}

static void thin_data_decides_nothing(void **state)
{
    struct world world = make_world();
    double gaps[WINDOWS];

    (void)state;
    /* Two windows in a row are held: of three that are missing one counts. */
    for (uint32_t i = 0; i < WINDOWS; i++)
        gaps[i] = i % 4 == 0 ? 12 : NAN;
    world.blocks[2].own_in_flight = gaps;
    decide(&world);
    assert_int_equal(world.decision.verdict, VIM_SCALE_OUT); /* 6 of 24 are 25 % */
    for (uint32_t i = 0; i < WINDOWS; i++)
        gaps[i] = i % 5 == 0 ? 12 : NAN;
    decide(&world);
    assert_int_equal(world.decision.verdict, VIM_INSUFFICIENT_DATA); /* 9 of 24 */
    assert_non_null(strstr(world.decision.reason, "of db are missing"));
    world.snapshot.windows = 3;
    decide(&world);
    assert_int_equal(world.decision.verdict, VIM_INSUFFICIENT_DATA);
}

/* Two windows and no more, in the level as in the distance. */
static void gaps_are_held_once(void **state)
{
    struct world world = make_world();
    double gap[WINDOWS];

    (void)state;
    memcpy(gap, stepped(12, 30, WINDOWS - 1), sizeof gap);
    for (uint32_t i = WINDOWS - 5; i < WINDOWS - 1; i++)
        gap[i] =
            NAN; /* the first two of four are held; of the last four windows one has a value that was held */
    world.blocks[2].own_in_flight = gap;
    world.blocks[1].thread_queue = flat(0);
    decide(&world);
    /* (12 + 30) / 2, where the two without a value would make it (12 + 12 + 12 + 30) / 4 */
    NEAR(world.scores[2].level, 21.0 / (21 + 4 + 2), 1e-9);
}

static void lower_tiers_say_so(void **state)
{
    struct world world = make_world();

    (void)state;
    world.snapshot.in_flight = NULL;
    world.blocks[2].pressure_cpu = flat(0.9);
    world.blocks[0].pressure_cpu = world.blocks[1].pressure_cpu = flat(0.1);
    decide(&world);
    assert_int_equal(world.decision.tier, VIM_TIER_PRESSURE);
    assert_int_equal(world.decision.verdict, VIM_SCALE_OUT);
    assert_int_equal(world.decision.block, 2);
    assert_non_null(strstr(world.decision.reason, "(by pressure)"));
    for (int i = 0; i < 3; i++)
        world.blocks[i].pressure_cpu = NULL;
    world.blocks[1].cpu = flat(0.95);
    decide(&world);
    assert_int_equal(world.decision.tier, VIM_TIER_CPU);
    assert_int_equal(world.decision.block, 1);
    assert_non_null(strstr(world.decision.reason, "(by processor share alone)"));
}

static void idle_services_hold_and_scale_in(void **state)
{
    struct world world = make_world();

    (void)state;
    world.snapshot.in_flight = flat(2);
    for (int i = 0; i < 3; i++) {
        world.blocks[i].in_flight = world.blocks[i].own_in_flight = flat(0.25);
        world.blocks[i].thread_queue = NULL;
        world.edges[i % 2].in_flight = flat(0.25);
    }
    decide(&world);
    assert_int_equal(world.decision.verdict, VIM_HOLD);
    assert_int_equal(world.scores[2].gates, VIM_GATE_IDLE);
    /* Two replicas hold 0.25 each: u = 0.111... of 2 replicas, 100/s: 2.2 ms, one is enough. */
    world.blocks[2].ready = world.blocks[2].desired = 2;
    decide(&world);
    assert_int_equal(world.decision.verdict, VIM_SCALE_IN);
    assert_int_equal(world.decision.block, 2);
    assert_int_equal(world.decision.delta, -1);
    /* Whoever measures has begun 115 s ago: what the load was before is not known. */
    world.snapshot.windows = 23;
    decide(&world);
    assert_int_equal(world.decision.verdict, VIM_HOLD);
}

/* The load has gone at once: a block that was saturated before and next to idle since has shown no demand. */
static void idle_without_a_known_demand_scales_in(void **state)
{
    struct world world = make_world();

    (void)state;
    world.snapshot.in_flight = world.snapshot.throughput = world.snapshot.offered = flat(0.02);
    for (int i = 0; i < 3; i++) {
        world.blocks[i].in_flight = world.blocks[i].own_in_flight = flat(0.005);
        world.blocks[i].thread_queue = NULL;
        world.edges[i % 2].in_flight = flat(0.005);
    }
    world.blocks[1].ready = world.blocks[1].desired = 3;
    decide(&world);
    assert_int_equal(world.decision.verdict, VIM_SCALE_IN);
    assert_int_equal(world.decision.block, 1);
    /* It was saturated not long ago, or nobody knows for how long it has been idle. */
    world.blocks[1].in_flight = world.blocks[1].own_in_flight = stepped(9, 0.005, 2);
    world.snapshot.in_flight = stepped(9, 0.02, 2);
    decide(&world);
    assert_int_equal(world.decision.verdict, VIM_HOLD);
    world.blocks[1].in_flight = world.blocks[1].own_in_flight = flat(0.005);
    world.snapshot.in_flight = flat(0.02);
    world.snapshot.windows = 20;
    decide(&world);
    assert_int_equal(world.decision.verdict, VIM_HOLD);
}

static void memory_survives_as_text(void **state)
{
    struct world world = make_world();
    char first[sizeof kept];

    (void)state;
    world.snapshot.kept =
        "\t0.4\t7\n"
        "db\t0.0123\t12\t-3.5\t0.1\t-3\t0.2\t-2.5\t0.3\t-2\t0.4\t-1.5\t0.5\t2\t3\t77\t1:95.25\t2:128\n"
        "nobody\t1\t2\nlogic\tnan\t999\t1\t0\t5\nbroken";
    decide(&world);
    memcpy(first, kept, sizeof first);
    assert_memory_equal(first, "\t0.4\t7\n", 7);
    assert_non_null(strstr(first, "db\t0.0123\t12\t-3.5\t0.1\t-3\t0.2\t"));
    assert_null(strstr(first, "nobody"));
    /* What is read is what was written. */
    memory_parse(&similarity, first);
    memory_keep(&similarity, NULL);
    assert_string_equal(first, kept);
}

/* What is kept of the db, of which there have been REPLICAS beside one of each neighbour: what it takes, and REST. */
static void keep_db(char text[256], unsigned replicas, const char *rest)
{
    uint32_t neighbours = ((2166136261u ^ 1u) * 16777619u ^ 1u) * 16777619u;

    snprintf(text, 256, "db\t0.01\t0\t0\t0\t0\t0\t0\t0\t0\t0\t0\t0\t%u\t4\t%u\t%s", replicas,
             neighbours, rest);
}

static void past_the_peak_is_a_gate(void **state)
{
    struct world world = make_world();
    char text[256];

    (void)state;
    world.blocks[2].ready = world.blocks[2].desired = 4;
    keep_db(text, 4, "1:95.24\t2:128.7\t3:132.3");
    world.snapshot.kept = text;
    decide(&world);
    assert_true(world.scores[2].gates & VIM_GATE_PEAK);
    assert_int_not_equal(world.decision.block, 2);
}

/* Three carried 249 and four 246 requests per second, with all else as it is: a fourth is not tried again, unless three
 * carry so much less by now that it is another load. */
static void what_brought_nothing_is_not_tried_again(void **state)
{
    const struct usl_level levels[] = {{2, 190}, {3, 249}, {4, 246}};
    struct world world = make_world();
    char text[256];

    (void)state;
    assert_true(sizing_tried(levels, 3, 3, 249));
    assert_true(sizing_tried(levels, 3, 3, 240));
    assert_false(sizing_tried(levels, 3, 3, 230));
    assert_false(sizing_tried(levels, 3, 2, 190));
    assert_false(sizing_tried(levels, 3, 4, 246)); /* five were never seen */
    world.blocks[2].ready = world.blocks[2].desired = 3;
    for (int more = 0; more < 2; more++) {
        keep_db(text, 3, more ? "3:100\t4:130" : "3:100\t4:99");
        world.snapshot.kept = text;
        decide(&world);
        assert_int_equal(!(world.scores[2].gates & VIM_GATE_PEAK), more);
    }
}

/* The promise is broken while less and less is in flight. With a load that has been larger that is what is left of it; with
 * the same load all the time something else holds the service back. */
static void only_after_an_overload_is_something_left_of_it(void **state)
{
    struct world world = make_world();
    char text[512] = "";

    (void)state;
    for (int i = 0; i < 3; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text),
                 "%s\t0.001\t0\t0\t0\t0\t0\t0\t0\t0\t0\t0\t0\t1\t4\t0\n", world.blocks[i].name);
    world.snapshot.kept = text;
    world.snapshot.slo_p95_ms = 500;
    world.snapshot.in_flight = world.blocks[0].in_flight = stepped(102, 60, WINDOWS - 2);
    world.blocks[1].in_flight = world.edges[0].in_flight = stepped(100, 58, WINDOWS - 2);
    world.blocks[1].thread_queue = stepped(84, 42, WINDOWS - 2);
    decide(&world);
    assert_int_equal(world.decision.verdict, VIM_SCALE_OUT);
    world.snapshot.offered = stepped(2000, 100, WINDOWS - 6);
    decide(&world);
    assert_int_equal(world.decision.verdict, VIM_HOLD);
    assert_non_null(strstr(world.decision.reason, "works off what is left of an overload"));
    world.snapshot.offered = stepped(2000, 100, WINDOWS - 16);
    decide(&world);
    assert_int_equal(world.decision.verdict, VIM_SCALE_OUT);
}

/* Of other requests the db took 20 ms; those that come now ask it for next to nothing. */
static void what_is_idle_is_not_scaled_for_other_requests(void **state)
{
    struct world world = make_world();
    char text[sizeof kept] = "db\t0.02\t0\t0\t0\t0\t0\t0\t0\t0\t0\t0\t0\t1\t4\t0\n";

    (void)state;
    world.snapshot.in_flight = world.blocks[0].in_flight = flat(0.5);
    world.snapshot.latency_p95 = flat(10);
    world.blocks[0].own_in_flight = world.blocks[1].own_in_flight = flat(0.2);
    world.blocks[1].in_flight = world.edges[0].in_flight = flat(0.3);
    world.blocks[1].thread_queue = flat(0);
    world.blocks[2].in_flight = world.blocks[2].own_in_flight = world.edges[1].in_flight =
        flat(0.001);
    world.blocks[2].cpu = flat(0.001);
    world.snapshot.kept = text;
    for (int i = 0; i < 20; i++) {
        decide(&world);
        assert_int_equal(world.decision.verdict, VIM_HOLD);
        memcpy(text, kept, sizeof text);
    }
    assert_true(strtod(strstr(text, "db\t") + 3, NULL) < 0.001);
}

/* What was measured in a bad moment must not hold a service back for ever. */
static void what_brought_nothing_is_tried_again_in_the_end(void **state)
{
    struct world world = make_world();
    char text[sizeof kept];
    int decisions = 0;

    (void)state;
    world.blocks[2].ready = world.blocks[2].desired = 3;
    keep_db(text, 3, "3:100\t4:99");
    world.snapshot.kept = text;
    do {
        decide(&world);
        memcpy(text, kept, sizeof text);
    } while ((world.scores[2].gates & VIM_GATE_PEAK) && ++decisions < 1000);
    assert_int_equal(decisions, 180);
    assert_null(strstr(text, "\t4:99"));
}

static void what_breaks_the_promise_is_tried_again(void **state)
{
    struct world world = make_world();
    char text[256];

    (void)state;
    world.blocks[2].ready = world.blocks[2].desired = 3;
    keep_db(text, 3, "3:100\t4:99");
    world.snapshot.kept = text;
    world.snapshot.slo_p95_ms = 1000;
    decide(&world);
    assert_true(world.scores[2].gates & VIM_GATE_PEAK);
    world.snapshot.slo_p95_ms = 300;
    decide(&world);
    assert_false(world.scores[2].gates & VIM_GATE_PEAK);
}

/* With half of the processor so many carry something else. */
static void another_quota_makes_another_block(void **state)
{
    struct world world = make_world();
    char text[256];

    (void)state;
    world.blocks[2].ready = world.blocks[2].desired = 4;
    world.blocks[2].quota_cores = 0.52;
    keep_db(text, 4, "q0.5\t1:95.24\t2:128.7\t3:132.3");
    world.snapshot.kept = text;
    decide(&world);
    assert_true(world.scores[2].gates & VIM_GATE_PEAK);
    assert_non_null(strstr(kept, "\tq0.52"));
    world.blocks[2].quota_cores = 0.25;
    world.snapshot.kept = text;
    decide(&world);
    assert_false(world.scores[2].gates & VIM_GATE_PEAK);
    assert_non_null(strstr(kept, "\tq0.25"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(distances_compare_with_the_degradation),
        cmocka_unit_test(points_are_means),
        cmocka_unit_test(peak_of_the_scalability_law),
        cmocka_unit_test(load_takes_half_of_a_trend),
        cmocka_unit_test(need_rounds_up),
        cmocka_unit_test(waiting_tells_slots),
        cmocka_unit_test(bare_time_is_found_at_all_loads),
        cmocka_unit_test(a_pool_is_told_from_a_queue),
        cmocka_unit_test(spare_is_what_the_promise_leaves),
        cmocka_unit_test(spare_follows_the_promise),
        cmocka_unit_test(queue_is_handed_on_to_what_it_waits_for),
        cmocka_unit_test(a_broken_promise_is_named),
        cmocka_unit_test(a_queue_longer_than_the_total_stays_a_queue),
        cmocka_unit_test(literal_equation_three),
        cmocka_unit_test(slow_network_is_named),
        cmocka_unit_test(slow_network_is_named_where_requests_do_not_end),
        cmocka_unit_test(all_round_trips_of_a_call_are_the_networks),
        cmocka_unit_test(thin_data_decides_nothing),
        cmocka_unit_test(gaps_are_held_once),
        cmocka_unit_test(lower_tiers_say_so),
        cmocka_unit_test(idle_services_hold_and_scale_in),
        cmocka_unit_test(idle_without_a_known_demand_scales_in),
        cmocka_unit_test(memory_survives_as_text),
        cmocka_unit_test(past_the_peak_is_a_gate),
        cmocka_unit_test(what_brought_nothing_is_not_tried_again),
        cmocka_unit_test(only_after_an_overload_is_something_left_of_it),
        cmocka_unit_test(what_is_idle_is_not_scaled_for_other_requests),
        cmocka_unit_test(what_brought_nothing_is_tried_again_in_the_end),
        cmocka_unit_test(what_breaks_the_promise_is_tried_again),
        cmocka_unit_test(another_quota_makes_another_block),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

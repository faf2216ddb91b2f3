/* Heartbeats: rows come, change and go; who is dead, and what that does to claims. */
#include "house.h"

#include <jansson.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/metrics.h"
#include "base/text.h"
#include "engine/owner.h"
#include "engine/presence.h"
#include "engine/presence_internal.h"

#define FAR "elsewhere:1:2:3"

static char *beat_text(const char *id, const char *owner, const char *state, int64_t expires_ms)
{
    return text_format("{\"id\":\"%s\",\"roles\":[\"worker\",\"logic\"],\"host\":\"h\",\"pid\":7,"
                       "\"address\":\"tcp://h:1\",\"version\":\"1\",\"state\":\"%s\",\"started\":1,"
                       "\"owner\":\"%s\",\"expires_ms\":%lld,\"load\":0.5,\"in_flight\":3}",
                       id, state, owner, (long long)expires_ms);
}

static struct presence *open_presence(struct store *store, int64_t interval_ms)
{
    struct presence_settings settings = {.roles = "api logic worker",
                                         .address = "unix:/tmp/x",
                                         .store = store,
                                         .interval_ms = interval_ms};
    return presence_new(&settings);
}

struct found {
    size_t count;
    struct presence_peer last;
    char id[ID_SIZE], address[64];
    json_t *body;
};

static void find(void *argument, const struct presence_peer *peer)
{
    struct found *found = argument;
    found->count++;
    found->last = *peer;
    snprintf(found->id, sizeof(found->id), "%s", peer->id);
    snprintf(found->address, sizeof(found->address), "%s", peer->address);
    json_decref(found->body);
    found->body = json_loads(peer->body, 0, NULL);
}

static size_t count_of(struct presence *presence, const char *role)
{
    struct found found = {0};
    size_t count = presence_each(presence, role, find, &found);
    assert_int_equal(count, found.count);
    json_decref(found.body);
    return count;
}

/* --- The process's own row ------------------------------------------------------------------------ */

static void check_signals(const json_t *signals)
{
    const json_t *blocks = json_object_get(signals, "blocks"),
                 *api = json_object_get(blocks, "api");
    assert_int_equal(json_object_size(blocks), 3);
    assert_true(json_get_integer(signals, "mono_us", 0) > 0);
    assert_true(llabs(json_get_integer(signals, "at", 0) - clock_now_ms()) < 3600000);
    assert_true(json_get_integer(signals, "cpu_us", 0) > 0);
    assert_true(json_get_number(signals, "cores", 0) > 0);
    assert_true(json_get_integer(signals, "memory", 0) > 100000);
    /* What other processes have asked over the link is not what clients have. */
    assert_int_equal(json_get_integer(api, "ended", 0), 1);
    assert_int_equal(json_get_integer(api, "errors", 0), 3);
    assert_int_equal(json_array_size(json_object_get(api, "buckets")), METRICS_SECONDS_COUNT + 1);
    const json_t *worker = json_object_get(blocks, "worker");
    assert_non_null(json_object_get(worker, "in_flight_us"));
    assert_non_null(json_object_get(worker, "own_us"));
    assert_non_null(json_object_get(worker, "queued_us"));
}

static void a_process_has_a_row_from_start_to_stop(void **state)
{
    (void)state;
    struct presence *presence = open_presence(house.store, 60000);
    struct found found = {0};
    assert_int_equal(house_count(COLLECTION_PROCESS), 0);
    metric_observe(metrics_histogram("vimd_http_request_seconds", "", "route=\"/t\"", NULL, 0),
                   0.2);
    metric_observe(metrics_histogram("vimd_http_request_seconds", "",
                                     "route=\"/t\",method=\"GET\",side=\"peers\"", NULL, 0),
                   5);
    metric_add(metrics_counter("vimd_http_requests_total", "", "route=\"/t\",status=\"503\""), 3);
    metric_add(metrics_counter("vimd_http_requests_total", "",
                               "route=\"/t\",side=\"peers\",status=\"500\""),
               9);
    assert_int_equal(presence_start(presence, NULL), VIM_OK);
    assert_int_equal(house_count(COLLECTION_PROCESS), 1);
    assert_int_equal(presence_each(presence, "logic", find, &found), 1);
    assert_string_equal(found.id, presence_id(presence));
    assert_string_equal(found.address, "unix:/tmp/x");
    assert_false(found.last.draining);
    assert_string_equal(json_get_text(found.body, "owner", ""), owner_self());
    assert_true(json_get_integer(found.body, "memory", 0) > 100000);
    assert_true(json_get_number(found.body, "cpu_limit", 0) > 0);
    const json_t *request = json_object_get(json_object_get(found.body, "measured"), "api.request");
    assert_int_equal(json_get_integer(request, "count", 0), 1);
    assert_true(json_get_number(request, "seconds", 0) == 0.2);
    assert_int_equal(json_integer_value(json_array_get(json_object_get(request, "buckets"), 8)), 1);
    check_signals(json_object_get(found.body, "signals"));
    json_decref(found.body);
    assert_int_equal(count_of(presence, "scaler"), 0);
    assert_int_equal(count_of(presence, "log"), 0);
    assert_int_equal(count_of(presence, NULL), 1);
    presence_stop(presence);
    assert_int_equal(house_count(COLLECTION_PROCESS), 0);
    presence_free(presence);
}

static void beats_tell_how_vims_are(void **state)
{
    (void)state;
    struct vim_target *target = vims_get(house.vims, "edge");
    struct presence_settings settings = {
        .roles = "worker", .vims = house.vims, .store = house.store, .interval_ms = 60000};
    struct presence *presence = presence_new(&settings);
    struct presence *other = open_presence(house.store, 60000);
    struct vim_health health;
    struct found found = {0};
    assert_int_equal(presence_start(other, NULL), VIM_OK);
    vim_target_report(target, VIM_E_UNAVAILABLE, "it is down");
    assert_int_equal(presence_start(presence, NULL), VIM_OK);
    assert_int_equal(presence_each(presence, "worker", find, &found), 2);
    json_decref(found.body);
    assert_false(presence_vim_health(presence, "edge", &health)); /* its own it knows better */
    assert_int_equal(presence_refresh(other, NULL), VIM_OK);
    assert_false(presence_vim_health(other, "elsewhere", &health));
    assert_true(presence_vim_health(other, "edge", &health));
    assert_false(health.reachable);
    assert_string_equal(health.text, "it is down");
    assert_true(health.checked > 0);
    vim_target_release(target);
    presence_stop(presence);
    presence_stop(other);
    presence_free(presence);
    presence_free(other);
}

static bool is_draining(void *argument)
{
    struct found found = {0};
    assert_int_equal(presence_refresh(argument, NULL), VIM_OK);
    (void)presence_each(argument, NULL, find, &found);
    json_decref(found.body);
    return found.count == 1 && found.last.draining;
}

/* In its row, by its own look behind the beat. */
static bool is_told_draining(void *argument)
{
    struct presence *presence = argument;
    struct row row = {0};
    assert_int_equal(store_get(house.store, COLLECTION_PROCESS, presence_id(presence), &row, NULL),
                     VIM_OK);
    bool draining = row.state == PRESENCE_DRAINING;
    row_free(&row);
    return draining;
}

static void a_drain_is_told_before_the_next_beat(void **state)
{
    (void)state;
    struct presence *presence = open_presence(house.store, 3600000);
    assert_int_equal(presence_start(presence, NULL), VIM_OK);
    presence_drain(presence);
    house_wait(is_draining, presence);
    presence_stop(presence);
    presence_free(presence);
}

static bool has_row(void *argument)
{
    (void)argument;
    return house_count(COLLECTION_PROCESS) == 1;
}

static void a_process_whose_row_was_swept_writes_it_anew(void **state)
{
    (void)state;
    struct presence *presence = open_presence(house.store, 20);
    assert_int_equal(presence_start(presence, NULL), VIM_OK);
    struct vim_write write = {
        .collection = COLLECTION_PROCESS, .id = presence_id(presence), .expect = VIM_EXPECT_ANY};
    assert_int_equal(store_commit(house.store, &write, 1, NULL), VIM_OK);
    house_wait(has_row, NULL);
    presence_stop(presence);
    presence_free(presence);
}

/* --- Others --------------------------------------------------------------------------------------- */

static void beats_of_others_are_checked(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to, *wrong;
    } changes[] = {
        {"\"worker\",", "\"Wor ker\",", "roles"},
        {"[\"worker\",\"logic\"]", "[]", "roles"},
        {"\"up\"", "\"well\"", "state"},
        {"\"h\",\"pid\"", "\"a b\",\"pid\"", "host"},
        {"\"tcp://h:1\"", "7", "address"},
        {"\"owner\":\"" FAR "\"", "\"owner\":\"\"", "owner"},
        {"\"expires_ms\":60000", "\"expires_ms\":0", "expires_ms"},
        {"\"expires_ms\":60000", "\"expires_ms\":99999999999", "expires_ms"},
        {"{\"id\"", "{\"other\"", "id"},
        {"{\"id\"", "[{\"id\"", "readable"},
    };
    struct presence *presence = open_presence(house.store, 60000);
    char id[ID_SIZE];
    CLEANUP_FREE char *good = beat_text(id_new(id), FAR, "up", 60000);
    struct failure failure = {0};
    char *answer = NULL;
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        const char *at = strstr(good, changes[i].from);
        assert_non_null(at);
        CLEANUP_FREE char *bad = text_format("%.*s%s%s", (int)(at - good), good, changes[i].to,
                                             at + strlen(changes[i].from));
        assert_int_equal(presence_take(presence, bad, strlen(bad), &answer, &failure),
                         VIM_E_INVALID);
        assert_non_null(strstr(failure.text, changes[i].wrong));
        assert_null(answer);
    }
    CLEANUP_FREE char *large = text_format("%s%*s", good, BEAT_SIZE_MAX, "");
    assert_int_equal(presence_take(presence, large, strlen(large), &answer, &failure),
                     VIM_E_INVALID);
    assert_int_equal(house_count(COLLECTION_PROCESS), 0);
    assert_int_equal(presence_take(presence, good, strlen(good), &answer, &failure), VIM_OK);
    assert_int_equal(house_count(COLLECTION_PROCESS), 1);
    free(answer);
    presence_free(presence);
}

/* A process without a store: its beats go through another one, whose answers tell it of all. */
static int send_to(void *argument, const char *beat, size_t length, char **ret_answer,
                   struct failure *failure)
{
    struct presence *with_store = argument;
    int code = presence_take(with_store, beat, length, ret_answer, failure);
    return code ? code : presence_refresh(with_store, failure);
}

static bool knows_two(void *argument)
{
    return count_of(argument, NULL) == 2;
}

static void a_process_without_a_store_beats_through_another(void **state)
{
    (void)state;
    struct presence *logic = open_presence(house.store, 60000);
    assert_int_equal(presence_start(logic, NULL), VIM_OK);
    struct presence_settings settings = {
        .roles = "api", .send = send_to, .argument = logic, .interval_ms = 10};
    struct presence *api = presence_new(&settings);
    assert_int_equal(presence_start(api, NULL), VIM_OK);
    assert_int_equal(house_count(COLLECTION_PROCESS), 2);
    house_wait(knows_two, api);
    assert_int_equal(count_of(api, "worker"), 1);
    assert_int_equal(count_of(logic, "api"), 2);
    presence_stop(api);
    presence_free(api);
    assert_int_equal(house_count(COLLECTION_PROCESS), 1);
    assert_int_equal(presence_refresh(logic, NULL), VIM_OK);
    assert_int_equal(count_of(logic, NULL), 1);
    presence_stop(logic);
    presence_free(logic);
}

/* --- Who is dead: by what was seen, at times that the test says ------------------------------------ */

static int64_t now;

static void look_with(struct peers *peers, const char *body, uint64_t revision, bool expired,
                      int64_t passed_ms)
{
    now += passed_ms;
    peers_begin(peers, now, 1000);
    if (body) {
        assert_int_equal(peers_see(peers, body, strlen(body), revision, expired, NULL), VIM_OK);
    }
    peers_end(peers);
}

/* A look that reads no bodies. */
static void look_again(struct peers *peers, const char *id, uint64_t revision, uint32_t state)
{
    assert_true(peers_know(peers, id));
    peers_begin(peers, now += 1000, 1000);
    peers_see_again(peers, id, revision, state);
    peers_end(peers);
}

static size_t living(const struct peers *peers)
{
    size_t count;
    struct peer_copy *copies = peers_copy(peers, &count);
    for (size_t i = 0; i < count; i++) {
        beat_free(&copies[i].beat);
        free(copies[i].body);
    }
    free(copies);
    return count;
}

static void a_row_that_does_not_change_is_of_a_dead_process(void **state)
{
    (void)state;
    char id[ID_SIZE];
    CLEANUP_FREE char *body = beat_text(id_new(id), FAR, "up", 5000);
    struct peers *peers = peers_new();
    now = 1000000;
    look_with(peers, body, 1, false, 0);
    for (int i = 0; i < 5; i++) {
        look_with(peers, body, 1, false, 1000);
        assert_false(owner_is_dead(FAR));
    }
    look_with(peers, body, 1, false, 1000);
    assert_true(owner_is_dead(FAR));
    assert_int_equal(living(peers), 0);
    /* It was paused, and goes on. */
    look_with(peers, body, 2, false, 1000);
    assert_false(owner_is_dead(FAR));
    assert_int_equal(living(peers), 1);
    /* Deleted: it has left. Written anew with a revision it has had: it is there again. */
    look_with(peers, NULL, 0, false, 1000);
    assert_true(owner_is_dead(FAR));
    look_with(peers, body, 2, false, 1000);
    assert_false(owner_is_dead(FAR));
    assert_int_equal(living(peers), 1);
    peers_free(peers);
}

static void without_bodies_the_same_is_dead(void **state)
{
    (void)state;
    char id[ID_SIZE], self[ID_SIZE];
    size_t before;
    bool listed;
    CLEANUP_FREE char *body = beat_text(id_new(id), FAR, "up", 5000);
    struct peers *peers = peers_new();
    now = 1000000;
    id_new(self);
    assert_false(peers_know(peers, id));
    look_with(peers, body, 1, true, 0); /* long past its time: doubted */
    assert_int_equal(living(peers), 0);
    look_again(peers, id, 1, PRESENCE_UP);
    assert_int_equal(living(peers), 0);
    look_again(peers, id, 2, PRESENCE_UP);
    assert_int_equal(living(peers), 1);
    assert_int_equal(peers_rank(peers, "worker", self, &before, &listed), 1);
    for (int i = 0; i < 5; i++) {
        look_again(peers, id, 2, PRESENCE_UP);
        assert_false(owner_is_dead(FAR));
    }
    look_again(peers, id, 2, PRESENCE_UP);
    assert_true(owner_is_dead(FAR));
    assert_int_equal(living(peers), 0);
    look_again(peers, id, 3, PRESENCE_DRAINING);
    assert_false(owner_is_dead(FAR));
    assert_int_equal(living(peers), 1);
    assert_int_equal(peers_rank(peers, "worker", self, &before, &listed), 0);
    /* What the body tells by now is taken when it is read, whether the row has changed since or not. */
    CLEANUP_FREE char *other = beat_text(id, FAR, "draining", 7000);
    look_with(peers, other, 3, false, 1000);
    size_t count;
    struct peer_copy *copies = peers_copy(peers, &count);
    assert_int_equal(count, 1);
    assert_int_equal(copies[0].beat.expires_ms, 7000);
    assert_string_equal(copies[0].body, other);
    beat_free(&copies[0].beat);
    free(copies[0].body);
    free(copies);
    /* A row that was away for a look is that of somebody new. */
    look_with(peers, NULL, 0, false, 1000);
    assert_false(peers_know(peers, id));
    peers_free(peers);
}

static void time_in_which_nobody_looked_does_not_count(void **state)
{
    (void)state;
    char id[ID_SIZE];
    CLEANUP_FREE char *body = beat_text(id_new(id), FAR, "up", 5000);
    struct peers *peers = peers_new();
    now = 1000000;
    look_with(peers, body, 1, false, 0);
    /* The store was away for an hour, and nobody could write to it; or this process was paused. */
    look_with(peers, body, 1, false, 3600000);
    assert_false(owner_is_dead(FAR));
    assert_int_equal(living(peers), 1);
    for (int i = 0; i < 4; i++) {
        look_with(peers, body, 1, false, 1000);
    }
    assert_true(owner_is_dead(FAR));
    peers_free(peers);
    assert_false(owner_is_dead(FAR));
}

static void clocks_that_differ_hurt_nobody(void **state)
{
    (void)state;
    char id[ID_SIZE];
    CLEANUP_FREE char *body = beat_text(id_new(id), FAR, "up", 5000);
    struct peers *peers = peers_new();
    now = 1000000;
    /* Long past its time by this clock when it is seen first: left behind, or of a clock that is late. */
    look_with(peers, body, 1, true, 0);
    assert_int_equal(living(peers), 0);
    assert_false(owner_is_dead(FAR));
    look_with(peers, body, 2, true, 1000);
    assert_int_equal(living(peers), 1);
    look_with(peers, body, 2, true, 1000);
    assert_int_equal(living(peers), 1);
    peers_free(peers);
}

static void rows_of_the_dead_are_swept(void **state)
{
    (void)state;
    char id[ID_SIZE], old[ID_SIZE];
    uint64_t revision;
    CLEANUP_FREE char *body = beat_text(id_new(id), FAR, "up", 1000);
    struct peers *peers = peers_new();
    now = 1000000;
    look_with(peers, body, 9, false, 0);
    for (int i = 0; i < 8; i++) {
        assert_false(peers_take_old(peers, old, &revision));
        look_with(peers, body, 9, false, 1000);
    }
    look_with(peers, body, 9, false, 1000);
    assert_true(peers_take_old(peers, old, &revision));
    assert_string_equal(old, id);
    assert_int_equal(revision, 9);
    assert_false(peers_take_old(peers, old, &revision));
    /* Its claims stay void when the row is gone. */
    look_with(peers, NULL, 0, false, 1000);
    assert_true(owner_is_dead(FAR));
    peers_free(peers);
}

static bool far_is_dead(void *argument)
{
    (void)argument;
    return owner_is_dead(FAR);
}

static bool is_swept(void *argument)
{
    (void)argument;
    return house_count(COLLECTION_PROCESS) == 1;
}

static void a_process_sees_that_another_has_died(void **state)
{
    (void)state;
    char id[ID_SIZE];
    char *answer = NULL;
    struct presence *presence = open_presence(house.store, 10);
    assert_int_equal(presence_start(presence, NULL), VIM_OK);
    CLEANUP_FREE char *body = beat_text(id_new(id), FAR, "up", 100);
    assert_int_equal(presence_take(presence, body, strlen(body), &answer, NULL), VIM_OK);
    free(answer);
    house_wait(far_is_dead, NULL);
    house_wait(is_swept, NULL);
    assert_true(owner_is_dead(FAR));
    presence_stop(presence);
    presence_free(presence);
    assert_false(owner_is_dead(FAR));
}

/* --- Whose turn it is ------------------------------------------------------------------------------ */

/* Which of PRESENCES has the turn of this moment, of which there must be one. */
static size_t whose_turn(struct presence *const *presences, size_t count, const char *role,
                         int64_t period_ms)
{
    for (;;) {
        size_t found = count, ours_count = 0;
        int64_t period = clock_now_ms() / period_ms;
        for (size_t i = 0; i < count; i++) {
            bool ours;
            int64_t now_ms = clock_mono_ms(),
                    next = presence_turn(presences[i], role, period_ms, &ours);
            assert_true(next > now_ms && next <= clock_mono_ms() + period_ms + 1);
            found = ours ? i : found;
            ours_count += ours;
        }
        if (clock_now_ms() / period_ms == period) {
            assert_int_equal(ours_count, 1);
            return found;
        }
    }
}

static void those_who_have_the_store_take_turns(void **state)
{
    (void)state;
    struct presence *presences[4];
    size_t turns[4] = {0};
    char id[ID_SIZE];
    char *answer = NULL;
    bool ours;
    (void)presence_turn(NULL, NULL, 1000, &ours);
    assert_true(ours);
    for (size_t i = 0; i < 4; i++) {
        presences[i] = open_presence(house.store, 3600000);
        (void)presence_turn(presences[i], NULL, 1000, &ours);
        assert_true(ours); /* of others nothing is known yet */
        assert_int_equal(presence_start(presences[i], NULL), VIM_OK);
    }
    /* One that has no store looks at none, and one of a role only where that role does. */
    CLEANUP_FREE char *beat = beat_text(id_new(id), FAR, "up", 60000);
    char *roles = strstr(beat, "[\"worker\",\"logic\"]");
    memcpy(roles, "[\"api\"]           ", strlen("[\"worker\",\"logic\"]"));
    assert_int_equal(presence_take(presences[0], beat, strlen(beat), &answer, NULL), VIM_OK);
    free(answer);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(presence_refresh(presences[i], NULL), VIM_OK);
        assert_int_equal(count_of(presences[i], NULL), 5);
    }
    /* Periods of other lengths are other turns of the same moment. */
    for (int i = 0; i < 400; i++) {
        turns[whose_turn(presences, 4, i % 2 ? NULL : "worker", 100000 + i)]++;
    }
    for (size_t i = 0; i < 4; i++) {
        assert_true(turns[i] > 0);
    }
    /* Who is about to leave has none, nor who has left. */
    presence_drain(presences[1]);
    house_wait(is_told_draining, presences[1]);
    presence_stop(presences[2]);
    for (size_t i = 0; i < 4; i++) {
        if (i != 2) {
            assert_int_equal(presence_refresh(presences[i], NULL), VIM_OK);
        }
    }
    struct presence *left[] = {presences[0], presences[1], presences[3]};
    memset(turns, 0, sizeof(turns));
    for (int i = 0; i < 400; i++) {
        turns[whose_turn(left, 3, "worker", 100000 + i)]++;
    }
    assert_true(turns[0] > 0 && turns[1] == 0 && turns[2] > 0);
    for (size_t i = 0; i < 4; i++) {
        if (i != 2) {
            presence_stop(presences[i]);
        }
        presence_free(presences[i]);
    }
}

/* --- Claims --------------------------------------------------------------------------------------- */

static void claim_from_afar(struct task *task)
{
    task->owner = text_duplicate(FAR);
    task->state = TASK_RUNNING;
    task->lease++;
    task->due = clock_now_ms() + 3600000;
}

static bool task_succeeded(void *argument)
{
    (void)tasks_work(house.tasks, 8, 10);
    return house_state(argument) == TASK_SUCCEEDED;
}

static void claims_end_when_the_heartbeat_has_stopped(void **state)
{
    (void)state;
    char id[ID_SIZE], task[ID_SIZE], resource[ID_SIZE];
    char *answer = NULL;
    house_create(task, resource);
    house_work_until(task, TASK_SUCCEEDED); /* the hint is used up */
    house_create(task, resource);
    house_edit_task(task, claim_from_afar);
    assert_int_equal(tasks_start(house.tasks, NULL), VIM_OK);
    house_work();
    assert_int_equal(house_state(task), TASK_RUNNING); /* its lease lasts for an hour */
    struct presence *presence = open_presence(house.store, 10);
    assert_int_equal(presence_start(presence, NULL), VIM_OK);
    CLEANUP_FREE char *body = beat_text(id_new(id), FAR, "up", 200);
    assert_int_equal(presence_take(presence, body, strlen(body), &answer, NULL), VIM_OK);
    free(answer);
    house_wait(task_succeeded, task);
    presence_stop(presence);
    presence_free(presence);
}

int main(void)
{
#define WITH_HOUSE(test) cmocka_unit_test_setup_teardown(test, house_setup, house_teardown)
    const struct CMUnitTest tests[] = {
        WITH_HOUSE(a_process_has_a_row_from_start_to_stop),
        WITH_HOUSE(beats_tell_how_vims_are),
        WITH_HOUSE(a_drain_is_told_before_the_next_beat),
        WITH_HOUSE(a_process_whose_row_was_swept_writes_it_anew),
        WITH_HOUSE(beats_of_others_are_checked),
        WITH_HOUSE(a_process_without_a_store_beats_through_another),
        cmocka_unit_test(a_row_that_does_not_change_is_of_a_dead_process),
        cmocka_unit_test(without_bodies_the_same_is_dead),
        cmocka_unit_test(time_in_which_nobody_looked_does_not_count),
        cmocka_unit_test(clocks_that_differ_hurt_nobody),
        cmocka_unit_test(rows_of_the_dead_are_swept),
        WITH_HOUSE(a_process_sees_that_another_has_died),
        WITH_HOUSE(those_who_have_the_store_take_turns),
        WITH_HOUSE(claims_end_when_the_heartbeat_has_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

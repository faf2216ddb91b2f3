/* Lock order: presence->mutex is a leaf, not held over the store, `send` or a callback; `looking` is
 * taken before it, and held over a look at the rows, so that looks do not overtake each other. */
#include "engine/presence_internal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/thread.h"

#define PRESENCE_MAGIC 0x50524553u
/* A row this long past its time, by the clock here, is doubted: clocks differ by less. */
#define CLOCK_SLACK_MS 5000

struct presence {
    uint32_t magic;
    char id[ID_SIZE];
    struct store *store;
    presence_send_fn send;
    void *argument;
    int64_t interval_ms;
    struct beats *beats; /* the thread's; of start() and stop() while there is none */
    bool failing; /* likewise */

    pthread_mutex_t looking;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    struct peers *peers;
    int64_t told; /* clock_mono_ms(): when all was read that the rows tell, or was to be */
    bool draining, beat_now, running, stop;
    struct tasks *tasks; /* whose queue is watched; NULL: none */
    pthread_t thread;
};

struct presence *presence_new(const struct presence_settings *settings)
{
    assert(settings->store || settings->send);
    struct presence *presence = MEMORY_NEW(struct presence);
    presence->magic = PRESENCE_MAGIC;
    id_new(presence->id);
    presence->store = settings->store;
    presence->send = settings->send;
    presence->argument = settings->argument;
    presence->interval_ms = settings->interval_ms;
    presence->beats = beats_new(presence->id, settings);
    presence->peers = peers_new();
    pthread_mutex_init(&presence->looking, NULL);
    pthread_mutex_init(&presence->mutex, NULL);
    clock_cond_init(&presence->cond);
    return presence;
}

void presence_free(struct presence *presence)
{
    if (presence) {
        assert(presence->magic == PRESENCE_MAGIC && !presence->running);
        presence->magic = 0;
        beats_free(presence->beats);
        peers_free(presence->peers);
        pthread_cond_destroy(&presence->cond);
        pthread_mutex_destroy(&presence->mutex);
        pthread_mutex_destroy(&presence->looking);
        free(presence);
    }
}

const char *presence_id(const struct presence *presence)
{
    return presence->id;
}

/* --- Rows ---------------------------------------------------------------------------------------- */

static int store_beat(struct presence *presence, const struct beat *beat, const char *body,
                      struct failure *failure)
{
    struct vim_write write = {.collection = COLLECTION_PROCESS,
                              .id = beat->id,
                              .body = beat->state == PRESENCE_GONE ? NULL : body,
                              .expect = VIM_EXPECT_ANY,
                              .due = clock_now_ms() + beat->expires_ms,
                              .state = beat->state};
    return store_commit(presence->store, &write, 1, failure);
}

struct rows {
    struct peer_row {
        char id[ID_SIZE];
        char *body; /* NULL: not read */
        uint64_t revision;
        int64_t due;
        uint32_t state;
    } * items;
    size_t count;
    bool without_bodies;
};

static int take_row(void *argument, const struct vim_item *item)
{
    struct rows *rows = argument;
    rows->items = memory_resize(rows->items, rows->count + 1, sizeof(*rows->items));
    struct peer_row *row = &rows->items[rows->count++];
    *row = (struct peer_row){
        .body = rows->without_bodies ? NULL : text_duplicate(item->body ? item->body : ""),
        .revision = item->revision,
        .due = item->due,
        .state = item->state};
    (void)snprintf(row->id, sizeof(row->id), "%s", item->id);
    return 0;
}

static void rows_free(struct rows *rows)
{
    for (size_t i = 0; i < rows->count; i++) {
        free(rows->items[i].body);
    }
    free(rows->items);
    *rows = (struct rows){0};
}

/* What was read becomes what is known. Under the lock. */
static void see_rows(struct presence *presence, const struct rows *rows, int64_t began)
{
    int64_t now = clock_now_ms();
    peers_begin(presence->peers, began, presence->interval_ms);
    for (size_t i = 0; i < rows->count; i++) {
        const struct peer_row *row = &rows->items[i];
        struct failure failure = {0};
        if (!row->body) {
            peers_see_again(presence->peers, row->id, row->revision, row->state);
        } else if (peers_see(presence->peers, row->body, strlen(row->body), row->revision,
                             row->due + CLOCK_SLACK_MS < now, &failure) != VIM_OK) {
            log_event(VIM_DEBUG, "row of a process not readable", "text=%s", failure.text);
        }
    }
    peers_end(presence->peers);
}

static void sweep_rows(struct presence *presence)
{
    for (;;) {
        char id[ID_SIZE];
        uint64_t revision;
        pthread_mutex_lock(&presence->mutex);
        bool found = peers_take_old(presence->peers, id, &revision);
        pthread_mutex_unlock(&presence->mutex);
        if (!found) {
            return;
        }
        struct vim_write write = {.collection = COLLECTION_PROCESS, .id = id, .expect = revision};
        (void)store_commit(presence->store, &write, 1, NULL); /* else with a later look */
    }
}

static int read_rows(struct presence *presence, bool with_bodies, struct rows *ret_rows,
                     struct failure *failure)
{
    struct vim_scan scan = {.collection = COLLECTION_PROCESS,
                            .flags = VIM_SCAN_FEW | (with_bodies ? 0 : VIM_SCAN_NO_BODY)};
    *ret_rows = (struct rows){.without_bodies = !with_bodies};
    return store_scan(presence->store, &scan, take_row, ret_rows, failure);
}

/* Are there only rows of processes that are known? */
static bool are_known(struct presence *presence, const struct rows *rows)
{
    LOCK_GUARD(&presence->mutex);
    size_t i = 0;
    while (i < rows->count && peers_know(presence->peers, rows->items[i].id)) {
        i++;
    }
    return i == rows->count;
}

/* Beats are long, and every process looks at those of all: so what they tell is only read if it is to be used, or if
 * somebody is new. */
static int look(struct presence *presence, bool with_bodies, struct failure *failure)
{
    struct rows rows;
    LOCK_GUARD(&presence->looking);
    int64_t began = clock_mono_ms();
    int code = read_rows(presence, with_bodies, &rows, failure);
    if (code == VIM_OK && !with_bodies && !are_known(presence, &rows)) {
        with_bodies = true;
        rows_free(&rows);
        code = read_rows(presence, true, &rows, failure);
    }
    pthread_mutex_lock(&presence->mutex);
    if (code == VIM_OK) {
        see_rows(presence, &rows, began);
    }
    if (with_bodies) {
        presence->told = began;
    }
    pthread_mutex_unlock(&presence->mutex);
    if (code == VIM_OK) {
        sweep_rows(presence);
    }
    rows_free(&rows);
    return code;
}

int presence_refresh(struct presence *presence, struct failure *failure)
{
    return presence->store ? look(presence, true, failure) : VIM_OK;
}

/* Has what the rows tell not older than a beat may be. */
static void freshen(struct presence *presence)
{
    pthread_mutex_lock(&presence->mutex);
    bool old = clock_mono_ms() - presence->told >= presence->interval_ms;
    pthread_mutex_unlock(&presence->mutex);
    if (old) {
        (void)presence_refresh(presence, NULL);
    }
}

/* --- Without a store ------------------------------------------------------------------------------- */

/* An answer of presence_take(): those who are in it live, nobody else does. */
static int learn_answer(struct presence *presence, const char *answer, struct failure *failure)
{
    CLEANUP_JSON json_t *body = NULL;
    struct json_limits limits = {.size = 8u << 20, .depth = 12};
    size_t i;
    json_t *beat;
    if (!answer || json_parse(answer, strlen(answer), &limits, &body, NULL) != VIM_OK ||
        !json_is_array(json_object_get(body, "processes"))) {
        return failure_set(failure, VIM_E_INVALID, "the answer to a heartbeat is not readable");
    }
    struct rows rows = {0};
    json_array_foreach(json_object_get(body, "processes"), i, beat)
    {
        rows.items = memory_resize(rows.items, rows.count + 1, sizeof(*rows.items));
        /* Whoever gave the answer has judged them: each counts as changed. */
        rows.items[rows.count++] = (struct peer_row){
            .body = json_print(beat), .revision = (uint64_t)clock_mono_us(), .due = INT64_MAX / 2};
    }
    pthread_mutex_lock(&presence->mutex);
    see_rows(presence, &rows, clock_mono_ms());
    pthread_mutex_unlock(&presence->mutex);
    rows_free(&rows);
    return VIM_OK;
}

/* --- Beats --------------------------------------------------------------------------------------- */

static int send_beat(struct presence *presence, const char *body, struct failure *failure)
{
    struct beat beat = {0};
    if (!presence->store) {
        CLEANUP_FREE char *answer = NULL;
        int code = presence->send(presence->argument, body, strlen(body), &answer, failure);
        return code == VIM_OK ? learn_answer(presence, answer, failure) : code;
    }
    int code = beat_parse(body, strlen(body), &beat, failure);
    if (code != VIM_OK) {
        return code;
    }
    code = store_beat(presence, &beat, body, failure);
    bool gone = beat.state == PRESENCE_GONE;
    beat_free(&beat);
    return code == VIM_OK && !gone ? look(presence, false, failure) : code;
}

static void beat(struct presence *presence, enum presence_state state)
{
    struct failure failure = {0};
    CLEANUP_FREE char *body = beats_next(presence->beats, state);
    int code = send_beat(presence, body, &failure);
    if (code != VIM_OK && !presence->failing) {
        log_event(VIM_WARNING, "heartbeat failed", "error=%s text=%s", error_name(code),
                  failure.text);
    } else if (code == VIM_OK && presence->failing) {
        log_event(VIM_INFO, "heartbeats get through again");
    }
    presence->failing = code != VIM_OK;
}

static void look_at_queue(struct presence *presence)
{
    pthread_mutex_lock(&presence->mutex);
    struct tasks *tasks = presence->stop ? NULL : presence->tasks;
    pthread_mutex_unlock(&presence->mutex);
    if (tasks) {
        beats_look_at_queue(presence->beats, tasks);
    }
}

static void *presence_main(void *argument)
{
    struct presence *presence = argument;
    int64_t last = clock_mono_ms();
    pthread_mutex_lock(&presence->mutex);
    while (!presence->stop) {
        int64_t due = last + presence->interval_ms;
        if (!presence->beat_now && clock_mono_ms() < due) {
            (void)clock_cond_wait_until(&presence->cond, &presence->mutex, due);
            continue;
        }
        presence->beat_now = false;
        enum presence_state state = presence->draining ? PRESENCE_DRAINING : PRESENCE_UP;
        pthread_mutex_unlock(&presence->mutex);
        last = clock_mono_ms();
        beat(presence, state);
        /* After it, as a queue that does not answer is not to hold it up. */
        look_at_queue(presence);
        pthread_mutex_lock(&presence->mutex);
    }
    pthread_mutex_unlock(&presence->mutex);
    return NULL;
}

int presence_start(struct presence *presence, struct failure *failure)
{
    beat(presence, PRESENCE_UP);
    int code = thread_start("presence", presence_main, presence, &presence->thread);
    if (code != VIM_OK) {
        return failure_set(failure, code, "no thread for heartbeats");
    }
    presence->running = true;
    return VIM_OK;
}

void presence_watch_queue(struct presence *presence, struct tasks *tasks)
{
    LOCK_GUARD(&presence->mutex);
    presence->tasks = tasks;
}

void presence_drain(struct presence *presence)
{
    LOCK_GUARD(&presence->mutex);
    presence->draining = presence->beat_now = true;
    pthread_cond_signal(&presence->cond);
}

void presence_stop(struct presence *presence)
{
    if (!presence->running) {
        return;
    }
    pthread_mutex_lock(&presence->mutex);
    presence->stop = true;
    pthread_cond_signal(&presence->cond);
    pthread_mutex_unlock(&presence->mutex);
    (void)pthread_join(presence->thread, NULL);
    presence->running = false;
    beat(presence, PRESENCE_GONE);
}

/* --- For others ---------------------------------------------------------------------------------- */

static void add_body(void *argument, const struct presence_peer *peer)
{
    struct text *text = argument;
    text_printf(text, "%s%s", text->data[text->length - 1] == '[' ? "" : ",", peer->body);
}

int presence_take(struct presence *presence, const char *body, size_t length, char **ret_answer,
                  struct failure *failure)
{
    struct beat beat = {0};
    assert(presence->store);
    int code = beat_parse(body, length, &beat, failure);
    if (code != VIM_OK) {
        return code;
    }
    CLEANUP_FREE char *copy = text_duplicate_bytes(body, length);
    code = store_beat(presence, &beat, copy, failure);
    beat_free(&beat);
    if (code == VIM_OK) {
        struct text text = {0};
        text_add(&text, "{\"processes\":[");
        (void)presence_each(presence, NULL, add_body, &text);
        text_add(&text, "]}");
        *ret_answer = text_take(&text);
    }
    return code;
}

int64_t presence_turn(struct presence *presence, const char *role, int64_t period_ms,
                      bool *ret_ours)
{
    int64_t now = clock_now_ms();
    *ret_ours = true;
    if (presence) {
        size_t before;
        bool listed;
        LOCK_GUARD(&presence->mutex);
        size_t count = peers_rank(presence->peers, role, presence->id, &before, &listed);
        /* Who is not known to itself has not been able to say that it is there, or is about to leave. */
        *ret_ours = listed ? (size_t)(now / period_ms) % count == before
                           : count == 0 || !presence->draining;
    }
    /* Not a moment before it begins. */
    return clock_mono_ms() + period_ms - now % period_ms + 1;
}

size_t presence_each(struct presence *presence, const char *role,
                     void (*each)(void *argument, const struct presence_peer *peer), void *argument)
{
    size_t count, told = 0;
    assert(presence->magic == PRESENCE_MAGIC);
    pthread_mutex_lock(&presence->mutex);
    struct peer_copy *copies = peers_copy(presence->peers, &count);
    pthread_mutex_unlock(&presence->mutex);
    for (size_t i = 0; i < count; i++) {
        const struct beat *beat = &copies[i].beat;
        if (!role || text_has_word(beat->roles, role)) {
            struct presence_peer peer = {.id = beat->id,
                                         .roles = beat->roles,
                                         .host = beat->host,
                                         .address = beat->address,
                                         .version = beat->version,
                                         .draining = beat->state == PRESENCE_DRAINING,
                                         .load = beat->load,
                                         .in_flight = beat->in_flight,
                                         .body = copies[i].body};
            each(argument, &peer);
            told++;
        }
        beat_free(&copies[i].beat);
        free(copies[i].body);
    }
    free(copies);
    return told;
}

struct vim_search {
    const char *self, *name;
    struct vim_health *best;
    bool found;
};

static bool peek(struct json_piece from, const char *member, struct json_piece *ret_piece)
{
    return json_peek(from.start, from.length, member, ret_piece) == VIM_OK;
}

static void find_health(void *argument, const struct presence_peer *peer)
{
    struct vim_search *search = argument;
    struct json_piece piece = {peer->body, strlen(peer->body)}, vim;
    struct vim_health health = {0};
    CLEANUP_FREE char *text = NULL;
    if (strcmp(peer->id, search->self) == 0 || !peek(piece, "vims", &piece) ||
        !peek(piece, search->name, &vim) || !peek(vim, "checked", &piece) ||
        json_piece_integer(piece, &health.checked) != VIM_OK ||
        health.checked <= search->best->checked) {
        return;
    }
    health.reachable = peek(vim, "reachable", &piece) && piece.start[0] == 't';
    health.stuck = peek(vim, "stuck", &piece) && piece.start[0] == 't';
    if (peek(vim, "text", &piece) && json_piece_text(piece, &text) == VIM_OK) {
        (void)snprintf(health.text, sizeof(health.text), "%s", text);
    }
    *search->best = health;
    search->found = true;
}

bool presence_vim_health(struct presence *presence, const char *name, struct vim_health *ret_health)
{
    struct vim_health best = {0};
    struct vim_search search = {.self = presence->id, .name = name, .best = &best};
    freshen(presence);
    (void)presence_each(presence, NULL, find_health, &search);
    if (search.found) {
        *ret_health = best;
    }
    return search.found;
}

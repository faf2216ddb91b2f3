/*
 * Waiting as many connectors do it, to be measured against: a create that waits asks by itself, and
 * each time about every thing of its kind that this instance has made, since it does not know which of
 * them has changed. With each server it asks for its ports too, with each network for its subnets,
 * ports and routers: 2 calls per server, 4 per network. When the far side builds one thing after
 * another, and says with each how long it is going to take, every create asks once, and n servers and m
 * networks cost n * 2n + m * 4m calls.
 *
 * Lock: `mutex`, never held over a call.
 */
#include "mock.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct known {
    char *kind;
    char *id;
};

struct naive {
    pthread_mutex_t mutex;
    struct known *things;
    size_t count;
    size_t room;
};

struct naive *naive_new(void)
{
    struct naive *naive = calloc(1, sizeof(*naive));
    if (naive != NULL) {
        pthread_mutex_init(&naive->mutex, NULL);
    }
    return naive;
}

void naive_free(struct naive *naive)
{
    if (naive == NULL) {
        return;
    }
    for (size_t i = 0; i < naive->count; i++) {
        free(naive->things[i].kind);
        free(naive->things[i].id);
    }
    free(naive->things);
    pthread_mutex_destroy(&naive->mutex);
    free(naive);
}

/* Where it stands, under the lock; `count` if it is not known. */
static size_t find(const struct naive *naive, const char *kind, const char *id)
{
    size_t at = 0;
    while (at < naive->count &&
           (strcmp(naive->things[at].kind, kind) != 0 || strcmp(naive->things[at].id, id) != 0)) {
        at++;
    }
    return at;
}

void naive_remember(struct naive *naive, const char *kind, const char *id)
{
    pthread_mutex_lock(&naive->mutex);
    if (find(naive, kind, id) == naive->count) {
        if (naive->count == naive->room) {
            naive->room = naive->room ? 2 * naive->room : 64;
            naive->things = realloc(naive->things, naive->room * sizeof(*naive->things));
        }
        if (naive->things == NULL) {
            abort();
        }
        naive->things[naive->count++] = (struct known){strdup(kind), strdup(id)};
    }
    pthread_mutex_unlock(&naive->mutex);
}

void naive_forget(struct naive *naive, const char *kind, const char *id)
{
    pthread_mutex_lock(&naive->mutex);
    size_t at = find(naive, kind, id);
    if (at < naive->count) {
        free(naive->things[at].kind);
        free(naive->things[at].id);
        naive->things[at] = naive->things[--naive->count];
    }
    pthread_mutex_unlock(&naive->mutex);
}

/* The ids of the things of KIND: a list of texts, to be released. */
static json_t *known_ids(struct naive *naive, const char *kind)
{
    json_t *ids = json_array();
    pthread_mutex_lock(&naive->mutex);
    for (size_t i = 0; i < naive->count; i++) {
        if (strcmp(naive->things[i].kind, kind) == 0) {
            json_array_append_new(ids, json_string(naive->things[i].id));
        }
    }
    pthread_mutex_unlock(&naive->mutex);
    return ids;
}

/* Asks what of KIND there is in the thing with ID; the answer tells nothing that is used. */
static int ask_inside(struct session *session, const char *kind, const char *id)
{
    struct backend_query query = {.kind = kind, .of = id};
    struct page page = {0};
    int code = wire_list(session, &query, &page);
    page_free(&page);
    return code;
}

/* All calls about one thing. */
static int ask_about(struct session *session, const char *kind, const char *id, struct page *page)
{
    int code = wire_get(session, kind, id, page);
    if (code == VIM_OK && (strcmp(kind, "server") == 0 || strcmp(kind, "network") == 0)) {
        code = ask_inside(session, "port", id);
    }
    if (code == VIM_OK && strcmp(kind, "network") == 0) {
        code = ask_inside(session, "subnet", id);
        code = code == VIM_OK ? ask_inside(session, "router", id) : code;
    }
    return code;
}

int naive_round(struct session *session, const char *kind, const char *id, struct page *page)
{
    naive_remember(session->mock->naive, kind, id);
    json_t *ids = known_ids(session->mock->naive, kind);
    int code = VIM_OK;
    for (size_t i = 0; i < json_array_size(ids) && code == VIM_OK; i++) {
        const char *other = json_string_value(json_array_get(ids, i));
        struct page answer = {0};
        if (strcmp(other, id) == 0) {
            code = ask_about(session, kind, id, page);
            continue;
        }
        code = ask_about(session, kind, other, &answer);
        page_free(&answer);
        if (code == VIM_E_NOT_FOUND) { /* deleted by somebody else */
            naive_forget(session->mock->naive, kind, other);
            code = VIM_OK;
        }
    }
    json_decref(ids);
    return code;
}

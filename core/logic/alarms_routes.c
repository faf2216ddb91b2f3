/*
 * logic/alarms_routes.c - /v1/alarms: what is not well now (model/alarm.h).
 */
#include "model/alarm.h"

#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/text.h"
#include "logic/access.h"
#include "logic/list.h"
#include "logic/route.h"
#include "logic/vocabularies.h"

struct shown {
    char *id, *body;
};

struct showing {
    const struct call *call;
    struct shown *items;
    size_t count;
};

static void add(struct showing *showing, const char *id, char *body)
{
    showing->items = memory_resize(showing->items, showing->count + 1, sizeof(*showing->items));
    showing->items[showing->count++] = (struct shown){.id = text_duplicate(id), .body = body};
}

static int take_row(void *argument, const struct vim_item *item)
{
    struct showing *showing = argument;
    if (access_sees(showing->call->principal, item->parent)) {
        add(showing, item->id, text_duplicate(item->body));
    }
    return 0;
}

/* A store that takes no writes cannot be told so. */
static void add_store(struct showing *showing)
{
    struct failure failure = {0};
    struct store *store = showing->call->logic->environment.store;
    char id[ALARM_ID_SIZE];
    if (store_takes_writes(store, &failure) != VIM_OK) {
        struct alarm alarm = {.type = ALARM_STORE_UNWRITABLE,
                              .id = alarm_id(ALARM_STORE_UNWRITABLE, store_plugin(store), NULL, id),
                              .raised = clock_now_ms() - store_ill_ms(store),
                              .shared = true,
                              .reason = failure.text};
        add(showing, id, alarm_render(&alarm));
    }
}

static int by_id(const void *a, const void *b)
{
    return strcmp(((const struct shown *)a)->id, ((const struct shown *)b)->id);
}

void alarms_list(struct call *call)
{
    struct lister lister;
    struct showing showing = {.call = call};
    struct failure failure = {0};
    if (!list_begin(call, &vocabulary_alarms, "alarms", NULL, &lister)) {
        return;
    }
    struct vim_scan scan = {.collection = COLLECTION_ALARM};
    int code = store_scan(call->logic->environment.store, &scan, take_row, &showing, &failure);
    add_store(&showing);
    if (showing.count) {
        qsort(showing.items, showing.count, sizeof(*showing.items), by_id);
    }
    bool full = false;
    for (size_t n = 0; n < showing.count; n++) {
        const struct shown *one =
            &showing.items[lister.query.descending ? showing.count - 1 - n : n];
        if (code == VIM_OK && !full && (lister.query.sort || !list_is_before(&lister, one->id))) {
            full = list_offer(&lister, one->id, one->body, strlen(one->body)) != 0;
        }
    }
    for (size_t n = 0; n < showing.count; n++) {
        free(showing.items[n].id);
        free(showing.items[n].body);
    }
    free(showing.items);
    if (code != VIM_OK) {
        list_free(&lister);
        logic_failure(call, &failure, ORIGIN_OWN);
        return;
    }
    list_finish(call, &lister);
}

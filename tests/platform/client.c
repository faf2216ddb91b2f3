/*
 * Runs operations of a platform driver, as vimd would, for tests:
 *
 *     platform_client PLUGIN_DIR NAME OPTIONS.yaml STATE_DIR
 *
 * and then a line per operation on standard input: probe, list, get ID, scale ID REPLICAS, sample ID. Each is
 * answered by one line of JSON: {"code": "ok", "items": [{id, status, pending, parent, body}], "text": why not}.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <jansson.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/text.h"
#include "config/config.h"
#include "config/fill.h"
#include "plugin/instance.h"
#include "plugin/loader.h"
#include "vim/driver.h"

#define CALL_MS 30000

static int take(void *argument, const struct vim_item *item)
{
    json_t *body = item->body ? json_loads(item->body, 0, NULL) : NULL;
    json_array_append_new(argument, json_pack("{s:s,s:s?,s:s?,s:b,s:o*}", "id", item->id, "parent",
                                              item->parent, "status", item->status, "pending",
                                              (item->flags & VIM_ITEM_PENDING) != 0, "body", body));
    return 0;
}

/* One call of OPERATION; for a scale a step. */
static int call_once(struct instance *instance, struct vim_call *call, const char *operation,
                     const char *id, const char *count, const char *kept)
{
    const struct vim_driver_ops *ops = instance_driver(instance);
    void *handle = instance_handle(instance);
    if (strcmp(operation, "list") == 0) {
        struct vim_list_query query = {.size = sizeof(query), .kind = "group"};
        return ops->list(call, handle, &query);
    }
    if (strcmp(operation, "get") == 0) {
        return ops->get(call, handle, "group", id);
    }
    if (strcmp(operation, "sample") == 0) {
        struct vim_sample_query query = {.size = sizeof(query), .kind = "group", .id = id};
        return ops->sample(call, handle, &query);
    }
    char *spec = text_format("{\"replicas\":%s}", count);
    struct vim_op op = {.size = sizeof(op),
                        .verb = VIM_VERB_UPDATE,
                        .kind = "group",
                        .id = id,
                        .spec = spec,
                        .kept = kept,
                        .request_id = "00000000-0000-4000-8000-000000000001"};
    int code = ops->step(call, handle, &op);
    free(spec);
    return code;
}

static void run(struct instance *instance, const char *operation, const char *id, const char *count)
{
    char *kept = NULL;
    json_t *items = NULL;
    char *text = NULL;
    int code;
    do {
        struct vim_call call;
        uint32_t wait_ms = 0;
        const char *cursor = NULL;
        json_decref(items);
        free(text);
        items = json_array();
        call_init(&call, clock_mono_ms() + CALL_MS);
        call_set_emit(&call, take, items);
        if (strcmp(operation, "probe") == 0) {
            code = instance_probe(instance, &call);
        } else if ((code = instance_enter(instance, &call)) == VIM_OK) {
            code = call_once(instance, &call, operation, id, count, kept);
            code = instance_leave(instance, &call, code);
        }
        if (call_kept(&call, &cursor)) {
            free(kept);
            kept = text_duplicate(cursor);
        }
        (void)call_wait(&call, &wait_ms, NULL, NULL);
        text = text_duplicate(call_fail_text(&call));
        call_free(&call);
        if (code == VIM_AGAIN) {
            clock_sleep_ms(wait_ms);
        }
    } while (code == VIM_AGAIN);
    json_t *line = json_pack("{s:s,s:o,s:s}", "code", code ? error_name(code) : "ok", "items",
                             items, "text", text);
    /* At once: what a driver forks under valgrind would write a begun line of stdio's as well. */
    CLEANUP_FREE char *dumped = json_dumps(line, JSON_COMPACT);
    CLEANUP_FREE char *shown = text_format("%s\n", dumped);
    (void)!write(STDOUT_FILENO, shown, strlen(shown));
    json_decref(line);
    free(text);
    free(kept);
}

static int fail(const char *what, const struct config_errors *errors)
{
    fprintf(stderr, "platform_client: %s\n", what);
    for (size_t i = 0; errors && i < errors->count; i++) {
        fprintf(stderr, "%s\n", errors->items[i]);
    }
    return 1;
}

int main(int argc, char **argv)
{
    struct text reason = {0};
    struct config_errors errors = {0};
    struct config *config = NULL;
    struct config_struct *filled = NULL;
    struct instance *instance = NULL;
    struct plugin *plugin = NULL;
    char line[1024];
    if (argc != 5) {
        return fail("needs PLUGIN_DIR NAME OPTIONS.yaml STATE_DIR", NULL);
    }
    int result = 1;
    if (plugin_load((const char *const *)&argv[1], 1, argv[2], VIM_DRIVER, &plugin, &reason)) {
        (void)fail(text_get(&reason), NULL);
    } else if (config_load(argv[3], &config, &errors) ||
               config_fill(&plugin->table, config_root(config), NULL, &errors, &filled)) {
        (void)fail("the options are wrong", &errors);
    } else {
        struct instance_settings settings = {.name = "platform", .state_dir = argv[4]};
        result = instance_open(plugin, &settings, filled, &instance, &reason)
                     ? fail(text_get(&reason), NULL)
                     : 0;
    }
    while (result == 0 && fgets(line, sizeof(line), stdin)) {
        char *rest = NULL;
        const char *operation = strtok_r(line, " \n", &rest);
        const char *id = strtok_r(NULL, " \n", &rest);
        const char *count = strtok_r(NULL, " \n", &rest);
        if (operation) {
            run(instance, operation, id, count);
        }
    }
    instance_release(instance);
    (void)instance_wait_closed(10000);
    plugin_free(plugin);
    config_free(config);
    config_errors_free(&errors);
    text_free(&reason);
    return result;
}

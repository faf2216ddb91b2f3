/*
 * vimd token: acts on the configured store directly, whether or not a daemon is running on it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/ids.h"
#include "base/json.h"
#include "base/text.h"
#include "link/link.h"
#include "logic/logic.h"
#include "main/commands.h"
#include "main/daemon.h"

/* "30d" to a point in time. */
static int token_expiry(const char *text, int64_t *ret_expires)
{
    static const struct {
        char unit;
        int64_t ms;
    } units[] = {{'m', 60000}, {'h', 3600000}, {'d', 86400000}, {'w', 604800000}};
    char *end = NULL;
    long long count = text[0] >= '0' && text[0] <= '9' ? strtoll(text, &end, 10) : 0;
    for (size_t i = 0; count > 0 && i < sizeof units / sizeof units[0]; i++) {
        if (end[0] == units[i].unit && end[1] == '\0' && count < 1000000) {
            *ret_expires = clock_now_ms() + count * units[i].ms;
            return VIM_OK;
        }
    }
    return VIM_E_INVALID;
}

static int token_create_command(struct store *store, const struct options *options)
{
    enum role role;
    int64_t expires = 0;
    if (role_by_name(options->role, &role)) {
        fprintf(stderr, "vimd: '%s' is not a role: reader, member, operator or admin\n",
                options->role);
        return 1;
    }
    if (options->expires && token_expiry(options->expires, &expires)) {
        fprintf(stderr, "vimd: '%s' is not a time as 30m, 12h, 30d or 8w\n", options->expires);
        return 1;
    }
    char token[128];
    struct failure failure = {0};
    if (token_create(store, options->name, options->project, role, expires, token, &failure)) {
        fprintf(stderr, "vimd: %s\n", failure.text);
        return 1;
    }
    /* It is shown this once: a token that nobody has seen is one that nobody misses. */
    bool lost = puts(token) < 0 || fflush(stdout) != 0;
    if (lost) {
        fprintf(stderr, "vimd: the token cannot be printed: %s\n", strerror(errno));
        CLEANUP_FREE char *id = text_duplicate_bytes(token + strlen("vimd_"), ID_SIZE - 1);
        if (token_revoke(store, id, &failure)) {
            fprintf(stderr, "vimd: and %s stays as it is: %s\n", id, failure.text);
        }
    }
    explicit_bzero(token, sizeof token);
    return lost;
}

static int token_print(void *argument, const struct vim_item *item)
{
    (void)argument;
    CLEANUP_JSON json_t *object = NULL;
    if (json_parse(item->body, strlen(item->body), NULL, &object, NULL) == VIM_OK) {
        printf("%-37s %-9s %-16s %-25s %-25s %s\n", item->id, json_get_text(object, "role", ""),
               json_get_text(object, "project", ""), json_get_text(object, "created", ""),
               json_get_text(object, "expires", "never"), json_get_text(object, "name", ""));
    }
    return 0;
}

static int token_list(struct store *store)
{
    struct vim_scan scan = {.size = sizeof scan, .collection = COLLECTION_TOKEN};
    struct failure failure = {0};
    printf("%-37s %-9s %-16s %-25s %-25s %s\n", "ID", "ROLE", "PROJECT", "CREATED", "EXPIRES",
           "NAME");
    if (store_scan(store, &scan, token_print, NULL, &failure)) {
        fprintf(stderr, "vimd: %s\n", failure.text);
        return 1;
    }
    return 0;
}

static int token_act(struct store *store, const struct options *options)
{
    struct failure failure = {0};
    switch (options->command) {
    case COMMAND_TOKEN_CREATE:
        return token_create_command(store, options);
    case COMMAND_TOKEN_LIST:
        return token_list(store);
    default:
        if (token_revoke(store, options->token_id, &failure)) {
            fprintf(stderr, "vimd: %s: %s\n", options->token_id, failure.text);
            return 1;
        }
        return 0;
    }
}

static int token_with_store(struct settings *settings, const struct options *options,
                            struct config_errors *errors)
{
    CLEANUP_TEXT struct text reason = {0};
    struct instance *instance = NULL;
    if (daemon_make_folders(settings, errors)) {
        return 1;
    }
    if (daemon_open_instance(settings, "store", &settings->store, &instance, &reason)) {
        fprintf(stderr, "vimd: store: %s\n", text_get(&reason));
        return 1;
    }
    const struct store_config *config = settings_section(settings, SECTION_STORE);
    struct store *store = store_new(instance, config->timeout_ms);
    int code = token_act(store, options);
    store_free(store);
    instance_release(instance);
    instance_wait_closed(5000);
    return code;
}

/* An API process that is apart keeps nothing: its file names logic processes, and no store. A token that is
 * made in the default store would be worth nothing. */
static bool token_store_is_elsewhere(const struct settings *settings)
{
    const struct config_node *root = config_root(settings->config);
    const struct daemon_config *daemon = settings_section(settings, SECTION_DAEMON);
    const struct link_config *link = settings_section(settings, SECTION_LINK);
    bool api_alone = daemon->roles.count == 1 && text_equal(daemon->roles.items[0], "api");
    bool asks_others = link->logic.count > 0 && link->listen.count == 0;
    return !config_get(root, "store") && (api_alone || asks_others);
}

int command_token(const struct options *options)
{
    struct config_errors errors = {0};
    struct registry *registry = NULL;
    struct settings *settings = NULL;
    int code = 1;
    if (settings_load(options->config, PROCESS_ALL, &registry, &settings, &errors) == VIM_OK) {
        if (token_store_is_elsewhere(settings)) {
            config_error(
                &errors, config_root(settings->config),
                "this is the file of an API process, without a store: tokens are where the "
                "logic processes keep everything; use the configuration of one of them");
        } else {
            code = token_with_store(settings, options, &errors);
        }
    }
    for (size_t i = 0; i < errors.count; i++) {
        fprintf(stderr, "vimd: %s\n", errors.items[i]);
    }
    config_errors_free(&errors);
    settings_free(settings);
    registry_free(registry);
    return code;
}

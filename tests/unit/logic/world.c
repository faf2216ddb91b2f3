#include "world.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "config/config.h"
#include "config/fill.h"
#include "plugin/lane.h"

static struct instance *open_instance(struct world *world, const char *plugin_name,
                                      const char *name, const char *options)
{
    const struct plugin *plugin = NULL;
    struct config_struct *config = NULL;
    struct config *tree = NULL;
    struct config_errors errors = {0};
    struct text reason = {0};
    struct instance *instance = NULL;
    if (registry_load(world->registry, plugin_name, 0, &plugin, &reason) != VIM_OK) {
        fail_msg("%s", text_get(&reason));
    }
    if (options) {
        assert_int_equal(config_parse_text(options, strlen(options), "test.yaml", &tree, &errors),
                         VIM_OK);
    }
    if (config_fill(&plugin->table, tree ? config_root(tree) : NULL, NULL, &errors, &config) !=
        VIM_OK) {
        fail_msg("%s", errors.items[0]);
    }
    config_free(tree);
    struct instance_settings settings = {.name = name, .state_dir = world->folder};
    if (instance_open(plugin, &settings, config, &instance, &reason) != VIM_OK) {
        fail_msg("%s", text_get(&reason));
    }
    text_free(&reason);
    config_errors_free(&errors);
    return instance;
}

static void add_vim(struct world *world, const char *name, const char *options)
{
    struct instance *instance = open_instance(world, "mock", name, options);
    struct lane *lane = NULL;
    struct lane_settings lane_settings = {.threads = 2};
    struct vim_settings settings = {.name = name,
                                    .project = "infra",
                                    .call_timeout_ms = 20000,
                                    .poll_pending_ms = 20,
                                    .poll_idle_ms = 100,
                                    .poll_full_ms = 1000,
                                    .poll_backoff_ms = 1000,
                                    .operations = 64,
                                    .check_quota = true};
    struct failure failure = {0};
    assert_int_equal(lane_open(instance, &lane_settings, &lane), VIM_OK);
    assert_int_equal(vims_put(world->vims, &settings, instance, lane, &failure), VIM_OK);
}

static void open_engine(struct world *world)
{
    struct failure failure = {0};
    struct tasks_settings settings = {.deadline_ms = 60000,
                                      .max_attempts = 3,
                                      .backoff_base_ms = 10,
                                      .backoff_cap_ms = 100,
                                      .lease_margin_ms = 5000,
                                      .sweep_ms = 200,
                                      .idempotency_ms = 3600000,
                                      .retention_ms = 0,
                                      .active_max = 1000};
    world->tasks = tasks_new(world->store, world->queue_instance, world->vims, &settings);
    world->aliases = aliases_new(world->store, 1000);
    world->inventory = inventory_new(world->store, world->vims, world->tasks, world->aliases);
    tasks_set_inventory(world->tasks, world->inventory);
    struct events_settings events = {.retention_ms = 3600000};
    world->events = events_new(world->store, &events);
    assert_int_equal(events_start(world->events, &failure), VIM_OK);
    assert_int_equal(tasks_start(world->tasks, &failure), VIM_OK);
    assert_int_equal(inventory_start(world->inventory, &failure), VIM_OK);
    assert_int_equal(worker_start(world->tasks, 2, &world->worker, &failure), VIM_OK);
}

void world_open(struct world *world, bool two, const char *options)
{
    static const char *const folders[] = {TEST_PLUGIN_DIR};
    memset(world, 0, sizeof(*world));
    log_init(VIM_ERROR, LOG_LOGFMT);
    strcpy(world->folder, "/tmp/vimd-logic-XXXXXX");
    assert_non_null(mkdtemp(world->folder));
    world->registry = registry_new(folders, 1);
    world->store_instance = open_instance(world, "store-sqlite", "store", "durability: process\n");
    world->queue_instance = open_instance(world, "queue-memory", "queue", NULL);
    world->store = store_new(world->store_instance, 10000);
    world->vims = vims_new();
    add_vim(world, "edge1", options);
    if (two) {
        add_vim(world, "edge2", options);
    }
    open_engine(world);
    struct presence_settings presence = {
        .roles = "api logic worker", .store = world->store, .interval_ms = 60000};
    world->presence = presence_new(&presence);
    assert_int_equal(presence_start(world->presence, NULL), VIM_OK);
    struct logic_environment environment = {.store = world->store,
                                            .vims = world->vims,
                                            .tasks = world->tasks,
                                            .inventory = world->inventory,
                                            .aliases = world->aliases,
                                            .presence = world->presence,
                                            .events = world->events,
                                            .body_max = 1 << 20,
                                            .upload_max = 1 << 24};
    assert_int_equal(logic_new(&environment, &world->logic), VIM_OK);
}

void world_close(struct world *world)
{
    worker_stop(world->worker, 5000);
    inventory_stop(world->inventory);
    tasks_stop(world->tasks);
    presence_stop(world->presence);
    events_stop(world->events);
    logic_free(world->logic);
    presence_free(world->presence);
    vims_free(world->vims);
    inventory_free(world->inventory);
    tasks_free(world->tasks);
    aliases_free(world->aliases);
    events_free(world->events);
    store_free(world->store);
    instance_release(world->queue_instance);
    instance_release(world->store_instance);
    assert_int_equal(instance_wait_closed(5000), 0);
    registry_free(world->registry);
    char *command = text_format("rm -rf %s", world->folder);
    assert_int_equal(system(command), 0);
    free(command);
}

/* --- Requests -------------------------------------------------------------------------------- */

struct waiting {
    pthread_mutex_t mutex;
    pthread_cond_t answered;
    struct reply reply;
    bool done;
};

static void take_answer(void *argument, struct response *response)
{
    struct waiting *waiting = argument;
    struct text headers = {0};
    for (size_t i = 0; i < response->header_count; i++) {
        text_printf(&headers, "%s: %s\n", response->headers[i].name, response->headers[i].value);
    }
    if (response->content_type) {
        text_printf(&headers, "Content-Type: %s\n", response->content_type);
    }
    pthread_mutex_lock(&waiting->mutex);
    assert_false(waiting->done);
    waiting->reply.status = response->status;
    waiting->reply.body = response->body
                              ? text_duplicate_bytes(response->body, response->body_length)
                              : text_duplicate("");
    waiting->reply.headers = text_take(&headers);
    waiting->done = true;
    pthread_cond_signal(&waiting->answered);
    pthread_mutex_unlock(&waiting->mutex);
}

/* Cuts "a SEPARATOR b" pairs out of TEXT, which is changed. */
static size_t cut_pairs(char *text, const char *end, const char *separator, struct header pairs[64])
{
    size_t count = 0;
    char *save = NULL;
    for (char *pair = strtok_r(text, end, &save); pair; pair = strtok_r(NULL, end, &save)) {
        char *value = strstr(pair, separator);
        assert_true(count < 64);
        pairs[count].name = pair;
        pairs[count].value = "";
        if (value) {
            *value = '\0';
            pairs[count].value = value + strlen(separator);
        }
        count++;
    }
    return count;
}

static void fill_principal(const char *who, struct principal *principal)
{
    const char *slash = strchr(who, '/');
    snprintf(principal->token_id, sizeof(principal->token_id), "t");
    snprintf(principal->name, sizeof(principal->name), "%s", who);
    snprintf(principal->project, sizeof(principal->project), "%.*s", (int)(slash - who), who);
    assert_int_equal(role_by_name(slash + 1, &principal->role), VIM_OK);
}

static struct reply ask_with(struct world *world, const char *who, const char *target,
                             const char *headers, struct request *request)
{
    struct principal principal = {0};
    struct header query[64], header[64];
    struct waiting waiting = {.mutex = PTHREAD_MUTEX_INITIALIZER,
                              .answered = PTHREAD_COND_INITIALIZER};
    CLEANUP_FREE char *path = text_duplicate(target);
    CLEANUP_FREE char *header_text = text_duplicate(headers ? headers : "");
    char *mark = strchr(path, '?');
    if (mark) {
        *mark = '\0';
        request->query_count = cut_pairs(mark + 1, "&", "=", query);
    }
    request->path = path;
    request->query = query;
    request->header_count = cut_pairs(header_text, "\n", ": ", header);
    request->headers = header;
    request->request_id = "req-1";
    request->deadline = clock_mono_ms() + 30000;
    if (who) {
        fill_principal(who, &principal);
        request->principal = &principal;
    }
    bool is_inline = logic_is_inline(world->logic, request);
    logic_handle(world->logic, request, take_answer, &waiting);
    pthread_mutex_lock(&waiting.mutex);
    if (is_inline) {
        assert_true(waiting.done);
    }
    while (!waiting.done) {
        pthread_cond_wait(&waiting.answered, &waiting.mutex);
    }
    pthread_mutex_unlock(&waiting.mutex);
    waiting.reply.json = json_loads(waiting.reply.body, 0, NULL);
    return waiting.reply;
}

struct reply ask(struct world *world, const char *who, const char *method, const char *target,
                 const char *headers, const char *body)
{
    CLEANUP_FREE char *copy = text_duplicate(body ? body : "");
    for (char *c = copy; *c != '\0'; c++) {
        *c = *c == '\'' ? '"' : *c;
    }
    CLEANUP_FREE char *all = text_format("%s%s", headers ? headers : "",
                                         body && !(headers && strstr(headers, "content-type"))
                                             ? "content-type: application/json\n"
                                             : "");
    struct request request = {.method = method, .body = copy, .body_length = strlen(copy)};
    return ask_with(world, who, target, all, &request);
}

struct reply ask_upload(struct world *world, const char *who, const char *target,
                        const char *headers, const char *path)
{
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    struct request request = {.method = "PUT", .body_path = path, .body_size = status.st_size};
    return ask_with(world, who, target, headers, &request);
}

void reply_free(struct reply *reply)
{
    free(reply->body);
    free(reply->headers);
    json_decref(reply->json);
    memset(reply, 0, sizeof(*reply));
}

const char *reply_header(const struct reply *reply, const char *name)
{
    static char value[16384];
    char start[64];
    snprintf(start, sizeof(start), "%s: ", name);
    const char *found = strstr(reply->headers, start);
    if (found == NULL) {
        return NULL;
    }
    found += strlen(start);
    snprintf(value, sizeof(value), "%.*s", (int)strcspn(found, "\n"), found);
    return value;
}

const char *reply_text(const struct reply *reply, const char *path)
{
    const json_t *at = reply->json;
    while (at && *path != '\0') {
        size_t length = strcspn(path, ".");
        CLEANUP_FREE char *member = text_duplicate_bytes(path, length);
        at = json_is_array(at) ? json_array_get(at, (size_t)atoi(member))
                               : json_object_get(at, member);
        path += length + (path[length] == '.');
    }
    return json_string_value(at);
}

void expect(struct world *world, int status, const char *who, const char *method,
            const char *target, const char *headers, const char *body)
{
    struct reply reply = ask(world, who, method, target, headers, body);
    if (reply.status != status) {
        fail_msg("%s %s: %d, not %d: %s", method, target, reply.status, status, reply.body);
    }
    if (status >= 400) {
        assert_string_equal(reply_header(&reply, "Content-Type"), "application/problem+json");
        assert_int_equal(json_integer_value(json_object_get(reply.json, "status")), status);
    }
    reply_free(&reply);
}

void make(struct world *world, const char *who, const char *plural, const char *body,
          char ret_id[40])
{
    char path[64];
    snprintf(path, sizeof(path), "/v1/%s", plural);
    struct reply reply = ask(world, who, "POST", path, "prefer: wait=20\n", body);
    if (reply.status != 201) {
        fail_msg("POST %s: %d %s", path, reply.status, reply.body);
    }
    snprintf(ret_id, 40, "%s", reply_text(&reply, "id"));
    reply_free(&reply);
}

/* What a scaling platform answers: a whole driver, with a far side that says whatever the input says. The
 * first byte chooses what is asked for, the rest is a JSON list of answers: each is a document, or
 * {"status": 404, "body": ...}. Where the driver reads a kubeconfig, the input may be one. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <jansson.h>
#include <vim/driver.h>
#include "rest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define GROUP "deployment/web"

enum question { ASK_LIST, ASK_GET, ASK_STEP, ASK_SAMPLE, ASK_PROBE, READ_FILE, QUESTIONS };

struct vim_call {
    unsigned emitted;
    int code; /* that was explained */
};

static void must(int holds)
{
    if (!holds) {
        abort();
    }
}

/* --- The host -------------------------------------------------------------------------------- */

static void on_log(struct vim_self *self, int level, const char *event, const char *fields)
{
    (void)self, (void)level, (void)fields;
    must(event != NULL);
}

static const char *on_about(struct vim_self *self, const char *name)
{
    (void)self;
    return strcmp(name, "instance") == 0 ? "fuzz" : NULL;
}

/* What is told has what everything has, and a body that is an object. */
static int on_emit(struct vim_call *call, const struct vim_item *item)
{
    json_t *body = item->body ? json_loads(item->body, 0, NULL) : NULL;
    must(item->kind && item->id && item->status && json_is_object(body));
    json_decref(body);
    return ++call->emitted > 1000;
}

static int on_fail(struct vim_call *call, int code, uint32_t retry_after_ms, const char *text)
{
    (void)retry_after_ms;
    must(code < 0 && text && *text);
    call->code = code;
    return code;
}

static int64_t on_left(struct vim_call *call)
{
    (void)call;
    return 1000;
}

static void on_note(struct vim_call *call, const char *name, const char *value)
{
    (void)call;
    must(name && value);
}

static void on_again(struct vim_call *call, uint32_t delay_ms)
{
    (void)call, (void)delay_ms;
}

static void on_count(struct vim_self *self, const char *name, const char *labels, double add)
{
    (void)self, (void)name, (void)labels, (void)add;
}

static const struct vim_host host = {
    .size = sizeof(host),
    .abi = VIM_ABI,
    .log = on_log,
    .count = on_count,
    .about = on_about,
    .emit = on_emit,
    .again = on_again,
    .fail = on_fail,
    .left_ms = on_left,
    .note = on_note,
};

/* --- The far side: rest.c is not linked ------------------------------------------------------ */

static const json_t *answers;
static size_t answered;

struct rest {
    char unused;
};

struct rest *rest_new(const struct rest_settings *settings)
{
    must(settings->url || settings->unix_socket);
    return calloc(1, sizeof(struct rest));
}

void rest_free(struct rest *rest)
{
    free(rest);
}

/* The next one; false: there is none. */
static bool take_answer(struct rest_reply *ret_reply)
{
    const json_t *answer = json_array_get(answers, answered++);
    const json_t *status = json_object_get(answer, "status");
    if (!answer) {
        return false;
    }
    *ret_reply = (struct rest_reply){.status = 200};
    if (json_is_integer(status)) {
        ret_reply->status = (long)json_integer_value(status);
        answer = json_object_get(answer, "body");
    }
    ret_reply->body = answer ? json_deep_copy(answer) : NULL;
    return true;
}

int rest_call(struct rest *rest, const struct vim_host *its_host, struct vim_call *call,
              const char *method, const char *path, const char *token, const char *body,
              struct rest_reply *ret_reply)
{
    (void)rest, (void)token;
    must(method && path[0] == '/');
    if (body) {
        json_t *sent = json_loads(body, 0, NULL);
        must(sent != NULL);
        json_decref(sent);
    }
    return take_answer(ret_reply) ? VIM_OK
                                  : its_host->fail(call, VIM_E_UNAVAILABLE, 0, "nobody is there");
}

int rest_get_all(struct rest *rest, const struct vim_host *its_host, struct vim_call *call,
                 struct rest_get *gets, size_t count)
{
    (void)rest, (void)its_host, (void)call;
    for (size_t i = 0; i < count; i++) {
        must(strlen(gets[i].path) < sizeof(gets[i].path));
        if (gets[i].path[0]) {
            must(gets[i].path[0] == '/');
            (void)take_answer(&gets[i].reply);
        }
    }
    return VIM_OK;
}

void rest_reply_clear(struct rest_reply *reply)
{
    json_decref(reply->body);
    reply->body = NULL;
}

char *rest_escape(const char *text)
{
    return strdup(text);
}

/* --- The driver ------------------------------------------------------------------------------ */

/* Sets the text option NAME, if there is such an option. */
static int set_option(void *config, const char *name, const char *value)
{
    const struct vim_plugin *plugin = vim_plugin_entry(VIM_ABI);
    for (uint32_t i = 0; i < plugin->option_count; i++) {
        if (strcmp(plugin->options[i].name, name) == 0) {
            memcpy((char *)config + plugin->options[i].offset, &value, sizeof(value));
            return 1;
        }
    }
    return 0;
}

static int ask(const struct vim_driver_ops *ops, struct vim_call *call, void *instance,
               enum question question)
{
    struct vim_list_query list = {.size = sizeof(list), .kind = "group"};
    struct vim_sample_query sample = {.size = sizeof(sample), .kind = "group", .id = GROUP};
    struct vim_op op = {.size = sizeof(op),
                        .verb = VIM_VERB_UPDATE,
                        .kind = "group",
                        .id = GROUP,
                        .spec = "{\"replicas\":3}",
                        .request_id = "00000000-0000-4000-8000-000000000000",
                        .data_size = -1};
    switch (question) {
    case ASK_LIST:
        return ops->list(call, instance, &list);
    case ASK_GET:
        return ops->get(call, instance, "group", GROUP);
    case ASK_STEP:
        return ops->step(call, instance, &op);
    case ASK_SAMPLE:
        return ops->sample(call, instance, &sample);
    default:
        return vim_plugin_entry(VIM_ABI)->probe(call, instance);
    }
}

static void run(const void *config, enum question question)
{
    const struct vim_plugin *plugin = vim_plugin_entry(VIM_ABI);
    struct vim_call call = {0};
    void *instance = NULL;
    int code = plugin->open(&call, &host, NULL, config, &instance);
    if (code == VIM_OK && question != READ_FILE) {
        code = ask(plugin->ops, &call, instance, question);
    }
    must(code >= 0 || call.code == code); /* an error was explained */
    if (instance) {
        plugin->close(instance);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    enum question question = data[0] % QUESTIONS;
    void *config = calloc(1, vim_plugin_entry(VIM_ABI)->config_size);
    json_t *list = NULL;
    char path[64];
    int file = -1;
    must(config != NULL);
    if (question == READ_FILE) {
        file = memfd_create("kubeconfig", MFD_CLOEXEC);
        must(file >= 0 && write(file, data + 1, size - 1) == (ssize_t)(size - 1));
        (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
        if (set_option(config, "kubeconfig", path)) {
            run(config, question);
        }
        close(file);
    } else if ((list = json_loadb((const char *)data + 1, size - 1, 0, NULL)) != NULL) {
        (void)set_option(config, "server", "http://127.0.0.1:1");
        (void)set_option(config, "namespace", "default");
        (void)set_option(config, "socket", "/run/docker.sock");
        answers = list;
        answered = 0;
        run(config, question);
    }
    json_decref(list);
    free(config);
    return 0;
}

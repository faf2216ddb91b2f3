#include "host.h"

#include <dirent.h>
#include <dlfcn.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static char *copy_text(const char *text)
{
    return text ? strdup(text) : NULL;
}

static void on_log(struct vim_self *self, int level, const char *event, const char *fields)
{
    (void)self;
    (void)level;
    (void)event;
    (void)fields;
}

static void on_count(struct vim_self *self, const char *name, const char *labels, double add)
{
    assert_string_equal(name, "calls_total");
    assert_non_null(labels);
    assert_true(add == 1);
    atomic_fetch_add(&self->calls, 1);
}

static const char *on_about(struct vim_self *self, const char *name)
{
    if (strcmp(name, "instance") == 0) {
        return self->name;
    }
    return strcmp(name, "state_dir") == 0 ? self->folder : NULL;
}

static int on_emit(struct vim_call *call, const struct vim_item *item)
{
    call->items = realloc(call->items, (call->count + 1) * sizeof(*call->items));
    call->items[call->count++] = (struct seen_item){.kind = copy_text(item->kind),
                                                    .id = copy_text(item->id),
                                                    .status = copy_text(item->status),
                                                    .tag = copy_text(item->tag),
                                                    .body = copy_text(item->body),
                                                    .flags = item->flags};
    return call->wanted > 0 && call->count >= call->wanted;
}

static void on_keep(struct vim_call *call, const char *cursor)
{
    free(call->kept);
    call->kept = copy_text(cursor);
    call->kept_set = true;
}

static void on_again(struct vim_call *call, uint32_t delay_ms)
{
    (void)call;
    assert_true(delay_ms < 1000);
}

static void on_await(struct vim_call *call, const char *kind, const char *id, uint32_t at_most_ms)
{
    assert_true(at_most_ms > 0);
    call->awaits = true;
    snprintf(call->awaited_kind, sizeof(call->awaited_kind), "%s", kind);
    snprintf(call->awaited_id, sizeof(call->awaited_id), "%s", id);
}

static int on_fail(struct vim_call *call, int code, uint32_t retry_after_ms, const char *text)
{
    call->code = code;
    call->retry_after_ms = retry_after_ms;
    snprintf(call->text, sizeof(call->text), "%s", text);
    return code;
}

static int64_t on_left(struct vim_call *call)
{
    return call->left_ms;
}

static void on_note(struct vim_call *call, const char *name, const char *value)
{
    (void)call;
    assert_non_null(name);
    assert_non_null(value);
}

static int64_t on_read(struct vim_call *call, uint64_t offset, void *buffer, size_t size)
{
    size_t left = offset < call->data_size ? call->data_size - (size_t)offset : 0;
    size_t take = left < size ? left : size;
    if (take > 0) {
        memcpy(buffer, call->data + offset, take);
    }
    return (int64_t)take;
}

static const struct vim_host host = {.size = sizeof(host),
                                     .abi = VIM_ABI,
                                     .log = on_log,
                                     .count = on_count,
                                     .about = on_about,
                                     .emit = on_emit,
                                     .keep = on_keep,
                                     .again = on_again,
                                     .await = on_await,
                                     .fail = on_fail,
                                     .left_ms = on_left,
                                     .note = on_note,
                                     .read = on_read};

void call_begin(struct vim_call *call)
{
    *call = (struct vim_call){.left_ms = 30000};
}

void call_end(struct vim_call *call)
{
    for (size_t i = 0; i < call->count; i++) {
        free(call->items[i].kind);
        free(call->items[i].id);
        free(call->items[i].status);
        free(call->items[i].tag);
        free(call->items[i].body);
    }
    free(call->items);
    free(call->kept);
    call_begin(call);
}

const struct vim_plugin *host_load(const char *name)
{
    char path[512];
    const struct vim_plugin *(*entry)(uint32_t);
    snprintf(path, sizeof(path), "%s/%s.so", TEST_PLUGIN_DIR, name);
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (library == NULL) {
        fail_msg("%s", dlerror());
    }
    *(void **)&entry = dlsym(library, "vim_plugin_entry");
    assert_non_null(entry);
    const struct vim_plugin *plugin = entry(VIM_ABI);
    assert_non_null(plugin);
    assert_null(entry((VIM_ABI_MAJOR + 1) << 16));
    return plugin;
}

static int64_t parse_duration(const char *text)
{
    char *end;
    int64_t value = strtoll(text, &end, 10);
    return strcmp(end, "s") == 0 ? value * 1000 : value;
}

void *host_defaults(const struct vim_plugin *plugin)
{
    char *config = calloc(1, plugin->config_size);
    assert_non_null(config);
    for (uint32_t i = 0; i < plugin->option_count; i++) {
        const struct vim_option *option = &plugin->options[i];
        if (option->default_value == NULL) {
            continue;
        }
        if (option->type == VIM_CHOICE || option->type == VIM_TEXT) {
            memcpy(config + option->offset, &option->default_value, sizeof(option->default_value));
        } else {
            int64_t value = parse_duration(option->default_value);
            memcpy(config + option->offset, &value, sizeof(value));
        }
    }
    return config;
}

int host_open(const struct vim_plugin *plugin, const char *name, const char *folder, void *config,
              struct vim_self **ret_self, char text[512])
{
    struct vim_call call;
    struct vim_self *self = calloc(1, sizeof(*self));
    assert_non_null(self);
    self->plugin = plugin;
    self->ops = plugin->ops;
    self->config = config;
    snprintf(self->name, sizeof(self->name), "%s", name);
    snprintf(self->folder, sizeof(self->folder), "%s", folder);
    call_begin(&call);
    int code = plugin->open(&call, &host, self, config, &self->instance);
    assert_int_equal(call.code, code);
    if (text != NULL) {
        snprintf(text, 512, "%s", call.text);
    }
    call_end(&call);
    if (code == VIM_OK) {
        *ret_self = self;
    } else {
        free(config);
        free(self);
    }
    return code;
}

void host_close(struct vim_self *self)
{
    self->plugin->close(self->instance);
    free(self->config);
    free(self);
}

void folder_make(char ret_path[128])
{
    snprintf(ret_path, 128, "/tmp/vim-mock-test.XXXXXX");
    assert_non_null(mkdtemp(ret_path));
}

void folder_remove(const char *path)
{
    DIR *folder = opendir(path);
    struct dirent *entry;
    assert_non_null(folder);
    while ((entry = readdir(folder)) != NULL) {
        if (entry->d_name[0] != '.') {
            assert_int_equal(unlinkat(dirfd(folder), entry->d_name, 0), 0);
        }
    }
    closedir(folder);
    assert_int_equal(rmdir(path), 0);
}

/* Waits until what a step awaits is no longer pending; a read that fails is tried again. */
static void wait_for(struct vim_self *self, const struct vim_call *step)
{
    for (int i = 0; i < 20000; i++) {
        struct vim_call call;
        call_begin(&call);
        int code = self->ops->get(&call, self->instance, step->awaited_kind, step->awaited_id);
        bool pending = code == VIM_OK && (call.items[0].flags & VIM_ITEM_PENDING);
        bool failed = code != VIM_OK && code != VIM_E_NOT_FOUND;
        call_end(&call);
        if (!pending && !failed) {
            return;
        }
        (void)poll(NULL, 0, 1);
    }
    fail_msg("%s %s stays pending", step->awaited_kind, step->awaited_id);
}

int run_operation(struct run *run)
{
    uint32_t attempt = run->attempt;
    for (unsigned retries = 0; retries < 200;) {
        struct vim_call call;
        struct vim_op op = {.size = sizeof(op),
                            .verb = run->verb,
                            .kind = run->kind,
                            .id = run->learned[0] ? run->learned : run->id,
                            .action = run->action,
                            .spec = run->spec ? run->spec : "{}",
                            .kept = run->kept,
                            .request_id = run->request_id,
                            .attempt = attempt,
                            .undo = run->undo,
                            .data_size = run->data ? (int64_t)run->data_size : -1};
        call_begin(&call);
        call.data = run->data;
        call.data_size = run->data_size;
        int code = run->self->ops->step(&call, run->self->instance, &op);
        run->steps++;
        if (code < 0) {
            assert_int_equal(call.code, code);
        }
        if (call.kept_set && code >= 0) {
            free(run->kept);
            run->kept = copy_text(call.kept);
        }
        if (call.count > 0 && code >= 0) {
            snprintf(run->learned, sizeof(run->learned), "%s", call.items[0].id);
        }
        snprintf(run->text, sizeof(run->text), "%s", call.text);
        if (call.awaits && code == VIM_AGAIN) {
            wait_for(run->self, &call);
        }
        call_end(&call);
        attempt += VIM_IS_UNKNOWN(code) ? 1 : 0;
        retries += code < 0;
        if (code == VIM_OK || VIM_IS_PERMANENT(code) ||
            (run->max_steps > 0 && run->steps == run->max_steps)) {
            run->attempt = attempt;
            return code;
        }
    }
    return VIM_E_INTERNAL;
}

void run_end(struct run *run)
{
    free(run->kept);
    run->kept = NULL;
}

size_t host_list(struct vim_self *self, const char *kind, struct vim_call *call)
{
    struct vim_list_query query = {.size = sizeof(query), .kind = kind};
    call_begin(call);
    assert_int_equal(self->ops->list(call, self->instance, &query), VIM_OK);
    return call->count;
}

void host_first(struct vim_self *self, const char *kind, char ret_id[256])
{
    struct vim_call call;
    assert_true(host_list(self, kind, &call) > 0);
    snprintf(ret_id, 256, "%s", call.items[0].id);
    call_end(&call);
}

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "test_host.h"

int64_t test_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int test_patience(int most)
{
    const char *text = getenv("VIMD_TEST_PATIENCE");
    int times = text ? atoi(text) : 1;

    return times < 1 ? 1 : times > most ? most : times;
}

static void host_log(struct vim_self *self, int level, const char *event, const char *fields)
{
    fprintf(stderr, "%s: %d %s %s\n", self->instance, level, event, fields ? fields : "");
}

static void host_count(struct vim_self *self, const char *name, const char *labels, double add)
{
    (void)self, (void)name, (void)labels, (void)add;
}

static const char *host_about(struct vim_self *self, const char *name)
{
    if (strcmp(name, "instance") == 0)
        return self->instance;
    if (strcmp(name, "state_dir") == 0)
        return self->state_dir;
    return NULL;
}

static int host_emit(struct vim_call *call, const struct vim_item *item)
{
    if (call->emit_pause_ms)
        usleep(call->emit_pause_ms * 1000);
    if (call->rows && call->count < TEST_ITEMS_MAX) {
        struct test_row *row = &call->rows[call->count];

        snprintf(row->id, sizeof row->id, "%s", item->id ? item->id : "");
        snprintf(row->parent, sizeof row->parent, "%s", item->parent ? item->parent : "");
        free(row->body);
        row->body = item->body ? strdup(item->body) : NULL;
        row->state = item->state;
        row->due = item->due;
        row->revision = item->revision;
    }
    call->count++;
    return call->stop_after && call->count >= call->stop_after;
}

static int host_fail(struct vim_call *call, int code, uint32_t retry_after_ms, const char *text)
{
    (void)retry_after_ms;
    call->failed = code;
    snprintf(call->text, sizeof call->text, "%s", text);
    return code;
}

static int64_t host_left_ms(struct vim_call *call)
{
    int64_t left = call->deadline_ms ? call->deadline_ms - test_now() : 60000;

    return left < 0 || atomic_load(&call->cancelled) ? 0 : left;
}

static void host_waiting(struct vim_call *call, int waits)
{
    call->waited += waits && !call->waits;
    call->waits = waits;
}

const struct vim_host test_host = {
    .size = sizeof test_host,
    .abi = VIM_ABI,
    .log = host_log,
    .count = host_count,
    .about = host_about,
    .emit = host_emit,
    .fail = host_fail,
    .left_ms = host_left_ms,
    .waiting = host_waiting,
};

const struct vim_plugin *test_load(const char *path)
{
    const struct vim_plugin *(*entry)(uint32_t);
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);

    if (!library) {
        fprintf(stderr, "%s\n", dlerror());
        abort();
    }
    *(void **)&entry = dlsym(library, "vim_plugin_entry");
    return entry(VIM_ABI);
}

void test_call_init(struct vim_call *call)
{
    memset(call, 0, sizeof *call);
    call->rows = calloc(TEST_ITEMS_MAX, sizeof *call->rows);
}

void test_call_clear(struct vim_call *call)
{
    for (uint32_t i = 0; call->rows && i < TEST_ITEMS_MAX; i++)
        free(call->rows[i].body);
    free(call->rows);
    call->rows = NULL;
}

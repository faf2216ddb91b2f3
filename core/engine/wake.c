/* Waking tasks that wait for a resource, or for another task. */
#include "engine/tasks_internal.h"

#include <stdlib.h>
#include <string.h>
#include "base/memory.h"
#include "base/text.h"
#include "engine/hints.h"
#include "engine/inventory.h"

/* Tasks wait for tasks under this name instead of a VIM's. */
#define NO_VIM ""
#define KIND_TASK "task"

static void push_woken(struct tasks *tasks, struct awaits_woken *woken)
{
    for (size_t i = 0; i < woken->count; i++) {
        hints_push(tasks->queue, woken->items[i], 0);
    }
    free(woken->items);
    *woken = (struct awaits_woken){0};
}

struct blocked {
    struct tasks *tasks;
    char blocker[ID_SIZE];
};

/* The blocker has ended, in whichever process; or it has not for a while, then the sweep looks. */
static void blocker_seen(void *argument, int code, const struct task *task)
{
    struct blocked *blocked = argument;
    if (code == VIM_E_NOT_FOUND || (code == VIM_OK && task_state_is_final(task->state))) {
        wake_dependents(blocked->tasks, blocked->blocker);
    }
    free(blocked);
}

static void register_for_task(struct tasks *tasks, const struct task *task)
{
    struct blocked *blocked = MEMORY_NEW(struct blocked);
    blocked->tasks = tasks;
    strncpy(blocked->blocker, task->await_id, ID_SIZE - 1);
    awaits_add(tasks->awaits, task->id, NO_VIM, KIND_TASK, task->await_id, 0);
    watches_add(tasks->watches, task->await_id, BLOCKED_DELAY_MS, blocker_seen, blocked);
}

void wake_register(struct tasks *tasks, const struct task *task)
{
    if (text_equal(task->await_kind, KIND_TASK)) {
        register_for_task(tasks, task);
        return;
    }
    awaits_add(tasks->awaits, task->id, task->vim, task->await_kind, task->await_id,
               clock_mono_ms());
    inventory_await(tasks->inventory, task->vim, task->await_kind, task->await_id);
}

void wake_dependents(struct tasks *tasks, const char *task_id)
{
    struct awaits_woken woken = {0};
    struct vim_item ended = {.size = sizeof(ended), .kind = KIND_TASK, .id = task_id};
    (void)awaits_observe(tasks->awaits, NO_VIM, KIND_TASK, &ended, INT64_MAX, &woken);
    for (size_t i = 0; i < woken.count; i++) {
        struct vim_item unused; /* a driver is told of its own resources only */
        if (awaits_take_seen(tasks->awaits, woken.items[i], &unused)) {
            item_free(&unused);
        }
    }
    push_woken(tasks, &woken);
}

void tasks_nudge(struct tasks *tasks, const char *task_id)
{
    if (!awaits_holds(tasks->awaits, task_id)) {
        hints_push(tasks->queue, task_id, 0);
    }
}

bool tasks_observe(struct tasks *tasks, const char *vim, const char *kind,
                   const struct vim_item *item, int64_t looked)
{
    struct awaits_woken woken = {0};
    bool left = awaits_observe(tasks->awaits, vim, kind, item, looked, &woken);
    push_woken(tasks, &woken);
    return left;
}

void tasks_observe_end(struct tasks *tasks, const char *vim, const char *kind, int64_t looked,
                       bool (*seen)(void *argument, const char *backend_id), void *argument)
{
    struct awaits_woken woken = {0};
    awaits_observe_end(tasks->awaits, vim, kind, looked, seen, argument, &woken);
    push_woken(tasks, &woken);
}

bool tasks_awaited(struct tasks *tasks, const char *vim, const char *kind)
{
    return awaits_count(tasks->awaits, vim, kind) > 0;
}

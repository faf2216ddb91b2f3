/*
 * Whose turn it is when a VIM has all its `operations` in use: tasks are parked, and who gives a slot back
 * hands it on to the one that has waited longest, here and now. Through the queue it would reach another process,
 * which may have no slot free either, and each of them would read the task to find that out.
 */
#include "engine/tasks_internal.h"

#include "engine/hints.h"
#include "plugin/lane.h"

/* After so many tasks that needed no call, a thread of a lane goes back to what lanes are for. */
#define LOOKS_MAX 64
/* Handed back to other processes at the end; their sweeps find the rest. */
#define HAND_BACK_MAX 5000

/* This thread hands on slots of a VIM: what gives one back on the way leaves it to that. */
static _Thread_local bool handing_on;

void turns_park(struct tasks *tasks, const struct task *task, struct vim_target *target)
{
    if (!parking_put(tasks->parking, task->vim, task->id)) {
        hints_push(tasks->queue, task->id, LOOK_AGAIN_DELAY_MS);
        return;
    }
    if (target && vim_target_free_steps(target)) {
        /* The last step ended in between, and found nobody here. */
        turns_call_next(tasks, task->vim);
    }
}

void turns_call_next(struct tasks *tasks, const char *vim)
{
    char id[ID_SIZE];
    if (!handing_on && parking_take(tasks->parking, vim, id)) {
        hints_push(tasks->queue, id, 0);
    }
}

/* The target of a VIM that takes calls, or NULL. The caller releases it. */
static struct vim_target *able(struct tasks *tasks, const char *vim)
{
    struct vim_target *target = vims_get(tasks->vims, vim);
    if (target && lane_is_stuck(vim_target_lane(target))) {
        vim_target_release(target);
        return NULL;
    }
    return target;
}

void turns_call_next_if_free(struct tasks *tasks, const char *vim)
{
    struct vim_target *target = able(tasks, vim);
    if (target && vim_target_free_steps(target)) {
        turns_call_next(tasks, vim);
    }
    vim_target_release(target);
}

void turns_hand_on(struct tasks *tasks, const char *vim)
{
    char id[ID_SIZE];
    if (handing_on) {
        return;
    }
    struct vim_target *target = able(tasks, vim);
    if (!target || atomic_load(&tasks->handing_back)) {
        vim_target_release(target);
        turns_call_next(tasks, vim);
        return;
    }
    handing_on = true;
    int looks = 0;
    while (looks < LOOKS_MAX && vim_target_free_steps(target) &&
           !atomic_load(&tasks->handing_back) && parking_take(tasks->parking, vim, id)) {
        step_look(tasks, id);
        looks++;
    }
    handing_on = false;
    if (looks == LOOKS_MAX && vim_target_free_steps(target)) {
        turns_call_next(tasks, vim);
    }
    vim_target_release(target);
}

struct fullness {
    struct tasks *tasks;
    bool full;
};

static void note_full(void *argument, const char *vim)
{
    struct fullness *fullness = argument;
    struct vim_target *target = able(fullness->tasks, vim);
    fullness->full |= target && vim_target_free_steps(target) == 0;
    vim_target_release(target);
}

bool turns_are_taken(struct tasks *tasks)
{
    struct fullness fullness = {.tasks = tasks};
    parking_each_vim(tasks->parking, note_full, &fullness);
    return fullness.full;
}

struct handing_back {
    struct tasks *tasks;
    size_t left;
};

static void hand_back_vim(void *argument, const char *vim)
{
    struct handing_back *back = argument;
    char id[ID_SIZE];
    while (back->left > 0 && parking_take(back->tasks->parking, vim, id)) {
        hints_push(back->tasks->queue, id, 0);
        back->left--;
    }
}

void tasks_hand_back(struct tasks *tasks)
{
    struct handing_back back = {.tasks = tasks, .left = HAND_BACK_MAX};
    atomic_store(&tasks->handing_back, true);
    parking_each_vim(tasks->parking, hand_back_vim, &back);
}

/*
 * The list of VIMs is small and changes with reloads only: an array in order of name.
 * Lock order: vims->mutex, then target->mutex. Neither is held over a call of a driver or a
 * callback.
 */
#include "engine/vims.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "engine/vims_internal.h"
#include "plugin/call.h"
#include "plugin/instance.h"
#include "plugin/lane.h"

#define VIM_TARGET_MAGIC 0x56494d54u

/* Made by vims_put(), shared by the list and all calls in progress, freed with the last of them. */
struct vim_target {
    uint32_t magic;
    atomic_uint references;
    struct vim_settings settings;
    struct instance *instance;
    struct lane *lane;
    atomic_uint steps; /* in progress */
    atomic_llong stepped; /* when the last one ended, clock_mono_ms() */
    pthread_mutex_t mutex;
    struct vim_health health;
    struct facts *facts;
};

struct vims {
    pthread_mutex_t mutex;
    struct vim_target **targets;
    size_t count;
};

struct vims *vims_new(void)
{
    struct vims *vims = MEMORY_NEW(struct vims);
    pthread_mutex_init(&vims->mutex, NULL);
    return vims;
}

void vims_free(struct vims *vims)
{
    if (vims) {
        for (size_t i = 0; i < vims->count; i++) {
            vim_target_release(vims->targets[i]);
        }
        free(vims->targets);
        pthread_mutex_destroy(&vims->mutex);
        free(vims);
    }
}

int vims_close(struct vims *vims, int64_t deadline)
{
    pthread_mutex_lock(&vims->mutex);
    size_t count = vims->count;
    struct vim_target **targets = memory_new_array(count + 1, sizeof(struct vim_target *));
    for (size_t i = 0; i < count; i++) {
        targets[i] = vim_target_hold(vims->targets[i]);
    }
    pthread_mutex_unlock(&vims->mutex);
    int result = VIM_OK;
    for (size_t i = 0; i < count; i++) {
        /* Once one call does not return, there is nothing to wait for. */
        if (result == VIM_OK) {
            int64_t left = deadline - clock_mono_ms();
            result = lane_close(targets[i]->lane, left > 0 ? left : 0);
            if (result != VIM_OK) {
                log_event(VIM_WARNING, "a call of a driver does not return", "vim=%s",
                          targets[i]->settings.name);
            }
        }
        vim_target_release(targets[i]);
    }
    free(targets);
    return result;
}

static bool valid_name(const char *name)
{
    size_t length = name ? strlen(name) : 0;
    return length >= 1 && length <= 63 &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == length;
}

/* The index of NAME, or where it has to be put in. */
static size_t find_index(const struct vims *vims, const char *name, bool *ret_found)
{
    size_t i = 0;
    while (i < vims->count && strcmp(vims->targets[i]->settings.name, name) < 0) {
        i++;
    }
    *ret_found = i < vims->count && strcmp(vims->targets[i]->settings.name, name) == 0;
    return i;
}

int vims_put(struct vims *vims, const struct vim_settings *settings, struct instance *instance,
             struct lane *lane, struct failure *failure)
{
    if (!valid_name(settings->name)) {
        instance_release(instance);
        lane_release(lane);
        return failure_set(failure, VIM_E_INVALID,
                           "the name of a VIM is 1 to 63 of a-z, 0-9 and -, which \"%s\" is not",
                           settings->name ? settings->name : "");
    }
    struct vim_target *target = MEMORY_NEW(struct vim_target);
    target->magic = VIM_TARGET_MAGIC;
    atomic_init(&target->references, 1);
    target->settings = *settings;
    target->settings.name = text_duplicate(settings->name);
    target->settings.project = text_duplicate(settings->project ? settings->project : "");
    target->instance = instance;
    target->lane = lane;
    pthread_mutex_init(&target->mutex, NULL);
    target->facts = facts_new();

    struct vim_target *old = NULL;
    pthread_mutex_lock(&vims->mutex);
    bool found;
    size_t at = find_index(vims, settings->name, &found);
    if (found) {
        old = vims->targets[at];
    } else {
        vims->targets = memory_resize(vims->targets, vims->count + 1, sizeof(*vims->targets));
        memmove(vims->targets + at + 1, vims->targets + at,
                (vims->count - at) * sizeof(*vims->targets));
        vims->count++;
    }
    vims->targets[at] = target;
    pthread_mutex_unlock(&vims->mutex);
    vim_target_release(old);
    return VIM_OK;
}

bool vims_remove(struct vims *vims, const char *name)
{
    struct vim_target *old = NULL;
    pthread_mutex_lock(&vims->mutex);
    bool found;
    size_t at = find_index(vims, name, &found);
    if (found) {
        old = vims->targets[at];
        vims->count--;
        memmove(vims->targets + at, vims->targets + at + 1,
                (vims->count - at) * sizeof(*vims->targets));
    }
    pthread_mutex_unlock(&vims->mutex);
    vim_target_release(old);
    return found;
}

struct vim_target *vim_target_hold(struct vim_target *target)
{
    atomic_fetch_add(&target->references, 1);
    return target;
}

struct vim_target *vims_get(struct vims *vims, const char *name)
{
    LOCK_GUARD(&vims->mutex);
    bool found;
    size_t at = find_index(vims, name, &found);
    return found ? vim_target_hold(vims->targets[at]) : NULL;
}

void vim_target_release(struct vim_target *target)
{
    if (target && atomic_fetch_sub(&target->references, 1) == 1) {
        assert(target->magic == VIM_TARGET_MAGIC);
        target->magic = 0;
        lane_release(target->lane);
        instance_release(target->instance);
        pthread_mutex_destroy(&target->mutex);
        facts_free(target->facts);
        free((char *)(uintptr_t)target->settings.name);
        free((char *)(uintptr_t)target->settings.project);
        free(target);
    }
}

void vims_each(struct vims *vims, void (*each)(void *argument, struct vim_target *target),
               void *argument)
{
    pthread_mutex_lock(&vims->mutex);
    size_t count = vims->count;
    struct vim_target **targets = memory_new_array(count + 1, sizeof(struct vim_target *));
    for (size_t i = 0; i < count; i++) {
        targets[i] = vim_target_hold(vims->targets[i]);
    }
    pthread_mutex_unlock(&vims->mutex);
    for (size_t i = 0; i < count; i++) {
        each(argument, targets[i]);
        vim_target_release(targets[i]);
    }
    free(targets);
}

size_t vims_count(struct vims *vims)
{
    LOCK_GUARD(&vims->mutex);
    return vims->count;
}

/* --- One VIM ------------------------------------------------------------------------------------- */

const struct vim_settings *vim_target_settings(const struct vim_target *target)
{
    return &target->settings;
}

struct instance *vim_target_instance(const struct vim_target *target)
{
    return target->instance;
}

struct lane *vim_target_lane(const struct vim_target *target)
{
    return target->lane;
}

struct facts *vim_target_facts(const struct vim_target *target)
{
    return target->facts;
}

const struct vim_trait *vim_target_trait(const struct vim_target *target, const char *kind)
{
    const struct vim_driver_ops *ops = instance_driver(target->instance);
    for (uint32_t i = 0; i < ops->trait_count; i++) {
        if (strcmp(ops->traits[i].kind, kind) == 0) {
            return &ops->traits[i];
        }
    }
    return NULL;
}

bool vim_target_has_action(const struct vim_target *target, const char *kind, const char *action)
{
    const struct vim_trait *trait = vim_target_trait(target, kind);
    return trait && (trait->verbs & VIM_VERB_ACTION) && text_has_word(trait->actions, action);
}

bool vim_target_take_step(struct vim_target *target)
{
    uint32_t limit = target->settings.operations ? target->settings.operations : 1;
    unsigned taken = atomic_load(&target->steps);
    while (taken < limit) {
        if (atomic_compare_exchange_weak(&target->steps, &taken, taken + 1)) {
            return true;
        }
    }
    return false;
}

uint32_t vim_target_free_steps(const struct vim_target *target)
{
    uint32_t limit = target->settings.operations ? target->settings.operations : 1;
    unsigned taken = atomic_load(&((struct vim_target *)(uintptr_t)target)->steps);
    return taken < limit ? limit - taken : 0;
}

void vim_target_give_step(struct vim_target *target)
{
    atomic_store(&target->stepped, clock_mono_ms());
    unsigned before = atomic_fetch_sub(&target->steps, 1);
    assert(before > 0);
}

int64_t vim_target_stepped(const struct vim_target *target)
{
    return atomic_load(&((struct vim_target *)(uintptr_t)target)->stepped);
}

/* --- Health -------------------------------------------------------------------------------------- */

void vim_target_health(struct vim_target *target, struct vim_health *ret_health)
{
    pthread_mutex_lock(&target->mutex);
    *ret_health = target->health;
    pthread_mutex_unlock(&target->mutex);
    ret_health->stuck = lane_is_stuck(target->lane);
}

/* A far side that refuses a request is well; only these say that it is not, or not reachable. */
static bool tells_unreachable(int code)
{
    return code == VIM_E_UNAVAILABLE || code == VIM_E_CREDENTIAL || VIM_IS_UNKNOWN(code);
}

void vim_target_report(struct vim_target *target, int code, const char *text)
{
    LOCK_GUARD(&target->mutex);
    target->health.checked = clock_now_ms();
    target->health.reachable = !tells_unreachable(code);
    if (!target->health.reachable) {
        strncpy(target->health.text, text && *text ? text : error_name(code),
                sizeof(target->health.text) - 1);
    }
}

/* --- Reads --------------------------------------------------------------------------------------- */

/* Lives from the posting to the end of COMPLETE. */
struct read {
    struct vim_target *target;
    char *kind, *id; /* NULL: probe */
    vim_get_fn complete;
    void *argument;
    struct vim_item item; /* texts are owned */
    bool seen;
    bool ran; /* else the call never came to the VIM, which has told nothing then */
};

void item_free(struct vim_item *item)
{
    free((char *)(uintptr_t)item->kind);
    free((char *)(uintptr_t)item->id);
    free((char *)(uintptr_t)item->parent);
    free((char *)(uintptr_t)item->status);
    free((char *)(uintptr_t)item->tag);
    free((char *)(uintptr_t)item->body);
    memset(item, 0, sizeof(*item));
}

void item_copy(const struct vim_item *from, struct vim_item *ret_item)
{
    *ret_item = *from;
    ret_item->size = sizeof(*ret_item);
    ret_item->kind = text_duplicate(from->kind);
    ret_item->id = text_duplicate(from->id);
    ret_item->parent = text_duplicate(from->parent);
    ret_item->status = text_duplicate(from->status);
    ret_item->tag = text_duplicate(from->tag);
    ret_item->body = text_duplicate(from->body);
}

static int take_read(void *argument, const struct vim_item *item)
{
    struct read *read = argument;
    item_free(&read->item);
    item_copy(item, &read->item);
    read->seen = true;
    return 0;
}

static void prepare_read(struct vim_call *call, void *argument)
{
    call_set_emit(call, take_read, argument);
}

static int run_read(struct vim_call *call, void *handle, void *argument)
{
    struct read *read = argument;
    read->ran = true;
    if (!read->kind) {
        return instance_plugin(read->target->instance)->descriptor.probe(call, handle);
    }
    return instance_driver(read->target->instance)->get(call, handle, read->kind, read->id);
}

static void end_read(struct read *read, int code, const struct failure *failure)
{
    read->complete(read->argument, code, code == VIM_OK && read->seen ? &read->item : NULL,
                   failure);
    vim_target_release(read->target);
    item_free(&read->item);
    free(read->kind);
    free(read->id);
    free(read);
}

void failure_from_call(struct failure *failure, int code, const struct vim_call *call)
{
    const char *text = call_fail_text(call);
    failure_set(failure, code, "%s", text && *text ? text : error_name(code));
    failure->retry_after_ms = call_retry_after_ms(call);
}

static void done_read(struct vim_call *call, int code, void *argument)
{
    struct read *read = argument;
    struct failure failure = {0};
    if (code == VIM_OK && read->kind && !read->seen) {
        code = failure_set(&failure, VIM_E_INTERNAL, "the driver answered without the resource");
    } else if (code < 0) {
        failure_from_call(&failure, code, call);
    } else if (code != VIM_OK) {
        code = failure_set(&failure, VIM_E_INTERNAL, "the driver did not answer");
    }
    if (read->ran) {
        vim_target_report(read->target, code, failure.text);
    }
    end_read(read, code, &failure);
}

static void post_read(struct vim_target *target, const char *kind, const char *id,
                      int64_t timeout_ms, vim_get_fn complete, void *argument)
{
    struct read *read = MEMORY_NEW(struct read);
    *read = (struct read){.target = vim_target_hold(target),
                          .kind = text_duplicate(kind),
                          .id = text_duplicate(id),
                          .complete = complete,
                          .argument = argument};
    struct lane_job job = {.run = run_read,
                           .done = done_read,
                           .prepare = prepare_read,
                           .argument = read,
                           .timeout_ms = timeout_ms,
                           .urgent = true};
    int code = lane_post(target->lane, &job, NULL);
    if (code != VIM_OK) {
        struct failure failure;
        failure_set(&failure, code,
                    code == VIM_E_BUSY ? "too many calls wait for VIM %s"
                                       : "VIM %s does not take calls",
                    target->settings.name);
        end_read(read, code, &failure);
    }
}

void vim_target_get(struct vim_target *target, const char *kind, const char *backend_id,
                    int64_t timeout_ms, vim_get_fn complete, void *argument)
{
    const struct vim_trait *trait = vim_target_trait(target, kind);
    if (!trait || !(trait->verbs & VIM_VERB_GET) || !instance_driver(target->instance)->get) {
        struct failure failure;
        failure_set(&failure, VIM_E_UNSUPPORTED, "VIM %s cannot read a %s", target->settings.name,
                    kind);
        complete(argument, VIM_E_UNSUPPORTED, NULL, &failure);
        return;
    }
    post_read(target, kind, backend_id, timeout_ms, complete, argument);
}

void vim_target_check(struct vim_target *target, int64_t timeout_ms, vim_get_fn complete,
                      void *argument)
{
    post_read(target, NULL, NULL, timeout_ms, complete, argument);
}

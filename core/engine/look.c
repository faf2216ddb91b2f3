/* What a far side tells of itself: asked for when somebody wants to know, never stored. */
#include <stdlib.h>
#include "base/memory.h"
#include "base/text.h"
#include "engine/vims_internal.h"
#include "plugin/call.h"
#include "plugin/instance.h"
#include "plugin/lane.h"

/* More would not be told but counted. */
#define ITEMS_MAX 100000

/* Lives from the posting to the end of COMPLETE. */
struct look {
    struct vim_target *target;
    char *kind;
    vim_look_fn complete;
    void *argument;
    struct vim_item *items; /* texts are owned */
    size_t count, capacity;
    bool ran;
};

static int take_item(void *argument, const struct vim_item *item)
{
    struct look *look = argument;
    if (look->count == look->capacity) {
        look->capacity = look->capacity ? look->capacity * 2 : 16;
        look->items = memory_resize(look->items, look->capacity, sizeof(*look->items));
    }
    item_copy(item, &look->items[look->count++]);
    return look->count == ITEMS_MAX;
}

static void prepare(struct vim_call *call, void *argument)
{
    call_set_emit(call, take_item, argument);
}

static int run(struct vim_call *call, void *handle, void *argument)
{
    struct look *look = argument;
    struct vim_list_query query = {.size = sizeof(query), .kind = look->kind};
    look->ran = true;
    return instance_driver(vim_target_instance(look->target))->list(call, handle, &query);
}

static void end(struct look *look, int code, const struct failure *failure)
{
    look->complete(look->argument, code, look->items, code == VIM_OK ? look->count : 0, failure);
    for (size_t i = 0; i < look->count; i++) {
        item_free(&look->items[i]);
    }
    free(look->items);
    free(look->kind);
    vim_target_release(look->target);
    free(look);
}

static void done(struct vim_call *call, int code, void *argument)
{
    struct look *look = argument;
    struct failure failure = {0};
    if (code < 0) {
        failure_from_call(&failure, code, call);
    } else if (code != VIM_OK) {
        code = failure_set(&failure, VIM_E_INTERNAL, "the driver did not answer");
    }
    if (look->ran) {
        vim_target_report(look->target, code, failure.text);
    }
    end(look, code, &failure);
}

void vim_target_look(struct vim_target *target, const char *kind, int64_t timeout_ms,
                     vim_look_fn complete, void *argument)
{
    const struct vim_trait *trait = vim_target_trait(target, kind);
    struct failure failure = {0};
    struct look *look = MEMORY_NEW(struct look);
    *look = (struct look){.target = vim_target_hold(target),
                          .kind = text_duplicate(kind),
                          .complete = complete,
                          .argument = argument};
    struct lane_job job = {.run = run,
                           .done = done,
                           .prepare = prepare,
                           .argument = look,
                           .timeout_ms = timeout_ms,
                           .urgent = true};
    int code = VIM_E_UNSUPPORTED;
    if (!trait || !(trait->verbs & VIM_VERB_LOOK) ||
        !instance_driver(vim_target_instance(target))->list) {
        failure_set(&failure, code, "VIM %s does not tell of its %ss",
                    vim_target_settings(target)->name, kind);
    } else {
        code = lane_post(vim_target_lane(target), &job, NULL);
        if (code == VIM_OK) {
            return;
        }
        failure_set(&failure, code, "VIM %s does not take calls now",
                    vim_target_settings(target)->name);
    }
    end(look, code, &failure);
}

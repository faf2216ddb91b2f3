/*
 * Which graphs this process runs. One thread at a time is in a graph; who comes meanwhile leaves a note.
 * Lock order: graphs->mutex is a leaf; it is not held over anything here.
 */
#include "engine/graph_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/cleanup.h"
#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "base/text.h"
#include "engine/claims.h"
#include "engine/hints.h"
#include "engine/owner.h"

/* Another process may take the graph over so long after the last commit of the one that is gone. */
#define LEASE_MS 30000
/* Children that end in another process are found so late. */
#define POLL_MS 2000
/* Hints for a graph that another process runs go back into the queue for so long. */
#define BOUNCE_MS 40
/* After an error of the store. */
#define ERROR_DELAY_MS 1000
/* Children at work at once; how many calls they make at once is the VIM's limit (operations). */
#define RUNNING_MAX 512u
#define BATCH_STARTS_MAX 150u
#define CONFLICTS_MAX 20
/* A node that starts: its row, its resource's, its child's, an event. */
#define WRITES_OF_A_NODE 4u

struct slot {
    char task[ID_SIZE];
    bool busy, again;
    char (*ended)[ID_SIZE]; /* children that ended, to be looked at */
    uint32_t ended_count;
    struct graph *graph; /* of who is busy */
    uint64_t claim;
    UT_hash_handle hh;
};

struct graphs {
    pthread_mutex_t mutex;
    struct slot *slots;
};

static void free_graph(struct graph *graph)
{
    if (graph) {
        graph_unload(graph);
        task_free(&graph->task);
        free(graph);
    }
}

static void free_slot(struct slot *slot)
{
    if (slot->claim) {
        claims_give(slot->task, slot->claim);
    }
    free_graph(slot->graph);
    free(slot->ended);
    free(slot);
}

struct graphs *graphs_new(void)
{
    struct graphs *graphs = MEMORY_NEW(struct graphs);
    pthread_mutex_init(&graphs->mutex, NULL);
    return graphs;
}

void graphs_free(struct graphs *graphs)
{
    struct slot *slot, *next;
    HASH_ITER(hh, graphs->slots, slot, next)
    {
        assert(!slot->busy);
        HASH_DEL(graphs->slots, slot);
        free_slot(slot);
    }
    pthread_mutex_destroy(&graphs->mutex);
    free(graphs);
}

bool task_is_graph(const struct task *task)
{
    return strcmp(task->kind, KIND_SERVICE) == 0;
}

bool task_is_paused(const struct task *task)
{
    return task_is_graph(task) && task->state == TASK_WAITING && !task->owner && !task->due;
}

/* --- Claim ----------------------------------------------------------------------------------------- */

static int decide_claim(struct change *change, void *argument, struct failure *failure)
{
    struct task *task = &change->task;
    bool *held = argument;
    bool mine = text_equal(task->owner, owner_self());
    *held = !task_state_is_final(task->state) && !mine && task_is_held(task, change->now);
    if (task_state_is_final(task->state) || *held || (task_is_paused(task) && !task->cancel)) {
        return failure_set(failure, VIM_E_CANCELLED, "it is not to be run here");
    }
    free(task->owner);
    task->owner = text_duplicate(owner_self());
    task->lease++;
    task->due = change->now + LEASE_MS;
    if (!task_is_undoing(task)) {
        task->state = TASK_RUNNING;
    }
    if (!task->started) {
        task->started = change->now;
        (void)task_step_begin(task, "plan", change->now);
    }
    return VIM_OK;
}

/* What becomes of the rest when a node fails; the request that made the task said it. */
static void take_policy(struct graph *graph)
{
    CLEANUP_JSON json_t *spec = json_loads(graph->task.spec, 0, NULL);
    const char *policy = json_string_value(json_object_get(spec, "on_failure"));
    graph->keep = text_equal(policy, "keep");
    graph->pause = text_equal(policy, "pause");
}

static struct graph *take_graph(struct tasks *tasks, struct slot *slot)
{
    struct graph *graph = MEMORY_NEW(struct graph);
    graph->tasks = tasks;
    graph->batch_max = BATCH_STARTS_MAX;
    slot->claim = claims_take(slot->task, INT64_MAX);
    bool held = false;
    int code = change_run(tasks, slot->task, NULL, decide_claim, &held, &graph->task, NULL);
    if (code != VIM_OK) {
        if (held) {
            /* The hint was meant for another process, which has to get it. */
            hints_push(tasks->queue, slot->task, BOUNCE_MS);
        }
        claims_give(slot->task, slot->claim);
        slot->claim = 0;
        free(graph);
        return NULL;
    }
    take_policy(graph);
    return graph;
}

/* Reads the task if somebody has changed it. False if it is not ours any more. */
static bool refresh(struct graph *graph, int *ret_code)
{
    struct row row = {0};
    struct task task = {0};
    struct store *store = graph->tasks->store;
    *ret_code = store_get(store, COLLECTION_TASK, graph->task.id, &row, NULL);
    if (*ret_code == VIM_OK && row.revision != graph->task.revision) {
        *ret_code = task_parse(&row, &task, NULL);
        if (*ret_code == VIM_OK) {
            bool ours = task.lease == graph->task.lease && text_equal(task.owner, owner_self());
            task_free(&graph->task);
            graph->task = task;
            row_free(&row);
            return ours;
        }
    }
    row_free(&row);
    return *ret_code != VIM_E_NOT_FOUND;
}

/* --- Children -------------------------------------------------------------------------------------- */

static int commit_progress(struct graph *graph, struct graph_batch *batch, struct failure *failure)
{
    struct task *task = &graph->task;
    task->due = clock_now_ms() + LEASE_MS;
    if (graph->goals && !task_is_undoing(task)) {
        task->progress = (int)((uint64_t)graph->reached * 100 / graph->goals);
    }
    int code = batch_commit(graph, batch, failure);
    batch_free(batch);
    return code;
}

/* Looks at the child of running[AT]; removes it from there if it has ended. */
static int look_at_child(struct graph *graph, uint32_t at, struct graph_batch *batch,
                         bool *ret_ended, struct failure *failure)
{
    struct graph_node *node = &graph->nodes[graph->running[at]];
    struct task child = {0};
    *ret_ended = false;
    int code = tasks_get(graph->tasks, node->task, &child, failure);
    if (code == VIM_E_NOT_FOUND) {
        /* Its row is older than tasks are kept: what became of it the resource tells. */
        code = VIM_OK;
        child.state = TASK_FAILED;
        child.verb = node->goal == GOAL_REMOVE ? VIM_VERB_DELETE : VIM_VERB_CREATE;
    }
    if (code == VIM_OK && task_state_is_final(child.state)) {
        graph->running[at] = graph->running[--graph->running_count];
        code = graph_settle_node(graph, node, &child, batch, failure);
        *ret_ended = true;
    }
    task_free(&child);
    if (code == VIM_OK && batch->count + WRITES_OF_A_NODE >= GRAPH_WRITES_MAX) {
        code = commit_progress(graph, batch, failure);
    }
    return code;
}

static int settle_all(struct graph *graph, struct graph_batch *batch, struct failure *failure)
{
    int code = VIM_OK;
    for (uint32_t at = 0; code == VIM_OK && at < graph->running_count;) {
        bool ended;
        code = look_at_child(graph, at, batch, &ended, failure);
        at += !ended;
    }
    graph->next_poll = clock_mono_ms() + POLL_MS;
    return code;
}

static int settle_ended(struct graph *graph, char (*ended)[ID_SIZE], uint32_t count,
                        struct graph_batch *batch, struct failure *failure)
{
    int code = VIM_OK;
    for (uint32_t i = 0; code == VIM_OK && i < count; i++) {
        for (uint32_t at = 0; at < graph->running_count; at++) {
            bool unused;
            if (strcmp(graph->nodes[graph->running[at]].task, ended[i]) == 0) {
                code = look_at_child(graph, at, batch, &unused, failure);
                break;
            }
        }
    }
    return code;
}

/* What is being made while it is not wanted any more need not be finished. A change is: what a cancelled one has
 * done would not be known. */
static void cancel_children(struct graph *graph)
{
    if (!graph->stop || graph->phase != PHASE_MAKE || graph->cancelled_children) {
        return;
    }
    for (uint32_t i = 0; i < graph->running_count; i++) {
        const struct graph_node *node = &graph->nodes[graph->running[i]];
        if (node->goal == GOAL_MAKE) {
            (void)tasks_cancel(graph->tasks, node->task, NULL);
        }
    }
    graph->cancelled_children = true;
}

static void take_later(struct graph *graph)
{
    int64_t now = clock_mono_ms();
    for (uint32_t i = 0; i < graph->later_count;) {
        if (graph->later[i].at <= now) {
            graph_make_ready(graph, &graph->nodes[graph->later[i].number]);
            graph->later[i] = graph->later[--graph->later_count];
        } else {
            i++;
        }
    }
}

static int start_ready(struct graph *graph, struct graph_batch *batch, struct failure *failure)
{
    int code = VIM_OK;
    take_later(graph);
    for (uint32_t started = 0;
         code == VIM_OK && !graph->stop && graph->ready_count && started < graph->batch_max &&
         graph->running_count < RUNNING_MAX && batch->count + WRITES_OF_A_NODE < GRAPH_WRITES_MAX;
         started++) {
        struct graph_node *node = &graph->nodes[graph->ready[graph->ready_first]];
        graph->ready_first = (graph->ready_first + 1) % (graph->count + 1);
        graph->ready_count--;
        code = graph_start_node(graph, node, batch, failure);
    }
    return code;
}

/* --- One turn -------------------------------------------------------------------------------------- */

static int load(struct graph *graph, struct failure *failure)
{
    int code = graph_load(graph, failure);
    enum graph_phase phase = graph_phase_of(&graph->task);
    if (code == VIM_OK && phase == PHASE_PLAN) {
        graph->phase = phase;
        graph_heed(graph);
        if (graph->stop) {
            return VIM_OK;
        }
        code = graph_plan(graph, failure);
        if (code == VIM_E_INVALID) {
            /* It cannot be done, which is no reason to leave rows behind. */
            struct failure why = *failure;
            code = graph_load(graph, failure);
            graph->why = why;
            graph->stop = TASK_FAILED;
            return code;
        }
        phase = graph_phase_of(&graph->task);
    }
    if (code == VIM_OK) {
        graph_phase_begin(graph, phase);
    }
    return code;
}

/* Does what can be done now. *RET_OVER: the graph has ended, or waits for people; *RET_MORE: not all was done. */
static int turn(struct graph *graph, char (*ended)[ID_SIZE], uint32_t ended_count, bool *ret_over,
                bool *ret_more, struct failure *failure)
{
    struct graph_batch batch = {0};
    *ret_more = false;
    bool anew = !graph->loaded;
    int code = anew ? load(graph, failure) : VIM_OK;
    if (code != VIM_OK) {
        return code;
    }
    graph_heed(graph);
    code = anew || clock_mono_ms() >= graph->next_poll
               ? settle_all(graph, &batch, failure)
               : settle_ended(graph, ended, ended_count, &batch, failure);
    if (code == VIM_OK && graph->commit_first) {
        code = commit_progress(graph, &batch, failure);
    }
    graph->commit_first = false;
    code = code == VIM_OK ? start_ready(graph, &batch, failure) : code;
    bool renew = graph->task.due - clock_now_ms() < LEASE_MS / 2;
    if (code == VIM_OK && (batch.count || renew)) {
        *ret_more = batch.count > 0;
        code = commit_progress(graph, &batch, failure);
    }
    batch_free(&batch);
    if (code != VIM_OK) {
        return code;
    }
    cancel_children(graph);
    bool idle =
        !graph->running_count && (graph->stop || (!graph->ready_count && !graph->later_count));
    if (idle && !*ret_more) {
        code = graph_phase_end(graph, ret_over, failure);
        *ret_more = code == VIM_OK && !*ret_over;
    }
    return code;
}

/* When it has to be looked at again though no child ends. */
static int64_t next_look(const struct graph *graph)
{
    int64_t at = clock_mono_ms() + POLL_MS;
    for (uint32_t i = 0; i < graph->later_count; i++) {
        at = graph->later[i].at < at ? graph->later[i].at : at;
    }
    if (!graph->loaded && graph->retry_at && graph->retry_at < at) {
        at = graph->retry_at;
    }
    return at;
}

/* Runs SLOT's graph as far as it goes. True if the slot is done with. */
static bool run(struct tasks *tasks, struct slot *slot, char (*ended)[ID_SIZE], uint32_t count)
{
    struct failure failure = {0};
    bool over = false, more = true;
    if (!slot->graph && !(slot->graph = take_graph(tasks, slot))) {
        return true;
    }
    struct graph *graph = slot->graph;
    for (int conflicts = 0; more && !over;) {
        int code;
        if (!refresh(graph, &code)) {
            return true;
        }
        code = code == VIM_OK ? turn(graph, ended, count, &over, &more, &failure) : code;
        count = 0;
        if (code == VIM_OK) {
            conflicts = 0;
            continue;
        }
        /* What is in memory may not be what is stored. */
        graph_unload(graph);
        graph->task.revision = 0;
        more = code == VIM_E_CONFLICT && conflicts++ < CONFLICTS_MAX;
        graph->batch_max = graph->batch_max > 8 ? graph->batch_max / 2 : 8;
        if (code != VIM_E_CONFLICT && code != VIM_AGAIN) {
            graph->retry_at = clock_mono_ms() + ERROR_DELAY_MS;
            log_event(VIM_WARNING, "graph not run", "task=%s error=%s text=%s", slot->task,
                      error_name(code), failure.text);
        }
    }
    if (!over) {
        graph->batch_max =
            graph->batch_max < BATCH_STARTS_MAX ? graph->batch_max * 2 : BATCH_STARTS_MAX;
        hints_push(tasks->queue, slot->task, next_look(graph) - clock_mono_ms());
    }
    return over;
}

/* --- Who comes ------------------------------------------------------------------------------------- */

static struct slot *find_slot(struct graphs *graphs, const char *task)
{
    struct slot *slot;
    HASH_FIND_STR(graphs->slots, task, slot);
    return slot;
}

/* The slot of TASK, made busy; NULL if another thread is in it, which was told. */
static struct slot *enter_slot(struct graphs *graphs, const char *task)
{
    LOCK_GUARD(&graphs->mutex);
    struct slot *slot = find_slot(graphs, task);
    if (slot && slot->busy) {
        slot->again = true;
        return NULL;
    }
    if (!slot) {
        slot = MEMORY_NEW(struct slot);
        memcpy(slot->task, task, ID_SIZE);
        HASH_ADD_STR(graphs->slots, task, slot);
    }
    slot->busy = true;
    return slot;
}

/* True if somebody came meanwhile, and the slot stays busy. */
static bool leave_slot(struct graphs *graphs, struct slot *slot, bool over)
{
    {
        LOCK_GUARD(&graphs->mutex);
        if (slot->again && !over) {
            slot->again = false;
            return true;
        }
        slot->busy = false;
        if (over) {
            HASH_DEL(graphs->slots, slot);
        }
    }
    if (over) {
        free_slot(slot);
    }
    return false;
}

/* Of this thread. */
static double cpu_seconds(void)
{
    struct timespec time = {0};
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

int graph_look(struct tasks *tasks, const struct task *task)
{
    struct graphs *graphs = tasks->graphs;
    struct slot *slot = enter_slot(graphs, task->id);
    bool over;
    if (!slot) {
        return VIM_OK;
    }
    do {
        char(*ended)[ID_SIZE];
        uint32_t count;
        pthread_mutex_lock(&graphs->mutex);
        ended = TAKE(slot->ended);
        count = slot->ended_count;
        slot->ended_count = 0;
        slot->again = false;
        pthread_mutex_unlock(&graphs->mutex);
        double begun = cpu_seconds();
        over = run(tasks, slot, ended, count);
        metric_add(metrics_counter("vimd_graph_cpu_seconds_total",
                                   "CPU time of threads in graphs of network services", NULL),
                   cpu_seconds() - begun);
        free(ended);
    } while (leave_slot(graphs, slot, over));
    return VIM_OK;
}

/* Notes that CHILD has ended, if this process runs its graph. */
static bool note_end(struct graphs *graphs, const struct task *child)
{
    LOCK_GUARD(&graphs->mutex);
    struct slot *slot = find_slot(graphs, child->parent);
    if (slot) {
        slot->ended = memory_resize(slot->ended, slot->ended_count + 1, ID_SIZE);
        memcpy(slot->ended[slot->ended_count++], child->id, ID_SIZE);
        slot->again = true;
    }
    return slot != NULL;
}

void graph_child_ended(struct tasks *tasks, const struct task *child)
{
    /* Another process runs the graph: the hint is to tell it which child has ended. */
    hints_push(tasks->queue, note_end(tasks->graphs, child) ? child->parent : child->id, 0);
}

int graph_look_at_child(struct tasks *tasks, const struct task *child)
{
    struct task parent = {0};
    int code = tasks_get(tasks, child->parent, &parent, NULL);
    if (code != VIM_OK) {
        return code;
    }
    if (task_state_is_final(parent.state)) {
        /* nobody waits for it */
    } else if (note_end(tasks->graphs, child)) {
        code = graph_look(tasks, &parent);
    } else if (!text_equal(parent.owner, owner_self()) && task_is_held(&parent, clock_now_ms())) {
        hints_push(tasks->queue, child->id, BOUNCE_MS);
    } else {
        hints_push(tasks->queue, child->parent, 0);
    }
    task_free(&parent);
    return code;
}

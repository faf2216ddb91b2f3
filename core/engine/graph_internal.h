/*
 * engine/graph_internal.h - what the files of the graph share.
 *
 *   graph.c         which graphs this process runs; one thread at a time in each
 *   graph_load.c    rows into memory
 *   graph_plan.c    the description into rows
 *   graph_phase.c   what is to be done in a phase, in which order; from one phase to the next; the end
 *   graph_start.c   a node that is ready becomes a child
 *   graph_settle.c  what the end of a child makes of its node
 *   graph_batch.c   writes that are committed together
 */
#ifndef VIMD_ENGINE_GRAPH_INTERNAL_H
#define VIMD_ENGINE_GRAPH_INTERNAL_H

#include <uthash.h>
#include "engine/graph.h"
#include "engine/tasks_internal.h"
#include "model/event.h"
#include "model/node.h"

enum graph_phase { PHASE_PLAN, PHASE_CLEAR, PHASE_MAKE, PHASE_DROP, PHASE_UNDO };

/* What a phase wants of a node. */
enum goal { GOAL_NONE, GOAL_MAKE, GOAL_CHANGE, GOAL_REMOVE };

/* A node in memory: what its row says, without the specs. */
struct graph_node {
    char *name;
    const struct kind *kind;
    char resource[ID_SIZE], task[ID_SIZE];
    enum node_state state;
    bool there;
    bool made, dropped, renewed, changed; /* by this task */
    bool differs; /* it is not what its spec says */
    bool gone; /* its row is deleted */
    enum goal goal;
    uint32_t open; /* nodes that stand in the way of its goal */
    uint32_t *needs, need_count;
    uint32_t *users, user_count; /* inside of graph->users */
    uint32_t tries; /* of a removal */
    UT_hash_handle hh; /* by name */
};

/* A removal that is tried again later. */
struct graph_later {
    uint32_t number;
    int64_t at; /* clock_mono_ms() */
};

/* One graph that this process runs. */
struct graph {
    struct tasks *tasks;
    struct task task; /* as committed last */
    struct graph_node *nodes;
    uint32_t count;
    struct graph_node *by_name;
    uint32_t *users;
    enum graph_phase phase;
    bool loaded;
    bool keep; /* nothing is taken back: a failure ends the task */
    bool pause; /* or makes it wait */

    uint32_t *ready; /* nodes that can be started, a ring */
    uint32_t ready_first, ready_count;
    uint32_t *running; /* nodes whose child has not ended */
    uint32_t running_count;
    struct graph_later *later;
    uint32_t later_count;
    uint32_t goals, reached; /* of this phase */
    uint32_t failed;
    int stop; /* an enum task_state to end with; no node is started any more. 0: none */
    struct failure why; /* of the first failure, or the stop */
    bool cancelled_children;
    bool commit_first; /* a node whose row is about to be written goes on at once */

    uint32_t batch_max; /* starts in one commit; fewer after conflicts */
    int64_t next_poll; /* when all children are looked at; clock_mono_ms() */
    int64_t retry_at; /* the graph itself is looked at again; 0: by children's ends */
};

/* --- graph_batch.c --------------------------------------------------------------------------------- */

/* Writes that are committed together, and what follows from that. */
struct graph_batch {
    struct vim_write *writes;
    char **texts; /* bodies, ids: freed with it */
    uint32_t count, text_count, capacity, text_capacity;
    struct graph_child {
        char task[ID_SIZE];
        const char *kind;
        uint32_t verb;
    } * children; /* tasks that begin with it */
    uint32_t child_count;
};
#define GRAPH_WRITES_MAX 900u

void batch_free(struct graph_batch *batch);
/* TEXT (malloc'ed) is freed with the batch; returns it. */
char *batch_keep(struct graph_batch *batch, char *text);
void batch_write(struct graph_batch *batch, struct vim_write write);
/* The node's row as it is in NODE; with GONE it is deleted. */
void batch_node(struct graph_batch *batch, const struct node *node, bool gone);
/* A task begins with the batch. */
void batch_child(struct graph_batch *batch, const struct task *task, const struct kind *kind);
void batch_resource(struct graph_batch *batch, const struct resource *resource, bool gone);
/* What happened is told with it (model/event.h): the task's end; what becomes of a resource that was BEFORE. */
void batch_tell_task(struct graph_batch *batch, const struct task *task);
void batch_tell_resource(struct graph_batch *batch, enum event_type type,
                         const struct resource *resource, enum resource_status before,
                         const char *task);
/* Commits the batch together with the graph's task as it is in memory. VIM_E_CONFLICT: the graph has to be read
 * again. */
int batch_commit(struct graph *graph, struct graph_batch *batch, struct failure *failure);

/* --- graph_load.c ---------------------------------------------------------------------------------- */

/* Reads the nodes' rows; the task must have been read. */
int graph_load(struct graph *graph, struct failure *failure);
/* Forgets what was read. */
void graph_unload(struct graph *graph);
struct graph_node *graph_find(struct graph *graph, const char *name);
/* The row of a node. */
int graph_read(struct graph *graph, const struct graph_node *node, struct node *ret_node,
               struct failure *failure);

/* --- graph_plan.c ---------------------------------------------------------------------------------- */

/* Makes the rows what the task wants, and the phase CLEAR. VIM_AGAIN: later, at graph->retry_at. */
int graph_plan(struct graph *graph, struct failure *failure);

/* --- graph_phase.c --------------------------------------------------------------------------------- */

enum graph_phase graph_phase_of(const struct task *task);
/* Sets goals, and finds out what can be started. */
void graph_phase_begin(struct graph *graph, enum graph_phase phase);
/* The node has reached its goal: what waited for that may be ready. */
void graph_reached(struct graph *graph, struct graph_node *node);
void graph_make_ready(struct graph *graph, struct graph_node *node);
/* The same, for one whose row is in the batch of this turn. */
void graph_go_on(struct graph *graph, struct graph_node *node);
/* It has failed for good. */
void graph_failed(struct graph *graph, struct graph_node *node, const struct failure *why);
/* The history shows a phase as a step, which has ended. */
void graph_end_step(struct graph *graph, bool well);
/* Cancel and deadline. */
void graph_heed(struct graph *graph);
/* Nothing runs and nothing can be started: the next phase, or the end. Sets *RET_OVER if the graph is done
 * with for now. */
int graph_phase_end(struct graph *graph, bool *ret_over, struct failure *failure);

/* --- graph_start.c, graph_settle.c ------------------------------------------------------------------- */

/* Sets a node that is ready going: writes go to BATCH. */
int graph_start_node(struct graph *graph, struct graph_node *node, struct graph_batch *batch,
                     struct failure *failure);
/* The child CHILD of a node has ended. */
int graph_settle_node(struct graph *graph, struct graph_node *node, const struct task *child,
                      struct graph_batch *batch, struct failure *failure);
/* The node's resource is made; something may have to be done to it yet. */
void graph_node_made(struct graph *graph, struct graph_node *node, struct node *row,
                     struct graph_batch *batch);
/* A step of a change is through; HAVE (taken over) is what the resource is now. */
void graph_node_moved(struct graph *graph, struct graph_node *node, struct node *row, json_t *have,
                      struct graph_batch *batch);
/* The next step of what makes the resource what it is to be, or takes off what hangs on it. */
void graph_next_change(const struct graph *graph, const struct graph_node *node,
                       const struct node *row, struct node_change *ret_change);
/* It is changed; or, while undoing, changed back. */
void graph_node_changed(struct graph *graph, struct graph_node *node, struct node *row,
                        struct graph_batch *batch);
/* It is gone. */
void graph_node_removed(struct graph *graph, struct graph_node *node, struct node *row,
                        struct graph_batch *batch);
/* Another try later. */
void graph_try_later(struct graph *graph, struct graph_node *node);

#endif

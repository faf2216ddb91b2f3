/*
 * engine/graph.h - network services: many resources as one task.
 *
 * The task of a service (kind "network-service") has no step at a driver. A process that holds its claim
 * runs it as a graph: for every node that is ready an ordinary task is submitted, its child; when that ends, the
 * node's row says so, and what needed it may be ready. Children work as all tasks do, wherever.
 *
 *   (POST) -> plan -> clear -> make -> drop -> SUCCEEDED
 *               |        failure, cancel, |
 *               |        deadline         v
 *               +----------------------> undo -> ROLLED_BACK, CANCELLED, TIMED_OUT
 *
 *   plan   the description becomes rows of nodes; what there is and what is wanted are compared
 *   clear  what is to be made anew is removed first (heal)
 *   make   nodes are made and changed, each as soon as what it needs is ready
 *   drop   nodes that are not wanted any more are removed, each as soon as nothing needs it
 *   undo   what this task made is removed, what it changed is changed back
 *
 * All of it is in the store: the phase in the task's row, the rest in the nodes' rows. What a process has in
 * memory is made from them once, when it takes the claim, so that the cost of a node does not depend on how
 * many there are. Each commit writes the task's row too, expecting its revision: who has lost the claim commits
 * nothing, and a child is submitted in the commit that says so in its node's row. So nothing is made twice,
 * whatever is killed. A commit that finds a row not as expected (a cancel, the inventory, a client) makes
 * the process read everything again.
 */
#ifndef VIMD_ENGINE_GRAPH_H
#define VIMD_ENGINE_GRAPH_H

#include <stdbool.h>
#include "engine/tasks.h"

#define KIND_SERVICE "network-service"

struct graphs;

struct graphs *graphs_new(void);
void graphs_free(struct graphs *graphs);

/* Is it the task of a service? */
bool task_is_graph(const struct task *task);

/* Does it wait for somebody to decide what becomes of it (on_failure: pause)? */
bool task_is_paused(const struct task *task);

/* For a worker that came to such a TASK: takes the claim, or goes on with the graph that this process runs.
 * Returns when nothing can be done for the moment. */
int graph_look(struct tasks *tasks, const struct task *task);

/* A child was committed with a final state. */
void graph_child_ended(struct tasks *tasks, const struct task *child);
/* For a worker that came to a CHILD that has ended: a hint of another process to who runs the graph. */
int graph_look_at_child(struct tasks *tasks, const struct task *child);

#endif

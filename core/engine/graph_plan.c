/*
 * The description into rows. Planning again, after a kill, a conflict or a retry, finds what was planned
 * before and changes nothing.
 */
#include "engine/graph_internal.h"

#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/ids.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/text.h"
#include "engine/inventory.h"
#include "model/service.h"

/* A heal looks at what the VIM has: for so long it waits for a look that began after it was asked for. */
#define FRESH_MAX_MS 15000
#define FRESH_RETRY_MS 200

struct planning {
    struct graph *graph;
    struct service_plan plan;
    struct graph_batch batch;
    bool *planned; /* per node that was there before: the description has it */
    struct failure *failure;
};

static json_t *need_names(const struct service_plan *plan, const struct service_node *node)
{
    json_t *names = json_array();
    for (uint32_t i = 0; i < node->need_count; i++) {
        json_array_append_new(names, json_string(plan->nodes[node->needs[i]].name));
    }
    return names;
}

static int flush(struct planning *planning, uint32_t room)
{
    if (planning->batch.count + room < GRAPH_WRITES_MAX) {
        return VIM_OK;
    }
    int code = batch_commit(planning->graph, &planning->batch, planning->failure);
    batch_free(&planning->batch);
    return code;
}

static void set_text(char **text, const char *value)
{
    char *copy = text_duplicate(value);
    free(*text);
    *text = copy;
}

static void plan_new(struct planning *planning, const struct service_node *wanted)
{
    const struct task *task = &planning->graph->task;
    struct node row = {.id = node_row_id(task->resource, wanted->name),
                       .service = text_duplicate(task->resource),
                       .name = text_duplicate(wanted->name),
                       .kind = wanted->kind,
                       .spec = json_incref(wanted->spec),
                       .needs = need_names(&planning->plan, wanted),
                       .made_by = text_duplicate(task->id)};
    id_new(row.resource);
    batch_node(&planning->batch, &row, false);
    node_free(&row);
}

/* A resource that is there becomes another one, step by step. */
static int plan_change(struct planning *planning, const struct service_node *wanted,
                       struct node *row)
{
    const struct task *task = &planning->graph->task;
    if (!row->have) {
        row->have = json_incref(row->spec);
    }
    CLEANUP_FREE char *problem = node_change_problem(row->kind, row->have, wanted->spec);
    if (problem) {
        return failure_set(planning->failure, VIM_E_INVALID,
                           "%s: %s of a %s cannot be changed once it is created", row->name,
                           problem, row->kind->name);
    }
    if (!text_equal(row->old_by, task->id)) {
        json_decref(row->old);
        json_decref(row->old_needs);
        row->old = json_incref(row->spec);
        row->old_needs = json_incref(row->needs);
        set_text(&row->old_by, task->id);
    }
    row->state = NODE_WAITING;
    return VIM_OK;
}

/* Of one that there was before. */
static int plan_known(struct planning *planning, const struct service_node *wanted,
                      struct graph_node *node)
{
    struct node row = {0};
    int code = graph_read(planning->graph, node, &row, planning->failure);
    if (code != VIM_OK) {
        return code;
    }
    CLEANUP_JSON json_t *needs = need_names(&planning->plan, wanted);
    bool same = json_equal(row.spec, wanted->spec);
    bool touched = !same;
    if (row.there && !same) {
        touched = true;
        code = plan_change(planning, wanted, &row);
    } else if (row.state != NODE_READY && row.state != NODE_WAITING) {
        /* What an earlier task left failed, or half done. */
        touched = true;
        row.state = row.there && !row.have ? NODE_READY : NODE_WAITING;
    }
    if (code == VIM_OK && touched) {
        set_text(&row.error, NULL);
        json_decref(row.spec);
        json_decref(row.needs);
        row.spec = json_incref(wanted->spec);
        row.needs = json_incref(needs);
        batch_node(&planning->batch, &row, false);
    }
    node_free(&row);
    return code;
}

static int plan_drop(struct planning *planning, struct graph_node *node)
{
    struct node row = {0};
    if (node->dropped) {
        return VIM_OK;
    }
    int code = graph_read(planning->graph, node, &row, planning->failure);
    if (code == VIM_OK) {
        set_text(&row.drop_by, planning->graph->task.id);
        batch_node(&planning->batch, &row, false);
        node_free(&row);
    }
    return code;
}

static int plan_rows(struct planning *planning)
{
    struct graph *graph = planning->graph;
    int code = VIM_OK;
    for (uint32_t i = 0; code == VIM_OK && i < planning->plan.count; i++) {
        struct service_node *wanted = &planning->plan.nodes[i];
        struct graph_node *node = graph_find(graph, wanted->name);
        if (node) {
            planning->planned[node - graph->nodes] = true;
            code = plan_known(planning, wanted, node);
        } else {
            plan_new(planning, wanted);
        }
        code = code == VIM_OK ? flush(planning, 2) : code;
    }
    for (uint32_t i = 0; code == VIM_OK && i < graph->count; i++) {
        if (!planning->planned[i]) {
            code = plan_drop(planning, &graph->nodes[i]);
            code = code == VIM_OK ? flush(planning, 2) : code;
        }
    }
    return code;
}

/* --- Heal ------------------------------------------------------------------------------------------ */

/* Has the inventory looked at everything since the heal was asked for? */
static bool looked_since(struct graph *graph)
{
    const struct task *task = &graph->task;
    struct inventory *inventory = graph->tasks->inventory;
    bool fresh = true;
    if (clock_now_ms() > task->created + FRESH_MAX_MS) {
        return true;
    }
    for (uint32_t i = 0; i < graph->count; i++) {
        const char *kind = graph->nodes[i].kind->name;
        if (inventory_last_pass(inventory, task->vim, kind) <= task->created) {
            fresh = false;
            inventory_doubt(inventory, task->vim, kind);
        }
    }
    return fresh;
}

/* Is its resource lost? */
static int is_lost(struct graph *graph, const struct graph_node *node, bool *ret_lost,
                   struct failure *failure)
{
    struct row row = {0};
    struct resource resource = {0};
    int code = store_get(graph->tasks->store, node->kind->name, node->resource, &row, failure);
    *ret_lost = code == VIM_E_NOT_FOUND;
    if (code == VIM_E_NOT_FOUND) {
        return VIM_OK;
    }
    if (code == VIM_OK) {
        code = resource_parse(&row, node->kind->name, &resource, failure);
        row_free(&row);
    }
    if (code == VIM_OK) {
        *ret_lost = !resource.task && (!resource.backend_id || resource.status == STATUS_ERROR);
        resource_free(&resource);
    }
    return code;
}

/* What a heal does with a node. */
enum { HEAL_NOT, HEAL_REWIRE, HEAL_RENEW };

struct search {
    const char *name; /* of a node; a reference to it is looked for */
    bool found;
};

static int look_for(void *argument, const char *pointer, const char *name, const char *field,
                    char **ret_text)
{
    struct search *search = argument;
    (void)pointer;
    search->found = search->found || strcmp(name, search->name) == 0;
    *ret_text = text_format("${%s.%s}", name, field ? field : "");
    return 0;
}

static bool refers_to(json_t *value, const char *name)
{
    struct search search = {.name = name};
    (void)service_each_reference(value, false, look_for, &search);
    return search.found;
}

/* Does it refer to LOST in a field that cannot be changed? With REWIRE the fields that can be are taken out of
 * what there is, to be set again. */
static bool depends(struct node *row, const char *lost, bool rewire)
{
    const char *field;
    json_t *value;
    void *next;
    bool hard = false, named = false;
    CLEANUP_JSON json_t *spec = json_deep_copy(row->spec);
    json_object_foreach_safe(spec, next, field, value)
    {
        if (!refers_to(value, lost)) {
            continue;
        }
        named = true;
        if (!node_field_changes(row->kind, field)) {
            hard = true;
        } else if (rewire) {
            if (!row->have) {
                row->have = json_copy(row->spec);
            }
            json_object_del(row->have, field);
        }
    }
    /* Without a reference it needs the other one by its nature: a server the subnets of its network. */
    return hard || !named;
}

static int mark_renewed(struct graph *graph, uint32_t number, char *marks, struct failure *failure)
{
    int code = VIM_OK;
    if (marks[number] == HEAL_RENEW) {
        return code;
    }
    marks[number] = HEAL_RENEW;
    const struct graph_node *node = &graph->nodes[number];
    for (uint32_t i = 0; code == VIM_OK && i < node->user_count; i++) {
        uint32_t user = node->users[i];
        struct node row = {0};
        code = marks[user] == HEAL_RENEW ? VIM_OK
                                         : graph_read(graph, &graph->nodes[user], &row, failure);
        if (code == VIM_OK && row.id && depends(&row, node->name, false)) {
            code = mark_renewed(graph, user, marks, failure);
        } else if (code == VIM_OK && row.id) {
            marks[user] = HEAL_REWIRE;
        }
        node_free(&row);
    }
    return code;
}

/* Marks what is lost, what the request names, and what hangs on that. */
static int mark_lost(struct graph *graph, const json_t *named, char *marks, struct failure *failure)
{
    int code = VIM_OK;
    for (uint32_t i = 0; code == VIM_OK && i < graph->count; i++) {
        bool lost = false;
        size_t n;
        json_t *name;
        if (graph->nodes[i].there) {
            code = is_lost(graph, &graph->nodes[i], &lost, failure);
        }
        json_array_foreach(named, n, name)
        {
            lost = lost || text_equal(json_string_value(name), graph->nodes[i].name);
        }
        if (code == VIM_OK && lost) {
            code = mark_renewed(graph, i, marks, failure);
        }
    }
    return code;
}

/* Takes what refers to nodes that are renewed out of what there is of the node. */
static void rewire(struct graph *graph, const struct graph_node *node, struct node *row,
                   const char *marks)
{
    for (uint32_t i = 0; i < node->need_count; i++) {
        if (marks[node->needs[i]] == HEAL_RENEW) {
            (void)depends(row, graph->nodes[node->needs[i]].name, true);
        }
    }
}

static int plan_heal(struct planning *planning)
{
    struct graph *graph = planning->graph;
    CLEANUP_JSON json_t *arguments = json_loads(graph->task.spec, 0, NULL);
    CLEANUP_FREE char *marks = memory_new(graph->count + 1);
    int code = mark_lost(graph, json_object_get(arguments, "nodes"), marks, planning->failure);
    for (uint32_t i = 0; code == VIM_OK && i < graph->count; i++) {
        struct node row = {0};
        if (marks[i] == HEAL_NOT || !graph->nodes[i].there || graph->nodes[i].renewed) {
            continue;
        }
        code = graph_read(graph, &graph->nodes[i], &row, planning->failure);
        if (code == VIM_OK) {
            if (marks[i] == HEAL_RENEW) {
                set_text(&row.renew_by, graph->task.id);
            } else {
                rewire(graph, &graph->nodes[i], &row, marks);
            }
            row.state = NODE_WAITING;
            batch_node(&planning->batch, &row, false);
            node_free(&row);
            code = flush(planning, 2);
        }
    }
    return code;
}

/* --- All of it ------------------------------------------------------------------------------------- */

static int make_plan(struct planning *planning, struct service_spec *spec)
{
    const struct task *task = &planning->graph->task;
    struct findings findings = {0};
    const json_t *description =
        spec->next && text_equal(spec->by, task->id) ? spec->next : spec->now;
    if (!description) {
        return failure_set(planning->failure, VIM_E_INVALID, "the service was never made");
    }
    service_plan_make(spec->prefix, description, &findings, &planning->plan);
    int code = VIM_OK;
    if (findings.count > 0) {
        code = failure_set(planning->failure, VIM_E_INVALID, "%s: %s", findings.items[0].pointer,
                           findings.items[0].detail);
    }
    findings_free(&findings);
    return code;
}

static int plan(struct planning *planning)
{
    struct graph *graph = planning->graph;
    struct service_spec spec = {0};
    int code =
        service_spec_get(graph->tasks->store, graph->task.resource, &spec, planning->failure);
    code = code == VIM_OK ? make_plan(planning, &spec) : code;
    service_spec_free(&spec);
    bool heal = graph->task.verb == VIM_VERB_ACTION && text_equal(graph->task.action, "heal");
    if (code == VIM_OK) {
        code = plan_rows(planning);
    }
    if (code == VIM_OK && heal) {
        /* What was planned is what is healed. */
        code = batch_commit(graph, &planning->batch, planning->failure);
        batch_free(&planning->batch);
        code = code == VIM_OK ? graph_load(graph, planning->failure) : code;
        code = code == VIM_OK ? plan_heal(planning) : code;
    }
    return code;
}

int graph_plan(struct graph *graph, struct failure *failure)
{
    struct planning planning = {.graph = graph,
                                .planned = memory_new_array(graph->count + 1, sizeof(bool)),
                                .failure = failure};
    struct task *task = &graph->task;
    int code = VIM_OK;
    if (task->verb == VIM_VERB_ACTION && text_equal(task->action, "heal") && !looked_since(graph)) {
        graph->retry_at = clock_mono_ms() + FRESH_RETRY_MS;
        code = VIM_AGAIN;
    } else if (task->verb != VIM_VERB_DELETE) {
        code = plan(&planning);
    }
    if (code == VIM_OK) {
        graph_end_step(graph, true);
        free(task->kept);
        task->kept = text_duplicate(task->verb == VIM_VERB_DELETE ? "drop" : "clear");
        (void)task_step_begin(task, task->kept, clock_now_ms());
        code = batch_commit(graph, &planning.batch, failure);
    }
    batch_free(&planning.batch);
    service_plan_free(&planning.plan);
    free(planning.planned);
    return code == VIM_OK ? graph_load(graph, failure) : code;
}

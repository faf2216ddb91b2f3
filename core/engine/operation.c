/* A task as a struct vim_op: vimd's ids turned into the far side's. */
#include "engine/tasks_internal.h"

#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/json.h"
#include "base/text.h"
#include "model/kinds.h"

void operation_free(struct operation *operation)
{
    free(operation->id);
    free(operation->spec);
    item_free(&operation->seen);
    memset(operation, 0, sizeof(*operation));
}

struct resolving {
    struct tasks *tasks;
    const struct task *task;
    bool lenient; /* undo: what cannot be resolved stays as it is */
    char *blocker;
    struct failure *failure;
};

/* The member of a row's body as text; malloc'ed, or NULL. */
static char *peek_text(const struct row *row, const char *member)
{
    struct json_piece piece;
    char *text = NULL;
    if (json_peek(row->body, row->body_length, member, &piece) == VIM_OK) {
        (void)json_piece_text(piece, &text);
    }
    return text;
}

/* The far side's id in ROW, the row of what the spec refers to at POINTER. */
static int resolve_row(struct resolving *resolving, const struct row *row, const char *referenced,
                       const char *pointer, char **ret_value)
{
    CLEANUP_FREE char *vim = peek_text(row, "vim");
    CLEANUP_FREE char *task = peek_text(row, "task");
    char *backend_id = peek_text(row, "backend_id");
    if (!text_equal(vim, resolving->task->vim)) {
        free(backend_id);
        return failure_set(resolving->failure, VIM_E_INVALID,
                           "%s: the %s %s is in VIM %s, not in %s", pointer, referenced, row->id,
                           vim ? vim : "?", resolving->task->vim);
    }
    /* The far side may know it already, and not yet be through with it: a volume that is being filled boots nobody. */
    bool in_the_making = task && id_valid(task) && (!backend_id || row->state == STATUS_BUILD);
    if (backend_id && (!in_the_making || resolving->lenient)) {
        *ret_value = backend_id;
        return 0;
    }
    free(backend_id);
    if (in_the_making) {
        memcpy(resolving->blocker, task, ID_SIZE);
        return VIM_AGAIN;
    }
    return failure_set(resolving->failure, VIM_E_CONFLICT,
                       "%s: the %s %s is in status %s and does not exist in VIM %s", pointer,
                       referenced, row->id, resource_status_name((enum resource_status)row->state),
                       resolving->task->vim);
}

static int resolve(void *argument, const char *referenced, const char *pointer, const char *value,
                   char **ret_value)
{
    struct resolving *resolving = argument;
    struct row row = {0};
    int code = store_get(resolving->tasks->store, referenced, value, &row, resolving->failure);
    if (code == VIM_E_NOT_FOUND) {
        failure_set(resolving->failure, code, "%s: there is no %s %s (any more)", pointer,
                    referenced, value);
    } else if (code == VIM_OK) {
        code = resolve_row(resolving, &row, referenced, pointer, ret_value);
        row_free(&row);
    }
    return resolving->lenient ? 0 : code;
}

/* The spec in the far side's ids. */
static int make_spec(struct tasks *tasks, const struct task *task, char **ret_spec,
                     char ret_blocker[ID_SIZE], struct failure *failure)
{
    const struct kind *kind = kind_by_name(task->kind);
    bool has_references = task->verb == VIM_VERB_CREATE || task->verb == VIM_VERB_UPDATE ||
                          task->verb == VIM_VERB_ACTION;
    if (!kind || !has_references) {
        *ret_spec = text_duplicate(task->spec);
        return VIM_OK;
    }
    CLEANUP_JSON json_t *spec = NULL;
    struct json_fault fault;
    if (json_parse(task->spec, strlen(task->spec), NULL, &spec, &fault) != VIM_OK) {
        return failure_set(failure, VIM_E_INVALID, "the task's spec is not readable: %s",
                           fault.text);
    }
    struct resolving resolving = {.tasks = tasks,
                                  .task = task,
                                  .lenient = task_is_undoing(task),
                                  .blocker = ret_blocker,
                                  .failure = failure};
    int code = task->verb == VIM_VERB_ACTION
                   ? kind_each_argument_reference(kind, spec, resolve, &resolving)
                   : kind_each_reference(kind, spec, resolve, &resolving);
    if (code == VIM_OK) {
        *ret_spec = json_print(spec);
    }
    return code;
}

/* Only a create goes without the far side's id. */
static int check_id(const struct task *task, bool has_row, const char *id, bool *ret_done_already,
                    struct failure *failure)
{
    if (task->verb == VIM_VERB_CREATE || id) {
        return VIM_OK;
    }
    if (task->verb == VIM_VERB_DELETE) {
        *ret_done_already = true;
        return VIM_OK;
    }
    if (!has_row) {
        return failure_set(failure, VIM_E_NOT_FOUND, "the %s %s is gone", task->kind,
                           task->resource);
    }
    return failure_set(failure, VIM_E_CONFLICT, "the %s %s does not exist in VIM %s", task->kind,
                       task->resource, task->vim);
}

int operation_make(struct tasks *tasks, const struct task *task, struct operation *ret_operation,
                   bool *ret_done_already, char ret_blocker[ID_SIZE], struct failure *failure)
{
    struct operation operation = {0};
    struct row row = {0};
    *ret_done_already = false;
    int code = store_get(tasks->store, task->kind, task->resource, &row, failure);
    bool has_row = code == VIM_OK;
    if (has_row) {
        operation.id = peek_text(&row, "backend_id");
        row_free(&row);
    } else if (code != VIM_E_NOT_FOUND) {
        return code;
    }
    code = check_id(task, has_row, operation.id, ret_done_already, failure);
    if (code == VIM_OK && !*ret_done_already) {
        code = make_spec(tasks, task, &operation.spec, ret_blocker, failure);
    }
    if (code != VIM_OK) {
        operation_free(&operation);
        return code;
    }
    *ret_operation = operation;
    return VIM_OK;
}

/*
 * logic/services_show.c - a network service as it is shown: its row, with its nodes and what has become of them.
 */
#include "logic/services.h"

#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/text.h"
#include "logic/body.h"
#include "logic/resources.h"
#include "logic/route.h"
#include "logic/vocabularies.h"
#include "model/rows.h"

struct showing {
    struct logic *logic;
    struct text text;
    uint64_t tag; /* FNV-1a of ids and revisions */
    struct node *nodes;
    uint32_t count, capacity;
    int code;
    struct failure *failure;
};

static void mix(uint64_t *tag, const char *text, uint64_t number)
{
    for (; *text; text++) {
        *tag = (*tag ^ (unsigned char)*text) * 0x100000001b3u;
    }
    for (int i = 0; i < 8; i++) {
        *tag = (*tag ^ (number >> (8 * i) & 0xff)) * 0x100000001b3u;
    }
}

static int take_node(void *argument, const struct vim_item *item)
{
    struct showing *showing = argument;
    struct row row = row_of_item(item);
    if (showing->count == showing->capacity) {
        showing->capacity = showing->capacity ? showing->capacity * 2 : 64;
        showing->nodes = memory_resize(showing->nodes, showing->capacity, sizeof(*showing->nodes));
    }
    showing->code = node_parse(&row, &showing->nodes[showing->count], showing->failure);
    showing->count += showing->code == VIM_OK;
    return showing->code != VIM_OK;
}

static void add_member(struct text *text, const char *member, const char *value)
{
    if (value && *value) {
        text_printf(text, ",\"%s\":", member);
        json_add_string(text, value);
    }
}

/* What the task of a node has met so far, if it is at work: what a delete is blocked by. */
static void add_obstacle(struct showing *showing, const struct node *node)
{
    struct row row = {0};
    struct task task = {0};
    if (!node->task[0] || (node->state != NODE_MAKING && node->state != NODE_CHANGING &&
                           node->state != NODE_REMOVING)) {
        return;
    }
    if (store_get(showing->logic->environment.store, COLLECTION_TASK, node->task, &row, NULL) ==
            VIM_OK &&
        task_parse(&row, &task, NULL) == VIM_OK && task.error.text) {
        add_member(&showing->text, "error", task.error.text);
        mix(&showing->tag, task.error.text, 0);
    }
    row_free(&row);
    task_free(&task);
}

/* A node with the status of its resource as the inventory has it. */
static int add_node(struct showing *showing, const struct node *node)
{
    struct row row = {0};
    struct text *text = &showing->text;
    int code = store_get(showing->logic->environment.store, node->kind->name, node->resource, &row,
                         showing->failure);
    if (code != VIM_OK && code != VIM_E_NOT_FOUND) {
        return code;
    }
    mix(&showing->tag, node->name, node->revision);
    mix(&showing->tag, node->resource, row.revision);
    text_add(text, "{\"name\":");
    json_add_string(text, node->name);
    add_member(text, "kind", node->kind->name);
    add_member(text, "id", node->resource);
    add_member(text, "state", node_state_name(node->state));
    if (code == VIM_OK) {
        add_member(text, "status", resource_status_name((enum resource_status)row.state));
    }
    text_add(text, ",\"needs\":");
    CLEANUP_JSON json_t *none = json_array();
    json_print_to(text, node->needs ? node->needs : none);
    add_member(text, "task", node->task);
    if (node->error) {
        add_member(text, "error", node->error);
    } else {
        add_obstacle(showing, node);
    }
    text_add_char(text, '}');
    row_free(&row);
    return VIM_OK;
}

int service_render(struct logic *logic, const struct row *row, char **ret_body, size_t *ret_length,
                   uint64_t *ret_tag, struct failure *failure)
{
    struct showing showing = {.logic = logic, .tag = 0xcbf29ce484222325u, .failure = failure};
    struct vim_scan scan = {
        .size = sizeof(scan), .collection = COLLECTION_SERVICE_NODE, .parent = row->id};
    int code = store_scan(logic->environment.store, &scan, take_node, &showing, failure);
    code = code == VIM_OK ? showing.code : code;
    mix(&showing.tag, row->id, row->revision);
    text_add_bytes(&showing.text, row->body, row->body_length - 1); /* without its } */
    text_add(&showing.text, ",\"nodes\":[");
    for (uint32_t i = 0; i < showing.count; i++) {
        if (i > 0) {
            text_add_char(&showing.text, ',');
        }
        code = code == VIM_OK ? add_node(&showing, &showing.nodes[i]) : code;
        node_free(&showing.nodes[i]);
    }
    text_add(&showing.text, "]}");
    free(showing.nodes);
    if (code != VIM_OK) {
        text_free(&showing.text);
        return code;
    }
    *ret_tag = showing.tag;
    *ret_length = showing.text.length;
    *ret_body = text_take(&showing.text);
    return VIM_OK;
}

static void send_service(struct call *call, const struct row *row)
{
    char *body;
    size_t length;
    uint64_t tag;
    struct failure failure = {0};
    int code = service_render(call->logic, row, &body, &length, &tag, &failure);
    if (code != VIM_OK) {
        logic_failure(call, &failure, ORIGIN_OWN);
        return;
    }
    struct vocabulary vocabulary = vocabulary_of_kind(call->kind);
    body_send(call, &vocabulary, 200, tag, body, length);
}

void services_get(struct call *call)
{
    struct row row = {0};
    if (resources_load(call, &row)) {
        send_service(call, &row);
        row_free(&row);
    }
}

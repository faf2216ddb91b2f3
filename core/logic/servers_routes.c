/*
 * logic/servers_routes.c - /v1/servers/{id}/interfaces and /volumes: what is plugged into a server, as
 * lists of its ports and volumes.
 */
#include "logic/list.h"
#include "logic/resources.h"
#include "logic/route.h"
#include "logic/vocabularies.h"

static const char *status_name(unsigned number)
{
    return number < STATUS_COUNT ? resource_status_name((enum resource_status)number) : NULL;
}

/* The list of KIND, of which `server` is the one that the path names. */
static void list_plugged(struct call *call, const char *kind_name)
{
    struct row server = {0};
    struct lister lister;
    struct failure failure = {0};
    struct findings findings = {0};
    const struct kind *kind = kind_by_name(kind_name);
    struct vocabulary vocabulary = vocabulary_of_kind(kind);
    call->kind = kind_by_name("server");
    if (!resources_load(call, &server)) {
        return;
    }
    row_free(&server);
    call->kind = kind;
    if (!list_begin(call, &vocabulary, kind->plural, NULL, &lister)) {
        return;
    }
    filter_add_equal(field_by_name(kind->fields, kind->field_count, "server"), call->id,
                     &lister.query.filter, &findings);
    if (findings.count > 0) {
        list_free(&lister);
        logic_findings(call, 400, "invalid-query", "The query is not understood.", &findings);
        return;
    }
    const struct list_source source = {
        .collection = kind->name, .state_field = "status", .state_name = status_name};
    int code = list_rows(call, &lister, &source, &failure);
    if (code != VIM_OK) {
        list_free(&lister);
        logic_failure(call, &failure, ORIGIN_OWN);
        return;
    }
    list_finish(call, &lister);
}

void servers_interfaces(struct call *call)
{
    list_plugged(call, "port");
}

void servers_volumes(struct call *call)
{
    list_plugged(call, "volume");
}

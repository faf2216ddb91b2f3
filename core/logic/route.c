#include "logic/route.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include "base/memory.h"
#include "base/text.h"

static const struct route routes[] = {
    {"GET", "/healthz", meta_health, 0, ROUTE_PUBLIC | ROUTE_CHEAP | ROUTE_OWN, NULL, NULL,
     "200:Health", "getHealth", "Does the process answer?"},
    {"GET", "/readyz", meta_ready, 0, ROUTE_PUBLIC | ROUTE_OWN, NULL, NULL, "200:Ready 503:Ready",
     "getReady", "Is it ready to serve?"},
    {"GET", "/openapi.json", meta_openapi, 0, ROUTE_PUBLIC | ROUTE_CHEAP | ROUTE_OWN, NULL, NULL,
     "200:OpenApi 304", "getOpenapi", "This document."},
    {"GET", "/metrics", meta_metrics, ROLE_READER, ROUTE_OWN, NULL, NULL, "200:MetricsText",
     "getMetrics", "Numbers about the process, as Prometheus reads them."},
    {"GET", "/v1/version", meta_version, ROLE_READER, ROUTE_CHEAP, NULL, NULL, "200:Version",
     "getVersion", "Which vimd this is."},
    {"GET", "/v1/whoami", meta_whoami, ROLE_READER, ROUTE_CHEAP, NULL, NULL, "200:Principal",
     "getWhoami", "Who asks, as the token says."},
    {"GET", "/v1/plugins", meta_plugins, ROLE_READER, 0, NULL, NULL, "200:PluginList",
     "listPlugins", "The plugins that are loaded, with their options."},
    {"GET", "/v1/blocks", meta_blocks, ROLE_OPERATOR, 0, NULL, NULL, "200:BlockList", "listBlocks",
     "The blocks of the service as they run now, with their replicas, rates and latencies."},

    {"GET", "/v1/vims", vims_list, ROLE_READER, ROUTE_LIST, NULL, NULL, "200:VimList", "listVims",
     "The configured VIMs, with their health."},
    {"GET", "/v1/vims/{id}", vims_get_one, ROLE_READER, 0, "fields", NULL, "200:Vim 404", "getVim",
     "One VIM."},
    {"GET", "/v1/vims/{id}/check", vims_check, ROLE_OPERATOR, 0, NULL, NULL, "200:VimCheck 404",
     "checkVim", "Asks the VIM whether it is well."},
    {"POST", "/v1/vims/{id}/check", vims_check, ROLE_OPERATOR, ROUTE_EMPTY, NULL, NULL,
     "200:VimCheck 404", "checkVimNow", "The same as GET."},
    {"GET", "/v1/vims/{id}/capabilities", vims_capabilities, ROLE_READER, 0, NULL, NULL,
     "200:Capabilities 404", "getCapabilities", "What the VIM's driver can do, by kind."},
    {"GET", "/v1/vims/{id}/capacity", vims_capacity, ROLE_READER, 0, NULL, NULL,
     "200:Capacity 404 501 502 504", "getCapacity", "The VIM's quotas, and what is used of them."},
    {"GET", "/v1/vims/{id}/zones", vims_zones, ROLE_READER, 0, NULL, NULL,
     "200:Zones 404 501 502 504", "getZones", "The VIM's availability zones."},
    {"GET", "/v1/vims/{id}/hosts", vims_hosts, ROLE_OPERATOR, 0, NULL, NULL,
     "200:Hosts 404 501 502 504", "getHosts",
     "The VIM's compute hosts, with what they have room for."},

    {"GET", "/v1/servers/{id}/interfaces", servers_interfaces, ROLE_READER, ROUTE_LIST, NULL, NULL,
     "200:PortList 404", "listServerInterfaces", "The ports that are plugged into the server."},
    {"GET", "/v1/servers/{id}/volumes", servers_volumes, ROLE_READER, ROUTE_LIST, NULL, NULL,
     "200:VolumeList 404", "listServerVolumes", "The volumes that are attached to the server."},
    {"GET", "/v1/servers/{id}/console", servers_console, ROLE_MEMBER, 0, "type", NULL,
     "200:Console 404 409 501 502 504", "getServerConsole",
     "A way to the server's console, or what it has written."},

    {"GET", "/v1/tasks", tasks_routes_list, ROLE_READER, ROUTE_LIST, NULL, NULL, "200:TaskList",
     "listTasks", "The tasks of the project."},
    {"GET", "/v1/tasks/{id}", tasks_routes_get, ROLE_READER, ROUTE_CHEAP, "wait fields", NULL,
     "200:Task 304 404", "getTask", "One task; with wait, as soon as it has ended."},
    {"POST", "/v1/tasks/{id}/cancel", tasks_routes_cancel, ROLE_MEMBER, ROUTE_EMPTY, NULL, NULL,
     "202:Task 404 409", "cancelTask", "Asks for a cancel; a create is undone."},
    {"POST", "/v1/tasks/{id}/retry", tasks_routes_retry, ROLE_MEMBER, ROUTE_EMPTY, NULL, NULL,
     "202:Task 404 409", "retryTask", "Runs a task that did not succeed again."},
    {"POST", "/v1/tasks/{id}/rollback", tasks_routes_rollback, ROLE_MEMBER, ROUTE_EMPTY, NULL, NULL,
     "202:Task 404 409", "rollbackTask", "Undoes what a failed create has left."},
    {"POST", "/v1/tasks/{id}/fail", tasks_routes_fail, ROLE_MEMBER, ROUTE_EMPTY, NULL, NULL,
     "202:Task 404 409", "failTask", "Declares a waiting task failed, and undoes nothing."},

    {"GET", "/v1/events", events_list, ROLE_READER, ROUTE_LIST, "after wait", NULL,
     "200:EventList 410", "listEvents", "What happened, as far as it is kept."},
    {"GET", "/v1/events/stream", events_stream, ROLE_READER, ROUTE_CHEAP,
     "after type kind resource project vim", NULL, "200:EventStream", "streamEvents",
     "What happens, as server-sent events."},

    {"GET", "/v1/services", scaling_list, ROLE_READER, ROUTE_LIST, NULL, NULL, "200:ServiceList",
     "listServices", "The services that are watched and scaled."},
    {"GET", "/v1/services/{id}", scaling_get, ROLE_READER, 0, NULL, NULL, "200:Service 404",
     "getService", "One: its blocks with their scores, its trend, its last decisions."},
    {"GET", "/v1/services/{id}/explain", scaling_explain, ROLE_READER, 0, NULL, NULL,
     "200:Explanation 404", "explainService", "Why the last decision is what it is."},
    {"GET", "/v1/services/{id}/decisions", scaling_decisions, ROLE_READER, ROUTE_LIST, NULL, NULL,
     "200:DecisionList 404", "listDecisions", "What was decided, and what came of it."},
    {"POST", "/v1/services/{id}/mode", scaling_mode, ROLE_MEMBER, ROUTE_BODY, NULL, "ServiceMode",
     "200:ServiceModeSet 404 409 415 422", "setServiceMode",
     "Sets what is done: off, advise, confirm or act; closes the breaker."},
    {"POST", "/v1/services/{id}/decisions/{decision}/approve", scaling_approve, ROLE_MEMBER,
     ROUTE_EMPTY, NULL, NULL, "202:Decision 404 409", "approveDecision",
     "Has a decision carried out that waits for it; the rules of safety are asked again."},

    {"GET", "/v1/alarms", alarms_list, ROLE_READER, ROUTE_LIST, NULL, NULL, "200:AlarmList",
     "listAlarms", "What is not well now."},
    {"GET", "/v1/orphans", orphans_list, ROLE_READER, ROUTE_LIST, NULL, NULL, "200:OrphanList",
     "listOrphans", "What carries a tag of vimd's at a VIM, and is nobody's."},
    {"POST", "/v1/orphans/{id}/adopt", orphans_adopt, ROLE_MEMBER, ROUTE_EMPTY, NULL, NULL,
     "204 404 409 412", "adoptOrphan", "Takes it for the project's own from now on."},
    {"POST", "/v1/orphans/{id}/delete", orphans_delete, ROLE_MEMBER, ROUTE_EMPTY | ROUTE_TASK, NULL,
     NULL, "202:Task 204 404 409 412 422 501 502 504", "deleteOrphan", "Deletes it at its VIM."},
    {"GET", "/v1/drift", drift_list, ROLE_READER, ROUTE_LIST, NULL, NULL, "200:DriftList",
     "listDrift", "What was changed outside of vimd, and how."},
    {"POST", "/v1/drift/{id}/accept", drift_accept, ROLE_MEMBER, ROUTE_EMPTY, NULL, NULL,
     "204 404 409 412", "acceptDrift", "Takes what is there for what is wanted."},
    {"POST", "/v1/drift/{id}/repair", drift_repair, ROLE_MEMBER, ROUTE_EMPTY | ROUTE_TASK, NULL,
     NULL, "202:Task 204 404 409 412 422 501 502 504", "repairDrift",
     "Sets the fields as they are wanted."},

    {"GET", "/v1/subscriptions", subscriptions_list, ROLE_READER, ROUTE_LIST, NULL, NULL,
     "200:SubscriptionList", "listSubscriptions", "Who has events sent to them."},
    {"POST", "/v1/subscriptions", subscriptions_create, ROLE_MEMBER, ROUTE_BODY, NULL,
     "SubscriptionCreate", "201:Subscription 409 415 422", "createSubscription",
     "Has events sent, from now on."},
    {"GET", "/v1/subscriptions/{id}", subscriptions_get, ROLE_READER, 0, NULL, NULL,
     "200:Subscription 404", "getSubscription", "One, with how its delivery goes."},
    {"PATCH", "/v1/subscriptions/{id}", subscriptions_update, ROLE_MEMBER, ROUTE_BODY, NULL,
     "SubscriptionUpdate", "200:Subscription 404 409 415 422", "updateSubscription",
     "Changes it (JSON merge patch)."},
    {"DELETE", "/v1/subscriptions/{id}", subscriptions_delete, ROLE_MEMBER, 0, NULL, NULL,
     "204 404", "deleteSubscription", "Ends it."},
    {"GET", "/v1/dead-letters", dead_letters_list, ROLE_READER, ROUTE_LIST, NULL, NULL,
     "200:DeadLetterList", "listDeadLetters", "Events that could not be delivered."},
    {"GET", "/v1/dead-letters/{id}", dead_letters_get, ROLE_READER, 0, "fields", NULL,
     "200:DeadLetter 304 404", "getDeadLetter", "One."},
    {"POST", "/v1/dead-letters/{id}/resend", dead_letters_resend, ROLE_MEMBER, ROUTE_EMPTY, NULL,
     NULL, "204 404 409", "resendDeadLetter", "Has it sent again; it goes once it is taken."},
    {"DELETE", "/v1/dead-letters/{id}", dead_letters_delete, ROLE_MEMBER, 0, NULL, NULL, "204 404",
     "deleteDeadLetter", "Forgets it."},

    {"GET", "/v1/tokens", tokens_list, ROLE_ADMIN, ROUTE_LIST, NULL, NULL, "200:TokenList",
     "listTokens", "The access tokens, without their secrets."},
    {"POST", "/v1/tokens", tokens_create, ROLE_ADMIN, ROUTE_BODY, NULL, "TokenCreate",
     "201:TokenCreated 415 422", "createToken", "Makes a token; its secret is shown this once."},
    {"GET", "/v1/tokens/{id}", tokens_get, ROLE_ADMIN, 0, "fields", NULL, "200:Token 404",
     "getToken", "One token, without its secret."},
    {"DELETE", "/v1/tokens/{id}", tokens_revoke, ROLE_ADMIN, 0, NULL, NULL, "204 404",
     "revokeToken", "Revokes a token."},

    {"GET", "/v1/network-services", resources_list, ROLE_READER, ROUTE_LIST | ROUTE_CHEAP, NULL,
     NULL, "200:{Kind}List", "list{Kinds}", "The network services, without their graphs."},
    {"POST", "/v1/network-services", services_create, ROLE_MEMBER, ROUTE_BODY | ROUTE_TASK,
     "dryRun", "{Kind}Create", "200:{Kind}Verdict 201:{Kind} 202:Task 409 415 422 501 502 504",
     "create{Kind}", "Makes a network service: one task for all of it."},
    {"GET", "/v1/network-services/{id}", services_get, ROLE_READER, 0, "fields", NULL,
     "200:{Kind} 304 404", "get{Kind}", "One network service with its graph."},
    {"PATCH", "/v1/network-services/{id}", services_update, ROLE_MEMBER, ROUTE_BODY | ROUTE_TASK,
     "dryRun", "{Kind}Update", "200:{Kind} 202:Task 404 409 412 415 422 501 502 504",
     "update{Kind}",
     "Changes its description (JSON merge patch): adds, changes, removes elements."},
    {"PUT", "/v1/network-services/{id}", services_replace, ROLE_MEMBER, ROUTE_BODY | ROUTE_TASK,
     "dryRun", "{Kind}Create", "200:{Kind} 202:Task 404 409 412 415 422 501 502 504",
     "replace{Kind}", "Replaces its description: adds, changes and removes what differs."},
    {"DELETE", "/v1/network-services/{id}", services_delete, ROLE_MEMBER, ROUTE_TASK, NULL, NULL,
     "202:Task 204 404 409 412 422 501 502 504", "delete{Kind}",
     "Deletes it and all it is made of."},
    {"POST", "/v1/network-services/{id}/actions", services_act, ROLE_MEMBER,
     ROUTE_BODY | ROUTE_TASK, NULL, "{Kind}Action",
     "200:{Kind} 202:Task 404 409 412 415 422 501 502 504", "act{Kind}",
     "heal makes anew what is lost, scale changes how many instances of a VNF there are."},
    {"GET", "/v1/network-services/{id}/tasks", services_tasks, ROLE_READER, ROUTE_LIST, NULL, NULL,
     "200:TaskList 404", "listNetworkServiceTasks", "Its history: its tasks, and their parts."},

    {"GET", "/v1/{plural}", resources_list, ROLE_READER, ROUTE_LIST | ROUTE_CHEAP, NULL, NULL,
     "200:{Kind}List", "list{Kinds}", "What there is, as fresh as the poller."},
    {"POST", "/v1/{plural}", resources_create, ROLE_MEMBER, ROUTE_BODY | ROUTE_TASK, "dryRun",
     "{Kind}Create", "200:Verdict 201:{Kind} 202:Task 409 415 422 501 502 504", "create{Kind}",
     "Makes one."},
    {"GET", "/v1/{plural}/{id}", resources_get, ROLE_READER, ROUTE_CHEAP, "fresh fields", NULL,
     "200:{Kind} 304 404 501 502 504", "get{Kind}", "One, as fresh as the poller or fresh."},
    {"PATCH", "/v1/{plural}/{id}", resources_update, ROLE_MEMBER, ROUTE_BODY | ROUTE_TASK, NULL,
     "{Kind}Update", "200:{Kind} 202:Task 404 409 412 415 422 501 502 504", "update{Kind}",
     "Changes it (JSON merge patch)."},
    {"DELETE", "/v1/{plural}/{id}", resources_delete, ROLE_MEMBER, ROUTE_TASK, NULL, NULL,
     "202:Task 204 404 409 412 422 501 502 504", "delete{Kind}", "Deletes it."},
    {"POST", "/v1/{plural}/{id}/actions", resources_act, ROLE_MEMBER,
     ROUTE_BODY | ROUTE_TASK | ROUTE_ACTIONS, NULL, "{Kind}Action",
     "200:{Kind} 201:Image 202:Task 404 409 412 415 422 501 502 504", "act{Kind}",
     "Does something to it."},
    {"PUT", "/v1/{plural}/{id}/data", resources_upload, ROLE_MEMBER,
     ROUTE_SPOOL | ROUTE_TASK | ROUTE_DATA, NULL, "Data",
     "200:{Kind} 202:Task 404 409 412 413 415 422 501 502 504", "upload{Kind}Data",
     "Uploads its data."},
};

#define ROUTE_COUNT (sizeof(routes) / sizeof(routes[0]))

const struct route *routes_all(size_t *ret_count)
{
    *ret_count = ROUTE_COUNT;
    return routes;
}

static bool fits(const struct route *route, const struct kind *kind)
{
    return !((route->flags & ROUTE_ACTIONS) && kind->actions == NULL) &&
           !((route->flags & ROUTE_DATA) && strcmp(kind->name, "image") != 0);
}

static void cut_segments(struct route_entry *entry)
{
    const char *at = entry->template;
    while (*at == '/') {
        size_t length = strcspn(++at, "/");
        entry->segments[entry->segment_count].text = *at == '{' ? NULL : at;
        entry->segments[entry->segment_count++].length = length;
        at += length;
    }
}

static void add_entry(struct route_table *table, const struct route *route, const struct kind *kind)
{
    struct route_entry *entry = &table->entries[table->count++];
    entry->route = route;
    entry->kind = kind;
    const char *plural = strstr(route->template, "{plural}");
    entry->template = plural ? text_format("%.*s%s%s", (int)(plural - route->template),
                                           route->template, kind->plural, plural + 8)
                             : text_duplicate(route->template);
    cut_segments(entry);
}

/* All routes with two segments or more have a literal second one, and it tells most of them apart. */
static unsigned bucket_of(unsigned segment_count, const char *text, size_t length)
{
    unsigned hash = segment_count;
    for (size_t i = 0; i < length; i++) {
        hash = hash * 31 + (unsigned char)text[i];
    }
    return (hash ^ hash >> 6) % ROUTE_BUCKETS;
}

static void fill_buckets(struct route_table *table)
{
    for (size_t i = table->count; i-- > 0;) {
        struct route_entry *entry = &table->entries[i];
        unsigned which = entry->segment_count > 1;
        assert(entry->segments[which].text);
        struct route_entry **bucket = &table->buckets[bucket_of(
            entry->segment_count, entry->segments[which].text, entry->segments[which].length)];
        entry->next = *bucket;
        *bucket = entry;
    }
}

/* Routes of network services are written out, and have their kind all the same. */
static const struct kind *kind_of(const struct route *route)
{
    return strstr(route->template, "/v1/network-services") && !strstr(route->template, "/tasks")
               ? kinds_service()
               : NULL;
}

struct route_table *routes_new(void)
{
    size_t kind_count;
    const struct kind *kinds = kinds_all(&kind_count);
    struct route_table *table = MEMORY_NEW(struct route_table);
    table->entries = memory_new_array(ROUTE_COUNT * kind_count, sizeof(*table->entries));
    for (size_t i = 0; i < ROUTE_COUNT; i++) {
        if (strstr(routes[i].template, "{plural}") == NULL) {
            add_entry(table, &routes[i], kind_of(&routes[i]));
        }
    }
    for (size_t kind = 0; kind < kind_count; kind++) {
        for (size_t i = 0; i < ROUTE_COUNT; i++) {
            if (strstr(routes[i].template, "{plural}") && fits(&routes[i], &kinds[kind])) {
                add_entry(table, &routes[i], &kinds[kind]);
            }
        }
    }
    fill_buckets(table);
    return table;
}

void routes_free(struct route_table *table)
{
    if (table) {
        for (size_t i = 0; i < table->count; i++) {
            free(table->entries[i].template);
        }
        free(table->entries);
        free(table);
    }
}

/* --- Matching -------------------------------------------------------------------------------- */

struct path {
    struct {
        const char *text;
        size_t length;
    } segments[ROUTE_SEGMENTS];
    unsigned count;
};

static bool path_cut(const char *text, struct path *path)
{
    path->count = 0;
    while (*text == '/') {
        size_t length = 0;
        for (text++; text[length] != '\0' && text[length] != '/'; length++) {
        }
        if (length == 0 || path->count == ROUTE_SEGMENTS) {
            return false;
        }
        path->segments[path->count].text = text;
        path->segments[path->count++].length = length;
        text += length;
    }
    return path->count > 0 && *text == '\0';
}

/* Only what a store takes as an id can be the name of something. */
static bool is_id(const char *text, size_t length)
{
    static const bool allowed[256] = {
        ['a' ... 'z'] = true, ['A' ... 'Z'] = true, ['0' ... '9'] = true,
        ['-'] = true,         ['_'] = true,         ['.'] = true,
    };
    bool good = length < CALL_ID_SIZE;
    for (size_t i = 0; i < length && good; i++) {
        good = allowed[(unsigned char)text[i]];
    }
    return good;
}

static bool entry_matches(const struct route_entry *entry, const struct path *path)
{
    if (entry->segment_count != path->count) {
        return false;
    }
    /* Routes begin alike and differ in their second segment, so look from the end. */
    for (unsigned i = path->count; i-- > 0;) {
        if (entry->segments[i].text == NULL) {
            continue;
        }
        if (entry->segments[i].length != path->segments[i].length ||
            memcmp(entry->segments[i].text, path->segments[i].text, path->segments[i].length) !=
                0) {
            return false;
        }
    }
    return true;
}

static bool entry_id(const struct route_entry *entry, const struct path *path,
                     char ret_id[CALL_ID_SIZE])
{
    bool found = false;
    for (unsigned i = 0; i < path->count; i++) {
        if (entry->segments[i].text == NULL) {
            if (!is_id(path->segments[i].text, path->segments[i].length)) {
                return false;
            }
            if (found) {
                continue; /* the handler looks for it */
            }
            found = true;
            memcpy(ret_id, path->segments[i].text, path->segments[i].length);
            ret_id[path->segments[i].length] = '\0';
        }
    }
    return true;
}

void route_id(const struct route_entry *entry, const char *path, char ret_id[CALL_ID_SIZE])
{
    ret_id[0] = '\0';
    for (unsigned i = 0; i < entry->segment_count; i++) {
        size_t length = entry->segments[i].length;
        path++;
        if (entry->segments[i].text == NULL) {
            for (length = 0; path[length] != '\0' && path[length] != '/'; length++) {
                ret_id[length] = path[length];
            }
            ret_id[length] = '\0';
            return;
        }
        path += length;
    }
}

static void add_allowed(struct text *allow, const char *method)
{
    text_printf(allow, "%s%s", allow->length > 0 ? ", " : "", method);
    if (strcmp(method, "GET") == 0) {
        text_add(allow, ", HEAD");
    }
}

const struct route_entry *routes_match(const struct route_table *table, const char *method,
                                       const char *path_text, char ret_id[CALL_ID_SIZE],
                                       struct text *ret_allow)
{
    struct path path;
    ret_id[0] = '\0';
    if (!path_cut(path_text, &path)) {
        return NULL;
    }
    if (strcmp(method, "HEAD") == 0) {
        method = "GET";
    }
    unsigned which = path.count > 1;
    unsigned bucket = bucket_of(path.count, path.segments[which].text, path.segments[which].length);
    for (const struct route_entry *entry = table->buckets[bucket]; entry; entry = entry->next) {
        if (!entry_matches(entry, &path) || !entry_id(entry, &path, ret_id)) {
            continue;
        }
        if (strcmp(entry->route->method, method) == 0) {
            return entry;
        }
        if (ret_allow) {
            add_allowed(ret_allow, entry->route->method);
        }
    }
    if (ret_allow && ret_allow->length > 0) {
        text_add(ret_allow, ", OPTIONS");
    }
    return NULL;
}

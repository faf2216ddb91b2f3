#include "services.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define PAGES_MAX 100000
#define PAGE_SIZE 1000 /* what Nova and Glance allow unless told otherwise */
#define PORTS_BY_SERVER 50 /* servers named in one request for ports; more: all ports */

#define CELLS_VERSION "2.69" /* the first that tells of servers in a cell that is down */

#define PORT_FIELDS                                                                    \
    "fields=id&fields=network_id&fields=mac_address&fields=fixed_ips&fields=device_id" \
    "&fields=security_groups"

int64_t os_wall_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void os_cursor_read(const char *kept, struct os_cursor *ret_cursor)
{
    int64_t now = os_wall_ms();
    char phase[40] = "";
    char *at;

    memset(ret_cursor, 0, sizeof(*ret_cursor));
    if (kept == NULL) {
        return;
    }
    if (sscanf(kept, "%39s %255[^\n]", phase, ret_cursor->id) != 2) {
        memset(ret_cursor, 0, sizeof(*ret_cursor));
        return;
    }
    at = strchr(phase, '@');
    if (at != NULL) {
        *at = '\0';
        ret_cursor->since = strtoll(at + 1, NULL, 10);
        /* The clock was set back: better too long a wait than one without end. */
        if (ret_cursor->since > now || ret_cursor->since < 0) {
            ret_cursor->since = now;
        }
    }
    (void)snprintf(ret_cursor->phase, sizeof(ret_cursor->phase), "%.15s", phase);
}

void os_cursor_keep(struct os_call *c, const char *phase, int64_t since, const char *id)
{
    char text[320];

    if (since == 0) {
        (void)snprintf(text, sizeof(text), "%s %s", phase, id);
    } else {
        (void)snprintf(text, sizeof(text), "%s@%lld %s", phase, (long long)since, id);
    }
    c->os->host->keep(c->call, text);
}

json_t *os_spec_read(struct os_call *c, const struct vim_op *op)
{
    const char *text = op->spec == NULL ? "{}" : op->spec;
    json_t *spec = os_json_parse(text, strlen(text));

    if (!json_is_object(spec)) {
        json_decref(spec);
        (void)os_fail(c, VIM_E_INVALID, "the wanted fields are no JSON object");
        return NULL;
    }
    return spec;
}

static unsigned limit_of(const struct os_call *c, unsigned page_size)
{
    if (page_size != 0) {
        return page_size;
    }
    return c->os->config->page_size > 0 ? (unsigned)c->os->config->page_size : PAGE_SIZE;
}

/* Pages of server groups are told apart by a number alone. */
static int pages_have_no_links(const struct os_kind *kind)
{
    return strcmp(kind->name, "affinity-group") == 0;
}

/* The query string of the first page. */
static char *first_query(const struct os_call *c, const struct os_kind *kind, const char *query,
                         unsigned page_size)
{
    int all = c->os->config->all_projects &&
              (strcmp(kind->name, "server") == 0 || kind->service == OS_VOLUME);

    if (c->os->config->all_projects && pages_have_no_links(kind)) {
        return os_text("limit=%u&all_projects=True", limit_of(c, page_size));
    }
    return os_text("limit=%u%s%s%s%s%s", limit_of(c, page_size), kind->filter == NULL ? "" : "&",
                   kind->filter == NULL ? "" : kind->filter, *query == '\0' ? "" : "&", query,
                   all ? "&all_tenants=1" : "");
}

/* What reads a page: hands it on, and stores the query of the next. */
typedef int (*page_fn)(struct os_call *c, const struct os_kind *kind,
                       const struct http_reply *reply, void *context, char **ret_next);

static int each_page(struct os_call *c, const struct os_kind *kind, char *first, page_fn fn,
                     void *context, int64_t *date_ms)
{
    OS_TEXT query = first;
    OS_TEXT mark = NULL; /* a page passed earlier: who comes there again goes round (Brent) */

    for (unsigned page = 0; query != NULL; page++) {
        HTTP_REPLY reply = {0};
        OS_TEXT next = NULL;
        int64_t asked = os_now();
        int rc = os_get(c, kind->service, kind->microversion, &reply, "%s?%s",
                        kind->list == NULL ? kind->path : kind->list, query);
        if (page > 0 && (rc == VIM_E_INVALID || rc == VIM_E_NOT_FOUND)) {
            return os_fail(c, VIM_E_UNAVAILABLE,
                           "the %s at which a page ended is gone: the list has to be read anew",
                           kind->name);
        }
        if (rc != VIM_OK) {
            return rc;
        }
        if (page == 0 && date_ms != NULL && reply.date_ms != 0) {
            /* The answer is dated when it was finished, and holds what was there when it began. */
            *date_ms = reply.date_ms - (os_now() - asked);
        }
        rc = fn(c, kind, &reply, context, &next);
        if (rc == VIM_E_INTERNAL) {
            return os_fail(c, VIM_E_UNAVAILABLE, "%s answered with something that is no list of %s",
                           os_service_name(kind->service), kind->plural);
        }
        if (rc != VIM_OK) {
            return rc;
        }
        if (next != NULL && (page >= PAGES_MAX || strcmp(next, query) == 0 ||
                             (mark != NULL && strcmp(next, mark) == 0))) {
            return os_fail(c, VIM_E_UNAVAILABLE, "the pages of %s do not end", kind->plural);
        }
        if ((page & (page - 1)) == 0) {
            free(mark);
            mark = query;
        } else {
            free(query);
        }
        query = next;
        next = NULL;
    }
    return VIM_OK;
}

struct found_pages {
    os_found_fn fn;
    void *context;
    const char *query; /* of the first page */
    unsigned count; /* of what was read */
};

static int count_found(void *context, struct os_found *found)
{
    struct found_pages *pages = context;

    pages->count++;
    return pages->fn(pages->context, found);
}

static int found_page(struct os_call *c, const struct os_kind *kind, const struct http_reply *reply,
                      void *context, char **ret_next)
{
    struct found_pages *pages = context;
    unsigned before = pages->count;
    int rc = os_read_page(kind, reply->body, reply->length, count_found, pages, ret_next);

    (void)c;
    /* Without links only an empty page says that it was the last. */
    if (rc == VIM_OK && pages_have_no_links(kind) && pages->count > before) {
        *ret_next = os_text("%s&offset=%u", pages->query, pages->count);
    }
    return rc;
}

int os_pages(struct os_call *c, const struct os_kind *kind, const char *query, unsigned page_size,
             os_found_fn fn, void *context, int64_t *date_ms)
{
    char *first = first_query(c, kind, query, page_size);
    OS_TEXT copy = first == NULL ? NULL : os_text("%s", first);
    struct found_pages pages = {.fn = fn, .context = context, .query = copy};

    if (copy == NULL) {
        free(first);
        return os_fail(c, VIM_E_INTERNAL, "not enough memory");
    }
    return each_page(c, kind, first, found_page, &pages, date_ms);
}

/* --- Servers and their ports ----------------------------------------------------------------- */

static int ports_page(struct os_call *c, const struct os_kind *kind, const struct http_reply *reply,
                      void *context, char **ret_next)
{
    (void)c;
    (void)kind;
    return os_read_server_ports(reply->body, reply->length, context, ret_next);
}

static int fetch_ports(struct os_call *c, char *query, json_t *index)
{
    if (query == NULL) {
        return os_fail(c, VIM_E_INTERNAL, "not enough memory");
    }
    return each_page(c, os_kind_find("port"), query, ports_page, index, NULL);
}

int os_server_ports(struct os_call *c, struct os_found *server)
{
    OS_JSON index = json_object();
    OS_TEXT escaped = os_escape(server->id);
    int rc;

    if (escaped == NULL) {
        return os_fail(c, VIM_E_INTERNAL, "not enough memory");
    }
    rc = fetch_ports(c, os_text("limit=%u&" PORT_FIELDS "&device_id=%s", limit_of(c, 0), escaped),
                     index);
    if (rc == VIM_OK) {
        os_join_ports(server, index);
    }
    return rc;
}

/* --- Routers and their ports ------------------------------------------------------------------ */

/* What a port of a router is owned by, plain, distributed and highly available. */
#define ROUTER_PORTS                                                                          \
    "device_owner=network:router_interface&device_owner=network:router_interface_distributed" \
    "&device_owner=network:ha_router_replicated_interface"

int os_router_interfaces(struct os_call *c, struct os_found *router)
{
    OS_JSON index = json_object();
    int rc = fetch_ports(c,
                         os_text("limit=%u&" PORT_FIELDS "&" ROUTER_PORTS "&device_id=%s",
                                 limit_of(c, 0), router->id),
                         index);

    if (rc == VIM_OK) {
        os_join_interfaces(router, index);
    }
    return rc;
}

/* The servers of a pass, until their ports are known: those are asked for afterwards, so that a
 * server seen as ACTIVE is shown with the addresses that it had by then. */
struct servers {
    struct os_found *items;
    size_t count;
    size_t room;
};

static void servers_clear(struct servers *servers)
{
    for (size_t at = 0; at < servers->count; at++) {
        os_found_clear(&servers->items[at]);
    }
    free(servers->items);
}

static int servers_add(void *context, struct os_found *found)
{
    struct servers *servers = context;

    if (servers->count == servers->room) {
        size_t room = servers->room == 0 ? 64 : servers->room * 2;
        struct os_found *grown = realloc(servers->items, room * sizeof(*grown));
        if (grown == NULL) {
            return VIM_E_INTERNAL;
        }
        servers->items = grown;
        servers->room = room;
    }
    servers->items[servers->count++] = *found;
    found->body = NULL;
    return VIM_OK;
}

static int fetch_all_ports(struct os_call *c, const struct servers *servers, json_t *index)
{
    OS_TEXT query = os_text("limit=%u&" PORT_FIELDS, limit_of(c, 0));
    unsigned named = 0;

    for (size_t at = 0; at < servers->count && servers->count <= PORTS_BY_SERVER; at++) {
        char *longer;
        OS_TEXT escaped = NULL;
        if ((servers->items[at].flags & VIM_ITEM_GONE) != 0) {
            continue;
        }
        escaped = os_escape(servers->items[at].id);
        longer =
            query == NULL || escaped == NULL ? NULL : os_text("%s&device_id=%s", query, escaped);
        free(query);
        query = longer;
        named++;
    }
    if (named == 0 && servers->count <= PORTS_BY_SERVER) {
        return VIM_OK;
    }
    char *owned = query;
    query = NULL;
    return fetch_ports(c, owned, index);
}

/* Tells the next pass from when to ask: by the far side's own clock, and a little before, since a
 * change may become visible later than the time it bears. */
static void keep_since(struct os_call *c, int64_t date_ms)
{
    time_t seconds = (time_t)((date_ms - c->os->config->changes_overlap) / 1000);
    char text[32];
    struct tm parts;

    if (date_ms != 0 && gmtime_r(&seconds, &parts) != NULL &&
        strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts) > 0) {
        c->os->host->keep(c->call, text);
    }
}

/* --- Cells that are down ---------------------------------------------------------------------- */

/* Nova answers for the cells that it reaches and leaves out the servers of the others, without a
 * word. Only from 2.69 on, and only in a list without filter and page size, they are there, as
 * UNKNOWN; a list of names keeps that short. Stores them in RET_IDS, an object; a Nova too old to
 * tell has none. */
static int hidden_servers(struct os_call *c, json_t *ret_ids)
{
    HTTP_REPLY reply = {0};
    OS_JSON root = NULL;
    const json_t *servers;
    const json_t *entry;
    size_t at;
    int rc = os_get(c, OS_COMPUTE, CELLS_VERSION, &reply, "/servers%s",
                    c->os->config->all_projects ? "?all_tenants=1" : "");

    if (rc != VIM_OK) {
        return rc == VIM_E_UNSUPPORTED ? VIM_OK : rc;
    }
    root = os_json_parse(reply.body, reply.length);
    servers = json_object_get(root, "servers");
    if (!json_is_array(servers)) {
        return os_fail(c, VIM_E_UNAVAILABLE, "compute answered with something that is no list");
    }
    json_array_foreach((json_t *)servers, at, entry)
    {
        const char *status = os_json_text(entry, "status");
        const char *id = os_json_text(entry, "id");
        if (status != NULL && strcmp(status, "UNKNOWN") == 0 && id != NULL && *id != '\0') {
            json_object_set_new(ret_ids, id, json_true());
        }
    }
    return VIM_OK;
}

int os_server_list_is_whole(struct os_call *c)
{
    OS_JSON hidden = json_object();
    int rc = hidden_servers(c, hidden);

    if (rc == VIM_OK && json_object_size(hidden) > 0) {
        rc = os_fail(c, VIM_E_UNAVAILABLE,
                     "a cell of compute is down, and %zu servers are out of sight",
                     json_object_size(hidden));
    }
    return rc;
}

/* Shows the servers that are out of sight as UNKNOWN and leaves the rest of them as it was. */
static int emit_hidden(struct os_call *c, const struct servers *shown)
{
    OS_JSON hidden = json_object();
    const char *id;
    json_t *value;
    int rc = hidden_servers(c, hidden);

    for (size_t at = 0; at < shown->count; at++) {
        json_object_del(hidden, shown->items[at].id);
    }
    json_object_foreach(hidden, id, value)
    {
        struct os_found found = {.kind = "server", .status = "UNKNOWN"};
        if (rc == VIM_OK && strlen(id) < sizeof(found.id)) {
            memcpy(found.id, id, strlen(id) + 1);
            rc = os_emit(c, &found);
        }
    }
    return rc;
}

static int list_servers(struct os_call *c, const struct os_kind *kind, const char *since,
                        unsigned page_size)
{
    __attribute__((cleanup(servers_clear))) struct servers servers = {0};
    OS_JSON index = json_object();
    OS_TEXT escaped = since == NULL ? NULL : os_escape(since);
    OS_TEXT query = since == NULL ? os_text("%s", "") : os_text("changes-since=%s", escaped);
    int64_t date_ms = 0;
    int rc;

    if (query == NULL || (since != NULL && escaped == NULL)) {
        return os_fail(c, VIM_E_INTERNAL, "not enough memory");
    }
    rc = os_pages(c, kind, query, page_size, servers_add, &servers, &date_ms);
    if (rc == VIM_OK) {
        rc = fetch_all_ports(c, &servers, index);
    }
    for (size_t at = 0; rc == VIM_OK && at < servers.count; at++) {
        struct os_found *found = &servers.items[at];
        if ((found->flags & VIM_ITEM_GONE) != 0) {
            if (since == NULL) {
                continue;
            }
        } else {
            os_join_ports(found, index);
        }
        rc = os_emit(c, found);
    }
    /* Of a list longer than a page Nova does not tell. */
    if (rc == VIM_OK && since == NULL && servers.count < PAGE_SIZE) {
        rc = emit_hidden(c, &servers);
    }
    if (rc == VIM_OK) {
        keep_since(c, date_ms);
    }
    return rc < 0 ? rc : VIM_OK;
}

int os_server_get(struct os_call *c, const char *id)
{
    OS_FOUND found = {0};
    int rc = os_fetch(c, os_kind_find("server"), id, &found);

    if (rc == VIM_OK) {
        rc = os_server_ports(c, &found);
    }
    if (rc == VIM_OK) {
        rc = os_emit(c, &found);
    }
    return rc < 0 ? rc : VIM_OK;
}

/* --- All other kinds ------------------------------------------------------------------------- */

struct emission {
    struct os_call *c;
    char project[64];
};

static int emit_found(void *context, struct os_found *found)
{
    const struct emission *emission = context;

    if ((found->flags & VIM_ITEM_GONE) != 0) {
        return VIM_OK;
    }
    /* An administrator's list holds the things of every project. */
    if (!emission->c->os->config->all_projects && (found->flags & VIM_ITEM_SHARED) == 0 &&
        found->project[0] != '\0' && emission->project[0] != '\0' &&
        strcmp(found->project, emission->project) != 0) {
        return VIM_OK;
    }
    return os_emit(emission->c, found);
}

/* Their ports are asked for afterwards, as those of servers. */
static int list_routers(struct os_call *c, const struct os_kind *kind, struct emission *emission,
                        unsigned page_size)
{
    __attribute__((cleanup(servers_clear))) struct servers routers = {0};
    OS_JSON index = json_object();
    int rc = os_pages(c, kind, "", page_size, servers_add, &routers, NULL);

    if (rc == VIM_OK && routers.count > 0) {
        rc = fetch_ports(c, os_text("limit=%u&" PORT_FIELDS "&" ROUTER_PORTS, limit_of(c, 0)),
                         index);
    }
    for (size_t at = 0; rc == VIM_OK && at < routers.count; at++) {
        os_join_interfaces(&routers.items[at], index);
        rc = emit_found(emission, &routers.items[at]);
    }
    return rc < 0 ? rc : VIM_OK;
}

int os_list(struct os_call *c, const struct os_kind *kind, const char *since, unsigned page_size)
{
    struct emission emission = {.c = c};
    struct os_token *token;
    int has = 1;
    int rc;

    if (strcmp(kind->name, "server") == 0) {
        return list_servers(c, kind, since, page_size);
    }
    if (kind->service == OS_VOLUME) {
        rc = os_has_service(c, OS_VOLUME, &has);
        if (rc != VIM_OK || !has) {
            return rc; /* a cloud without Cinder has no volumes, which is no error */
        }
    }
    rc = keystone_token(c, &token);
    if (rc != VIM_OK) {
        return rc;
    }
    memcpy(emission.project, token->catalog.project, sizeof(emission.project));
    keystone_release(c->os, token);
    if (strcmp(kind->name, "router") == 0) {
        return list_routers(c, kind, &emission, page_size);
    }
    rc = os_pages(c, kind, "", page_size, emit_found, &emission, NULL);
    return rc < 0 ? rc : VIM_OK;
}

#include "services.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define PAGES_MAX 100000
#define PAGE_SIZE 1000 /* what Nova and Glance allow unless told otherwise */
#define PORTS_BY_SERVER 50 /* servers named in one request for ports; more: all ports */

#define PORT_FIELDS                                                                    \
    "fields=id&fields=network_id&fields=mac_address&fields=fixed_ips&fields=device_id" \
    "&fields=security_groups"

void os_cursor_read(const char *kept, struct os_cursor *ret_cursor)
{
    memset(ret_cursor, 0, sizeof(*ret_cursor));
    if (kept != NULL && sscanf(kept, "%15s %255[^\n]", ret_cursor->phase, ret_cursor->id) != 2) {
        memset(ret_cursor, 0, sizeof(*ret_cursor));
    }
}

void os_cursor_keep(struct os_call *c, const char *phase, const char *id)
{
    char text[300];

    (void)snprintf(text, sizeof(text), "%s %s", phase, id);
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

/* The query string of the first page. */
static char *first_query(const struct os_call *c, const struct os_kind *kind, const char *query,
                         unsigned page_size)
{
    int all = c->os->config->all_projects && strcmp(kind->name, "server") == 0;

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

    for (unsigned page = 0; query != NULL; page++) {
        HTTP_REPLY reply = {0};
        OS_TEXT next = NULL;
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
        if (page == 0 && date_ms != NULL) {
            *date_ms = reply.date_ms;
        }
        rc = fn(c, kind, &reply, context, &next);
        if (rc == VIM_E_INTERNAL) {
            return os_fail(c, VIM_E_UNAVAILABLE, "%s answered with something that is no list of %s",
                           os_service_name(kind->service), kind->plural);
        }
        if (rc != VIM_OK) {
            return rc;
        }
        if (next != NULL && (page >= PAGES_MAX || strcmp(next, query) == 0)) {
            return os_fail(c, VIM_E_UNAVAILABLE, "the pages of %s do not end", kind->plural);
        }
        free(query);
        query = next;
        next = NULL;
    }
    return VIM_OK;
}

struct found_pages {
    os_found_fn fn;
    void *context;
};

static int found_page(struct os_call *c, const struct os_kind *kind, const struct http_reply *reply,
                      void *context, char **ret_next)
{
    const struct found_pages *pages = context;

    (void)c;
    return os_read_page(kind, reply->body, reply->length, pages->fn, pages->context, ret_next);
}

int os_pages(struct os_call *c, const struct os_kind *kind, const char *query, unsigned page_size,
             os_found_fn fn, void *context, int64_t *date_ms)
{
    struct found_pages pages = {.fn = fn, .context = context};
    char *first = first_query(c, kind, query, page_size);

    if (first == NULL) {
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

int os_list(struct os_call *c, const struct os_kind *kind, const char *since, unsigned page_size)
{
    struct emission emission = {.c = c};
    struct os_token *token;
    int rc;

    if (strcmp(kind->name, "server") == 0) {
        return list_servers(c, kind, since, page_size);
    }
    rc = keystone_token(c, &token);
    if (rc != VIM_OK) {
        return rc;
    }
    memcpy(emission.project, token->catalog.project, sizeof(emission.project));
    keystone_release(c->os, token);
    rc = os_pages(c, kind, "", page_size, emit_found, &emission, NULL);
    return rc < 0 ? rc : VIM_OK;
}

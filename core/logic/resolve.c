/*
 * logic/resolve.c - references in a request: ids, or names where they are unique.
 */
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/ids.h"
#include "base/json.h"
#include "base/text.h"
#include "logic/access.h"
#include "logic/resources.h"
#include "model/service.h"

/* More than any valid body has: a body with more is refused for the length of its lists, and must not
 * cost a search for each element. */
#define REFERENCES_MAX 512
/* Of a network service; what was found once is not searched for again. */
#define SERVICE_REFERENCES_MAX 100000
/* Of a network service; what was found once is not searched for again. */
#define SERVICE_REFERENCES_MAX 100000

struct resolver {
    struct call *call;
    const char *vim, *project;
    struct findings *findings;
    struct failure *failure;
    unsigned count, most;
    bool service;
    json_t *known; /* "KIND VALUE" -> id, of a service */
};

/* Does the member of a stored body equal TEXT? */
static bool member_is(const char *body, size_t length, const char *member, const char *text)
{
    struct json_piece piece;
    return json_peek(body, length, member, &piece) == VIM_OK && json_piece_equals(piece, text);
}

/* 1: VALUE is the id of something that may be used; 0: it is not; else the store's error. */
static int find_by_id(struct resolver *resolver, const char *kind, const char *pointer,
                      const char *value)
{
    struct row row = {0};
    if (!id_valid(value)) {
        return 0;
    }
    int code =
        store_get(resolver->call->logic->environment.store, kind, value, &row, resolver->failure);
    if (code == VIM_E_NOT_FOUND) {
        return 0;
    }
    if (code != VIM_OK) {
        return code;
    }
    /* Operators see what belongs to others, but do not build on it. */
    bool visible = access_changes(resolver->call->principal, row.parent) ||
                   strcmp(row.parent, PROJECT_SHARED) == 0 ||
                   strcmp(row.parent, resolver->project) == 0;
    if (visible && !member_is(row.body, row.body_length, "vim", resolver->vim)) {
        findings_add(resolver->findings, pointer, "%s %s lives at another VIM than %s", kind, value,
                     resolver->vim);
    }
    row_free(&row);
    return visible ? 1 : 0;
}

struct name_search {
    const char *vim, *name;
    char id[ID_SIZE];
    unsigned count;
};

static int match_name(void *argument, const struct vim_item *item)
{
    struct name_search *search = argument;
    size_t length = strlen(item->body);
    if (strlen(item->id) < ID_SIZE && member_is(item->body, length, "name", search->name) &&
        member_is(item->body, length, "vim", search->vim)) {
        strcpy(search->id, item->id);
        search->count++;
    }
    return search->count > 1;
}

static int find_by_name(struct resolver *resolver, const char *kind, struct name_search *search)
{
    const char *const parents[] = {PROJECT_SHARED, resolver->project};
    for (unsigned i = 0; i < 2; i++) {
        struct vim_scan scan = {.size = sizeof(scan), .collection = kind, .parent = parents[i]};
        int code = store_scan(resolver->call->logic->environment.store, &scan, match_name, search,
                              resolver->failure);
        if (code != VIM_OK) {
            return code;
        }
    }
    return VIM_OK;
}

static int find(struct resolver *resolver, const char *kind, const char *pointer, const char *value,
                char **ret_value)
{
    int code = find_by_id(resolver, kind, pointer, value);
    if (code != 0) {
        return code > 0 ? VIM_OK : code;
    }
    struct name_search search = {.vim = resolver->vim, .name = value};
    code = find_by_name(resolver, kind, &search);
    if (code != VIM_OK) {
        return code;
    }
    if (search.count == 1) {
        *ret_value = text_duplicate(search.id);
    } else if (search.count == 0) {
        findings_add(resolver->findings, pointer, "VIM %s has no %s with the id or name %s",
                     resolver->vim, kind, value);
    } else {
        findings_add(resolver->findings, pointer,
                     "VIM %s has several of kind %s with the name %s; give an id", resolver->vim,
                     kind, value);
    }
    return VIM_OK;
}

/* In a service the same image and flavor are named again and again. */
static int find_again(struct resolver *resolver, const char *kind, const char *pointer,
                      const char *value, char **ret_value)
{
    CLEANUP_FREE char *key = text_format("%s %s", kind, value);
    const char *known = json_get_text(resolver->known, key, NULL);
    if (known) {
        *ret_value = text_duplicate(known);
        return VIM_OK;
    }
    size_t before = resolver->findings->count;
    int code = find(resolver, kind, pointer, value, ret_value);
    if (code == VIM_OK && resolver->findings->count == before) {
        json_set_text(resolver->known, key, *ret_value ? *ret_value : value);
    }
    return code;
}

static int resolve(void *argument, const char *kind, const char *pointer, const char *value,
                   char **ret_value)
{
    struct resolver *resolver = argument;
    unsigned most = resolver->known ? SERVICE_REFERENCES_MAX : REFERENCES_MAX;
    if (++resolver->count > most || *value == '\0') {
        return VIM_OK; /* is refused for itself */
    }
    if (!resolver->known) {
        return find(resolver, kind, pointer, value, ret_value);
    }
    return service_is_reference(value) ? VIM_OK
                                       : find_again(resolver, kind, pointer, value, ret_value);
}

int references_resolve(struct call *call, const struct kind *kind, const char *vim,
                       const char *project, json_t *spec, struct findings *findings,
                       struct failure *failure)
{
    struct resolver resolver = {
        .call = call, .vim = vim, .project = project, .findings = findings, .failure = failure};
    CLEANUP_JSON json_t *known = kind == kinds_service() ? json_object() : NULL;
    resolver.known = known;
    return kind_each_reference(kind, spec, resolve, &resolver);
}

int references_resolve_arguments(struct call *call, const struct resource *resource,
                                 json_t *arguments, struct findings *findings,
                                 struct failure *failure)
{
    struct resolver resolver = {.call = call,
                                .vim = resource->vim,
                                .project = resource->project,
                                .findings = findings,
                                .failure = failure};
    return kind_each_argument_reference(call->kind, arguments, resolve, &resolver);
}

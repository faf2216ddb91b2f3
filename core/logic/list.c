#include "logic/list.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/memory.h"
#include "logic/route.h"

/* What the route takes besides is for its handler. */
static size_t own_parameters(const struct call *call, struct header *ret_own,
                             struct findings *findings)
{
    const struct request *request = call->request;
    size_t count = 0;
    for (size_t i = 0; i < request->query_count; i++) {
        const char *name = request->query[i].name;
        if (strchr(name, ' ') || !text_has_word(call->entry->route->query, name)) {
            ret_own[count++] = request->query[i];
        } else if (logic_query(call, name) != request->query[i].value) {
            char pointer[64];
            snprintf(pointer, sizeof(pointer), "?%.60s", name);
            findings_add(findings, pointer, "is given twice");
        }
    }
    return count;
}

bool list_begin(struct call *call, const struct vocabulary *vocabulary, const char *member,
                const char *id_ordered, struct lister *lister)
{
    struct findings findings = {0};
    lister->out = (struct text){0};
    lister->count = 0;
    lister->more = false;
    lister->last_id[0] = '\0';
    lister->entries = NULL;
    lister->header = lister->header_value = NULL;
    const struct header *query = call->request->query;
    size_t count = call->request->query_count;
    struct header *own = NULL;
    if (call->entry->route->query) {
        own = memory_new_array(count + 1, sizeof(*own));
        count = own_parameters(call, own, &findings);
        query = own;
    }
    list_query_parse(vocabulary, member, id_ordered, query, count, &lister->query, &findings);
    free(own);
    if (findings.count > 0) {
        list_query_free(&lister->query);
        logic_findings(call, 400, "invalid-query", "The query is not understood.", &findings);
        return false;
    }
    text_printf(&lister->out, "{\"%s\":[", member);
    if (lister->query.sort) {
        lister->entries = memory_new_array(list_enough(lister), sizeof(*lister->entries));
    }
    return true;
}

bool list_matches(const struct lister *lister, const char *body, size_t length)
{
    return filter_match(&lister->query.filter, body, length);
}

bool list_is_before(const struct lister *lister, const char *id)
{
    if (!lister->query.has_after) {
        return false;
    }
    int order = strcmp(id, lister->query.after_id);
    return lister->query.descending ? order >= 0 : order <= 0;
}

/* --- By id ----------------------------------------------------------------------------------- */

/* Once per row: printf() would be a good part of a list's time. */
static void copy_id(char copy[LIST_ID_SIZE], const char *id)
{
    size_t length = strnlen(id, LIST_ID_SIZE - 1);
    memcpy(copy, id, length);
    copy[length] = '\0';
}

static int take_by_id(struct lister *lister, const char *id, const char *body, size_t length)
{
    if (lister->count == lister->query.limit) {
        lister->more = true;
        return 1;
    }
    if (lister->count++ > 0) {
        text_add_char(&lister->out, ',');
    }
    if (lister->query.field_count > 0) {
        fields_project((const char *const *)lister->query.fields, lister->query.field_count, body,
                       length, &lister->out);
    } else {
        text_add_bytes(&lister->out, body, length);
    }
    copy_id(lister->last_id, id);
    return 0;
}

/* --- Sorted: a bounded heap ------------------------------------------------------------------ */

static int entry_order(const struct lister *lister, const struct sort_key *a_key, const char *a_id,
                       const struct sort_key *b_key, const char *b_id)
{
    int order = sort_key_compare(a_key, b_key);
    if (order != 0) {
        return lister->query.descending ? -order : order;
    }
    return strcmp(a_id, b_id);
}

static int entry_compare(const struct lister *lister, const struct list_entry *a,
                         const struct list_entry *b)
{
    return entry_order(lister, &a->key, a->id, &b->key, b->id);
}

static void swap(struct list_entry *a, struct list_entry *b)
{
    struct list_entry kept = *a;
    *a = *b;
    *b = kept;
}

static void sift_up(struct lister *lister, uint32_t at)
{
    while (at > 0) {
        uint32_t parent = (at - 1) / 2;
        if (entry_compare(lister, &lister->entries[at], &lister->entries[parent]) <= 0) {
            return;
        }
        swap(&lister->entries[at], &lister->entries[parent]);
        at = parent;
    }
}

static void sift_down(struct lister *lister, uint32_t count)
{
    for (uint32_t at = 0;;) {
        uint32_t largest = at;
        for (uint32_t child = 2 * at + 1; child <= 2 * at + 2 && child < count; child++) {
            if (entry_compare(lister, &lister->entries[child], &lister->entries[largest]) > 0) {
                largest = child;
            }
        }
        if (largest == at) {
            return;
        }
        swap(&lister->entries[at], &lister->entries[largest]);
        at = largest;
    }
}

static void entry_free(struct list_entry *entry)
{
    free(entry->id);
    free(entry->body);
    entry->id = entry->body = NULL;
}

static int take_sorted(struct lister *lister, const char *id, const char *body, size_t length)
{
    struct sort_key key;
    const struct list_query *query = &lister->query;
    sort_key_read(query->sort, body, length, &key);
    if (query->has_after &&
        entry_order(lister, &key, id, &query->after_key, query->after_id) <= 0) {
        return 0;
    }
    uint32_t at = lister->count;
    if (at == list_enough(lister)) {
        struct list_entry *last = &lister->entries[0];
        if (entry_order(lister, &key, id, &last->key, last->id) >= 0) {
            return 0;
        }
        entry_free(last);
        at = 0;
    }
    struct list_entry *entry = &lister->entries[at];
    struct text shown = {0};
    if (query->field_count > 0) {
        fields_project((const char *const *)query->fields, query->field_count, body, length,
                       &shown);
    } else {
        text_add_bytes(&shown, body, length);
    }
    entry->id = text_duplicate(id);
    entry->key = key;
    entry->length = shown.length;
    entry->body = text_take(&shown);
    if (lister->count < list_enough(lister)) {
        lister->count++;
        sift_up(lister, at);
    } else {
        sift_down(lister, lister->count);
    }
    return 0;
}

/* Empties the heap into `out`, first to last; the one beyond the limit only tells that there is
 * more. */
static void drain_sorted(struct lister *lister, struct sort_key *ret_last)
{
    uint32_t count = lister->count;
    for (uint32_t left = count; left > 1; left--) {
        swap(&lister->entries[0], &lister->entries[left - 1]);
        sift_down(lister, left - 1);
    }
    lister->more = count > lister->query.limit;
    lister->count = lister->more ? lister->query.limit : count;
    for (uint32_t i = 0; i < lister->count; i++) {
        if (i > 0) {
            text_add_char(&lister->out, ',');
        }
        text_add_bytes(&lister->out, lister->entries[i].body, lister->entries[i].length);
    }
    if (lister->count > 0) {
        const struct list_entry *last = &lister->entries[lister->count - 1];
        *ret_last = last->key;
        copy_id(lister->last_id, last->id);
    }
    for (uint32_t i = 0; i < count; i++) {
        entry_free(&lister->entries[i]);
    }
}

int list_take(struct lister *lister, const char *id, const char *body, size_t length)
{
    return lister->query.sort ? take_sorted(lister, id, body, length)
                              : take_by_id(lister, id, body, length);
}

int list_offer(struct lister *lister, const char *id, const char *body, size_t length)
{
    return list_matches(lister, body, length) ? list_take(lister, id, body, length) : 0;
}

/* --- The answer ------------------------------------------------------------------------------ */

static void add_encoded(struct text *text, const char *value)
{
    for (const unsigned char *c = (const unsigned char *)value; *c != '\0'; c++) {
        if ((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') ||
            strchr("-._~", *c)) {
            text_add_char(text, (char)*c);
        } else {
            text_printf(text, "%%%02X", *c);
        }
    }
}

/* <PATH?the same query with the token of the next page>; rel="next" */
static char *next_link(const struct request *request, const char *token)
{
    struct text link = {0};
    text_printf(&link, "<%s?", request->path);
    for (size_t i = 0; i < request->query_count; i++) {
        if (strcmp(request->query[i].name, "page_token") != 0) {
            add_encoded(&link, request->query[i].name);
            text_add_char(&link, '=');
            add_encoded(&link, request->query[i].value);
            text_add_char(&link, '&');
        }
    }
    text_printf(&link, "page_token=%s>; rel=\"next\"", token);
    return text_take(&link);
}

void list_finish(struct call *call, struct lister *lister)
{
    struct sort_key last = {.type = '~'};
    bool sorted = lister->query.sort != NULL;
    if (sorted) {
        drain_sorted(lister, &last);
    }
    struct answer answer;
    answer_init(&answer, 200);
    struct text *body = &lister->out;
    text_add_char(body, ']');
    if (lister->more) {
        CLEANUP_FREE char *token =
            page_token_make(&lister->query, lister->last_id, sorted ? &last : NULL);
        CLEANUP_FREE char *link = next_link(call->request, token);
        text_printf(body, ",\"next\":\"%s\"", token);
        answer_header(&answer, "Link", link);
    }
    if (lister->header) {
        answer_header(&answer, lister->header, lister->header_value);
    }
    text_add_char(body, '}');
    size_t length = body->length;
    answer_body(&answer, CONTENT_JSON, text_take(body), length);
    list_free(lister);
    logic_send(call, &answer);
}

void list_free(struct lister *lister)
{
    for (uint32_t i = 0; lister->entries && i < list_enough(lister); i++) {
        entry_free(&lister->entries[i]);
    }
    free(lister->entries);
    lister->entries = NULL;
    text_free(&lister->out);
    list_query_free(&lister->query);
}

/*
 * logic/list.h - one page of a list: takes elements as text, keeps those that match, in order, and
 * makes the answer of them.
 */
#ifndef VIMD_LOGIC_LIST_H
#define VIMD_LOGIC_LIST_H

#include "logic/call.h"
#include "logic/query.h"

struct list_entry {
    char *id;
    char *body; /* as it is to be shown */
    size_t length;
    struct sort_key key;
};

#define LIST_ID_SIZE 256

struct lister {
    struct list_query query;
    struct text out; /* the answer's body so far: {"MEMBER":[ and elements */
    uint32_t count; /* elements in out or entries */
    bool more; /* there is at least one behind the last */
    char last_id[LIST_ID_SIZE];
    const char *header, *header_value; /* one more for the answer, or NULL; to be set after
                                          list_begin(), and to live until list_finish() */
    struct list_entry *entries; /* sorted: a heap with the last in order on top */
};

/* Parses the parameters, but for those that the route takes besides a list's own; on a mistake answers
 * 400 and returns false. MEMBER names the list in the answer. */
bool list_begin(struct call *call, const struct vocabulary *vocabulary, const char *member,
                const char *id_ordered, struct lister *lister);

/* Would it be taken, as far as the filter tells? For who buffers elements. */
bool list_matches(const struct lister *lister, const char *body, size_t length);

/* Offers an element; by id they have to come in order (descending if the query says so). Nonzero
 * when no more are needed. list_take() is for what list_matches() has let pass. */
int list_offer(struct lister *lister, const char *id, const char *body, size_t length);
int list_take(struct lister *lister, const char *id, const char *body, size_t length);

/* How many elements decide the page: one more than its limit. */
static inline uint32_t list_enough(const struct lister *lister)
{
    return lister->query.limit + 1;
}

/* Is the element with this id on an earlier page? For sources that do not skip by themselves; only
 * for lists by id. */
bool list_is_before(const struct lister *lister, const char *id);

/* Rows of the store, whose bodies are what is shown. */
struct list_source {
    const char *collection;
    /* The field that the rows' state column says, and its names: what the store can select by. */
    const char *state_field;
    const char *(*state_name)(unsigned number);
    const char *after; /* where the first page begins: behind this id; NULL: at the start */
    const char *until; /* what has a greater id is left out; NULL: nothing. Not with a list by
                          descending ids, unless `after` keeps to it */
};

/* Offers the rows of SOURCE that the principal may see. */
int list_rows(struct call *call, struct lister *lister, const struct list_source *source,
              struct failure *failure);

/* Answers 200 with {"MEMBER": [...], "next": token}, and frees. */
void list_finish(struct call *call, struct lister *lister);
void list_free(struct lister *lister);

#endif

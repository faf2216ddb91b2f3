#include "once.h"

#include <stdio.h>
#include <string.h>

#define OTHERS_MAX 8
#define LOOK_MIN_MS 20
#define LOOK_MAX_MS 5000
/* A repetition waits for this part of settle_time before it sends the request again. What comes
 * later is deleted; so the wait only saves the cloud from making most things twice. */
#define REPEAT_PART 6

/* What bears the mark of the request. */
struct marked {
    const char *request_id;
    struct os_found first; /* the one made first */
    char others[OTHERS_MAX][256]; /* made by repetitions */
    unsigned other_count;
};

static void marked_clear(struct marked *marked)
{
    os_found_clear(&marked->first);
}
#define MARKED __attribute__((cleanup(marked_clear))) struct marked

/* --- Time ------------------------------------------------------------------------------------ */

/* True if SPAN has passed since SINCE. */
static int has_passed(int64_t since, int64_t span)
{
    return os_wall_ms() - since >= span;
}

/* Looks again, eight times in settle_time or every five seconds. */
static int look_again(struct os_call *c, const char *phase, int64_t since, const char *id)
{
    int64_t pause = c->os->config->settle_time / 8;

    pause = pause < LOOK_MIN_MS ? LOOK_MIN_MS : pause > LOOK_MAX_MS ? LOOK_MAX_MS : pause;
    os_cursor_keep(c, phase, since, id);
    c->os->host->again(c->call, (uint32_t)pause);
    return VIM_AGAIN;
}

/* --- Looking --------------------------------------------------------------------------------- */

static int add_marked(void *context, struct os_found *found)
{
    struct marked *marked = context;
    const char *created = os_json_text(found->body, "created");
    const char *first = os_json_text(marked->first.body, "created");
    char *other;
    int order;

    if (strcmp(found->tag, marked->request_id) != 0 || (found->flags & VIM_ITEM_GONE) != 0) {
        return VIM_OK;
    }
    if (marked->first.body == NULL) {
        marked->first = *found;
        found->body = NULL;
        return VIM_OK;
    }
    if (marked->other_count == OTHERS_MAX) {
        return VIM_OK;
    }
    other = marked->others[marked->other_count++];
    order = strcmp(created == NULL ? "" : created, first == NULL ? "" : first);
    if (order == 0) {
        order = strcmp(found->id, marked->first.id);
    }
    if (order < 0) {
        memcpy(other, marked->first.id, sizeof(marked->first.id));
        os_found_clear(&marked->first);
        marked->first = *found;
        found->body = NULL;
    } else {
        memcpy(other, found->id, sizeof(found->id));
    }
    return VIM_OK;
}

/* Finds what was made for the request. Finding nothing is VIM_OK only if it is certain. */
static int look(struct os_call *c, const struct os_once *once, struct marked *ret_marked)
{
    char note[64];
    int rc;

    ret_marked->request_id = once->op->request_id;
    (void)snprintf(note, sizeof(note), "find-%s", once->kind->name);
    os_step_note(c, note);
    rc = os_pages(c, once->kind, once->query, 0, add_marked, ret_marked, NULL);
    if (rc == VIM_OK && ret_marked->first.body == NULL && once->sure != NULL) {
        rc = once->sure(c);
    }
    return rc;
}

/* --- Create ---------------------------------------------------------------------------------- */

static int post(struct os_call *c, const struct os_once *once, int64_t since)
{
    MARKED marked = {0};
    OS_FOUND found = {0};
    struct os_error error;
    int rc = once->post(c, once, &found);

    if (rc == VIM_OK) {
        return once->go_on(c, once, &found, since);
    }
    if (since == 0 || !VIM_IS_PERMANENT(rc)) {
        return rc;
    }
    /* Refused, maybe because of what the request before has made after all: an address that is
     * taken, a quota that is full. */
    error = c->error;
    if (look(c, once, &marked) == VIM_OK && marked.first.body != NULL) {
        return once->go_on(c, once, &marked.first, since);
    }
    c->error = error;
    return rc;
}

int os_once_create(struct os_call *c, const struct os_once *once)
{
    unsigned attempt = once->op->attempt;
    MARKED marked = {0};
    struct os_cursor cursor;
    char number[16];
    int64_t since;
    int sent_twice;
    int rc;

    os_cursor_read(once->op->kept, &cursor);
    (void)snprintf(number, sizeof(number), "%u", attempt);
    if (attempt == 0) {
        return post(c, once, 0);
    }
    if (strcmp(cursor.phase, "post") == 0 && strcmp(cursor.id, number) == 0) {
        return post(c, once, cursor.since);
    }
    /* An attempt that the cursor does not know of has ended since, and its time begins anew. */
    sent_twice = strcmp(cursor.phase, "post") == 0 || strcmp(cursor.phase, "relook") == 0;
    since = strcmp(cursor.id, number) == 0 ? cursor.since : os_wall_ms();
    rc = look(c, once, &marked);
    if (rc != VIM_OK) {
        return rc;
    }
    if (marked.first.body != NULL) {
        return once->go_on(c, once, &marked.first,
                           sent_twice || marked.other_count > 0 ? since : 0);
    }
    if (!has_passed(since, c->os->config->settle_time / REPEAT_PART)) {
        return look_again(c, sent_twice ? "relook" : "look", since, number);
    }
    /* Stored before the request is sent: from then on there may be two. */
    os_cursor_keep(c, "post", since, number);
    c->os->host->again(c->call, 0);
    return VIM_AGAIN;
}

int os_once_end(struct os_call *c, const struct os_once *once, const char *id, int64_t since)
{
    MARKED marked = {0};
    int rc;

    if (since == 0) {
        return VIM_OK;
    }
    rc = look(c, once, &marked);
    if (rc == VIM_OK && marked.first.body != NULL && strcmp(marked.first.id, id) != 0) {
        rc = once->remove(c, once, marked.first.id);
    }
    for (unsigned at = 0; rc == VIM_OK && at < marked.other_count; at++) {
        if (strcmp(marked.others[at], id) != 0) {
            rc = once->remove(c, once, marked.others[at]);
        }
    }
    if (rc != VIM_OK) {
        return rc;
    }
    return has_passed(since, c->os->config->settle_time) && marked.other_count < OTHERS_MAX
               ? VIM_OK
               : look_again(c, "wait", since, id);
}

/* --- Undo ------------------------------------------------------------------------------------ */

static int is_undoing(const struct os_cursor *cursor)
{
    return strcmp(cursor->phase, "gone") == 0 || strcmp(cursor->phase, "undo") == 0;
}

/* The far side's id that the cursor holds, or NULL: while it is looked for, a number stands there. */
static const char *known_id(const struct os_cursor *cursor, const struct vim_op *op)
{
    static const char *const without[] = {"look", "relook", "post", "undo"};
    const char *id = cursor->id[0] == '\0' ? op->id : cursor->id;

    for (size_t at = 0; at < sizeof(without) / sizeof(without[0]); at++) {
        if (strcmp(cursor->phase, without[at]) == 0) {
            id = NULL;
        }
    }
    return id != NULL && os_id_is_plain(id) ? id : NULL;
}

static int take_back(struct os_call *c, const struct os_once *once, const char *id, int64_t since)
{
    return once->take_back == NULL ? once->remove(c, once, id)
                                   : once->take_back(c, once, id, since);
}

/* Since when is looked for what may come late; 0 if nothing can. */
static int64_t undo_since(const struct os_cursor *cursor, const struct vim_op *op, const char *id)
{
    if (is_undoing(cursor)) {
        return cursor->since;
    }
    if (op->attempt == 0 || (id != NULL && cursor->since == 0)) {
        return 0; /* no outcome is unknown, or what it was is found */
    }
    return os_wall_ms();
}

int os_once_undo(struct os_call *c, const struct os_once *once)
{
    const struct vim_op *op = once->op;
    MARKED marked = {0};
    struct os_cursor cursor;
    const char *id;
    int64_t since;
    int rc = VIM_OK;

    os_cursor_read(op->kept, &cursor);
    id = known_id(&cursor, op);
    since = undo_since(&cursor, op, id);
    if (id != NULL) {
        rc = take_back(c, once, id, since);
    }
    if (rc == VIM_OK) {
        rc = look(c, once, &marked);
    }
    for (unsigned at = 0; rc == VIM_OK && at < marked.other_count; at++) {
        rc = once->remove(c, once, marked.others[at]);
    }
    if (rc == VIM_OK && marked.first.body != NULL) {
        if (id == NULL && (cursor.phase[0] == '\0' || strcmp(cursor.phase, "look") == 0) &&
            marked.other_count == 0) {
            since = 0; /* one request was sent, and this came of it */
        }
        rc = take_back(c, once, marked.first.id, since);
    }
    if (rc != VIM_OK) {
        return rc;
    }
    if (marked.other_count > 0 || (since != 0 && !has_passed(since, c->os->config->settle_time))) {
        return look_again(c, "undo", since, "-");
    }
    return VIM_OK;
}

int os_once_undone(struct os_call *c, const struct vim_op *op)
{
    struct os_cursor cursor;
    int64_t since;

    os_cursor_read(op->kept, &cursor);
    since = strcmp(cursor.phase, "undo") == 0 ? cursor.since : os_wall_ms();
    return op->attempt == 0 || has_passed(since, c->os->config->settle_time)
               ? VIM_OK
               : look_again(c, "undo", since, "-");
}

/* Pages of things: see backend.h. */
#include "page.h"

#include <stdlib.h>
#include <string.h>

void page_free(struct page *page)
{
    free(page->views);
    text_free(&page->text);
    memset(page, 0, sizeof(*page));
}

/* While a page grows, its views hold offsets into the text, plus one so that NULL stays NULL. */
static const char *add_word(struct page *page, const char *word)
{
    if (word == NULL) {
        return NULL;
    }
    size_t at = page->text.length;
    text_add(&page->text, word, strlen(word) + 1);
    return (const char *)(uintptr_t)(at + 1);
}

static struct view *add_view(struct page *page)
{
    struct view *views = realloc(page->views, (page->count + 1) * sizeof(*views));
    if (views == NULL) {
        abort();
    }
    page->views = views;
    views[page->count] = (struct view){0};
    return &views[page->count++];
}

void page_add_thing(struct page *page, const struct thing *thing, int64_t now)
{
    struct view *view = add_view(page);
    view->status = add_word(page, thing_status(thing, now, &view->pending));
    view->id = add_word(page, thing->id);
    view->tag = add_word(page, thing->tag);
    view->did = add_word(page, thing->did);
    view->seq = thing->seq;
    int64_t until = thing->leaving ? thing->gone : thing->ready;
    view->left_ms = !view->pending ? 0 : until == NEVER ? -1 : until - now;
    view->shared = thing->shared;
    size_t at = page->text.length;
    thing_body(thing, now, &page->text);
    text_add(&page->text, "", 1);
    view->body = (const char *)(uintptr_t)(at + 1);
}

static void point(const struct page *page, const char **word)
{
    *word = *word ? page->text.bytes + ((uintptr_t)*word - 1) : NULL;
}

void page_finish(struct page *page)
{
    for (size_t i = 0; i < page->count; i++) {
        struct view *view = &page->views[i];
        point(page, &view->id);
        point(page, &view->tag);
        point(page, &view->status);
        point(page, &view->did);
        point(page, &view->body);
    }
}

void page_add_gone(struct page *page, const char *id)
{
    struct view *view = add_view(page);
    view->id = add_word(page, id);
    view->gone = true;
}

void page_add_fact(struct page *page, const char *id, const char *status, json_t *body)
{
    struct view *view = add_view(page);
    char *text = json_dumps(body, JSON_COMPACT);
    view->id = add_word(page, id);
    view->status = add_word(page, status);
    view->body = add_word(page, text);
    free(text);
}

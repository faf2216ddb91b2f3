/*
 * How the backend fills a page. While it grows, its views hold offsets; page_finish() makes them
 * pointers, and nothing can be added any more.
 */
#ifndef MOCK_PAGE_H
#define MOCK_PAGE_H

#include "backend.h"

/* Adds a thing as it is at the time NOW. */
void page_add_thing(struct page *page, const struct thing *thing, int64_t now);

/* Adds what is no thing: BODY is JSON. */
void page_add_fact(struct page *page, const char *id, const char *status, json_t *body);

/* Adds that ID has gone. */
void page_add_gone(struct page *page, const char *id);

void page_finish(struct page *page);

#endif

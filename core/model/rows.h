/*
 * model/rows.h - rows of a scan: as they pass, or copied for what cannot be done while it runs, calls of the store
 * among them.
 */
#ifndef MODEL_ROWS_H
#define MODEL_ROWS_H

#include "model/store.h"

/* All zero at first; owns its rows. */
struct rows {
    struct row *items;
    size_t count;
};

/* Adds a copy. A store_row_fn whose argument is the rows; takes all that come. */
int rows_add(void *rows, const struct vim_item *item);
void rows_free(struct rows *rows); /* leaves none */

/* ITEM, which has a body, as a row: nothing is copied, so it lives as long as the item does, and is not freed. */
struct row row_of_item(const struct vim_item *item);

#endif

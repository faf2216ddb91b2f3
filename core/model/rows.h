/*
 * model/rows.h - rows of a scan, copied, for what cannot be done while it runs: calls of the store among them.
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

#endif

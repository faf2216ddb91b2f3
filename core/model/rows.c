#include "model/rows.h"

#include <stdlib.h>
#include <string.h>
#include "base/memory.h"
#include "base/text.h"

int rows_add(void *argument, const struct vim_item *item)
{
    struct rows *rows = argument;
    rows->items = memory_resize(rows->items, rows->count + 1, sizeof(*rows->items));
    rows->items[rows->count++] = (struct row){.id = text_duplicate(item->id),
                                              .parent = text_duplicate(item->parent),
                                              .body = text_duplicate(item->body),
                                              .body_length = item->body ? strlen(item->body) : 0,
                                              .due = item->due,
                                              .revision = item->revision,
                                              .state = item->state};
    return 0;
}

void rows_free(struct rows *rows)
{
    for (size_t i = 0; i < rows->count; i++) {
        row_free(&rows->items[i]);
    }
    free(rows->items);
    *rows = (struct rows){0};
}

struct row row_of_item(const struct vim_item *item)
{
    return (struct row){.id = (char *)(uintptr_t)item->id,
                        .parent = (char *)(uintptr_t)item->parent,
                        .body = (char *)(uintptr_t)item->body,
                        .body_length = strlen(item->body),
                        .due = item->due,
                        .revision = item->revision,
                        .state = item->state};
}

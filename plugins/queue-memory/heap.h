/*
 * heap.h - binary heap of entries by time, the earliest first. An entry knows its place, so any
 * can be taken out or moved in O(log n). An entry is in one heap at most.
 */
#ifndef HEAP_H
#define HEAP_H

#include <stdint.h>

struct entry;

struct heap {
    struct entry **entries;
    uint32_t count;
    uint32_t room;
};

/* Makes room for one more. Returns 0, or -1 when out of memory. */
int heap_reserve(struct heap *heap);

/* Puts ENTRY in by its `time`; there must be room. */
void heap_add(struct heap *heap, struct entry *entry);

/* Takes ENTRY out. */
void heap_remove(struct heap *heap, struct entry *entry);

/* The earliest, or NULL. */
struct entry *heap_first(const struct heap *heap);

void heap_free(struct heap *heap);

#endif

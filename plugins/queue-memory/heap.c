#include <stdlib.h>

#include "heap.h"
#include "topic.h"

static void place(struct heap *heap, uint32_t index, struct entry *entry)
{
    heap->entries[index] = entry;
    entry->heap_index = index;
}

static void move_up(struct heap *heap, uint32_t index, struct entry *entry)
{
    while (index > 0) {
        uint32_t parent = (index - 1) / 2;

        if (heap->entries[parent]->time <= entry->time)
            break;
        place(heap, index, heap->entries[parent]);
        index = parent;
    }
    place(heap, index, entry);
}

static void move_down(struct heap *heap, uint32_t index, struct entry *entry)
{
    for (;;) {
        uint32_t child = 2 * index + 1;

        if (child >= heap->count)
            break;
        if (child + 1 < heap->count && heap->entries[child + 1]->time < heap->entries[child]->time)
            child++;
        if (entry->time <= heap->entries[child]->time)
            break;
        place(heap, index, heap->entries[child]);
        index = child;
    }
    place(heap, index, entry);
}

int heap_reserve(struct heap *heap)
{
    uint32_t room = heap->room ? heap->room * 2 : 64;
    struct entry **entries;

    if (heap->count < heap->room)
        return 0;
    entries = reallocarray(heap->entries, room, sizeof *entries);
    if (!entries)
        return -1;
    heap->entries = entries;
    heap->room = room;
    return 0;
}

void heap_add(struct heap *heap, struct entry *entry)
{
    move_up(heap, heap->count++, entry);
}

void heap_remove(struct heap *heap, struct entry *entry)
{
    uint32_t index = entry->heap_index;
    struct entry *last = heap->entries[--heap->count];

    if (last == entry)
        return;
    if (last->time < entry->time)
        move_up(heap, index, last);
    else
        move_down(heap, index, last);
}

struct entry *heap_first(const struct heap *heap)
{
    return heap->count ? heap->entries[0] : NULL;
}

void heap_free(struct heap *heap)
{
    free(heap->entries);
}

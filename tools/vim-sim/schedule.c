#include "state.h"

#include <assert.h>
#include <stdlib.h>

static bool is_before(const struct event *a, const struct event *b)
{
    return a->t < b->t || (a->t == b->t && (int32_t)(a->order - b->order) < 0);
}

void schedule(struct events *events, double t, enum event_kind kind, uint32_t what)
{
    struct event event = {t, events->order++, (uint32_t)kind << 28 | what};
    uint32_t at = events->heap_count++;

    if (at == events->heap_room) {
        events->heap_room = events->heap_room ? 2 * events->heap_room : 256;
        events->heap = reallocarray(events->heap, events->heap_room, sizeof *events->heap);
        assert(events->heap);
    }
    while (at > 0 && is_before(&event, &events->heap[(at - 1) / 4])) {
        events->heap[at] = events->heap[(at - 1) / 4];
        at = (at - 1) / 4;
    }
    events->heap[at] = event;
}

struct event take_first(struct events *events)
{
    struct event first = events->heap[0], last = events->heap[--events->heap_count];
    uint32_t at = 0, count = events->heap_count;

    for (;;) {
        uint32_t child = 4 * at + 1, least = child;

        if (child >= count)
            break;
        for (uint32_t i = child + 1; i < child + 4 && i < count; i++)
            if (is_before(&events->heap[i], &events->heap[least]))
                least = i;
        if (!is_before(&events->heap[least], &last))
            break;
        events->heap[at] = events->heap[least];
        at = least;
    }
    events->heap[at] = last;
    return first;
}

/*
 * What is kept between decisions, as text: one line per block, fields separated by tabs:
 * name, demand, bare time of a visit, slots, decisions they rest on, checksum of the neighbours, then replicas:throughput of each level.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "similarity.h"

static struct memory *find_memory(struct similarity *similarity, const char *name, size_t length)
{
    for (uint32_t i = 0; i < similarity->view.block_count; i++)
        if (strncmp(similarity->view.blocks[i].name, name, length) == 0 &&
            similarity->view.blocks[i].name[length] == '\0')
            return &similarity->memory[i];
    return NULL;
}

static void parse_line(struct similarity *similarity, const char *line, const char *end)
{
    const char *at = memchr(line, '\t', (size_t)(end - line));
    struct memory *memory = at ? find_memory(similarity, line, (size_t)(at - line)) : NULL;
    char *next;

    if (!memory)
        return;
    memory->demand = strtod(at, &next);
    if (next == at || !(memory->demand >= 0))
        memory->demand = NAN;
    at = next;
    memory->service = strtod(at, &next);
    memory->slots = strtod(at = next, &next);
    memory->seen = (uint32_t)strtoul(at = next, &next, 10);
    if (!(memory->service > 0 && memory->slots >= 1 && memory->seen <= SEEN_ENOUGH)) {
        memory->service = NAN;
        memory->slots = 1;
        memory->seen = 0;
    }
    memory->neighbours = (uint32_t)strtoul(at = next, &next, 10);
    for (at = next; at < end && memory->level_count < LEVELS_MAX; at = next) {
        struct usl_level level;

        level.replicas = (uint32_t)strtoul(at, &next, 10);
        if (next == at || *next != ':')
            break;
        level.throughput = strtod(next + 1, &next);
        if (level.replicas && level.throughput > 0 && isfinite(level.throughput))
            memory->levels[memory->level_count++] = level;
    }
}

void memory_parse(struct similarity *similarity, const char *kept)
{
    for (uint32_t i = 0; i < similarity->view.block_count; i++)
        similarity->memory[i] = (struct memory){.demand = NAN, .service = NAN, .slots = 1};
    while (kept && *kept) {
        const char *end = kept + strcspn(kept, "\n");

        parse_line(similarity, kept, end);
        kept = *end ? end + 1 : end;
    }
}

static size_t print_memory(const struct memory *memory, const char *name, char *to, size_t size)
{
    int length = snprintf(to, size, "%s\t%.9g\t%.9g\t%.9g\t%u\t%u", name, memory->demand,
                          memory->service, memory->slots, memory->seen, memory->neighbours);
    size_t used = length > 0 ? (size_t)length : size;

    for (uint32_t i = 0; i < memory->level_count && used < size; i++) {
        length = snprintf(to + used, size - used, "\t%u:%.9g", memory->levels[i].replicas,
                          memory->levels[i].throughput);
        used += length > 0 ? (size_t)length : size;
    }
    if (used + 1 >= size)
        return 0; /* no room: a block that is forgotten is learnt again */
    to[used] = '\n';
    to[used + 1] = '\0';
    return used + 1;
}

void memory_keep(struct similarity *similarity, struct vim_call *call)
{
    size_t used = 0;

    similarity->kept[0] = '\0';
    for (uint32_t i = 0; i < similarity->view.block_count; i++) {
        size_t more = print_memory(&similarity->memory[i], similarity->view.blocks[i].name,
                                   similarity->kept + used, sizeof similarity->kept - used);

        similarity->kept[used + more] = '\0';
        used += more;
    }
    similarity->host->keep(call, similarity->kept);
}

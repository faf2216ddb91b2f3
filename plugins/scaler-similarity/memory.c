/*
 * What is kept between decisions, as text: one line per block, fields separated by tabs:
 * name, demand, decisions that the slots rest on, mean and variance of the bare time for each number of slots that
 * is tried, replicas, how long there have been so many, checksum of the neighbours, "q" and the quota if that is known,
 * "t" and for how many decisions one more was known to bring nothing if it is, then replicas:throughput of each level.
 * The first line is the service's, without a name: spare, and the decisions it rests on.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "similarity.h"

/* Shares that differ by less are the same: a platform rounds. */
#define QUOTA_CHANGE 0.1

static struct memory *find_memory(struct similarity *similarity, const char *name, size_t length)
{
    for (uint32_t i = 0; i < similarity->view.block_count; i++)
        if (strncmp(similarity->view.blocks[i].name, name, length) == 0 &&
            similarity->view.blocks[i].name[length] == '\0')
            return &similarity->memory[i];
    return NULL;
}

/* Of the service: the line that begins with no name. */
static void parse_service(struct similarity *similarity, const char *line)
{
    char *next;

    similarity->spare = strtod(line, &next);
    similarity->spare_seen = (uint32_t)strtoul(next, NULL, 10);
    if (!(similarity->spare > 0 && similarity->spare_seen <= SEEN_ENOUGH)) {
        similarity->spare = NAN;
        similarity->spare_seen = 0;
    }
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
    memory->seen = (uint32_t)strtoul(at, &next, 10);
    for (uint32_t i = 0; i < SLOTS_TRIED; i++) {
        struct slots_try *try = &memory->tries[i];

        try->mean = strtod(at = next, &next);
        try->variance = strtod(at = next, &next);
        if (!isfinite(try->mean) || !(try->variance >= 0) || isinf(try->variance))
            memory->seen = 0;
    }
    if (memory->seen > SEEN_MOST)
        memory->seen = 0;
    if (memory->seen == 0)
        memset(memory->tries, 0, sizeof memory->tries);
    memory->replicas = (uint32_t)strtoul(at = next, &next, 10);
    memory->steady = (uint32_t)strtoul(at = next, &next, 10);
    memory->neighbours = (uint32_t)strtoul(at = next, &next, 10);
    memory->quota = next < end && strncmp(next, "\tq", 2) == 0 ? strtod(next + 2, &next) : 0;
    memory->tried =
        next < end && strncmp(next, "\tt", 2) == 0 ? (uint32_t)strtoul(next + 2, &next, 10) : 0;
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

/* A replica that may use more or less of a processor than before is another one: its times, its demand and what so many
 * of them carry are not those that were learnt. */
static void forget_other_quota(struct memory *memory, double quota)
{
    double change = fabs(quota - memory->quota);

    if (quota > 0 && memory->quota > 0 && change > QUOTA_CHANGE * memory->quota)
        *memory = (struct memory){.demand = NAN, .slots = 1};
    if (quota > 0)
        memory->quota = quota;
}

void memory_parse(struct similarity *similarity, const char *kept)
{
    for (uint32_t i = 0; i < similarity->view.block_count; i++)
        similarity->memory[i] = (struct memory){.demand = NAN, .slots = 1};
    similarity->spare = NAN;
    similarity->spare_seen = 0;
    while (kept && *kept) {
        const char *end = kept + strcspn(kept, "\n");

        if (*kept == '\t')
            parse_service(similarity, kept);
        else
            parse_line(similarity, kept, end);
        kept = *end ? end + 1 : end;
    }
    for (uint32_t i = 0; i < similarity->view.block_count; i++)
        forget_other_quota(&similarity->memory[i], similarity->view.blocks[i].quota_cores);
}

static size_t print_memory(const struct memory *memory, const char *name, char *to, size_t size)
{
    int length = snprintf(to, size, "%s\t%.9g\t%u", name, memory->demand, memory->seen);
    size_t used = length > 0 ? (size_t)length : size;

    for (uint32_t i = 0; i < SLOTS_TRIED && used < size; i++) {
        length = snprintf(to + used, size - used, "\t%.6g\t%.4g", memory->tries[i].mean,
                          memory->tries[i].variance);
        used += length > 0 ? (size_t)length : size;
    }
    if (used < size) {
        length = snprintf(to + used, size - used, "\t%u\t%u\t%u", memory->replicas, memory->steady,
                          memory->neighbours);
        used += length > 0 ? (size_t)length : size;
    }
    if (memory->quota > 0 && used < size) {
        length = snprintf(to + used, size - used, "\tq%.6g", memory->quota);
        used += length > 0 ? (size_t)length : size;
    }
    if (memory->tried && used < size) {
        length = snprintf(to + used, size - used, "\tt%u", memory->tried);
        used += length > 0 ? (size_t)length : size;
    }
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
    int length = snprintf(similarity->kept, sizeof similarity->kept, "\t%.9g\t%u\n",
                          similarity->spare, similarity->spare_seen);
    size_t used = length > 0 ? (size_t)length : 0;

    similarity->kept[used] = '\0';
    for (uint32_t i = 0; i < similarity->view.block_count; i++) {
        size_t more = print_memory(&similarity->memory[i], similarity->view.blocks[i].name,
                                   similarity->kept + used, sizeof similarity->kept - used);

        similarity->kept[used + more] = '\0';
        used += more;
    }
    similarity->host->keep(call, similarity->kept);
}

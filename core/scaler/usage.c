/*
 * What the replicas of a group have used, as its platform measures it: processor, throttling, pressure and memory, for
 * whatever the source has not told. Totals per replica; a look takes the differences to the look before.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>
#include "base/clock.h"
#include "base/memory.h"
#include "scaler/watch.h"

enum total { CPU, PERIODS, THROTTLED, PRESSURE_CPU, PRESSURE_MEMORY, PRESSURE_IO, TOTAL_COUNT };

struct replica {
    UT_hash_handle hh;
    struct sampler_counter totals[TOTAL_COUNT];
    int64_t at; /* monotonic us of the last look */
    uint64_t look;
    char name[];
};

/* A mean over replicas as it adds up. */
struct mean {
    double sum;
    uint32_t count;
};

struct usage {
    struct replica *replicas;
    uint64_t look;
    double quota; /* of the block; 0: not known */
    struct mean cpu, memory, cores, throttled, pressure_cpu, pressure_memory, pressure_io;
};

static void add(struct mean *mean, double value)
{
    if (isfinite(value)) {
        mean->sum += value;
        mean->count++;
    }
}

static struct replica *find(struct usage *usage, const char *name)
{
    struct replica *replica = NULL;
    HASH_FIND_STR(usage->replicas, name, replica);
    if (!replica) {
        replica = memory_new(sizeof(*replica) + strlen(name) + 1);
        strcpy(replica->name, name);
        HASH_ADD_STR(usage->replicas, name, replica);
    }
    replica->look = usage->look;
    return replica;
}

static void take(void *argument, const struct group_usage *seen)
{
    struct usage *usage = argument;
    struct replica *replica = find(usage, seen->replica);
    const double values[TOTAL_COUNT] = {seen->cpu_seconds,
                                        seen->periods,
                                        seen->throttled_periods,
                                        seen->pressure_cpu_seconds,
                                        seen->pressure_memory_seconds,
                                        seen->pressure_io_seconds};
    double grown[TOTAL_COUNT];
    int64_t now = clock_mono_us();
    double seconds = replica->at ? (double)(now - replica->at) / 1e6 : NAN;
    for (int i = 0; i < TOTAL_COUNT; i++) {
        grown[i] = sampler_counter_step(&replica->totals[i], values[i]);
    }
    replica->at = now;
    if (!seen->ready) {
        return;
    }
    double quota = seen->quota_cores > 0 ? seen->quota_cores : usage->quota;
    double cores = isfinite(seen->cpu_cores) ? seen->cpu_cores : grown[CPU] / seconds;
    add(&usage->cpu, quota > 0 ? cores / quota : NAN);
    add(&usage->memory, seen->memory_bytes);
    add(&usage->cores, seen->quota_cores > 0 ? seen->quota_cores : NAN);
    add(&usage->throttled, grown[PERIODS] > 0 ? grown[THROTTLED] / grown[PERIODS] : NAN);
    add(&usage->pressure_cpu, grown[PRESSURE_CPU] / seconds);
    add(&usage->pressure_memory, grown[PRESSURE_MEMORY] / seconds);
    add(&usage->pressure_io, grown[PRESSURE_IO] / seconds);
}

static void put(struct history *history, uint32_t block, const char *name, const struct mean *mean)
{
    uint32_t metric = history_metric(HISTORY_BLOCK, name);
    if (mean->count && isnan(history_get(history, HISTORY_BLOCK, block, metric, 0))) {
        history_put(history, HISTORY_BLOCK, block, metric, mean->sum / mean->count);
    }
}

/* What one replica may use, where neither the configuration nor the source has told. */
static void put_quota(struct history *history, uint32_t block, const struct mean *cores)
{
    struct history_block state = history_get_block(history, block);
    if (cores->count && !(state.quota_cores > 0)) {
        state.quota_cores = cores->sum / cores->count;
        history_set_block(history, block, &state);
    }
}

static void forget(struct usage *usage, bool all)
{
    struct replica *replica, *next;
    HASH_ITER(hh, usage->replicas, replica, next)
    {
        if (all || replica->look != usage->look) {
            HASH_DEL(usage->replicas, replica);
            free(replica);
        }
    }
}

void usage_measure(struct watch *watch, uint32_t block, int64_t timeout_ms)
{
    struct watch_group *group = &watch->groups[block];
    struct usage *usage = group->usage;
    if (!usage) {
        usage = group->usage = MEMORY_NEW(struct usage);
    }
    struct replica *replicas = usage->replicas;
    *usage = (struct usage){.replicas = replicas,
                            .look = usage->look + 1,
                            .quota = history_get_block(watch->history, block).quota_cores};
    if (group_sample(group->platform, watch->service->blocks[block].group, timeout_ms, take, usage,
                     NULL) != VIM_OK) {
        return; /* it is one more source: what it does not tell is not there */
    }
    forget(usage, false);
    put_quota(watch->history, block, &usage->cores);
    put(watch->history, block, "cpu", &usage->cpu);
    put(watch->history, block, "memory", &usage->memory);
    put(watch->history, block, "throttled", &usage->throttled);
    put(watch->history, block, "pressure_cpu", &usage->pressure_cpu);
    put(watch->history, block, "pressure_memory", &usage->pressure_memory);
    put(watch->history, block, "pressure_io", &usage->pressure_io);
}

void usage_free(struct usage *usage)
{
    if (usage) {
        forget(usage, true);
        free(usage);
    }
}

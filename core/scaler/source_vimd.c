/* The source `vimd`: the processes that share the store with this one, by their heartbeats (scaler/fleet.h). */
#include "engine/presence.h"

#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/memory.h"
#include "scaler/fleet.h"
#include "scaler/sampler.h"

struct source {
    struct presence *presence;
    struct fleet *fleet;
    bool looked;
};

static int vimd_open(const struct service *service, const struct sampler_host *host,
                     void **ret_state, struct failure *failure)
{
    if (!host->presence) {
        return failure_set(failure, VIM_E_INVALID, "there are no heartbeats to look at");
    }
    struct source *source = MEMORY_NEW(struct source);
    source->presence = host->presence;
    source->fleet = fleet_new(service);
    *ret_state = source;
    return VIM_OK;
}

static void take_peer(void *argument, const struct presence_peer *peer)
{
    fleet_take(argument, peer->body, strlen(peer->body));
}

static int vimd_sample(void *state, const struct sampler_look *look, struct failure *failure)
{
    struct source *source = state;
    int code = presence_refresh(source->presence, failure);
    if (code != VIM_OK) {
        return code;
    }
    fleet_look(source->fleet, clock_now_ms());
    (void)presence_each(source->presence, NULL, take_peer, source->fleet);
    fleet_end(source->fleet);
    bool first = !source->looked;
    source->looked = true;
    if (fleet_count(source->fleet) == 0) {
        return failure_set(failure, VIM_E_UNAVAILABLE,
                           "no process that shares the store tells signals in its heartbeat");
    }
    if (!first) {
        fleet_put(source->fleet, look->end, look->window_ms, look->history);
    }
    return VIM_OK;
}

static void vimd_close(void *state)
{
    struct source *source = state;
    fleet_free(source->fleet);
    free(source);
}

const struct sampler_source sampler_vimd = {
    .name = "vimd", .open = vimd_open, .sample = vimd_sample, .close = vimd_close};

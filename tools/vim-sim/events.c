#include "state.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "base/memory.h"

/* Network shorter than this costs no event: it is measured, but not waited for. */
#define NETWORK_LEAST 0.001

/* --- Queues ---------------------------------------------------------------------------------- */

static void push(struct events *events, struct queue *queue, uint32_t visit)
{
    events->visits[visit].next = NONE;
    if (queue->first == NONE)
        queue->first = visit;
    else
        events->visits[queue->last].next = visit;
    queue->last = visit;
}

static uint32_t pop(struct events *events, struct queue *queue)
{
    uint32_t visit = queue->first;

    if (visit != NONE)
        queue->first = events->visits[visit].next;
    return visit;
}

static uint32_t new_visit(struct events *events)
{
    uint32_t visit = events->free_visit;

    if (visit == NONE) {
        uint32_t room = events->visit_room ? 2 * events->visit_room : 1024;

        events->visits = reallocarray(events->visits, room, sizeof *events->visits);
        assert(events->visits);
        for (uint32_t i = events->visit_room; i < room; i++)
            events->visits[i].next = i + 1 < room ? i + 1 : NONE;
        visit = events->visit_room;
        events->visit_room = room;
    }
    events->free_visit = events->visits[visit].next;
    return visit;
}

/* --- The way of a request -------------------------------------------------------------------- */

static void enter_calls(struct events *events, uint32_t visit);
static void enter_pool(struct events *events, uint32_t visit);
static void enter_lock(struct events *events, uint32_t visit);
static void enter_block(struct events *events, uint32_t visit);
static void start(struct events *events, uint32_t visit);

/* A demand of this visit: the same in every run. */
static double draw(const struct visit *visit, uint32_t kind, double mean)
{
    return -log(chance_unit(chance_join(visit->key, kind))) * mean;
}

static struct replica *replica_of(struct events *events, uint32_t visit)
{
    const struct visit *at = &events->visits[visit];

    return &events->blocks[at->block].replicas[at->replica];
}

static const struct service_block *block_of(const struct events *events, uint32_t visit)
{
    return &events->service->blocks[events->visits[visit].block];
}

static void begin_cpu(struct events *events, uint32_t visit)
{
    schedule(events, events->now + draw(&events->visits[visit], 1, block_of(events, visit)->cpu),
             EVENT_CPU, visit);
}

static void enter_cpu(struct events *events, uint32_t visit)
{
    struct replica *replica = replica_of(events, visit);
    struct block_state *state = touch(events, events->visits[visit].block);

    if (replica->cpu_busy) {
        state->waiting += replica->cpu_queue.first == NONE;
        push(events, &replica->cpu_queue, visit);
        return;
    }
    replica->cpu_busy = true;
    state->busy++;
    begin_cpu(events, visit);
}

static void leave_cpu(struct events *events, uint32_t visit)
{
    struct replica *replica = replica_of(events, visit);
    struct block_state *state = touch(events, events->visits[visit].block);
    uint32_t next = pop(events, &replica->cpu_queue);

    if (next == NONE) {
        replica->cpu_busy = false;
        state->busy--;
    } else {
        state->waiting -= replica->cpu_queue.first == NONE;
        begin_cpu(events, next);
    }
    enter_lock(events, visit);
}

static void begin_lock(struct events *events, uint32_t visit)
{
    schedule(events, events->now + draw(&events->visits[visit], 2, block_of(events, visit)->lock),
             EVENT_LOCK, visit);
}

static void enter_lock(struct events *events, uint32_t visit)
{
    struct replica *replica = replica_of(events, visit);

    if (block_of(events, visit)->lock <= 0) {
        enter_pool(events, visit);
    } else if (replica->lock_busy) {
        push(events, &replica->lock_queue, visit);
    } else {
        replica->lock_busy = true;
        begin_lock(events, visit);
    }
}

static void leave_lock(struct events *events, uint32_t visit)
{
    struct replica *replica = replica_of(events, visit);
    uint32_t next = pop(events, &replica->lock_queue);

    if (next == NONE)
        replica->lock_busy = false;
    else
        begin_lock(events, next);
    enter_pool(events, visit);
}

static void begin_pool(struct events *events, uint32_t visit)
{
    schedule(events, events->now + draw(&events->visits[visit], 3, block_of(events, visit)->pool),
             EVENT_POOL, visit);
}

static void enter_pool(struct events *events, uint32_t visit)
{
    struct replica *replica = replica_of(events, visit);
    struct block_state *state = touch(events, events->visits[visit].block);

    if (block_of(events, visit)->pool <= 0) {
        enter_calls(events, visit);
    } else if (replica->pool_busy == block_of(events, visit)->slots) {
        state->pool_waiting += replica->pool_queue.first == NONE;
        push(events, &replica->pool_queue, visit);
    } else {
        replica->pool_busy++;
        begin_pool(events, visit);
    }
}

static void leave_pool(struct events *events, uint32_t visit)
{
    struct replica *replica = replica_of(events, visit);
    struct block_state *state = touch(events, events->visits[visit].block);
    uint32_t next = pop(events, &replica->pool_queue);

    if (next == NONE) {
        replica->pool_busy--;
    } else {
        state->pool_waiting -= replica->pool_queue.first == NONE;
        begin_pool(events, next);
    }
    enter_calls(events, visit);
}

static void call(struct events *events, uint32_t visit, uint32_t edge, uint32_t number)
{
    uint32_t child = new_visit(events);
    struct edge_state *state = touch_edge(events, edge);
    double rtt = rtt_of(events, edge);

    state->in_flight++;
    state->visits++;
    events->visits[child] = (struct visit){
        .parent = visit,
        .block = (uint16_t)events->service->edges[edge].callee,
        .edge = edge,
        .key = chance_join(events->visits[visit].key, (uint64_t)edge << 8 | number | 64)};
    if (rtt >= NETWORK_LEAST)
        schedule(events, events->now + rtt / 2, EVENT_ARRIVE, child);
    else
        enter_block(events, child);
}

static void end_client(struct events *events, uint32_t visit)
{
    const struct load *load = &events->service->load;
    uint32_t second = (uint32_t)events->now;

    touch_service(events);
    events->in_flight--;
    count_latency(events, events->now - events->visits[visit].since);
    if (!load->closed)
        return;
    if (events->clients > load->level[second < load->seconds ? second : load->seconds - 1])
        events->clients--;
    else
        schedule(events, events->now - log(chance_unit(chance_next(&events->chance))) * load->think,
                 EVENT_CLIENT, 0);
}

static void continue_calls(struct events *events, uint32_t visit);

static void come_back(struct events *events, uint32_t visit)
{
    uint32_t parent = events->visits[visit].parent;

    touch_edge(events, events->visits[visit].edge)->in_flight--;
    events->visits[visit].next = events->free_visit;
    events->free_visit = visit;
    continue_calls(events, parent);
}

static void leave_block(struct events *events, uint32_t visit)
{
    uint32_t block = events->visits[visit].block;
    struct replica *replica = replica_of(events, visit);
    struct block_state *state = touch(events, block);
    uint32_t next;

    state->in_flight--;
    state->left++;
    state->residence += events->now - events->visits[visit].since;
    replica->in_flight--;
    replica->threads--;
    next = pop(events, &replica->thread_queue);
    if (next != NONE) {
        state->queued--;
        start(events, next);
    }
    if (replica->state == REPLICA_LEAVING && replica->in_flight == 0) {
        replica->state = REPLICA_NONE;
        state->leaving--;
    }
    if (events->visits[visit].parent == NONE) {
        end_client(events, visit);
        events->visits[visit].next = events->free_visit;
        events->free_visit = visit;
    } else if (rtt_of(events, events->visits[visit].edge) >= NETWORK_LEAST) {
        schedule(events, events->now + rtt_of(events, events->visits[visit].edge) / 2, EVENT_RETURN,
                 visit);
    } else {
        come_back(events, visit);
    }
}

static void continue_calls(struct events *events, uint32_t visit)
{
    const struct service_block *block = block_of(events, visit);
    struct visit *at = &events->visits[visit];

    if (at->times == 0 && at->call < block->call_count)
        at->times = (uint16_t)block->calls[at->call++].times;
    if (at->times == 0) {
        leave_block(events, visit);
        return;
    }
    at->times--;
    call(events, visit, block->calls[at->call - 1].edge, at->times);
}

static void enter_calls(struct events *events, uint32_t visit)
{
    /* What it does from here on is waiting. */
    touch(events, events->visits[visit].block)->own--;
    continue_calls(events, visit);
}

static void start(struct events *events, uint32_t visit)
{
    replica_of(events, visit)->threads++;
    touch(events, events->visits[visit].block)->own++;
    enter_cpu(events, visit);
}

/* The NUMBER-th of the replicas that serve. */
static uint32_t find_serving(const struct block_state *state, uint32_t number)
{
    for (uint32_t i = 0; i < REPLICAS; i++)
        if (state->replicas[i].state == REPLICA_SERVING && number-- == 0)
            return i;
    abort();
}

static uint32_t choose_replica(const struct block_state *state, uint64_t key)
{
    uint32_t a, b;

    if (state->serving == 1)
        return find_serving(state, 0);
    a = find_serving(state, (uint32_t)(chance_join(key, 11) % state->serving));
    b = find_serving(state, (uint32_t)(chance_join(key, 12) % state->serving));
    return state->replicas[b].in_flight < state->replicas[a].in_flight ? b : a;
}

static void enter_block(struct events *events, uint32_t visit)
{
    struct visit *at = &events->visits[visit];
    struct block_state *state = touch(events, at->block);
    uint32_t threads = events->service->blocks[at->block].threads;
    struct replica *replica;

    at->replica = (uint16_t)choose_replica(state, at->key);
    at->since = events->now;
    at->call = at->times = 0;
    replica = &state->replicas[at->replica];
    replica->in_flight++;
    state->in_flight++;
    state->calls++;
    if (threads && replica->threads == threads) {
        state->queued++;
        push(events, &replica->thread_queue, visit);
    } else {
        start(events, visit);
    }
}

static void begin_request(struct events *events)
{
    uint32_t visit;

    events->offered++;
    if (events->in_flight >= IN_FLIGHT_MAX) {
        events->refused++;
        return;
    }
    touch_service(events);
    events->in_flight++;
    visit = new_visit(events);
    events->visits[visit] = (struct visit){
        .parent = NONE, .edge = NONE, .key = chance_join(events->seed, ++events->requests)};
    enter_block(events, visit);
}

/* --- Load and replicas ----------------------------------------------------------------------- */

static double level_at(const struct events *events, double t)
{
    const struct load *load = &events->service->load;
    uint32_t second = t < 0 ? 0 : (uint32_t)t;

    return load->level[second < load->seconds ? second : load->seconds - 1];
}

static void arrive(struct events *events)
{
    double rate = level_at(events, events->now);
    double pause = rate > 0 ? -log(chance_unit(chance_next(&events->chance))) / rate : 1;

    schedule(events, events->now + (pause < 1 ? pause : 1), EVENT_ARRIVAL, pause < 1);
}

/* Clients come at whole seconds; they go when they have their answer. */
static void fill_clients(struct events *events, double t)
{
    while (events->clients < level_at(events, t)) {
        events->clients++;
        schedule(events, t + chance_uniform(&events->chance, 0, 1), EVENT_CLIENT, 0);
    }
}

void events_scale(struct events *events, uint32_t block, int32_t delta)
{
    struct block_state *state = touch(events, block);

    for (uint32_t i = 0; i < REPLICAS && delta > 0; i++)
        if (state->replicas[i].state == REPLICA_NONE) {
            state->replicas[i].state = REPLICA_STARTING;
            state->starting++;
            delta--;
            schedule(events, events->now + events->service->startup, EVENT_READY, block << 8 | i);
        }
    for (uint32_t i = REPLICAS; i-- > 0 && delta < 0;) {
        struct replica *replica = &state->replicas[i];

        if (replica->state != REPLICA_SERVING || state->serving <= 1)
            continue;
        replica->state = replica->in_flight ? REPLICA_LEAVING : REPLICA_NONE;
        state->leaving += replica->in_flight ? 1 : 0;
        state->serving--;
        delta++;
    }
}

static void become_ready(struct events *events, uint32_t what)
{
    struct block_state *state = touch(events, what >> 8);
    struct replica *replica = &state->replicas[what & 0xFF];

    if (replica->state == REPLICA_STARTING) {
        replica->state = REPLICA_SERVING;
        state->starting--;
        state->serving++;
    }
}

static void handle(struct events *events, uint32_t what)
{
    uint32_t visit = what & 0x0FFFFFFFu;

    switch ((enum event_kind)(what >> 28)) {
    case EVENT_CPU:
        leave_cpu(events, visit);
        break;
    case EVENT_LOCK:
        leave_lock(events, visit);
        break;
    case EVENT_POOL:
        leave_pool(events, visit);
        break;
    case EVENT_ARRIVE:
        enter_block(events, visit);
        break;
    case EVENT_RETURN:
        come_back(events, visit);
        break;
    case EVENT_CLIENT:
        begin_request(events);
        break;
    case EVENT_ARRIVAL:
        if (visit)
            begin_request(events);
        arrive(events);
        break;
    case EVENT_READY:
        become_ready(events, visit);
        break;
    }
}

struct events *events_new(const struct service *service, uint64_t seed)
{
    struct events *events = memory_new(sizeof *events);
    const struct queue empty = {NONE, NONE};

    events->service = service;
    events->seed = seed;
    events->chance.state = chance_join(seed, 77);
    events->free_visit = NONE;
    for (uint32_t i = 0; i < service->block_count; i++)
        for (uint32_t j = 0; j < REPLICAS; j++) {
            struct replica *replica = &events->blocks[i].replicas[j];

            replica->thread_queue = replica->cpu_queue = empty;
            replica->lock_queue = replica->pool_queue = empty;
            if (j < service->blocks[i].replicas) {
                replica->state = REPLICA_SERVING;
                events->blocks[i].serving++;
            }
        }
    if (!service->load.closed)
        arrive(events);
    return events;
}

void events_free(struct events *events)
{
    if (!events)
        return;
    free(events->heap);
    free(events->visits);
    free(events);
}

void events_run(struct events *events, double until)
{
    double second = floor(events->now);

    while (events->now < until) {
        double stop = second + 1 < until ? second + 1 : until;

        if (events->service->load.closed && events->now == second)
            fill_clients(events, second);
        while (events->heap_count && events->heap[0].t < stop) {
            struct event event = take_first(events);

            events->now = event.t;
            handle(events, event.what);
        }
        events->now = stop;
        second = floor(stop);
    }
}

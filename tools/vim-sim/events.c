#include "events.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

#define NONE UINT32_MAX
#define REPLICAS 64u
#define IN_FLIGHT_MAX 4000u /* what comes beyond is refused */
#define BUCKETS 256u
#define BUCKET_FIRST 1e-4
#define BUCKET_RATIO 1.05

/* Network shorter than this costs no event: it is measured, but not waited for. */
#define NETWORK_LEAST 0.001

enum event_kind {
    EVENT_CPU,
    EVENT_LOCK,
    EVENT_POOL,
    EVENT_ARRIVE,
    EVENT_RETURN,
    EVENT_CLIENT,
    EVENT_ARRIVAL,
    EVENT_READY
};

struct event {
    double t;
    uint32_t order; /* of two at the same time the earlier one */
    uint32_t what; /* kind in the upper 4 bits, else a visit, or block and replica */
};

struct queue {
    uint32_t first, last;
};

enum replica_state { REPLICA_NONE, REPLICA_STARTING, REPLICA_SERVING, REPLICA_LEAVING };

struct replica {
    enum replica_state state;
    uint32_t in_flight;
    uint32_t threads; /* in use */
    bool cpu_busy, lock_busy;
    uint32_t pool_busy;
    struct queue thread_queue, cpu_queue, lock_queue, pool_queue;
};

struct visit {
    uint32_t parent; /* visit, or NONE for a request of a client */
    uint32_t next; /* in a queue, or of the free ones */
    uint16_t block, replica;
    uint16_t call, times; /* which callee, how many calls of it are left */
    uint32_t edge; /* on which it came */
    uint64_t key;
    double since;
};

struct block_state {
    double touched;
    uint32_t in_flight, own, queued, busy, waiting, pool_waiting, serving, starting, leaving;
    double area_in_flight, area_own, area_queued, area_busy, area_waiting, area_pool_waiting;
    double area_serving, area_all;
    double residence;
    uint64_t calls, left;
    struct replica replicas[REPLICAS];
};

struct edge_state {
    double touched, area;
    uint32_t in_flight;
    uint64_t visits;
};

struct events {
    const struct service *service;
    uint64_t seed, requests;
    double now, window_start;
    struct event *heap;
    uint32_t heap_count, heap_room, order;
    struct visit *visits;
    uint32_t visit_room, free_visit;
    struct block_state blocks[SERVICE_BLOCKS];
    struct edge_state edges[SERVICE_EDGES];
    uint32_t in_flight, clients;
    double touched, area;
    uint64_t offered, finished, refused;
    double latency;
    uint32_t buckets[BUCKETS];
    struct chance chance; /* thinking and arrivals */
};

/* --- Events ---------------------------------------------------------------------------------- */

static bool is_before(const struct event *a, const struct event *b)
{
    return a->t < b->t || (a->t == b->t && (int32_t)(a->order - b->order) < 0);
}

static void schedule(struct events *events, double t, enum event_kind kind, uint32_t what)
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

static struct event take_first(struct events *events)
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

/* --- Counting -------------------------------------------------------------------------------- */

static struct block_state *touch(struct events *events, uint32_t block)
{
    struct block_state *state = &events->blocks[block];
    double passed = events->now - state->touched;

    state->touched = events->now;
    state->area_in_flight += passed * state->in_flight;
    state->area_own += passed * state->own;
    state->area_queued += passed * state->queued;
    state->area_busy += passed * state->busy;
    state->area_waiting += passed * state->waiting;
    state->area_pool_waiting += passed * state->pool_waiting;
    state->area_serving += passed * state->serving;
    state->area_all += passed * (state->serving + state->starting);
    return state;
}

static struct edge_state *touch_edge(struct events *events, uint32_t edge)
{
    struct edge_state *state = &events->edges[edge];

    state->area += (events->now - state->touched) * state->in_flight;
    state->touched = events->now;
    return state;
}

static void touch_service(struct events *events)
{
    events->area += (events->now - events->touched) * events->in_flight;
    events->touched = events->now;
}

static void count_latency(struct events *events, double seconds)
{
    double bucket = log(seconds / BUCKET_FIRST) / log(BUCKET_RATIO);

    events->latency += seconds;
    events->finished++;
    events->buckets[bucket < 0 ? 0 : bucket >= BUCKETS ? BUCKETS - 1 : (uint32_t)bucket]++;
}

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

static double rtt_of(const struct events *events, uint32_t edge)
{
    const struct service_edge *at = &events->service->edges[edge];

    return events->now >= at->slow_from ? at->slow_rtt : at->rtt;
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

/* --- Windows --------------------------------------------------------------------------------- */

static double quantile(const struct events *events, double share)
{
    double wanted = share * (double)events->finished, seen = 0;

    for (uint32_t i = 0; i < BUCKETS; i++) {
        double here = events->buckets[i];

        if (seen + here >= wanted && here > 0)
            return BUCKET_FIRST * pow(BUCKET_RATIO, i + (wanted - seen) / here);
        seen += here;
    }
    return NAN;
}

static void show_block(struct events *events, uint32_t block, double seconds,
                       struct window_block *ret_block)
{
    struct block_state *state = touch(events, block);
    double serving = state->area_serving > 0 ? state->area_serving : 1e-9;

    *ret_block = (struct window_block){
        .desired = state->serving + state->starting,
        .ready = state->serving,
        .starting = state->starting,
        .cpu = fmin(1, state->area_busy / serving),
        .pressure_cpu = fmin(1, state->area_waiting / serving),
        .pressure_io = fmin(1, state->area_pool_waiting / serving),
        .calls = (double)state->calls / seconds,
        .residence = state->left ? state->residence / (double)state->left : NAN,
        .in_flight = state->area_in_flight / seconds,
        .own = state->area_own / seconds,
        .thread_queue = state->area_queued / seconds,
    };
    if (events->service->blocks[block].polls) {
        /* Whoever polls always runs, and whatever work there is has to wait for it now and then. */
        ret_block->pressure_cpu = fmin(1, ret_block->pressure_cpu + 0.5 * ret_block->cpu);
        ret_block->cpu = fmax(0.98, ret_block->cpu);
    }
    state->area_in_flight = state->area_own = state->area_queued = state->area_busy = 0;
    state->area_waiting = state->area_pool_waiting = state->area_serving = state->area_all = 0;
    state->residence = 0;
    state->calls = state->left = 0;
}

void events_window(struct events *events, struct window *ret_window)
{
    double seconds = events->now - events->window_start;
    double finished = (double)events->finished;

    memset(ret_window, 0, sizeof *ret_window);
    ret_window->seconds = seconds;
    for (uint32_t i = 0; i < events->service->block_count; i++) {
        ret_window->replica_seconds += touch(events, i)->area_all;
        show_block(events, i, seconds, &ret_window->blocks[i]);
    }
    for (uint32_t i = 0; i < events->service->edge_count; i++) {
        struct edge_state *state = touch_edge(events, i);

        ret_window->edges[i] = (struct window_edge){
            (double)state->visits / seconds, state->area / seconds, rtt_of(events, i),
            events->now >= events->service->edges[i].slow_from ? events->service->edges[i].resent
                                                               : 0};
        state->area = 0;
        state->visits = 0;
    }
    touch_service(events);
    ret_window->throughput = finished / seconds;
    ret_window->offered = (double)events->offered / seconds;
    ret_window->errors = (double)events->refused / seconds;
    ret_window->latency = finished > 0 ? events->latency / finished : NAN;
    ret_window->p50 = quantile(events, 0.5);
    ret_window->p95 = quantile(events, 0.95);
    ret_window->p99 = quantile(events, 0.99);
    ret_window->in_flight = events->area / seconds;
    events->window_start = events->now;
    events->area = events->latency = 0;
    events->offered = events->finished = events->refused = 0;
    memset(events->buckets, 0, sizeof events->buckets);
}

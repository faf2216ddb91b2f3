/*
 * Where replicas are. Those with an address of their own stay for the life of the instance. A name stands for all of its
 * addresses, each of which is a replica: a thread looks it up again and again, and replicas come and go with
 * what it finds. (libpq takes the first address of a name that answers, so all connections would lead to one of them.)
 *
 * A replica comes: a free place is filled in, and its bit in the set of those that serve is set.
 * It goes: the bit is cleared, so that no read begins with it any more. Reads that are under way there end as they
 * would have; the place is free when the last one has left it, which is looked at with every look-up.
 *
 * A reader enters a place by counting itself among its users first and asking for the bit then; whoever takes a replica
 * away clears the bit first and asks for users then. So one of them sees the other.
 *
 * A look-up that fails changes nothing; that there is no such name, or none of its addresses, is an answer: there is no
 * replica.
 */
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <vim/sdk.h>

#include "postgres_store.h"

/* Between two attempts to connect; a replica can be done without. */
#define BACKOFF_MAX_MS 1000
#define REPLICA_BACKOFF_MAX_MS 10000

/* What a look-up has found. */
struct found {
    unsigned count;
    char addresses[REPLICAS_MAX][ADDRESS_SIZE];
    bool more; /* than there is room for */
};

/* --- Places ------------------------------------------------------------------------------------- */

static uint32_t bit_of(const struct place *place)
{
    return (uint32_t)1 << (place - place->store->replicas);
}

static bool serves(const struct place *place)
{
    return atomic_load(&place->store->serving) & bit_of(place);
}

bool place_enter(struct place *place)
{
    atomic_fetch_add(&place->users, 1);
    if (serves(place))
        return true;
    place_leave(place);
    return false;
}

void place_leave(struct place *place)
{
    atomic_fetch_sub(&place->users, 1);
}

unsigned places_count(struct postgres_store *store)
{
    return (unsigned)__builtin_popcount(atomic_load(&store->serving));
}

unsigned places_in_turn(struct postgres_store *store, unsigned first,
                        unsigned char ret_order[REPLICAS_MAX])
{
    uint32_t set = atomic_load(&store->serving);
    unsigned count = (unsigned)__builtin_popcount(set), skip = count ? count - first % count : 0;

    for (unsigned i = 0; set; i++, set &= set - 1)
        ret_order[(i + skip) % count] = (unsigned char)__builtin_ctz(set);
    return count;
}

static int place_init(struct place *place, struct postgres_store *store, bool replica)
{
    place->store = store;
    place->replica = replica;
    place->pool.settings = (struct pool_settings){
        .host = store->host,
        .self = store->self,
        .connections = store->config->connections,
        .connect_timeout = store->config->connect_timeout,
        .backoff_max = replica ? REPLICA_BACKOFF_MAX_MS : BACKOFF_MAX_MS,
        .open = connection_open,
        .close = connection_close,
        .alive = connection_alive,
    };
    return pool_init(&place->pool);
}

static void place_clear(struct place *place)
{
    pool_clear(&place->pool);
    conninfo_clear(&place->conninfo);
}

int places_init(struct postgres_store *store)
{
    pthread_condattr_t attributes;
    int rc = place_init(&store->primary, store, false);

    for (unsigned i = 0; i < REPLICAS_MAX; i++)
        rc |= place_init(&store->replicas[i], store, true);
    pthread_mutex_init(&store->lookup.lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    rc |= pthread_cond_init(&store->lookup.stopped, &attributes);
    pthread_condattr_destroy(&attributes);
    return rc ? -1 : 0;
}

/* --- Replicas that come and go; on the thread that looks names up --------------------------------- */

static void tell(struct place *place, const char *event)
{
    vim_log(place->store->host, place->store->self, VIM_INFO, event, "replica=\"%s\"", place->name);
}

static bool is_among(const struct found *found, const char *address)
{
    for (unsigned i = 0; i < found->count; i++)
        if (strcmp(found->addresses[i], address) == 0)
            return true;
    return false;
}

static bool is_found_under(const struct place *place, unsigned name_at)
{
    return place->taken && place->address[0] && place->name_at == name_at;
}

/* No read begins any more at what is not there any more; the place of whoever was left by the last one is free. */
static void let_go(struct postgres_store *store, unsigned name_at, const struct found *found)
{
    for (unsigned i = 0; i < REPLICAS_MAX; i++) {
        struct place *place = &store->replicas[i];

        if (!is_found_under(place, name_at) || is_among(found, place->address))
            continue;
        if (serves(place)) {
            tell(place, "a replica is gone");
            atomic_fetch_and(&store->serving, ~bit_of(place));
        }
        if (atomic_load(&place->users) == 0) {
            pool_empty(&place->pool);
            conninfo_clear(&place->conninfo);
            place->taken = false;
        }
    }
}

static struct place *find_place(struct postgres_store *store, unsigned name_at, const char *address)
{
    struct place *free_one = NULL;

    for (unsigned i = 0; i < REPLICAS_MAX; i++) {
        struct place *place = &store->replicas[i];

        if (is_found_under(place, name_at) && strcmp(place->address, address) == 0)
            return place;
        if (!place->taken && !free_one)
            free_one = place;
    }
    return free_one;
}

static void take_in(struct postgres_store *store, unsigned name_at, const char *address)
{
    struct place *place = find_place(store, name_at, address);

    if (!place || serves(place)) {
        store->lookup.full |= !place;
        return;
    }
    if (!place->taken) {
        if (conninfo_fill_found(store, place, &store->names[name_at], address) < 0) {
            conninfo_clear(&place->conninfo);
            return; /* no memory: with the next look-up, maybe */
        }
        place->taken = true;
        place->name_at = name_at;
    }
    atomic_store(&place->pass_until, 0);
    atomic_store(&place->misses, 0);
    tell(place, "a replica has come");
    atomic_fetch_or(&store->serving, bit_of(place));
}

static void settle(struct postgres_store *store, unsigned name_at, const struct found *found)
{
    bool was_full = store->lookup.full;

    store->lookup.full = found->more;
    let_go(store, name_at, found);
    for (unsigned i = 0; i < found->count; i++)
        take_in(store, name_at, found->addresses[i]);
    if (store->lookup.full && !was_full)
        vim_log(store->host, store->self, VIM_WARNING, "some replicas are not read",
                "error=\"there are more than %d\"", REPLICAS_MAX);
}

/* --- Looking names up ----------------------------------------------------------------------------- */

/* False: nothing is known. */
static bool look_up(const struct replica_name *name, struct found *ret_found)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *all = NULL;
    int rc = getaddrinfo(name->name, name->port, &hints, &all);

    ret_found->count = 0;
    ret_found->more = false;
    if (rc != 0)
        return rc == EAI_NONAME || rc == EAI_NODATA;
    for (const struct addrinfo *one = all; one; one = one->ai_next) {
        char address[ADDRESS_SIZE];

        if (getnameinfo(one->ai_addr, one->ai_addrlen, address, sizeof address, NULL, 0,
                        NI_NUMERICHOST) != 0 ||
            is_among(ret_found, address))
            continue;
        ret_found->more = ret_found->count == REPLICAS_MAX;
        if (!ret_found->more)
            memcpy(ret_found->addresses[ret_found->count++], address, sizeof address);
    }
    freeaddrinfo(all);
    return true;
}

static void *look_names_up(void *argument)
{
    struct postgres_store *store = argument;
    struct lookup *lookup = &store->lookup;
    struct found found;

    pthread_mutex_lock(&lookup->lock);
    while (!lookup->stop) {
        int64_t until = pool_now() + store->config->replica_refresh;
        struct timespec time = {.tv_sec = until / 1000, .tv_nsec = until % 1000 * 1000000};

        pthread_mutex_unlock(&lookup->lock);
        for (unsigned i = 0; i < store->name_count; i++)
            if (look_up(&store->names[i], &found))
                settle(store, i, &found);
        pthread_mutex_lock(&lookup->lock);
        while (!lookup->stop && pool_now() < until)
            pthread_cond_timedwait(&lookup->stopped, &lookup->lock, &time);
    }
    pthread_mutex_unlock(&lookup->lock);
    return NULL;
}

int places_start(struct postgres_store *store, struct store_error *ret_error)
{
    struct lookup *lookup = &store->lookup;

    if (store->name_count == 0)
        return VIM_OK;
    lookup->started = pthread_create(&lookup->thread, NULL, look_names_up, store) == 0;
    return lookup->started
               ? VIM_OK
               : store_error_set(ret_error, VIM_E_UNAVAILABLE, "no thread to look names up");
}

void places_clear(struct postgres_store *store)
{
    struct lookup *lookup = &store->lookup;

    if (lookup->started) {
        pthread_mutex_lock(&lookup->lock);
        lookup->stop = true;
        pthread_cond_signal(&lookup->stopped);
        pthread_mutex_unlock(&lookup->lock);
        pthread_join(lookup->thread, NULL);
    }
    pthread_cond_destroy(&lookup->stopped);
    pthread_mutex_destroy(&lookup->lock);
    place_clear(&store->primary);
    for (unsigned i = 0; i < REPLICAS_MAX; i++)
        place_clear(&store->replicas[i]);
}

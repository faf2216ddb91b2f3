/*
 * The things of the mock cloud: an index in memory of what the journal's records make.
 *
 * Nothing moves by itself: a thing carries the times at which it becomes ready and at which it is
 * gone, and whoever looks compares them with the clock. So every process that has read the same
 * records sees the same cloud, and no thread is needed.
 *
 * A change is a transaction: cloud_begin(), any number of cloud_put() and cloud_end_at(), then
 * cloud_commit(), which writes them as one record: all of them survive a kill, or none.
 *
 * Threads: the caller lets one in at a time (backend.c's mutex).
 */
#ifndef MOCK_CLOUD_H
#define MOCK_CLOUD_H

#include "journal.h"
#include "text.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <uthash.h>

enum kind {
    KIND_FLAVOR,
    KIND_IMAGE,
    KIND_KEYPAIR,
    KIND_SECURITY_GROUP,
    KIND_AFFINITY_GROUP,
    KIND_NETWORK,
    KIND_SUBNET,
    KIND_ROUTER,
    KIND_PORT,
    KIND_FLOATING_IP,
    KIND_SERVER,
    KIND_SNAPSHOT,
    KIND_VOLUME,
    KIND_COUNT
};

/* A time that does not come. */
#define NEVER INT64_MAX

/* What is used up by what there is. */
struct amounts {
    int64_t vcpus;
    int64_t ram; /* MiB */
    int64_t storage; /* GiB */
};

/* The most hosts that a cloud can have. */
#define PLACES 1000

/* One thing. Strings are owned. Times are milliseconds since 1970. */
struct thing {
    enum kind kind;
    char *id;
    char *tag; /* as given at its creation, or NULL */
    char *network; /* port, subnet: the network's id; else NULL */
    char *server; /* port, volume: the server it is plugged into, or NULL */
    char *router; /* port: the router whose interface it is, or NULL */
    char *did; /* tag of the last action, or NULL */
    char *status; /* when it is ready */
    char *until; /* before that; NULL if it is ready at once */
    char *word; /* the cloud's own for `status`; NULL if it is the same */
    char *doing; /* the same for `until` */
    char *before; /* server in VERIFY_RESIZE: what a revert brings back, JSON; or NULL */
    char *fields; /* JSON object: what a create or update has given, without the times */
    uint64_t seq; /* order of creation, over all kinds */
    int64_t created;
    int64_t changed; /* by a call */
    int64_t ready; /* 0, or when `until` gives way to `status` */
    int64_t gone; /* 0, or when it disappears */
    bool leaving; /* its deletion was asked for: DELETING until it is gone */
    bool shared;
    bool owned; /* port: goes when its server goes */
    struct amounts uses; /* server: processors and memory; volume, snapshot: storage */
    unsigned place; /* server: the number of its host, 1..PLACES; else 0 */
    /* in memory only */
    unsigned ports; /* network: how many ports it has */
    unsigned __int128 hint; /* subnet: the address given out last */
    json_t *pools; /* subnet: its allocation pools, parsed; or NULL */
    struct address *in_use; /* port, router, floating IP: its addresses */
    UT_hash_handle hh;
};

/* One address that is given out; found by "SUBNET ADDRESS". */
struct address {
    char key[96];
    struct address *next; /* of the same thing */
    UT_hash_handle hh;
};

/* What is left of a thing: that it has gone, and when. */
struct trace {
    enum kind kind;
    char *id;
    int64_t gone;
};

/* A time at which a thing disappears. */
struct leaving {
    int64_t at;
    enum kind kind;
    char *id;
};

struct cloud {
    char name[64];
    uint64_t seed; /* of the ids */
    uint64_t next_seq;
    int64_t last; /* the latest time that was seen: the clock does not go back */
    struct thing *index[KIND_COUNT]; /* by id */
    struct thing **order[KIND_COUNT]; /* by seq; NULL where a thing was */
    size_t order_used[KIND_COUNT];
    size_t order_room[KIND_COUNT];
    size_t live[KIND_COUNT];
    struct amounts used; /* by all things */
    struct {
        struct amounts used;
        unsigned servers;
    } places[PLACES + 1]; /* by the servers of each host */
    struct address *addresses;
    struct trace *traces; /* by time */
    size_t trace_used;
    size_t trace_room;
    int64_t forgotten; /* what has gone before this time is not known any more */
    struct leaving *heap; /* the next to disappear is first */
    size_t heap_used;
    size_t heap_room;
    json_t *changes; /* the transaction: a list of entries */
};

/* "server", "network", ...; kind_find() returns -1 for an unknown name. */
const char *kind_name(enum kind kind);
int kind_find(const char *name);

/* Forgets all things. */
void cloud_clear(struct cloud *cloud);

/* Takes in a record. Returns 0, or -1 if it makes no sense. */
int cloud_apply(struct cloud *cloud, const char *record, size_t length);

/* Writes records that make the present state. */
void cloud_produce(struct cloud *cloud, struct journal_writer *writer);

/* The cloud's time; removes what has gone by then. */
int64_t cloud_settle(struct cloud *cloud);

/* The thing, or NULL. Valid until the next commit or settle. */
struct thing *cloud_find(const struct cloud *cloud, enum kind kind, const char *id);

/* The next thing of a kind behind sequence number AFTER, or NULL. */
struct thing *cloud_next(const struct cloud *cloud, enum kind kind, uint64_t after);

/* What it is now: its status and whether that leaves by itself; and the time of its last change. */
const char *thing_status(const struct thing *thing, int64_t now, bool *ret_pending);
/* The cloud's own word for that. */
const char *thing_word(const struct thing *thing, int64_t now);
int64_t thing_changed(const struct thing *thing, int64_t now);

/* Its fields as a new JSON object. */
json_t *thing_fields(const struct thing *thing);

/* Adds the JSON body as docs/resources.md has it. */
void thing_body(const struct thing *thing, int64_t now, struct text *text);

/* A new id: a UUID that follows from the cloud's name and seed and from all ids before it. */
void cloud_new_id(struct cloud *cloud, char ret_id[37]);

/* --- Transactions --- */
void cloud_begin(struct cloud *cloud);

/* Describes a thing: all that is in it when the transaction is committed. Takes over FIELDS. */
struct change {
    enum kind kind;
    const char *id;
    const char *tag, *network, *server, *router, *did, *status, *until, *word, *doing, *before;
    json_t *fields;
    int64_t created, changed, ready, gone;
    bool leaving, shared, owned;
    struct amounts uses;
    unsigned place;
};
void cloud_put(struct cloud *cloud, const struct change *change);

/* A change that leaves THING as it is, with FIELDS taken over if not NULL: to be altered and put. */
struct change thing_change(const struct thing *thing, json_t *fields, int64_t now);

/* The thing disappears at time AT. LEAVING: it shows DELETING until then. */
void cloud_end_at(struct cloud *cloud, const struct thing *thing, int64_t at, bool leaving,
                  int64_t now);

/* Writes the transaction and takes it in. Returns 0, or -1 with journal_error(): nothing was done.
 * An empty one is fine. cloud_abandon() forgets it instead. */
int cloud_commit(struct cloud *cloud, struct journal *journal);
void cloud_abandon(struct cloud *cloud);

#endif

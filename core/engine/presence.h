/*
 * engine/presence.h - heartbeats: which processes there are, and how they are.
 *
 * Every process has a row in the collection "process", which it writes every few seconds (a beat) and
 * deletes when it ends cleanly. A process without a connection to the store hands its beats to one that
 * has one. A beat is a JSON object:
 *
 *     id, roles ["api" ...], host, pid, address (where its link listens), version, state ("up", "draining",
 *     "gone"), started (ms since 1970), owner (see owner.h), expires_ms, cpu (processors in use),
 *     cpu_limit (that it may use), memory (bytes), load (cpu / cpu_limit), in_flight,
 *     window_ms and measured {"block.operation": {count, seconds, buckets [], in_flight}}: of calls that
 *     ended in the last window_ms, as base/metrics.h counts them (zeros are left out); and vims {"name": {reachable, stuck, checked,
 *     text}} of those that the process has called; and signals: totals since the process began, see totals.h.
 *
 * Clocks: hosts disagree about the time, so nobody compares a row with the clock. A process is taken as
 * dead when its row's revision has stayed the same for `expires_ms` of the reader's own monotonic time,
 * counted only while the reader was looking: neither a reader that was paused nor a store that was away
 * makes the others dead. The row's `due` (the time of day at which it expires, by the clock of whoever
 * wrote it) serves one purpose: a row that is long past it when it is seen for the first time is not
 * listed before it has changed once. Rows of the dead are swept by whoever sees them. A process that was
 * paused and goes on writes its row anew with the next beat.
 *
 * Those found dead are declared so to owner.h; on that, claims and leases of theirs end early.
 */
#ifndef VIMD_ENGINE_PRESENCE_H
#define VIMD_ENGINE_PRESENCE_H

#include <stdbool.h>
#include <stdint.h>
#include "engine/vims.h"
#include "model/store.h"

struct presence;
struct tasks;

/* Brings a beat to a process that has the store, whose presence_take() gets it. RET_ANSWER (malloc'ed)
 * is what that one gave. Called on the presence's thread; may block for a few seconds. */
typedef int (*presence_send_fn)(void *argument, const char *beat, size_t length, char **ret_answer,
                                struct failure *failure);

struct presence_settings {
    const char *roles; /* words: "api logic worker" */
    const char *address; /* where the link of this process listens; NULL: it does not */
    struct vims *vims; /* whose health the beats tell; NULL: none */
    struct store *store; /* NULL: beats are sent by `send` */
    presence_send_fn send;
    void *argument;
    int64_t interval_ms; /* between beats; a process is dead after five of them */
};

struct presence *presence_new(const struct presence_settings *settings);
void presence_free(struct presence *presence);

/* Writes the first beat (a failure is logged, and no error: the next one may succeed), and goes on on a
 * thread of its own. stop() deletes the row. */
int presence_start(struct presence *presence, struct failure *failure);
void presence_stop(struct presence *presence);

/* From now on the process is "draining": nobody should send it anything new. Beats at once. */
void presence_drain(struct presence *presence);

/* From now on the beats tell how the queue of TASKS is (its own account, for whoever scales). TASKS outlives the
 * presence's thread: until presence_stop(). */
void presence_watch_queue(struct presence *presence, struct tasks *tasks);

/* This process's id in its row. */
const char *presence_id(const struct presence *presence);

/* Another process's beat: checks it and stores it. RET_ANSWER (malloc'ed): {"processes": [beat ...]}, the
 * living ones. VIM_E_INVALID says what is wrong. */
int presence_take(struct presence *presence, const char *beat, size_t length, char **ret_answer,
                  struct failure *failure);

/* What one of those that have the store looks at for all of them, so that the store is not asked the more the more
 * processes there are: they take turns. Time is cut into periods of PERIOD_MS, by the clock, and in each it is the turn
 * of another one of the living that have ROLE (NULL: any with the store). RET_OURS: in this period it is ours. Returns
 * when (clock_mono_ms()) the next one begins. PRESENCE NULL: there are no others.
 *
 * A turn may be lost, as its process is dead and nobody knows it yet, or taken twice, as clocks differ or one process
 * knows of others than the next. So a turn is for what is only looked at again: what must not be done twice needs a
 * lease or a revision. */
int64_t presence_turn(struct presence *presence, const char *role, int64_t period_ms,
                      bool *ret_ours);

/* Reads all the rows now. With beats it is only read which rows there are and whether they have changed: what they tell
 * beyond that (presence_peer's load, in_flight and body) is as old as the last refresh, or as the process. */
int presence_refresh(struct presence *presence, struct failure *failure);

/* A living process. Everything lives for the call. */
struct presence_peer {
    const char *id, *roles, *host, *address, *version; /* roles: words */
    bool draining;
    double load;
    int64_t in_flight;
    const char *body; /* the beat */
};

/* Calls EACH for every living process of ROLE (NULL: any), in order of id, no lock held. This one is
 * among them. Returns how many. */
size_t presence_each(struct presence *presence, const char *role,
                     void (*each)(void *argument, const struct presence_peer *peer),
                     void *argument);

/* The health of the VIM NAME as the process tells that has called it last; not this one. False if none has. Reads the
 * rows if what they tell was not read for as long as there is between beats. */
bool presence_vim_health(struct presence *presence, const char *name,
                         struct vim_health *ret_health);

#endif

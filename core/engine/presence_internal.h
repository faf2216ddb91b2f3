/*
 * engine/presence_internal.h - what the files of presence share.
 *
 *   presence.c         the object, its thread, beats sent and taken
 *   presence_beat.c    what a beat says: measurements of this process
 *   presence_peers.c   what is known of the others, and who is dead: no I/O
 */
#ifndef VIMD_ENGINE_PRESENCE_INTERNAL_H
#define VIMD_ENGINE_PRESENCE_INTERNAL_H

#include <jansson.h>
#include "base/ids.h"
#include "engine/presence.h"

#define BEATS_UNTIL_DEAD 5
#define BEAT_SIZE_MAX 131072u

/* --- presence_beat.c ------------------------------------------------------------------------------ */

enum presence_state { PRESENCE_UP = 1, PRESENCE_DRAINING = 2, PRESENCE_GONE = 3 };

struct beats;
struct beats *beats_new(const char *id, const struct presence_settings *settings);
void beats_free(struct beats *beats);
/* Measures, and renders the beat. malloc'ed. */
char *beats_next(struct beats *beats, enum presence_state state);
/* Asks the queue how it is, which the next beat tells. May block for some seconds. */
void beats_look_at_queue(struct beats *beats, struct tasks *tasks);

/* A beat that somebody sent, checked. Texts are owned. */
struct beat {
    char id[ID_SIZE];
    char *owner, *roles, *host, *address, *version;
    enum presence_state state;
    int64_t expires_ms, in_flight;
    double load;
};
int beat_parse(const char *text, size_t length, struct beat *ret_beat, struct failure *failure);
void beat_free(struct beat *beat);

/* --- presence_peers.c: all under the caller's mutex ------------------------------------------------ */

struct peers;
struct peers *peers_new(void);
void peers_free(struct peers *peers);

/* A look at the rows begins at NOW (clock_mono_ms()); each row is told by peers_see(). EXPIRED: by the
 * clock here. Returns what is wrong with the row, or VIM_OK. */
void peers_begin(struct peers *peers, int64_t now, int64_t interval_ms);
int peers_see(struct peers *peers, const char *body, size_t length, uint64_t revision, bool expired,
              struct failure *failure);
/* Has the look before shown a row of this process? */
bool peers_know(const struct peers *peers, const char *id);
/* The same as peers_see(), of a row whose body was not read, of a process that is known: but for the state all is as the
 * body before told. */
void peers_see_again(struct peers *peers, const char *id, uint64_t revision, uint32_t state);
/* The look has ended, and was complete. Declares owners dead or living. */
void peers_end(struct peers *peers);

/* A row to be swept: of a process that has been dead for long. False if there is none (any more). */
bool peers_take_old(struct peers *peers, char ret_id[ID_SIZE], uint64_t *ret_revision);

/* How many of the living that are not draining look at the store for ROLE (NULL: for any), and how many of them come
 * before SELF; RET_LISTED: SELF is one of them. */
size_t peers_rank(const struct peers *peers, const char *role, const char *self, size_t *ret_before,
                  bool *ret_listed);

/* Copies of the living ones, in order of id. The array and its bodies are the caller's. */
struct peer_copy {
    struct beat beat;
    char *body;
};
struct peer_copy *peers_copy(const struct peers *peers, size_t *ret_count);

#endif

/*
 * redis_queue.h - what the files of the plugin share.
 *
 *   plugin.c      descriptor, options, open, close, probe; renew, done, depth
 *   push.c        push: those of several threads go together
 *   pull.c        pull: taking, and waiting when there is nothing
 *   out.c         what is out, and what has ended and Redis was not told yet
 *   scripts.c     what happens inside Redis
 *   connection.c  one connection: connecting, commands, errors in the queue's terms
 *   listener.c    the thread that hears from Redis that something can be taken
 *
 * A topic in Redis. All keys share a hash tag, so that they lie in one slot:
 *
 *   PREFIX:{TOPIC}:stream   stream of the entries, each with its id; group "vimd", one consumer for each
 *                           instance. Its pending list is what is out for delivery.
 *   PREFIX:{TOPIC}:waiting  set of the ids in the stream that are not out
 *   PREFIX:{TOPIC}:leases   sorted set of what is out, by the end of the lease; a member is the entry and the
 *                           id, filled up so that Redis makes a tree of the set, not a list
 *   PREFIX:{TOPIC}:delayed  sorted set of the ids that are not due, by their time
 *   PREFIX:{TOPIC}:idle     there while somebody found less than it wanted: the next push says so on the channel
 *   PREFIX:{TOPIC}:wake     the channel
 *
 * All times are the Redis server's. Each operation is one script, so it happens as a whole or not at all.
 */
#ifndef REDIS_QUEUE_H
#define REDIS_QUEUE_H

#include <hiredis.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <vim/queue.h>

#include "pool.h"
#include "store_limits.h"

#define TOPIC_NAME_MAX 32
#define PREFIX_MAX 32
#define KEY_MAX 96
#define ENTRY_ID_MAX 200
#define SHA_LENGTH 40

/* An entry's name in the stream; a member of the sorted set of leases. */
#define ENTRY_MAX 44
#define MEMBER_MIN 65
#define MEMBER_MAX (ENTRY_MAX + ENTRY_ID_MAX + 2)

#define OUT_BUCKETS 1024

/* Ended entries that gather before somebody has to tell Redis. */
#define ENDED_MAX 64

struct queue_config {
    const char *address;
    const char *username;
    const char *password;
    int64_t database;
    const char *prefix;
    int64_t capacity;
    int64_t connections;
    int64_t timeout;
};

enum script {
    SCRIPT_PUSH,
    SCRIPT_TAKE,
    SCRIPT_RENEW,
    SCRIPT_DONE,
    SCRIPT_FIND,
    SCRIPT_DEPTH,
    SCRIPT_TIDY,
    SCRIPT_COUNT
};

enum key { KEY_STREAM, KEY_WAITING, KEY_LEASES, KEY_DELAYED, KEY_IDLE, KEY_COUNT };

/* One connection; of one thread at a time. */
struct connection {
    struct pooled pooled;
    struct queue *queue;
    redisContext *redis;
    char scripts[SCRIPT_COUNT][SHA_LENGTH + 1]; /* names under which they are loaded */
};

/* Entries that have ended, and that Redis was not told of yet. */
struct ended {
    uint32_t count;
    char entries[ENDED_MAX][ENTRY_MAX];
    char members[ENDED_MAX][MEMBER_MAX];
};

/* A topic that this instance has pulled from. Guarded by the queue's lock but for the names, which stay
 * as they are. `changes` begins at 1: it is not known to be empty. */
struct topic {
    struct topic *next;
    char name[TOPIC_NAME_MAX + 1];
    char channel[KEY_MAX];
    pthread_cond_t changed;
    uint64_t changes; /* times that something may have become ready */
    uint64_t
        empty_at; /* value of `changes` at which there was nothing, and Redis was asked to tell */
    int64_t look_at; /* when something becomes ready by itself all the same, on pool_now() */
    int64_t gather_until; /* microseconds: the next to take waits until then */
    bool announced; /* the listener has asked for its channel, on the connection it has now */
    struct ended ended; /* these three guarded by the queue's out_lock */
    uint64_t tells; /* times that somebody began to tell Redis what has ended */
    uint64_t told; /* times that somebody has done so */
};

/* One instance. Made by open(), gone after close(). Lock order: each lock alone. */
struct queue {
    struct pool pool; /* first: the pool's open() gets from it to the queue */
    const struct vim_host *host;
    struct vim_self *self;
    const struct queue_config *config;
    char host_name[256]; /* or the path of a unix socket */
    int port; /* 0: unix socket */
    char consumer[128];

    pthread_mutex_t push_lock;
    struct request *pushes; /* that wait */
    unsigned pushing; /* batches under way */

    pthread_mutex_t out_lock;
    pthread_cond_t told; /* some topic's `told` has changed */
    struct out *out[OUT_BUCKETS];
    bool telling; /* something has ended: the listener will look */

    pthread_mutex_t lock;
    struct topic *topics;
    uint32_t topic_count;
    uint64_t interrupts; /* so far; a pull ends when the number changes */
    bool listening; /* the thread runs */
    bool stop;
    int wake_fd; /* the listener looks at `stop` and at new topics */
    pthread_t listener;
};

/* --- connection.c */

/* The pool's open, close and alive. */
int connection_open(struct vim_call *call, struct pool *pool, int64_t deadline,
                    struct pooled **ret_connection, struct store_error *ret_error);
void connection_close(struct pooled *pooled);
bool connection_alive(struct pooled *pooled);

/* Connects and logs in, without scripts. CALL may be NULL. The caller ends *RET_REDIS. */
int connection_login(struct vim_call *call, struct queue *queue, int64_t deadline,
                     redisContext **ret_redis, struct store_error *ret_error);

/* Closes what connection_login() has made. */
void connection_end(struct queue *queue, redisContext *redis);

/* Sends a command and waits for its reply, which the caller frees. An error reply is an error. CALL may be
 * NULL. VIM_E_TIMEOUT, VIM_E_LOST: the connection is not to be used again. */
int connection_command(struct vim_call *call, struct queue *queue, redisContext *redis,
                       int64_t deadline, int count, const char **arguments, redisReply **ret_reply,
                       struct store_error *ret_error);

/* Runs SCRIPT for the topic NAME with COUNT arguments, on a connection of the pool, within the option
 * timeout. With REPEAT it is tried again when the connection broke. */
int connection_script(struct vim_call *call, struct queue *queue, enum script script,
                      const char *name, int count, const char *const *arguments, bool repeat,
                      redisReply **ret_reply, struct store_error *ret_error);

/* Writes the channel of a topic. */
void topic_channel(const struct queue *queue, const char *name, char ret_channel[KEY_MAX]);

/* --- push.c */

int queue_push(struct vim_call *call, void *instance, const char *topic, const char *id,
               uint32_t delay_ms);

/* --- out.c */

/* Writes the member of the leases for ENTRY and ID. */
void member_write(const char *entry, const char *id, char ret_member[MEMBER_MAX]);

/* Remembers that ID is out as ENTRY. */
void out_add(struct queue *queue, const char *topic, const char *id, const char *entry,
             uint32_t lease_ms);

/* Remembers a new end of the lease. False if ID is not known to be out. */
bool out_extend(struct queue *queue, const char *topic, const char *id, uint32_t lease_ms,
                char ret_entry[ENTRY_MAX]);

/* Ends ID; Redis will be told. False if ID is not known to be out. *RET_FULL: somebody has to do the telling
 * now. */
bool out_end(struct queue *queue, struct topic *topic, const char *id, bool *ret_full);

/* Takes what has ended, to be told by the caller, who then says so with out_told(); makes arguments of a
 * script of it, and returns their number. */
void out_told(struct queue *queue, struct topic *topic);
void out_ended(struct queue *queue, struct topic *topic, struct ended *ret_ended);
int out_arguments(const struct ended *ended, char count[16], const char **ret_arguments);

/* Tells Redis what has ended of one topic, and waits for others that do so; of all, without a call: then true if
 * there was something. */
int out_tell(struct vim_call *call, struct queue *queue, struct topic *topic,
             struct store_error *ret_error);
bool out_tell_all(struct queue *queue);

void out_clear(struct queue *queue);

/* --- scripts.c */

const char *script_text(enum script script);

/* --- pull.c */

int queue_pull(struct vim_call *call, void *instance, const char *name, uint32_t maximum,
               uint32_t wait_ms, uint32_t lease_ms);
void queue_interrupt(void *instance);

/* The topic of that name, if this instance has pulled from it; or NULL. */
struct topic *queue_topic(struct queue *queue, const char *name);

/* What exceeds queue.h's limits; ID may be NULL where the call has none. */
int queue_refuse_names(struct vim_call *call, const struct queue *queue, const char *topic,
                       const char *id, bool with_id);

/* --- listener.c */

/* Starts the thread if it does not run, and has it listen for TOPIC. Called with the lock held. */
int listener_add(struct queue *queue, struct topic *topic);

/* Has it look at what there is to do. */
void listener_wake(struct queue *queue);

/* Ends the thread. */
void listener_stop(struct queue *queue);

#endif

/*
 * queue_client.h - calls of a queue, with their results kept.
 */
#ifndef QUEUE_CLIENT_H
#define QUEUE_CLIENT_H

#include <stddef.h>
#include <stdint.h>

struct instance;

#define PULLED_MAX 256

struct pulled {
    size_t count;
    size_t stop_after; /* refuse entries from this many on; 0: never */
    struct {
        char topic[48], id[208];
        uint64_t deliveries;
    } entries[PULLED_MAX];
};

struct depth {
    int64_t waiting, delayed, delivered, oldest_ms; /* -1: not told */
};

int queue_client_push(struct instance *queue, const char *topic, const char *id, uint32_t delay_ms);

/* Entries beyond PULLED_MAX are counted, not kept. PULLED->stop_after is read, the rest written. */
int queue_client_pull(struct instance *queue, const char *topic, uint32_t maximum, uint32_t wait_ms,
                      uint32_t lease_ms, struct pulled *pulled);

/* The same with another time left for the call than SUBJECT_CALL_MS. */
int queue_client_pull_within(struct instance *queue, const char *topic, uint32_t maximum,
                             uint32_t wait_ms, uint32_t lease_ms, int64_t left_ms,
                             struct pulled *pulled);
int queue_client_renew(struct instance *queue, const char *topic, const char *id,
                       uint32_t lease_ms);
int queue_client_done(struct instance *queue, const char *topic, const char *id);
int queue_client_depth(struct instance *queue, const char *topic, struct depth *ret_depth);
void queue_client_interrupt(struct instance *queue);

#endif

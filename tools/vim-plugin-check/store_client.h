/*
 * store_client.h - calls of a store, with their results kept.
 */
#ifndef STORE_CLIENT_H
#define STORE_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <vim/store.h>

struct instance;

struct stored {
    char *collection, *id, *parent, *body; /* NULL if the item had none */
    uint32_t state;
    int64_t due;
    uint64_t revision;
};

/* Results of a get or scan, and what fail() told. All zero at first; answer_clear() after use, which
 * also makes it ready for the next call. */
struct answer {
    struct stored *rows;
    size_t count, room;
    uint32_t stop_after; /* refuse rows from this many on; 0: never */
    char text[512];
};

void answer_clear(struct answer *answer);

/* Each makes one call with LEFT_MS of time, or SUBJECT_CALL_MS without. */
int store_client_commit(struct instance *store, const struct vim_write *writes, uint32_t count,
                        struct answer *answer);
int store_client_commit_within(struct instance *store, const struct vim_write *writes,
                               uint32_t count, uint32_t stride, int64_t left_ms,
                               struct answer *answer);
int store_client_get(struct instance *store, const char *collection, const char *id,
                     struct answer *answer);
int store_client_scan(struct instance *store, const struct vim_scan *scan, struct answer *answer);

/* A commit of one write, without asking why it failed. */
int store_client_put(struct instance *store, const char *collection, const char *id,
                     const char *body, uint64_t expect);

/* The revision of a row; 0 if it is not there, UINT64_MAX if the get failed otherwise. */
uint64_t store_client_revision(struct instance *store, const char *collection, const char *id);

#endif

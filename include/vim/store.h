/*
 * vim/store.h - operations of a store: the only truth vimd has.
 *
 * A store holds rows in collections. A row has an id (unique in its collection), a parent, a
 * state (0..31), a due time, a revision and a body (JSON text). That is all that can be searched;
 * a store never looks into a body.
 *
 * Revisions: a row is born with revision 1, and every write to it adds one. So a writer that
 * states the revision it expects also knows the one it makes.
 *
 * Durability: commit() returns VIM_OK only when the writes survive a kill of the process and, if
 * the store's configuration promises it, a power cut. After VIM_E_TIMEOUT or VIM_E_LOST the
 * outcome is unknown: read to find out.
 *
 * Consistency: a get() or scan() that begins after a commit() has returned, in any process, sees
 * it. A scan sees one moment in time within one call.
 *
 * Threads: all three calls may come in parallel on one instance. Concurrent commits may be
 * grouped into one flush; each still succeeds or fails on its own.
 *
 * Limits: a collection is 1..32 characters of a-z 0-9 - _ ; ids and parents are 1..200 bytes of
 * printable ASCII without spaces (a parent may be empty); a body is up to 1 MiB; a commit has up
 * to 1000 writes. What exceeds them is VIM_E_INVALID.
 */
#ifndef VIM_STORE_H
#define VIM_STORE_H

#include <vim/plugin.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Special values of vim_write.expect; any other is the revision that the row must have. */
#define VIM_EXPECT_ABSENT ((uint64_t)0)
#define VIM_EXPECT_ANY UINT64_MAX

struct vim_write {
    const char *collection;
    const char *id;
    const char *parent; /* NULL is the same as "" */
    const char *body; /* JSON text, stored and given back byte for byte; NULL deletes the row */
    uint64_t expect; /* revision, VIM_EXPECT_ABSENT or VIM_EXPECT_ANY; deleting an absent row
                           under VIM_EXPECT_ANY is fine */
    int64_t due; /* milliseconds since 1970, or 0 for never */
    uint32_t state; /* 0..31 */
    uint32_t reserved; /* 0 */
};

enum vim_scan_flag {
    VIM_SCAN_DESCENDING = 1u << 0, /* by id, from the last to the first */
    VIM_SCAN_BY_DUE = 1u << 1, /* rows with 0 < due <= due_until, the earliest due first;
                                      `after` and DESCENDING do not go with it */
    VIM_SCAN_NO_BODY = 1u << 2, /* bodies are not needed: items may have body NULL */
    VIM_SCAN_FEW =
        1u << 3 /* changes nothing in what is emitted: few rows or none are expected, so a store
                              that could look for a better place to read from had better not */
};

struct vim_scan {
    uint32_t size;
    uint32_t flags; /* enum vim_scan_flag */
    const char *collection;
    const char *parent; /* NULL for any */
    const char *after; /* begin behind this id (it need not exist); NULL for the start */
    int64_t due_until; /* for VIM_SCAN_BY_DUE */
    uint32_t states; /* bit mask over state; 0 for any */
    uint32_t limit; /* rows at most; 0 for no limit */
};

struct vim_store_ops {
    uint32_t size;
    uint32_t reserved; /* 0 */

    /* Applies all writes, or none. WRITES has COUNT elements, STRIDE bytes apart. No row may be
     * named twice. If a row is not as expected: VIM_E_CONFLICT, and fail() names
     * "collection/id". Other errors: VIM_E_INVALID, VIM_E_BUSY, VIM_E_UNAVAILABLE,
     * VIM_E_TIMEOUT, VIM_E_LOST, VIM_E_INTERNAL. */
    int (*commit)(struct vim_call *call, void *instance, const struct vim_write *writes,
                  uint32_t count, uint32_t stride);

    /* Emits the row (kind = collection, id, parent, state, due, revision, body), or returns
     * VIM_E_NOT_FOUND. */
    int (*get)(struct vim_call *call, void *instance, const char *collection, const char *id);

    /* Emits the rows that match, in order of id (bytewise) unless the flags say otherwise. An
     * unknown collection is an empty one. */
    int (*scan)(struct vim_call *call, void *instance, const struct vim_scan *scan);
};

#ifdef __cplusplus
}
#endif
#endif

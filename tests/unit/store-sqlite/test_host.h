/*
 * test_host.h - a host of a few lines, so that a plugin's own tests need nothing of core/.
 */
#ifndef TEST_HOST_H
#define TEST_HOST_H

#include <stdatomic.h>
#include <stdbool.h>
#include <vim/plugin.h>

#define TEST_ITEMS_MAX 4096

struct test_row {
    char id[256];
    char parent[256];
    char *body; /* NULL if the item had none */
    uint32_t state;
    int64_t due;
    uint64_t revision;
};

/* One call. Set DEADLINE_MS before, read the rest after it. */
struct vim_call {
    int64_t deadline_ms; /* on test_now(); 0 for a minute from now */
    atomic_bool cancelled;
    uint32_t emit_pause_ms; /* that emit() takes for each item */
    uint32_t stop_after; /* emit() says "no more" from this many on; 0: never */
    uint32_t count;
    struct test_row *rows; /* of TEST_ITEMS_MAX, or NULL to count only */
    uint32_t waited; /* how often it was told to wait */
    bool waits; /* and not yet to go on */
    int failed; /* code given to fail(), 0 if none */
    char text[512]; /* and its text */
};

struct vim_self {
    const char *instance;
    const char *state_dir;
};

extern const struct vim_host test_host;

/* Milliseconds on the monotonic clock. */
int64_t test_now(void);

/* How many times as long as usual something may take, since a sanitizer or valgrind runs it: what
 * VIMD_TEST_PATIENCE says, but at most MOST. */
int test_patience(int most);

/* Loads PATH with dlopen and returns its descriptor; ends the test if it cannot. */
const struct vim_plugin *test_load(const char *path);

/* A call that keeps up to TEST_ITEMS_MAX items; test_call_clear() frees them. */
void test_call_init(struct vim_call *call);
void test_call_clear(struct vim_call *call);

#endif

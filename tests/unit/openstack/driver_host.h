/*
 * driver_host.h - a small host for one driver: enough of vimd to run its operations to their end.
 *
 * It loads the plugin, fills its configuration from pairs of texts, and plays the part of the
 * engine: it keeps cursors, waits, counts attempts, and undoes what failed. Functions may be called
 * from several threads on one driver, each with a result of its own.
 */
#ifndef DRIVER_HOST_H
#define DRIVER_HOST_H

#include <vim/driver.h>

struct driver;

struct seen {
    char id[256];
    char kind[32];
    char status[32];
    char tag[64];
    char parent[64];
    uint32_t flags;
    char *body; /* or NULL */
};

/* What calls have pushed. Start it zeroed; ends with result_clear(). */
struct result {
    struct seen *items;
    unsigned count;
    char *kept;
    char fail[1024];
    int failed_with;
    uint32_t retry_after_ms;
    int awaits;
    int agains;
    uint32_t delay_ms;
    char await_id[256];
    char request_ids[4096]; /* all of them, separated by spaces */
    char backend_status[16];
    char step[64];
    unsigned requests; /* what those calls have asked, if nobody else asks meanwhile */
    unsigned steps; /* calls of step() that a run has made */
};

/* Loads PATH and opens an instance. SETTINGS are names and values, ended by NULL. On failure
 * returns NULL, with the reason in RET_FAIL. */
struct driver *driver_open(const char *path, const char *const *settings, char ret_fail[1024]);
void driver_close(struct driver *driver);
const struct vim_plugin *driver_plugin(const struct driver *driver);

/* Milliseconds that each following call has. */
void driver_limit(struct driver *driver, int64_t ms);

/* All log events so far, one per line. */
const char *driver_log(struct driver *driver);

/* Requests that all drivers of this process have counted so far, logins included. */
unsigned driver_requests(void);

void result_clear(struct result *result);
/* Forgets what a call pushed, except the cursor. */
void result_restart(struct result *result);
/* The item of that id, or NULL. */
const struct seen *result_find(const struct result *result, const char *id);

int driver_list(struct driver *driver, const char *kind, const char *since, unsigned page_size,
                struct result *result);
int driver_get(struct driver *driver, const char *kind, const char *id, struct result *result);
int driver_probe(struct driver *driver, struct result *result);
/* One step. The cursor that it keeps replaces RESULT's. */
int driver_step(struct driver *driver, const struct vim_op *op, struct result *result);

struct run {
    uint32_t verb;
    const char *kind;
    const char *id;
    const char *action;
    const char *spec;
    const char *request_id;
    const void *data;
    int64_t data_size;
    unsigned attempt; /* of the first step */
    unsigned max_tries; /* repetitions after errors that may pass; 0 for 20 */
    int no_undo; /* leave what a failed operation has made */
    int use_list; /* wait by listing, as vimd's inventory does, instead of by get */
};

/* Runs an operation to its end, as the engine does: VIM_OK with the last item emitted in RESULT,
 * or the permanent error, after the undo has ended. */
int driver_run(struct driver *driver, const struct run *run, struct result *result);

#endif

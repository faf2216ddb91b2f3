/*
 * driver_client.h - calls of a driver, and operations carried through step by step.
 */
#ifndef DRIVER_CLIENT_H
#define DRIVER_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <vim/driver.h>

struct run;
struct instance;

/* One emitted item. */
struct sight {
    char *kind, *id, *status, *tag, *body; /* may be NULL, but for kind and id */
    uint32_t flags;
};

/* All zero at first; sights_clear() after use. */
struct sights {
    struct sight *items;
    size_t count, room;
    char *cursor; /* kept by the call, or NULL */
    char text[512];
};

void sights_clear(struct sights *sights);

/* The item with ID, or NULL. */
const struct sight *sights_find(const struct sights *sights, const char *id);

/* Each makes one call with LEFT_MS of time. */
int driver_list(struct instance *driver, const char *kind, uint32_t page_size, const char *since,
                int64_t left_ms, struct sights *sights);
int driver_get(struct instance *driver, const char *kind, const char *id, int64_t left_ms,
               struct sights *sights);

/* One operation, as vimd would store it between steps. operation_init(), then set what differs;
 * operation_clear() in the end. */
struct operation {
    uint32_t verb;
    const char *kind; /* lives longer than the operation */
    const char *action; /* likewise; NULL if none */
    char *id, *spec, *kept;
    char request_id[40];
    uint32_t attempt;
    bool undo;
    const char *data; /* UPLOAD */
    struct sight seen; /* what was seen of what the last step awaited; id NULL: nothing */
    /* Outcome of the last step. */
    struct sight last; /* the last item emitted; id NULL: none */
    uint32_t steps;
    char text[512]; /* what fail() told */
    uint32_t wait_ms, retry_after_ms;
    char *await_kind, *await_id;
};

/* SPEC and ID are copied; either may be NULL. Gives it a request id of its own. */
void operation_init(struct operation *operation, uint32_t verb, const char *kind, const char *id,
                    const char *spec);
void operation_clear(struct operation *operation);

/* Makes one step. FORGET: as if its outcome had been lost: nothing of it is taken over but that
 * `attempt` counts. */
int operation_step(struct instance *driver, struct operation *operation, int64_t left_ms,
                   bool forget);

/* Waits as the last step, which gave VIM_AGAIN, asked for, looking itself instead of the
 * inventory; until the end of time (clock_mono_ms()) END. */
void operation_wait(struct instance *driver, struct operation *operation, int64_t end);

enum operation_mode {
    OPERATION_PLAIN = 0,
    /* Every step is made twice, the first time with its outcome lost, and each time by an instance
     * that was opened just then. */
    OPERATION_TORTURE = 1
};

/* Makes steps until the operation ends, or STEPS (0: no bound) were made: then VIM_AGAIN. Repeats
 * what is transient or unknown. In run->instance, which is another one afterwards under TORTURE. */
int operation_carry(struct run *run, struct operation *operation, uint32_t steps,
                    enum operation_mode mode);

#endif

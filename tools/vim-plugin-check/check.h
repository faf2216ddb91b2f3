/*
 * check.h - running checks and telling what came out.
 *
 * Checks come in groups. Each group runs in a child process, so a plugin that crashes or hangs costs
 * its group and no more. One line per check:
 *
 *     ok    store: a commit with one row not as expected changes nothing
 *     FAIL  store: rows come in order of id: got "b" after "c"
 *     skip  driver: updates of network: no `updates` for it in the check configuration
 */
#ifndef CHECK_H
#define CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <vim/plugin.h>

struct plugin;
struct config;
struct instance;
struct vim_trait;

/* Counts of all groups, in memory shared with the children. */
struct tally {
    unsigned passed, failed, skipped;
    char current[256]; /* the check in progress, for when the child dies in it */
    unsigned within; /* seconds that what is in progress may take */
    unsigned hung; /* checks of this group that took longer */
    bool through; /* what runs in the child came to its end */
};

/* One group's run. Belongs to its child process. */
struct run {
    const char *group;
    const struct plugin *plugin;
    const struct config *config; /* the check configuration; never NULL */
    const char *directory; /* existing, of this run alone: the instances' state directory */
    bool verbose;
    int64_t timeout_ms; /* for one operation of a driver */
    const char *kinds,
        *without; /* of a driver's kinds these alone, and not those: words; or NULL */
    struct tally *tally;
    struct instance *instance; /* of run_checks_on_instance() */
    const struct vim_trait *trait; /* the driver's kind that is being checked */
    /* Of the check in progress. */
    char unique[32]; /* a name that no other check uses: a collection, a topic */
    bool failed, skipped;
    char reason[1024];
};

typedef void (*check_fn)(struct run *run);

struct check {
    const char *name; /* a sentence that the plugin is held to */
    check_fn function;
};

struct group {
    const char *name; /* as --only takes it */
    uint32_t type; /* enum vim_plugin_type that it is for; 0: any */
    const char *help;
    /* Runs its checks with run_check() and run_checks(). */
    void (*function)(struct run *run);
};

/* Runs FUNCTION and prints its line. */
void run_check(struct run *run, const char *name, check_fn function);
void run_checks(struct run *run, const struct check *checks, size_t count);

/* The same with an instance that is open for all of them: run->instance. */
void run_checks_on_instance(struct run *run, const struct check *checks, size_t count);

/* The same, each check in a process of its own: one in which the plugin crashes or hangs costs that check alone. Not
 * for plugins with threads or connections, which a child process would not have, or would share. */
void run_checks_apart(struct run *run, const struct check *checks, size_t count);

/* From now on the check in progress may take SECONDS, or (0) as long as checks usually may; then its process dies. */
void check_within(struct run *run, unsigned seconds);

/* Marks the check in progress; the first reason counts. One thread at a time. */
void check_fail(struct run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));
void check_skip(struct run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Tells a detail, with --verbose only. */
void check_note(const struct run *run, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Fails the check in progress and leaves the function, unless CONDITION holds. */
#define REQUIRE(run, condition, ...)      \
    do {                                  \
        if (!(condition)) {               \
            check_fail(run, __VA_ARGS__); \
            return;                       \
        }                                 \
    } while (0)

/* Runs GROUP in a child process and waits for it. Counts one more failure if it dies. */
void group_run(const struct group *group, struct run *run);

/* How many times as long as usual things may take: VIMD_TEST_PATIENCE, for valgrind and busy machines. */
int64_t check_patience(void);

/* Whether valgrind runs this process, and nothing may be said about how long something takes. */
bool check_under_valgrind(void);

/* A code as text: "VIM_E_CONFLICT (-3)". In a buffer of the calling thread's, overwritten by its
 * eighth next call. */
const char *code_name(int code);

/* Open file descriptors and threads of this process. */
unsigned count_descriptors(void);
unsigned count_threads(void);

/* The groups. */
void descriptor_group(struct run *run);
void config_group(struct run *run);
void lifecycle_group(struct run *run);
void store_group(struct run *run);
void store_race_group(struct run *run);
void store_crash_group(struct run *run);
void queue_group(struct run *run);
void queue_thread_group(struct run *run);
void driver_group(struct run *run);
void driver_task_group(struct run *run);
void policy_group(struct run *run);

#endif

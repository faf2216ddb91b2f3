/*
 * process.h - what the files of platform-process share.
 *
 *   plugin.c      options, life of an instance, the driver's operations
 *   program.c     the groups as configured: a command each
 *   replica.c     one replica: is it alive, start, signal
 *   supervisor.c  the thread that makes what is there be what is wanted
 *   cgroup.c      a control group per replica: its share of the processor, what it has used
 *
 * What is wanted, and what runs, is in files below STATE_DIR/INSTANCE/, so that replicas outlive the vimd
 * that started them and the next one finds them:
 *
 *   GROUP.wanted     how many are wanted
 *   GROUP.N          replica N: its pid, and a lock (flock) that it holds as long as it lives. The lock is taken
 *                    before the fork and inherited, so there is no moment in which a replica runs unseen.
 */
#ifndef PLATFORM_PROCESS_H
#define PLATFORM_PROCESS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>
#include <vim/driver.h>
#include "group.h"

struct process_config {
    struct vim_texts groups, ready;
    double cpu;
    int64_t cpu_period, stop_timeout, restart_delay;
    const char *cgroup, *cgroup_name;
};

/* One group as configured. Texts are owned. */
struct program {
    char *name;
    char **words; /* the command; NULL-terminated; {replica} stands for the number */
    char *
        ready; /* address that a ready replica listens on, with {replica}; NULL: it is ready when it runs */
};

/* What the supervisor knows of a replica. */
struct replica {
    int64_t started; /* monotonic ms; 0: not by this process */
    int64_t told_to_stop; /* monotonic ms; 0: not told */
    int64_t not_before; /* monotonic ms: the next start */
    uint32_t failures; /* ends in a row soon after the start */
};

struct members {
    const struct program *program;
    /* Shared, under the platform's mutex. */
    uint32_t wanted;
    bool renewed; /* wanted anew: what failed so far counts no more */
    bool ending[GROUP_REPLICAS_MAX + 1]; /* told to stop, by number */
    char failed[256]; /* why the last start failed; "" when all is well */
    /* The supervisor's own. */
    struct replica replicas[GROUP_REPLICAS_MAX + 1]; /* by number, from 1 */
};

struct process_platform {
    const struct vim_host *host;
    struct vim_self *self;
    const struct process_config *config; /* vimd's; valid until close() */
    char *folder; /* STATE_DIR/INSTANCE */
    struct program *programs;
    struct members *members; /* one per program */
    size_t count;
    bool has_cgroups;
    pthread_mutex_t mutex; /* what of `members` is shared; a leaf */
    pthread_cond_t cond;
    pthread_t thread;
    bool stop;
};

int64_t process_now(void); /* monotonic ms */

/* --- program.c ----------------------------------------------------------------------------------- */

/* Reads the options `groups` and `ready`. On error RET_REASON says which entry is wrong. */
int programs_parse(const struct process_config *config, struct program **ret_programs,
                   size_t *ret_count, char ret_reason[512]);
void programs_free(struct program *programs, size_t count);
/* TEXT with {replica} replaced, to be freed. */
char *program_expand(const char *text, uint32_t number);

/* --- replica.c ----------------------------------------------------------------------------------- */

/* Its pid if it is alive, else 0. */
pid_t replica_pid(const struct process_platform *platform, const struct program *program,
                  uint32_t number);
/* Starts it. Returns 0, or -1 and why in RET_REASON. */
int replica_start(const struct process_platform *platform, const struct program *program,
                  uint32_t number, char ret_reason[256]);
/* It runs, and listens where it should. */
bool replica_is_ready(const struct process_platform *platform, const struct program *program,
                      uint32_t number);
/* Removes the file of one that has ended. */
void replica_forget(const struct process_platform *platform, const struct program *program,
                    uint32_t number);
/* Calls EACH for the number of every replica of which there is a file. */
void replicas_each(const struct process_platform *platform, const struct program *program,
                   void (*each)(void *argument, uint32_t number), void *argument);

/* --- supervisor.c -------------------------------------------------------------------------------- */

int supervisor_start(struct process_platform *platform);
void supervisor_stop(struct process_platform *platform);
/* Reads how many are wanted; called before the start. */
void supervisor_read(struct process_platform *platform, struct members *members);
/* Wants REPLICAS from now on, durably. Calls come one at a time. Returns 0 or an errno. */
int supervisor_want(struct process_platform *platform, struct members *members, uint32_t replicas);

/* --- cgroup.c ------------------------------------------------------------------------------------ */

/* Is there a hierarchy in which this process may make groups? RET_REASON tells why not. */
bool cgroup_usable(const struct process_config *config, char ret_reason[256]);
/* Makes the replica's groups with its share. Gives open files that a process joins by writing its pid to
 * (up to 2; -1 for none). Returns 0, or -1 and why. */
int cgroup_make(const struct process_platform *platform, const char *replica, int ret_files[2],
                char ret_reason[256]);
void cgroup_remove(const struct process_platform *platform, const char *replica);
/* Ends whatever is left in the replica's groups. */
void cgroup_kill(const struct process_platform *platform, const char *replica);
/* What is measured of it, as far as it can be. */
void cgroup_sample(const struct process_platform *platform, const char *replica,
                   struct group_sample *sample);

#endif

/*
 * Makes what is there be what is wanted: replicas 1 to `wanted` run, others end. Looks every LOOK_MS, and at once
 * when told.
 */
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <vim/sdk.h>

#define LOOK_MS 250
/* One that ran this long has not failed at its start. */
#define SETTLED_MS 10000
#define DELAY_MAX_MS 60000

int64_t process_now(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* --- How many are wanted ------------------------------------------------------------------------- */

void supervisor_read(struct process_platform *platform, struct members *members)
{
    char *path = NULL;
    unsigned wanted = 0;
    FILE *file = asprintf(&path, "%s/%s.wanted", platform->folder, members->program->name) > 0
                     ? fopen(path, "re")
                     : NULL;
    if (file) {
        if (fscanf(file, "%u", &wanted) == 1 && wanted <= GROUP_REPLICAS_MAX) {
            members->wanted = wanted;
        }
        (void)fclose(file);
    }
    free(path);
}

int supervisor_want(struct process_platform *platform, struct members *members, uint32_t replicas)
{
    char *path = NULL, *draft = NULL;
    const char *name = members->program->name;
    int error = 0;
    if (asprintf(&path, "%s/%s.wanted", platform->folder, name) < 0 ||
        asprintf(&draft, "%s/.%s.wanted", platform->folder, name) < 0) {
        return ENOMEM;
    }
    int fd = open(draft, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || dprintf(fd, "%u\n", replicas) < 0 || fsync(fd) != 0 || rename(draft, path) != 0) {
        error = errno;
    } else {
        pthread_mutex_lock(&platform->mutex);
        members->wanted = replicas;
        members->renewed = true;
        members->failed[0] = '\0';
        (void)pthread_cond_signal(&platform->cond);
        pthread_mutex_unlock(&platform->mutex);
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    free(path);
    free(draft);
    return error;
}

/* --- One look ------------------------------------------------------------------------------------ */

/* Says why replicas do not come up; "": they do. */
static void tell(struct process_platform *platform, struct members *members, const char *failed)
{
    pthread_mutex_lock(&platform->mutex);
    (void)snprintf(members->failed, sizeof(members->failed), "%s", failed);
    pthread_mutex_unlock(&platform->mutex);
}

static void mark_ending(struct process_platform *platform, struct members *members, uint32_t number,
                        bool ending)
{
    pthread_mutex_lock(&platform->mutex);
    members->ending[number] = ending;
    pthread_mutex_unlock(&platform->mutex);
}

/* One that should run does not. */
static void bring_up(struct process_platform *platform, struct members *members, uint32_t number,
                     int64_t now)
{
    struct replica *replica = &members->replicas[number];
    char reason[256] = "";
    if (replica->started) {
        /* It has ended. */
        replica->failures = now - replica->started < SETTLED_MS ? replica->failures + 1 : 0;
        uint32_t doublings = replica->failures > 6 ? 6 : replica->failures;
        int64_t delay = replica->failures ? platform->config->restart_delay << (doublings - 1) : 0;
        replica->not_before = now + (delay < DELAY_MAX_MS ? delay : DELAY_MAX_MS);
        if (replica->failures > 1) {
            (void)snprintf(
                reason, sizeof(reason),
                "%s %u ended %u times in a row soon after its start: see what it wrote into "
                "vimd's log",
                members->program->name, number, replica->failures);
            tell(platform, members, reason);
        }
        vim_log(platform->host, platform->self, VIM_WARNING, "replica ended", "group=%s replica=%u",
                members->program->name, number);
    }
    replica->started = 0;
    replica->told_to_stop = 0;
    mark_ending(platform, members, number, false);
    if (now < replica->not_before) {
        return;
    }
    if (replica_start(platform, members->program, number, reason) == 0) {
        replica->started = now;
        vim_log(platform->host, platform->self, VIM_INFO, "replica started", "group=%s replica=%u",
                members->program->name, number);
    } else {
        tell(platform, members, reason);
        replica->failures++;
        replica->not_before = now + platform->config->restart_delay *
                                        (replica->failures < 30 ? replica->failures : 30);
        vim_log(platform->host, platform->self, VIM_ERROR, "replica not started",
                "group=%s replica=%u reason=\"%s\"", members->program->name, number, reason);
    }
}

/* One that should not run does: asked to end, then ended. */
static void take_down(struct process_platform *platform, struct members *members, uint32_t number,
                      pid_t pid, int64_t now)
{
    struct replica *replica = &members->replicas[number];
    if (!replica->told_to_stop) {
        replica->told_to_stop = now;
        mark_ending(platform, members, number, true);
        (void)kill(pid, SIGTERM);
    } else if (now - replica->told_to_stop >= platform->config->stop_timeout) {
        /* Its session: what it started ends with it. */
        (void)kill(-pid, SIGKILL);
        (void)kill(pid, SIGKILL);
    }
}

struct look {
    struct process_platform *platform;
    struct members *members;
    uint32_t wanted;
    int64_t now;
};

static void look_at_surplus(void *argument, uint32_t number)
{
    struct look *look = argument;
    if (number <= look->wanted) {
        return;
    }
    pid_t pid = replica_pid(look->platform, look->members->program, number);
    if (pid) {
        take_down(look->platform, look->members, number, pid, look->now);
    } else {
        replica_forget(look->platform, look->members->program, number);
        look->members->replicas[number] = (struct replica){0};
        mark_ending(look->platform, look->members, number, false);
    }
}

static void look_at(struct process_platform *platform, struct members *members)
{
    struct look look = {platform, members, 0, process_now()};
    pthread_mutex_lock(&platform->mutex);
    look.wanted = members->wanted;
    bool renewed = members->renewed;
    members->renewed = false;
    pthread_mutex_unlock(&platform->mutex);
    for (uint32_t number = 1; number <= look.wanted; number++) {
        struct replica *replica = &members->replicas[number];
        if (renewed) {
            replica->not_before = 0;
            replica->failures = 0;
        }
        if (!replica_pid(platform, members->program, number)) {
            bring_up(platform, members, number, look.now);
        } else if (replica->told_to_stop) {
            /* It is wanted again but was told to end: once it has, it is started anew. */
            take_down(platform, members, number, replica_pid(platform, members->program, number),
                      look.now);
        } else if (replica->failures && replica->started &&
                   look.now - replica->started >= SETTLED_MS) {
            replica->failures = 0;
            tell(platform, members, "");
        }
    }
    replicas_each(platform, members->program, look_at_surplus, &look);
}

static void *supervise(void *argument)
{
    struct process_platform *platform = argument;
    bool stop = false;
    while (!stop) {
        struct timespec until;
        for (size_t i = 0; i < platform->count; i++) {
            look_at(platform, &platform->members[i]);
        }
        (void)clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += LOOK_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000L;
        until.tv_nsec %= 1000000000L;
        pthread_mutex_lock(&platform->mutex);
        bool renewed = false;
        for (size_t i = 0; i < platform->count; i++) {
            renewed = renewed || platform->members[i].renewed;
        }
        if (!platform->stop && !renewed) {
            (void)pthread_cond_timedwait(&platform->cond, &platform->mutex, &until);
        }
        stop = platform->stop;
        pthread_mutex_unlock(&platform->mutex);
    }
    return NULL;
}

int supervisor_start(struct process_platform *platform)
{
    pthread_condattr_t attributes;
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&platform->mutex, NULL);
    (void)pthread_cond_init(&platform->cond, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    return pthread_create(&platform->thread, NULL, supervise, platform);
}

void supervisor_stop(struct process_platform *platform)
{
    pthread_mutex_lock(&platform->mutex);
    platform->stop = true;
    (void)pthread_cond_signal(&platform->cond);
    pthread_mutex_unlock(&platform->mutex);
    (void)pthread_join(platform->thread, NULL);
    (void)pthread_cond_destroy(&platform->cond);
    (void)pthread_mutex_destroy(&platform->mutex);
}

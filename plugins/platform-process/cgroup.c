/*
 * Control groups of either version. Version 1: one folder per replica below the controller cpu (and cpuacct where it
 * is mounted apart). Version 2: one folder, in the hierarchy that holds everything.
 */
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROOT "/sys/fs/cgroup"
#define PATH_SIZE 512

static bool is_v2(void)
{
    return access(ROOT "/cgroup.controllers", F_OK) == 0;
}

/* Where the replica's group lies in hierarchy I (0: cpu; 1: cpuacct, if that is another one). False: there is none. */
static bool group_path(const struct process_config *config, int i, const char *replica,
                       char path[PATH_SIZE])
{
    const char *slash = replica ? "/" : "", *name = replica ? replica : "";
    struct stat cpu, cpuacct;
    if (is_v2()) {
        (void)snprintf(path, PATH_SIZE, ROOT "/%s%s%s", config->cgroup_name, slash, name);
        return i == 0;
    }
    bool apart = stat(ROOT "/cpu", &cpu) == 0 && stat(ROOT "/cpuacct", &cpuacct) == 0 &&
                 cpu.st_dev != cpuacct.st_dev;
    (void)snprintf(path, PATH_SIZE, ROOT "/%s/%s%s%s", i == 0 ? "cpu" : "cpuacct",
                   config->cgroup_name, slash, name);
    return i == 0 || apart;
}

static int write_text(const char *folder, const char *file, const char *text)
{
    char path[PATH_SIZE + 64];
    (void)snprintf(path, sizeof(path), "%s/%s", folder, file);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    int failed = fd < 0 || write(fd, text, strlen(text)) < 0;
    int error = errno;
    if (fd >= 0) {
        (void)close(fd);
    }
    errno = error;
    return failed ? -1 : 0;
}

static int make_folder(const char *path)
{
    return mkdir(path, 0755) == 0 || errno == EEXIST ? 0 : -1;
}

bool cgroup_usable(const struct process_config *config, char ret_reason[256])
{
    char path[PATH_SIZE];
    for (int i = 0; i < 2; i++) {
        if (group_path(config, i, NULL, path) && make_folder(path) != 0) {
            (void)snprintf(ret_reason, 256, "%.180s: %s", path, strerror(errno));
            return false;
        }
    }
    if (is_v2()) {
        (void)group_path(config, 0, NULL, path);
        /* The controller has to be handed down twice; the upper one may be so already, and not ours to set. */
        (void)write_text(ROOT, "cgroup.subtree_control", "+cpu");
        if (write_text(path, "cgroup.subtree_control", "+cpu") != 0) {
            (void)snprintf(ret_reason, 256, "%.180s: no controller cpu: %s", path, strerror(errno));
            return false;
        }
    }
    return true;
}

static int set_share(const struct process_config *config, const char *path)
{
    char text[64];
    int64_t period = config->cpu_period * 1000, quota = (int64_t)(config->cpu * (double)period);
    bool limited = config->cpu > 0;
    if (is_v2()) {
        (void)snprintf(text, sizeof(text), "%lld %lld", (long long)quota, (long long)period);
        return write_text(path, "cpu.max", limited ? text : "max");
    }
    (void)snprintf(text, sizeof(text), "%lld", (long long)period);
    /* A folder may be left of a replica before. Its quota would forbid a shorter period, and limit one that has none. */
    int error = write_text(path, "cpu.cfs_quota_us", "-1");
    if (error || !limited) {
        return error;
    }
    if (write_text(path, "cpu.cfs_period_us", text) != 0) {
        return -1;
    }
    (void)snprintf(text, sizeof(text), "%lld", (long long)quota);
    return write_text(path, "cpu.cfs_quota_us", text);
}

int cgroup_make(const struct process_platform *platform, const char *replica, int ret_files[2],
                char ret_reason[256])
{
    char path[PATH_SIZE], file[PATH_SIZE + 64];
    for (int i = 0; i < 2; i++) {
        if (!group_path(platform->config, i, replica, path)) {
            continue;
        }
        (void)snprintf(file, sizeof(file), "%s/cgroup.procs", path);
        if (make_folder(path) != 0 || (i == 0 && set_share(platform->config, path) != 0) ||
            (ret_files[i] = open(file, O_WRONLY | O_CLOEXEC)) < 0) {
            (void)snprintf(ret_reason, 256, "%.180s: %s", path, strerror(errno));
            return -1;
        }
    }
    return 0;
}

void cgroup_remove(const struct process_platform *platform, const char *replica)
{
    char path[PATH_SIZE];
    for (int i = 0; i < 2; i++) {
        if (group_path(platform->config, i, replica, path)) {
            (void)rmdir(path);
        }
    }
}

void cgroup_kill(const struct process_platform *platform, const char *replica)
{
    char path[PATH_SIZE];
    long pid;
    (void)group_path(platform->config, 0, replica, path);
    strncat(path, "/cgroup.procs", sizeof(path) - strlen(path) - 1);
    FILE *file = fopen(path, "re");
    while (file && fscanf(file, "%ld", &pid) == 1) {
        (void)kill((pid_t)pid, SIGKILL);
    }
    if (file) {
        (void)fclose(file);
    }
}

/* --- Measuring ----------------------------------------------------------------------------------- */

/* The number behind NAME in a file of "name number" lines; with NAME NULL the first number. */
static double read_number(const char *folder, const char *file, const char *name)
{
    char path[PATH_SIZE + 64], word[64];
    double value = NAN, found = NAN;
    (void)snprintf(path, sizeof(path), "%s/%s", folder, file);
    FILE *stream = fopen(path, "re");
    if (stream && !name) {
        found = fscanf(stream, "%lf", &value) == 1 ? value : NAN;
    }
    while (stream && name && fscanf(stream, "%63s %lf", word, &value) == 2) {
        found = strcmp(word, name) == 0 ? value : found;
    }
    if (stream) {
        (void)fclose(stream);
    }
    return found;
}

/* "some avg10=0.00 avg60=0.00 avg300=0.00 total=12345" in microseconds. */
static double read_pressure(const char *folder, const char *file)
{
    char path[PATH_SIZE + 64], line[256] = "";
    (void)snprintf(path, sizeof(path), "%s/%s", folder, file);
    FILE *stream = fopen(path, "re");
    const char *total = stream && fgets(line, sizeof(line), stream) ? strstr(line, "total=") : NULL;
    if (stream) {
        (void)fclose(stream);
    }
    return total ? strtod(total + 6, NULL) / 1e6 : NAN;
}

/* The share that the group has now: somebody may have changed it since the replica was started. */
static double read_share(const struct process_config *config, const char *path)
{
    double quota = NAN, period = NAN;
    if (is_v2()) {
        char file[PATH_SIZE + 64];
        (void)snprintf(file, sizeof(file), "%s/cpu.max", path);
        FILE *stream = fopen(file, "re");
        if (stream && fscanf(stream, "%lf %lf", &quota, &period) != 2) {
            quota = NAN;
        }
        if (stream) {
            (void)fclose(stream);
        }
    } else {
        quota = read_number(path, "cpu.cfs_quota_us", NULL);
        period = read_number(path, "cpu.cfs_period_us", NULL);
    }
    return quota > 0 && period > 0 ? quota / period : config->cpu;
}

void cgroup_sample(const struct process_platform *platform, const char *replica,
                   struct group_sample *sample)
{
    char path[PATH_SIZE];
    (void)group_path(platform->config, 0, replica, path);
    sample->periods = read_number(path, "cpu.stat", "nr_periods");
    sample->throttled_periods = read_number(path, "cpu.stat", "nr_throttled");
    sample->quota_cores = read_share(platform->config, path);
    if (is_v2()) {
        sample->cpu_seconds = read_number(path, "cpu.stat", "usage_usec") / 1e6;
        sample->memory_bytes = read_number(path, "memory.current", NULL);
        sample->pressure_cpu_seconds = read_pressure(path, "cpu.pressure");
        sample->pressure_memory_seconds = read_pressure(path, "memory.pressure");
        sample->pressure_io_seconds = read_pressure(path, "io.pressure");
        return;
    }
    /* Where cpu and cpuacct are one hierarchy, so is the folder. */
    if (!group_path(platform->config, 1, replica, path)) {
        (void)group_path(platform->config, 0, replica, path);
    }
    sample->cpu_seconds = read_number(path, "cpuacct.usage", NULL) / 1e9;
}

#include "base/usage.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/text.h"

int64_t usage_cpu_us(void)
{
    struct timespec time = {0};
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (int64_t)time.tv_sec * 1000000 + time.tv_nsec / 1000;
}

int64_t usage_memory(void)
{
    long long all = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file) {
        return 0;
    }
    if (fscanf(file, "%lld %lld", &all, &resident) != 2) {
        resident = 0;
    }
    (void)fclose(file);
    return resident * sysconf(_SC_PAGESIZE);
}

/* --- Quotas -------------------------------------------------------------------------------------- */

/* The first line of a file; false if there is none. */
static bool read_line(const char *path, char *ret_line, size_t size)
{
    FILE *file = fopen(path, "re");
    bool read = file && fgets(ret_line, (int)size, file);
    if (file) {
        (void)fclose(file);
    }
    return read;
}

/* "QUOTA PERIOD" of version 2, where QUOTA may be "max". 0: no quota. */
static double quota_of_v2(const char *root, const char *group)
{
    char line[64];
    double quota, period;
    CLEANUP_FREE char *path = text_format("%s/sys/fs/cgroup%s/cpu.max", root, group);
    CLEANUP_FREE char *unified = text_format("%s/sys/fs/cgroup/unified%s/cpu.max", root, group);
    if (!read_line(path, line, sizeof(line)) && !read_line(unified, line, sizeof(line))) {
        return 0;
    }
    return sscanf(line, "%lf %lf", &quota, &period) == 2 && quota > 0 && period > 0 ? quota / period
                                                                                    : 0;
}

/* Two files of version 1, where a quota of -1 is none. */
static double quota_of_v1(const char *root, const char *group)
{
    static const char *const folders[] = {"cpu", "cpu,cpuacct"};
    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
        char quota[64], period[64];
        CLEANUP_FREE char *path =
            text_format("%s/sys/fs/cgroup/%s%s/cpu.cfs_quota_us", root, folders[i], group);
        CLEANUP_FREE char *other =
            text_format("%s/sys/fs/cgroup/%s%s/cpu.cfs_period_us", root, folders[i], group);
        if (read_line(path, quota, sizeof(quota)) && read_line(other, period, sizeof(period))) {
            double used = strtod(quota, NULL), of = strtod(period, NULL);
            return used > 0 && of > 0 ? used / of : 0;
        }
    }
    return 0;
}

/* LINE is "NUMBER:CONTROLLERS:GROUP". A group that cannot be seen is that of a container, whose own is
 * mounted as the root. */
static double quota_of_line(const char *root, char *line)
{
    line[strcspn(line, "\n")] = '\0';
    char *controllers = strchr(line, ':');
    char *group = controllers ? strchr(++controllers, ':') : NULL;
    if (!group) {
        return 0;
    }
    *group++ = '\0';
    for (char *comma = controllers; (comma = strchr(comma, ','));) {
        *comma = ' ';
    }
    double (*quota)(const char *, const char *) = *controllers ? quota_of_v1 : quota_of_v2;
    if (*controllers && !text_has_word(controllers, "cpu")) {
        return 0;
    }
    const char *path = strcmp(group, "/") == 0 ? "" : group;
    double limit = quota(root, path);
    return limit > 0 ? limit : quota(root, "");
}

double usage_cpu_limit_at(const char *root)
{
    cpu_set_t set;
    double limit = sched_getaffinity(0, sizeof(set), &set) == 0
                       ? CPU_COUNT(&set)
                       : (double)sysconf(_SC_NPROCESSORS_ONLN);
    CLEANUP_FREE char *path = text_format("%s/proc/self/cgroup", root);
    FILE *file = fopen(path, "re");
    char line[4096];
    while (file && fgets(line, sizeof(line), file)) {
        double quota = quota_of_line(root, line);
        limit = quota > 0 && quota < limit ? quota : limit;
    }
    if (file) {
        (void)fclose(file);
    }
    return limit;
}

double usage_cpu_limit(void)
{
    return usage_cpu_limit_at("");
}

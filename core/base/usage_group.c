/* Control groups: where they are, and their files. */
#include "base/usage_group.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/text.h"

#define LINE_MAX_SIZE 4096
/* Version 1 says "no limit" with a number that is about the largest there is. */
#define NO_LIMIT 9e18

/* The folders of a group that may hold its files: as it is named, and as a container sees it. */
struct folders {
    char *named, *root;
};

static void folders_free(struct folders *folders)
{
    free(folders->named);
    free(folders->root);
}

/* --- Files ------------------------------------------------------------------------------------------ */

static FILE *open_file(const char *folder, const char *name)
{
    CLEANUP_FREE char *path = text_format("%s/%s", folder, name);
    return fopen(path, "re");
}

static FILE *open_in(const struct folders *folders, const char *name)
{
    FILE *file = folders->named ? open_file(folders->named, name) : NULL;
    return file || !folders->root ? file : open_file(folders->root, name);
}

/* The number of a file that holds one; "max" is infinite. NaN if there is no such file. */
static double read_number(const struct folders *folders, const char *name)
{
    char line[LINE_MAX_SIZE];
    double value = NAN;
    FILE *file = open_in(folders, name);
    if (file && fgets(line, sizeof(line), file)) {
        char *end;
        value = strncmp(line, "max", 3) == 0 ? INFINITY : strtod(line, &end);
        value = value >= NO_LIMIT ? INFINITY : value;
        value = value < INFINITY && end == line ? NAN : value;
    }
    if (file) {
        (void)fclose(file);
    }
    return value;
}

/* The number behind the word NAME in a file of "name number" lines. */
static double read_named(const struct folders *folders, const char *file_name, const char *name)
{
    char line[LINE_MAX_SIZE];
    double value = NAN;
    size_t length = strlen(name);
    FILE *file = open_in(folders, file_name);
    while (file && isnan(value) && fgets(line, sizeof(line), file)) {
        if (strncmp(line, name, length) == 0 && line[length] == ' ') {
            value = strtod(line + length, NULL);
        }
    }
    if (file) {
        (void)fclose(file);
    }
    return value;
}

/* "some avg10=0.00 avg60=0.00 avg300=0.00 total=MICROSECONDS", in seconds. */
static double read_pressure(FILE *file)
{
    char line[LINE_MAX_SIZE];
    double value = NAN;
    while (file && isnan(value) && fgets(line, sizeof(line), file)) {
        const char *total = strncmp(line, "some ", 5) == 0 ? strstr(line, " total=") : NULL;
        value = total ? strtod(total + 7, NULL) / 1e6 : NAN;
    }
    if (file) {
        (void)fclose(file);
    }
    return value;
}

/* --- Groups ------------------------------------------------------------------------------------------ */

/* The first of FOLDERS below ROOT's mounts that is there becomes the mount of the controller. */
static void find_mount(const char *root, const char *const *mounts, const char *group,
                       struct folders *ret_folders)
{
    for (; *mounts; mounts++) {
        CLEANUP_FREE char *mount = text_format("%s/sys/fs/cgroup%s", root, *mounts);
        FILE *file = open_file(mount, "cgroup.procs");
        if (file) {
            (void)fclose(file);
            ret_folders->named = text_format("%s%s", mount, strcmp(group, "/") == 0 ? "" : group);
            ret_folders->root = TAKE(mount);
            return;
        }
    }
}

/* Where the files of CONTROLLER are; of version 2 if that is "". */
static struct folders find_group(const char *root, const char *controller)
{
    static const char *const unified[] = {"", "/unified", NULL};
    char combined[64], single[32], line[LINE_MAX_SIZE];
    (void)snprintf(combined, sizeof(combined), "/%s,cpuacct", controller);
    (void)snprintf(single, sizeof(single), "/%s", controller);
    const char *const own[] = {single, combined, NULL};
    struct folders folders = {0};
    CLEANUP_FREE char *path = text_format("%s/proc/self/cgroup", root);
    FILE *file = fopen(path, "re");
    while (file && !folders.root && fgets(line, sizeof(line), file)) {
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':');
        char *group = controllers ? strchr(++controllers, ':') : NULL;
        if (!group) {
            continue;
        }
        *group++ = '\0';
        for (char *comma = controllers; (comma = strchr(comma, ','));) {
            *comma = ' ';
        }
        if (*controller ? text_has_word(controllers, controller) : !*controllers) {
            find_mount(root, *controller ? own : unified, group, &folders);
        }
    }
    if (file) {
        (void)fclose(file);
    }
    return folders;
}

const char *usage_pressure_name(enum usage_pressure what)
{
    static const char *const names[] = {"cpu", "memory", "io"};
    return names[what];
}

static void read_v1(const char *root, struct usage_group *group)
{
    struct folders cpu = find_group(root, "cpu"), memory = find_group(root, "memory");
    group->periods = read_named(&cpu, "cpu.stat", "nr_periods");
    group->throttled = read_named(&cpu, "cpu.stat", "nr_throttled");
    group->throttled_seconds = read_named(&cpu, "cpu.stat", "throttled_time") / 1e9;
    group->memory = read_number(&memory, "memory.usage_in_bytes");
    group->memory_limit = read_number(&memory, "memory.limit_in_bytes");
    folders_free(&cpu);
    folders_free(&memory);
}

/* Is it the group of all that runs? That one has no type; the one that a container sees as the root has. */
static bool is_whole_machine(const struct folders *folders)
{
    if (!folders->root || strcmp(folders->named, folders->root) != 0) {
        return false;
    }
    FILE *type = open_file(folders->root, "cgroup.type");
    if (type) {
        (void)fclose(type);
    }
    return !type;
}

/* What version 1 does not tell. With both side by side each controller is in one of them. */
static void read_v2(const char *root, struct usage_group *group)
{
    struct folders folders = find_group(root, "");
    if (isnan(group->periods)) {
        group->periods = read_named(&folders, "cpu.stat", "nr_periods");
        group->throttled = read_named(&folders, "cpu.stat", "nr_throttled");
        group->throttled_seconds = read_named(&folders, "cpu.stat", "throttled_usec") / 1e6;
    }
    if (isnan(group->memory)) {
        group->memory = read_number(&folders, "memory.current");
        group->memory_limit = read_number(&folders, "memory.max");
    }
    for (int i = 0; i < PRESSURE_COUNT; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "%s.pressure", usage_pressure_name(i));
        group->pressure[i] = read_pressure(open_in(&folders, name));
    }
    group->pressure_of_system = !isnan(group->pressure[PRESSURE_CPU]) && is_whole_machine(&folders);
    folders_free(&folders);
}

void usage_group_at(const char *root, struct usage_group *ret_group)
{
    struct usage_group group = {0};
    read_v1(root, &group);
    read_v2(root, &group);
    if (isnan(group.pressure[PRESSURE_CPU])) {
        CLEANUP_FREE char *folder = text_format("%s/proc/pressure", root);
        for (int i = 0; i < PRESSURE_COUNT; i++) {
            group.pressure[i] = read_pressure(open_file(folder, usage_pressure_name(i)));
        }
        group.pressure_of_system = !isnan(group.pressure[PRESSURE_CPU]);
    }
    *ret_group = group;
}

void usage_group(struct usage_group *ret_group)
{
    usage_group_at("", ret_group);
}

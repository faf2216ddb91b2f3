/* Lock order: the mutex here is a leaf. */
#include "engine/owner.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uthash.h>
#include "base/cleanup.h"
#include "base/memory.h"
#include "base/text.h"

static char self[160];
static char home[100]; /* "BOOT:NAMESPACE:" */
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* Processes that were declared dead. */
struct dead {
    UT_hash_handle hh;
    char owner[];
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct dead *declared;

/* When a process was started, in clock ticks since boot; 0 if there is no such process. Field 22 of
 * its stat, counted from behind the last ')': the command's name may hold anything. */
static unsigned long long start_of(long pid)
{
    char path[64], stat[1024];
    (void)snprintf(path, sizeof(path), "/proc/%ld/stat", pid);
    FILE *file = fopen(path, "re");
    if (!file) {
        return 0;
    }
    size_t length = fread(stat, 1, sizeof(stat) - 1, file);
    (void)fclose(file);
    stat[length] = '\0';
    char *at = strrchr(stat, ')');
    for (int field = 2; at && field < 22; field++) {
        at = strchr(at + 1, ' ');
    }
    return at ? strtoull(at + 1, NULL, 10) : 0;
}

static void find_self(void)
{
    char boot[64] = "";
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (file) {
        if (fgets(boot, sizeof(boot), file)) {
            boot[strcspn(boot, "\n")] = '\0';
        }
        (void)fclose(file);
    }
    struct stat info;
    unsigned long long inode = stat("/proc/self/ns/pid", &info) == 0 ? info.st_ino : 0;
    (void)snprintf(home, sizeof(home), "%s:%llu:", boot, inode);
    (void)snprintf(self, sizeof(self), "%s%ld:%llu", home, (long)getpid(), start_of(getpid()));
}

const char *owner_self(void)
{
    (void)pthread_once(&once, find_self);
    return self;
}

static struct dead *find_declared(const char *owner)
{
    struct dead *dead = NULL;
    HASH_FIND_STR(declared, owner, dead);
    return dead;
}

void owner_declare(const char *owner, bool dead)
{
    LOCK_GUARD(&mutex);
    struct dead *found = find_declared(owner);
    if (found && !dead) {
        HASH_DEL(declared, found);
        free(found);
    } else if (!found && dead) {
        size_t size = strlen(owner) + 1;
        found = memory_new(sizeof(*found) + size);
        memcpy(found->owner, owner, size);
        HASH_ADD_STR(declared, owner, found);
    }
}

static bool is_declared(const char *owner)
{
    LOCK_GUARD(&mutex);
    return find_declared(owner) != NULL;
}

bool owner_is_dead(const char *owner)
{
    (void)owner_self();
    if (!owner) {
        return false;
    }
    if (!text_starts_with(owner, home)) {
        return is_declared(owner);
    }
    char *end;
    long pid = strtol(owner + strlen(home), &end, 10);
    if (pid <= 0 || *end != ':') {
        return false;
    }
    unsigned long long start = strtoull(end + 1, NULL, 10);
    unsigned long long found = start_of(pid);
    if (found == 0) {
        /* No /proc to look at (or a process that ended in this moment): ask the kernel. */
        return kill((pid_t)pid, 0) != 0 && errno == ESRCH;
    }
    return found != start;
}

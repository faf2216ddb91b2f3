/* Lock order: the mutex here is a leaf. */
#include "engine/claims.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/ids.h"
#include "base/memory.h"

/* Two workers may come to one task at the same time, and one of them takes it: so until the other one
 * has found out, there are two claims. */
struct claim {
    uint64_t number;
    int64_t until;
    struct claim *next;
};

struct claimed {
    char task[ID_SIZE];
    struct claim *first;
    UT_hash_handle hh;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static uint64_t last_number;
static struct claimed *table;

uint64_t claims_take(const char *task, int64_t until)
{
    struct claim *claim = MEMORY_NEW(struct claim);
    struct claimed *claimed;
    LOCK_GUARD(&mutex);
    HASH_FIND_STR(table, task, claimed);
    if (!claimed) {
        claimed = MEMORY_NEW(struct claimed);
        strncpy(claimed->task, task, ID_SIZE - 1);
        HASH_ADD_STR(table, task, claimed);
    }
    claim->number = ++last_number;
    claim->until = until;
    claim->next = claimed->first;
    claimed->first = claim;
    return claim->number;
}

/* Removes the claim NUMBER, and those whose time was over at OVER. */
static void drop(struct claimed *claimed, uint64_t number, int64_t over)
{
    struct claim **link = &claimed->first;
    while (*link) {
        struct claim *claim = *link;
        if (claim->number == number || claim->until <= over) {
            *link = claim->next;
            free(claim);
        } else {
            link = &claim->next;
        }
    }
    if (!claimed->first) {
        HASH_DEL(table, claimed);
        free(claimed);
    }
}

void claims_give(const char *task, uint64_t number)
{
    struct claimed *claimed;
    LOCK_GUARD(&mutex);
    HASH_FIND_STR(table, task, claimed);
    if (claimed) {
        drop(claimed, number, INT64_MIN);
    }
}

bool claims_hold(const char *task)
{
    struct claimed *claimed;
    int64_t now = clock_mono_ms();
    LOCK_GUARD(&mutex);
    HASH_FIND_STR(table, task, claimed);
    const struct claim *claim = claimed ? claimed->first : NULL;
    while (claim && claim->until <= now) {
        claim = claim->next;
    }
    return claim;
}

void claims_drop_old(void)
{
    struct claimed *claimed, *next;
    int64_t now = clock_mono_ms();
    LOCK_GUARD(&mutex);
    HASH_ITER(hh, table, claimed, next)
    {
        drop(claimed, 0, now);
    }
}

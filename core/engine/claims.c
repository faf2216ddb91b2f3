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

struct claimed {
    char task[ID_SIZE];
    uint64_t number;
    int64_t until;
    UT_hash_handle hh;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static uint64_t last_number;
static struct claimed *table;

static void drop(struct claimed *claimed)
{
    HASH_DEL(table, claimed);
    free(claimed);
}

uint64_t claims_take(const char *task, int64_t until)
{
    struct claimed *claimed;
    LOCK_GUARD(&mutex);
    HASH_FIND_STR(table, task, claimed);
    if (!claimed) {
        claimed = MEMORY_NEW(struct claimed);
        strncpy(claimed->task, task, ID_SIZE - 1);
        HASH_ADD_STR(table, task, claimed);
    }
    claimed->number = ++last_number;
    claimed->until = until;
    return claimed->number;
}

void claims_give(const char *task, uint64_t number)
{
    struct claimed *claimed;
    LOCK_GUARD(&mutex);
    HASH_FIND_STR(table, task, claimed);
    if (claimed && claimed->number == number) {
        drop(claimed);
    }
}

bool claims_hold(const char *task)
{
    struct claimed *claimed;
    LOCK_GUARD(&mutex);
    HASH_FIND_STR(table, task, claimed);
    return claimed && claimed->until > clock_mono_ms();
}

void claims_drop_old(void)
{
    struct claimed *claimed, *next;
    int64_t now = clock_mono_ms();
    LOCK_GUARD(&mutex);
    HASH_ITER(hh, table, claimed, next)
    {
        if (claimed->until <= now) {
            drop(claimed);
        }
    }
}

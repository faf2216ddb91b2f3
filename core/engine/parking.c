/* Lock order: parking->mutex is a leaf. */
#include "engine/parking.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>
#include "base/cleanup.h"
#include "base/memory.h"
#include "base/text.h"

#define TASKS_MAX 50000u

struct parked {
    char task[ID_SIZE];
    struct parked *next;
    UT_hash_handle hh;
};

struct lot {
    char *vim;
    struct parked *first, **end;
    size_t count;
    UT_hash_handle hh;
};

struct parking {
    pthread_mutex_t mutex;
    struct lot *lots; /* never removed: one per VIM */
    struct parked *tasks;
};

struct parking *parking_new(void)
{
    struct parking *parking = MEMORY_NEW(struct parking);
    pthread_mutex_init(&parking->mutex, NULL);
    return parking;
}

void parking_free(struct parking *parking)
{
    if (!parking) {
        return;
    }
    struct parked *parked, *next_parked;
    HASH_ITER(hh, parking->tasks, parked, next_parked)
    {
        HASH_DEL(parking->tasks, parked);
        free(parked);
    }
    struct lot *lot, *next_lot;
    HASH_ITER(hh, parking->lots, lot, next_lot)
    {
        HASH_DEL(parking->lots, lot);
        free(lot->vim);
        free(lot);
    }
    pthread_mutex_destroy(&parking->mutex);
    free(parking);
}

bool parking_put(struct parking *parking, const char *vim, const char *task)
{
    struct parked *parked;
    struct lot *lot;
    LOCK_GUARD(&parking->mutex);
    HASH_FIND_STR(parking->tasks, task, parked);
    if (parked) {
        return true;
    }
    if (HASH_COUNT(parking->tasks) >= TASKS_MAX) {
        return false;
    }
    HASH_FIND_STR(parking->lots, vim, lot);
    if (!lot) {
        lot = MEMORY_NEW(struct lot);
        lot->vim = text_duplicate(vim);
        lot->end = &lot->first;
        HASH_ADD_KEYPTR(hh, parking->lots, lot->vim, strlen(lot->vim), lot);
    }
    parked = MEMORY_NEW(struct parked);
    strncpy(parked->task, task, ID_SIZE - 1);
    *lot->end = parked;
    lot->end = &parked->next;
    lot->count++;
    HASH_ADD_STR(parking->tasks, task, parked);
    return true;
}

bool parking_take(struct parking *parking, const char *vim, char ret_task[ID_SIZE])
{
    struct lot *lot;
    LOCK_GUARD(&parking->mutex);
    HASH_FIND_STR(parking->lots, vim, lot);
    struct parked *parked = lot ? lot->first : NULL;
    if (!parked) {
        return false;
    }
    lot->first = parked->next;
    lot->count--;
    if (!lot->first) {
        lot->end = &lot->first;
    }
    HASH_DEL(parking->tasks, parked);
    memcpy(ret_task, parked->task, ID_SIZE);
    free(parked);
    return true;
}

bool parking_holds(struct parking *parking, const char *task)
{
    struct parked *parked;
    LOCK_GUARD(&parking->mutex);
    HASH_FIND_STR(parking->tasks, task, parked);
    return parked != NULL;
}

size_t parking_count(struct parking *parking, const char *vim)
{
    struct lot *lot;
    LOCK_GUARD(&parking->mutex);
    HASH_FIND_STR(parking->lots, vim, lot);
    return lot ? lot->count : 0;
}

void parking_each_vim(struct parking *parking, void (*each)(void *argument, const char *vim),
                      void *argument)
{
    pthread_mutex_lock(&parking->mutex);
    size_t count = 0;
    char **names = memory_new_array(HASH_COUNT(parking->lots) + 1, sizeof(char *));
    for (struct lot *lot = parking->lots; lot; lot = lot->hh.next) {
        if (lot->first) {
            names[count++] = text_duplicate(lot->vim);
        }
    }
    pthread_mutex_unlock(&parking->mutex);
    for (size_t i = 0; i < count; i++) {
        each(argument, names[i]);
        free(names[i]);
    }
    free(names);
}

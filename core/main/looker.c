/*
 * A process that has VIMs and does not poll them would not know how they are, and would say so to whoever
 * asks for /v1/vims. So it asks each of them now and then.
 *
 * Locks: `mutex` guards `stop`; a leaf.
 */
#include "main/looker.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include "base/clock.h"
#include "base/memory.h"
#include "base/thread.h"

#define INTERVAL_MS 15000
/* Between looks for VIMs that were not asked at all yet, since a reload has brought them. */
#define NEW_MS 1000

struct looker {
    struct vims *vims;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    pthread_t thread;
    bool stop;
};

static void looker_told(void *argument, int code, const struct vim_item *item,
                        const struct failure *failure)
{
    (void)argument, (void)code, (void)item, (void)failure; /* vims.c has taken note */
}

static void looker_ask(void *argument, struct vim_target *target)
{
    struct vim_health health;
    bool *all = argument;
    vim_target_health(target, &health);
    if (*all || health.checked == 0) {
        vim_target_check(target, vim_target_settings(target)->call_timeout_ms, looker_told, NULL);
    }
}

static void *looker_run(void *argument)
{
    struct looker *looker = argument;
    int64_t last = 0;
    pthread_mutex_lock(&looker->mutex);
    while (!looker->stop) {
        pthread_mutex_unlock(&looker->mutex);
        int64_t now = clock_mono_ms();
        bool all = last == 0 || now - last >= INTERVAL_MS;
        last = all ? now : last;
        vims_each(looker->vims, looker_ask, &all);
        pthread_mutex_lock(&looker->mutex);
        if (!looker->stop) {
            (void)clock_cond_wait_until(&looker->cond, &looker->mutex, now + NEW_MS);
        }
    }
    pthread_mutex_unlock(&looker->mutex);
    return NULL;
}

int looker_start(struct vims *vims, struct looker **ret_looker)
{
    struct looker *looker = MEMORY_NEW(struct looker);
    looker->vims = vims;
    pthread_mutex_init(&looker->mutex, NULL);
    clock_cond_init(&looker->cond);
    int code = thread_start("vim-health", looker_run, looker, &looker->thread);
    if (code) {
        pthread_cond_destroy(&looker->cond);
        pthread_mutex_destroy(&looker->mutex);
        free(looker);
        return code;
    }
    *ret_looker = looker;
    return VIM_OK;
}

void looker_stop(struct looker *looker)
{
    if (!looker) {
        return;
    }
    pthread_mutex_lock(&looker->mutex);
    looker->stop = true;
    pthread_cond_signal(&looker->cond);
    pthread_mutex_unlock(&looker->mutex);
    pthread_join(looker->thread, NULL);
    pthread_cond_destroy(&looker->cond);
    pthread_mutex_destroy(&looker->mutex);
    free(looker);
}

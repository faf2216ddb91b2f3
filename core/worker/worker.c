#include "worker/worker.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/thread.h"

/* Entries taken at once: few enough that the other threads get some. */
#define TAKE 8u
#define WAIT_MS 5000u
/* After a queue that failed. */
#define PAUSE_MS 200

struct worker {
    struct tasks *tasks;
    atomic_bool stop;
    uint32_t count;
    pthread_t threads[];
};

static void *worker_main(void *argument)
{
    struct worker *worker = argument;
    bool failing = false;
    while (!atomic_load(&worker->stop)) {
        int code = tasks_work(worker->tasks, TAKE, WAIT_MS);
        if (code < 0 && !failing) {
            struct failure failure = {0};
            (void)tasks_queue_state(worker->tasks, &failure);
            log_event(VIM_WARNING, "queue pull failed", "error=%s text=%s", error_name(code),
                      failure.text);
        }
        failing = code < 0;
        if (failing) {
            clock_sleep_ms(PAUSE_MS);
        }
    }
    return NULL;
}

static void join(struct worker *worker)
{
    atomic_store(&worker->stop, true);
    for (uint32_t i = 0; i < worker->count; i++) {
        /* A thread may have been about to pull when the others were interrupted. */
        while (pthread_tryjoin_np(worker->threads[i], NULL) != 0) {
            tasks_interrupt(worker->tasks);
            clock_sleep_ms(1);
        }
    }
}

int worker_start(struct tasks *tasks, uint32_t threads, struct worker **ret_worker,
                 struct failure *failure)
{
    struct worker *worker =
        memory_new(sizeof(struct worker) + threads * sizeof(worker->threads[0]));
    worker->tasks = tasks;
    while (worker->count < threads) {
        int code = thread_start("worker", worker_main, worker, &worker->threads[worker->count]);
        if (code != VIM_OK) {
            join(worker);
            free(worker);
            return failure_set(failure, code, "no more threads for workers");
        }
        worker->count++;
    }
    *ret_worker = worker;
    return VIM_OK;
}

void worker_stop(struct worker *worker, int64_t timeout_ms)
{
    if (!worker) {
        return;
    }
    int64_t until = clock_mono_ms() + timeout_ms;
    join(worker);
    tasks_hand_back(worker->tasks);
    while (tasks_in_progress(worker->tasks) > 0 && clock_mono_ms() < until) {
        clock_sleep_ms(5);
    }
    free(worker);
}

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sim.h"

#define JOBS_MAX 64u

static void *share(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED) {
        perror("vim-sim");
        exit(2);
    }
    return memory;
}

void *parallel_run(uint32_t count, uint32_t jobs, size_t size,
                   void (*run)(void *argument, uint32_t index, void *record), void *argument)
{
    _Atomic(uint32_t) *next = share(sizeof *next);
    char *records = share(count * size);
    pid_t children[JOBS_MAX];
    bool bad = false;

    fflush(NULL);
    jobs = jobs > JOBS_MAX ? JOBS_MAX : jobs;
    for (uint32_t job = 0; job < jobs; job++) {
        children[job] = fork();
        if (children[job] == 0) {
            uint32_t index;

            prctl(PR_SET_PDEATHSIG, SIGKILL);
            while ((index = atomic_fetch_add(next, 1)) < count)
                run(argument, index, records + index * size);
            _exit(0);
        }
    }
    for (uint32_t job = 0; job < jobs; job++) {
        int status = 1;

        while (children[job] > 0 && waitpid(children[job], &status, 0) < 0 && errno == EINTR)
            ;
        bad = bad || status != 0;
    }
    munmap((void *)next, sizeof *next);
    if (!bad)
        return records;
    fprintf(stderr, "vim-sim: a process of its own did not end well\n");
    parallel_free(records, count, size);
    return NULL;
}

void parallel_free(void *records, uint32_t count, size_t size)
{
    if (records)
        munmap(records, count * size);
}

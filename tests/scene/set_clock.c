/*
 * set_clock - preloaded into vimd: its time of day is the real one plus the milliseconds that stand in the file that
 * VIMD_TEST_CLOCK names (an int64), which the scene may change at any time. The monotonic clock stays as it is.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static int (*behind)(clockid_t, struct timespec *);
static const volatile int64_t *offset_ms;

static void __attribute__((constructor)) begin(void)
{
    const char *path = getenv("VIMD_TEST_CLOCK");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *at;

    *(void **)&behind = dlsym(RTLD_NEXT, "clock_gettime");
    if (fd < 0)
        abort();
    at = mmap(NULL, sizeof *offset_ms, PROT_READ, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED)
        abort();
    close(fd);
    offset_ms = at;
}

__attribute__((visibility("default"))) int clock_gettime(clockid_t id, struct timespec *ret_time)
{
    int code = behind ? behind(id, ret_time) : -1;

    if (code == 0 && offset_ms && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) {
        ret_time->tv_sec += *offset_ms / 1000;
        ret_time->tv_nsec += *offset_ms % 1000 * 1000000;
        if (ret_time->tv_nsec < 0 || ret_time->tv_nsec >= 1000000000) {
            int64_t carry = ret_time->tv_nsec < 0 ? -1 : 1;

            ret_time->tv_sec += carry;
            ret_time->tv_nsec -= carry * 1000000000;
        }
    }
    return code;
}

#include "plugin/probe.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vim/plugin.h>
#include "base/cleanup.h"
#include "base/clock.h"

#define REASON_MAX 65536u

/* The last byte of a child that came to its end by itself. */
#define END_GOOD '\001'
#define END_BAD '\002'

/* The child must not touch what the parent shares with it, nor catch its own death. */
static void child_prepare(int pipe_fd, int64_t limit_ms)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGALRM, SIGTERM};
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        signal(signals[i], SIG_DFL);
    }
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    struct rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    int null = open("/dev/null", O_RDWR);
    if (null >= 0) {
        for (int fd = 0; fd <= 2; fd++) {
            if (fd != pipe_fd) {
                dup2(null, fd);
            }
        }
    }
    /* For the case that the parent dies meanwhile. */
    alarm((unsigned)(limit_ms / 1000 + 2));
}

static void child_main(int pipe_fd, int (*check)(void *argument, struct text *reason),
                       void *argument, int64_t limit_ms)
{
    child_prepare(pipe_fd, limit_ms);
    struct text reason = {0};
    int code = check(argument, &reason);
    text_truncate(&reason, REASON_MAX - 1);
    text_add_char(&reason, code == VIM_OK ? END_GOOD : END_BAD);
    const char *at = reason.data;
    size_t left = reason.length;
    while (left) {
        ssize_t done = write(pipe_fd, at, left);
        if (done < 0 && errno != EINTR) {
            break;
        }
        at += done > 0 ? done : 0;
        left -= done > 0 ? (size_t)done : 0;
    }
    _exit(0);
}

/* Reads until the child has closed its end; false when the time is over. */
static bool read_reason(int fd, int64_t until, struct text *text)
{
    for (;;) {
        int64_t left = until - clock_mono_ms();
        struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
        int ready = left > 0 ? poll(&poll_fd, 1, (int)left) : 0;
        if (ready < 0 && errno == EINTR) {
            continue;
        }
        if (ready <= 0) {
            return false;
        }
        char *to = text_reserve(text, 4096);
        ssize_t got = read(fd, to, 4096);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return true;
        }
        text->length += (size_t)got;
        text->data[text->length] = '\0';
        text_truncate(text, REASON_MAX);
    }
}

static int wait_child(pid_t child)
{
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    return status;
}

int probe_run(int (*check)(void *argument, struct text *reason), void *argument, int64_t limit_ms,
              struct text *reason)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
        text_printf(reason, "no pipe: %s", strerror(errno));
        return VIM_E_UNAVAILABLE;
    }
    CLEANUP_FD int read_end = ends[0];
    pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        child_main(ends[1], check, argument, limit_ms);
    }
    close(ends[1]);
    if (child < 0) {
        text_printf(reason, "no child process: %s", strerror(errno));
        return VIM_E_UNAVAILABLE;
    }
    CLEANUP_TEXT struct text told = {0};
    bool in_time = read_reason(read_end, clock_mono_ms() + limit_ms, &told);
    if (!in_time) {
        kill(child, SIGKILL);
    }
    int status = wait_child(child);
    char end = told.length ? told.data[told.length - 1] : 0;
    if (!in_time) {
        text_printf(reason, "hangs while it is probed (no end within %lld ms)",
                    (long long)limit_ms);
    } else if (WIFSIGNALED(status)) {
        text_printf(reason, "crashes while it is probed (SIG%s)",
                    sigabbrev_np(WTERMSIG(status)) ? sigabbrev_np(WTERMSIG(status)) : "?");
    } else if (end != END_GOOD && end != END_BAD) {
        text_printf(reason, "ends the process while it is probed (exit status %d)",
                    WEXITSTATUS(status));
    } else {
        text_add_bytes(reason, told.data, told.length - 1);
        return end == END_GOOD ? VIM_OK : VIM_E_INVALID;
    }
    return VIM_E_INVALID;
}

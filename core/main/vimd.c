/*
 * vimd - the program: options, signals, and the daemon between start and end.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include "base/log.h"
#include "main/commands.h"
#include "main/daemon.h"
#include "main/notify.h"

/* Listeners, epoll, the files of store and drivers, and some connections. */
#define FILES_MIN 128

/* What is not open is the next file that is: what is meant for standard error would go into a socket. */
static void vimd_open_standard_files(void)
{
    for (int fd = 0; fd <= 2; fd++) {
        if (fcntl(fd, F_GETFD) < 0) {
            (void)open("/dev/null", O_RDWR); /* the lowest that is free: this one */
        }
    }
}

static sigset_t vimd_signals(void)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    return signals;
}

/* Connections are files: as many as the system allows. */
static int vimd_raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit)) {
        return 0;
    }
    if (limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max > 1048576 ? 1048576 : limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    if (limit.rlim_cur < FILES_MIN) {
        fprintf(
            stderr,
            "vimd: this process may have %llu files open at once (ulimit -n, LimitNOFILE=), and "
            "needs %d\n",
            (unsigned long long)limit.rlim_cur, FILES_MIN);
        return -1;
    }
    return 0;
}

static int vimd_run(const struct options *options)
{
    /* Blocked before any thread is made, so that only sigwait() below gets them. */
    sigset_t signals = vimd_signals();
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is a disk that is full */
    if (vimd_raise_file_limit()) {
        return 1;
    }
    struct daemon *daemon = NULL;
    if (daemon_start(options->config, options->roles, &daemon)) {
        fputs("vimd: not started\n", stderr);
        return 1;
    }
    log_event(VIM_INFO, "ready", "version=%s", VIMD_VERSION);
    notify_state("READY=1");
    int number = 0;
    while (sigwait(&signals, &number) == 0 && number == SIGHUP) {
        daemon_reload(daemon);
    }
    log_event(VIM_INFO, "stopping", "signal=%d", number);
    notify_state("STOPPING=1");
    /* A second signal ends the process at once: the store is the truth. */
    sigdelset(&signals, SIGHUP);
    pthread_sigmask(SIG_UNBLOCK, &signals, NULL);
    daemon_stop(daemon);
    log_event(VIM_INFO, "stopped");
    return 0;
}

static int vimd_command(const struct options *options)
{
    switch (options->command) {
    case COMMAND_HELP:
        options_help();
        return 0;
    case COMMAND_VERSION:
        puts("vimd " VIMD_VERSION);
        return 0;
    case COMMAND_CHECK_CONFIG:
        return command_check_config(options);
    case COMMAND_DUMP_CONFIG:
        return command_dump_config(options);
    case COMMAND_DESCRIBE:
        return command_describe(options);
    case COMMAND_HEALTH:
        return command_health(options);
    case COMMAND_RUN:
        return vimd_run(options);
    default:
        return command_token(options);
    }
}

int main(int argc, char **argv)
{
    umask(077);
    vimd_open_standard_files();
    struct options options = {0};
    if (options_parse(argc, argv, &options)) {
        return 2;
    }
    int code = vimd_command(&options);
    if (fflush(stdout)) {
        fprintf(stderr, "vimd: what was to be printed is lost: %s\n", strerror(errno));
        code = code ? code : 1;
    }
    return code;
}

#include "process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <netdb.h>
#include <unistd.h>

#define READY_WAIT_MS 200

extern char **environ;

static char *path_of(const struct process_platform *platform, const struct program *program,
                     uint32_t number)
{
    char *path = NULL;
    return asprintf(&path, "%s/%s.%u", platform->folder, program->name, number) < 0 ? NULL : path;
}

/* Opens the replica's file; with its lock if nobody has it: then *RET_ALIVE is false. */
static int open_file(const char *path, int flags, bool *ret_alive)
{
    int fd = path ? open(path, flags | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600) : -1;
    *ret_alive = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    return fd;
}

pid_t replica_pid(const struct process_platform *platform, const struct program *program,
                  uint32_t number)
{
    char *path = path_of(platform, program, number), text[32] = "";
    bool alive = false;
    int fd = open_file(path, 0, &alive);
    ssize_t length = alive ? pread(fd, text, sizeof(text) - 1, 0) : 0;
    if (fd >= 0) {
        (void)close(fd);
    }
    free(path);
    return length > 0 ? (pid_t)strtol(text, NULL, 10) : 0;
}

/* --- Start --------------------------------------------------------------------------------------- */

/* All that the new process needs, made before the fork: behind it only what is async-signal-safe may be
 * called. */
struct launch {
    char **words;
    char **environment;
    int file; /* with the lock */
    int cgroups[2];
    int report; /* pipe: errno of a failed exec; closed by a good one */
};

static void write_number(int fd, unsigned long number)
{
    char digits[24];
    size_t at = sizeof(digits);
    digits[--at] = '\n';
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    while (at < sizeof(digits)) {
        ssize_t done = write(fd, digits + at, sizeof(digits) - at);
        if (done <= 0) {
            return;
        }
        at += (size_t)done;
    }
}

static void replica_main(const struct launch *launch) __attribute__((noreturn));
static void replica_main(const struct launch *launch)
{
    sigset_t none;
    int error;
    (void)setsid();
    write_number(launch->file, (unsigned long)getpid());
    for (int i = 0; i < 2; i++) {
        if (launch->cgroups[i] >= 0) {
            write_number(launch->cgroups[i], (unsigned long)getpid());
        }
    }
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null >= 0) {
        (void)dup2(null, STDIN_FILENO);
    }
    (void)dup2(STDERR_FILENO, STDOUT_FILENO);
    /* The lock has to live as long as the program. */
    (void)fcntl(launch->file, F_SETFD, 0);
    (void)signal(SIGPIPE, SIG_DFL);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)execve(launch->words[0], launch->words, launch->environment);
    error = errno;
    (void)!write(launch->report, &error, sizeof(error));
    _exit(127);
}

/* Forks twice, so that the replica is no child of vimd, which never has to reap it. Returns 0 or an errno. */
static int launch_replica(struct launch *launch)
{
    int ends[2], error = 0;
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return errno;
    }
    launch->report = ends[1];
    pid_t pid = fork();
    if (pid == 0) {
        pid_t inner = fork();
        if (inner == 0) {
            replica_main(launch);
        }
        error = inner < 0 ? errno : 0;
        if (error) {
            (void)!write(launch->report, &error, sizeof(error));
        }
        _exit(0);
    }
    error = pid < 0 ? errno : 0;
    (void)close(ends[1]);
    while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
    }
    if (pid > 0 && read(ends[0], &error, sizeof(error)) != sizeof(error)) {
        error = 0;
    }
    (void)close(ends[0]);
    return error;
}

static void texts_free(char **texts)
{
    for (char **text = texts; text && *text; text++) {
        free(*text);
    }
    free(texts);
}

static char **make_words(const struct program *program, uint32_t number)
{
    size_t count = 0;
    while (program->words[count]) {
        count++;
    }
    char **words = calloc(count + 1, sizeof(*words));
    for (size_t i = 0; words && i < count; i++) {
        words[i] = program_expand(program->words[i], number);
        if (!words[i]) {
            texts_free(words);
            return NULL;
        }
    }
    return words;
}

/* vimd's own environment, but for what belongs to vimd alone, and VIMD_REPLICA. */
static char **make_environment(uint32_t number)
{
    size_t count = 0, used = 0;
    while (environ[count]) {
        count++;
    }
    char **environment = calloc(count + 2, sizeof(*environment));
    for (size_t i = 0; environment && i < count; i++) {
        if (strncmp(environ[i], "NOTIFY_SOCKET=", 14) != 0 &&
            strncmp(environ[i], "VIMD_REPLICA=", 13) != 0) {
            environment[used++] = strdup(environ[i]);
        }
    }
    if (environment && asprintf(&environment[used], "VIMD_REPLICA=%u", number) < 0) {
        environment[used] = NULL;
    }
    return environment;
}

int replica_start(const struct process_platform *platform, const struct program *program,
                  uint32_t number, char ret_reason[256])
{
    struct launch launch = {.cgroups = {-1, -1}};
    char *path = path_of(platform, program, number), name[64];
    bool alive = false;
    int error = 0, code = 0;
    (void)snprintf(name, sizeof(name), "%s-%u", program->name, number);
    launch.file = open_file(path, O_CREAT, &alive);
    if (launch.file < 0) {
        (void)snprintf(ret_reason, 256, "%s: %s", path ? path : "", strerror(errno));
        code = -1;
    } else if (!alive) {
        (void)!ftruncate(launch.file, 0);
        launch.words = make_words(program, number);
        launch.environment = make_environment(number);
        code = platform->has_cgroups ? cgroup_make(platform, name, launch.cgroups, ret_reason) : 0;
        error = code || !launch.words || !launch.environment ? ENOMEM : launch_replica(&launch);
        if (error && !code) {
            (void)snprintf(ret_reason, 256, "%s: %s", program->words[0], strerror(error));
            code = -1;
        }
    }
    for (int i = 0; i < 2; i++) {
        if (launch.cgroups[i] >= 0) {
            (void)close(launch.cgroups[i]);
        }
    }
    if (launch.file >= 0) {
        (void)close(launch.file);
    }
    texts_free(launch.words);
    texts_free(launch.environment);
    free(path);
    return code;
}

/* --- Readiness ----------------------------------------------------------------------------------- */

static bool connects(const struct sockaddr *address, socklen_t length)
{
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), error = 0;
    socklen_t size = sizeof(error);
    bool good = fd >= 0 && connect(fd, address, length) == 0;
    if (fd >= 0 && !good && errno == EINPROGRESS) {
        struct pollfd waiting = {.fd = fd, .events = POLLOUT};
        good = poll(&waiting, 1, READY_WAIT_MS) == 1 &&
               getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0;
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    return good;
}

static bool listens(char *address)
{
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    if (strncmp(address, "unix:", 5) == 0) {
        (void)snprintf(local.sun_path, sizeof(local.sun_path), "%s", address + 5);
        return connects((const struct sockaddr *)&local, sizeof(local));
    }
    char *port = strrchr(address, ':');
    if (!port) {
        return false;
    }
    *port++ = '\0';
    char *host = address;
    if (*host == '[') {
        host++;
        host[strcspn(host, "]")] = '\0';
    }
    bool good =
        getaddrinfo(host, port, &hints, &found) == 0 && connects(found->ai_addr, found->ai_addrlen);
    if (found) {
        freeaddrinfo(found);
    }
    return good;
}

bool replica_is_ready(const struct process_platform *platform, const struct program *program,
                      uint32_t number)
{
    if (!replica_pid(platform, program, number)) {
        return false;
    }
    char *address = program->ready ? program_expand(program->ready, number) : NULL;
    bool good = !program->ready || (address && listens(address));
    free(address);
    return good;
}

/* --- Files --------------------------------------------------------------------------------------- */

void replica_forget(const struct process_platform *platform, const struct program *program,
                    uint32_t number)
{
    char *path = path_of(platform, program, number), name[64];
    (void)snprintf(name, sizeof(name), "%s-%u", program->name, number);
    if (platform->has_cgroups) {
        cgroup_kill(platform, name);
        cgroup_remove(platform, name);
    }
    if (path) {
        (void)unlink(path);
    }
    free(path);
}

void replicas_each(const struct process_platform *platform, const struct program *program,
                   void (*each)(void *argument, uint32_t number), void *argument)
{
    DIR *folder = opendir(platform->folder);
    size_t length = strlen(program->name);
    const struct dirent *entry;
    while (folder && (entry = readdir(folder)) != NULL) {
        char *end = NULL;
        if (strncmp(entry->d_name, program->name, length) != 0 || entry->d_name[length] != '.') {
            continue;
        }
        unsigned long number = strtoul(entry->d_name + length + 1, &end, 10);
        if (end != entry->d_name + length + 1 && *end == '\0' && number >= 1 &&
            number <= GROUP_REPLICAS_MAX) {
            each(argument, (uint32_t)number);
        }
    }
    if (folder) {
        (void)closedir(folder);
    }
}

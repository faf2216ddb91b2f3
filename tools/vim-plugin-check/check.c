#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "subject.h"

/* Longer than any check takes on a slow machine under a sanitizer. */
#define CHECK_SECONDS 300

/* Of checks that are run apart: after so many have hung the others are left out. */
#define HANGS_MAX 3u

int64_t check_patience(void)
{
    const char *text = getenv("VIMD_TEST_PATIENCE");
    long patience = text ? strtol(text, NULL, 10) : 1;

    return patience < 1 ? 1 : patience > 100 ? 100 : patience;
}

bool check_under_valgrind(void)
{
    const char *preloaded = getenv("LD_PRELOAD"); /* names what valgrind puts in */

    return preloaded && strstr(preloaded, "vgpreload");
}

static void __attribute__((format(printf, 2, 0)))
set_reason(struct run *run, const char *format, va_list arguments)
{
    vsnprintf(run->reason, sizeof run->reason, format, arguments);
    for (char *c = run->reason; *c; c++)
        if (*c == '\n')
            *c = ' ';
}

void check_fail(struct run *run, const char *format, ...)
{
    va_list arguments;

    if (run->failed)
        return;
    va_start(arguments, format);
    set_reason(run, format, arguments);
    va_end(arguments);
    run->failed = true;
}

void check_skip(struct run *run, const char *format, ...)
{
    va_list arguments;

    if (run->failed || run->skipped)
        return;
    va_start(arguments, format);
    set_reason(run, format, arguments);
    va_end(arguments);
    run->skipped = true;
}

void check_note(const struct run *run, const char *format, ...)
{
    va_list arguments;

    if (!run->verbose)
        return;
    printf("      ");
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\n");
    fflush(stdout);
}

void check_within(struct run *run, unsigned seconds)
{
    run->tally->within = (seconds ? seconds : CHECK_SECONDS) * (unsigned)check_patience();
    alarm(run->tally->within);
}

void run_check(struct run *run, const char *name, check_fn function)
{
    run->failed = run->skipped = false;
    run->reason[0] = '\0';
    unique_name("check", run->unique);
    snprintf(run->tally->current, sizeof run->tally->current, "%s", name);
    check_within(run, 0);
    function(run);
    alarm(0);
    run->tally->current[0] = '\0';
    if (run->failed) {
        run->tally->failed++;
        printf("FAIL  %s: %s: %s\n", run->group, name, run->reason);
    } else if (run->skipped) {
        run->tally->skipped++;
        printf("skip  %s: %s: %s\n", run->group, name, run->reason);
    } else {
        run->tally->passed++;
        printf("ok    %s: %s\n", run->group, name);
    }
    fflush(stdout);
}

void run_checks(struct run *run, const struct check *checks, size_t count)
{
    for (size_t i = 0; i < count; i++)
        run_check(run, checks[i].name, checks[i].function);
}

static void open_instance(struct run *run)
{
    run->instance = subject_open(run, "checked");
}

void run_checks_on_instance(struct run *run, const struct check *checks, size_t count)
{
    run_check(run, "an instance opens", open_instance);
    if (!run->instance)
        return;
    run_checks(run, checks, count);
    subject_close(run->instance);
    run->instance = NULL;
}

static void tell_death(struct run *run, int status)
{
    struct tally *tally = run->tally;
    const char *where = tally->current[0] ? tally->current : "between checks";

    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM) {
        printf("FAIL  %s: %s: hangs, given up after %u s\n", run->group, where, tally->within);
        tally->hung++;
    } else if (WIFSIGNALED(status)) {
        printf("FAIL  %s: %s: the process died of signal %d (%s)\n", run->group, where,
               WTERMSIG(status), strsignal(WTERMSIG(status)));
    } else {
        printf("FAIL  %s: %s: the process ended with exit code %d\n", run->group, where,
               WEXITSTATUS(status));
    }
    tally->failed++;
    tally->current[0] = '\0';
}

typedef void (*child_fn)(struct run *run, const void *argument);

/* Runs FUNCTION in a child process, and tells if it did not come to its end. */
static void run_in_child(struct run *run, child_fn function, const void *argument)
{
    int status = 0;
    pid_t child;

    run->tally->current[0] = '\0';
    run->tally->through = false;
    fflush(NULL);
    child = fork();
    if (child == 0) {
        function(run, argument);
        run->tally->through = true;
        fflush(NULL);
        exit(0);
    }
    while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    /* A plugin that calls exit(0) leaves a child that looks well. */
    if (child < 0 || status != 0 || !run->tally->through)
        tell_death(run, child < 0 ? 1 << 8 : status);
    fflush(stdout);
}

static void run_group(struct run *run, const void *argument)
{
    const struct group *group = argument;

    group->function(run);
}

void group_run(const struct group *group, struct run *run)
{
    run->group = group->name;
    run->tally->hung = 0;
    run_in_child(run, run_group, group);
}

static void run_one(struct run *run, const void *argument)
{
    const struct check *check = argument;

    run_check(run, check->name, check->function);
}

static void skip_after_hanging(struct run *run)
{
    check_skip(run, "it has hung %u times already", run->tally->hung);
}

void run_checks_apart(struct run *run, const struct check *checks, size_t count)
{
    run_check(run, "an instance opens", open_instance);
    if (!run->instance)
        return;
    for (size_t i = 0; i < count; i++) {
        if (run->tally->hung < HANGS_MAX)
            run_in_child(run, run_one, &checks[i]);
        else
            run_check(run, checks[i].name, skip_after_hanging);
    }
    subject_close(run->instance);
    run->instance = NULL;
}

const char *code_name(int code)
{
    static _Thread_local char texts[8][48];
    static _Thread_local unsigned next;
    char *text = texts[next++ % 8];
    static const struct {
        int code;
        const char *name;
    } names[] = {
        {VIM_OK, "VIM_OK"},
        {VIM_AGAIN, "VIM_AGAIN"},
        {VIM_E_INVALID, "VIM_E_INVALID"},
        {VIM_E_NOT_FOUND, "VIM_E_NOT_FOUND"},
        {VIM_E_CONFLICT, "VIM_E_CONFLICT"},
        {VIM_E_DENIED, "VIM_E_DENIED"},
        {VIM_E_QUOTA, "VIM_E_QUOTA"},
        {VIM_E_UNSUPPORTED, "VIM_E_UNSUPPORTED"},
        {VIM_E_CANCELLED, "VIM_E_CANCELLED"},
        {VIM_E_INTERNAL, "VIM_E_INTERNAL"},
        {VIM_E_FAILED, "VIM_E_FAILED"},
        {VIM_E_BUSY, "VIM_E_BUSY"},
        {VIM_E_UNAVAILABLE, "VIM_E_UNAVAILABLE"},
        {VIM_E_CREDENTIAL, "VIM_E_CREDENTIAL"},
        {VIM_E_IN_USE, "VIM_E_IN_USE"},
        {VIM_E_TIMEOUT, "VIM_E_TIMEOUT"},
        {VIM_E_LOST, "VIM_E_LOST"},
    };

    snprintf(text, sizeof texts[0], "code %d", code);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (names[i].code == code)
            snprintf(text, sizeof texts[0], "%s (%d)", names[i].name, code);
    return text;
}

static unsigned count_entries(const char *path)
{
    DIR *directory = opendir(path);
    unsigned count = 0;

    while (directory && readdir(directory))
        count++;
    if (directory)
        closedir(directory);
    return count;
}

unsigned count_descriptors(void)
{
    return count_entries("/proc/self/fd");
}

unsigned count_threads(void)
{
    return count_entries("/proc/self/task");
}

#include "scaler/trace.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vim/policy.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"
#include "scaler/history.h"
#include "scaler/trace_internal.h"

struct pen {
    FILE *file;
    int64_t t;
    const char *scope;
    const char *name;
};

static void write_value(const struct pen *pen, const char *metric, double value)
{
    if (!isnan(value))
        fprintf(pen->file, "%lld,%s,%s,%s,%.17g\n", (long long)pen->t, pen->scope, pen->name,
                metric, value);
}

static void write_series(const struct pen *pen, const struct history *history,
                         enum history_scope scope, uint32_t index)
{
    for (uint32_t i = 0; i < history_metric_count(scope); i++)
        write_value(pen, history_metric_name(scope, i), history_get(history, scope, index, i, 0));
}

static void write_service(struct pen pen, const struct history *history, int64_t interval_ms)
{
    struct history_goals goals = history_get_goals(history);

    pen.scope = "service";
    pen.name = history_service(history);
    write_value(&pen, "window_ms", (double)history_window_ms(history));
    if (interval_ms > 0)
        write_value(&pen, "interval_ms", (double)interval_ms);
    write_value(&pen, "slo_p95_ms", goals.slo_p95_ms);
    write_value(&pen, "slo_error_share", goals.slo_error_share);
    write_value(&pen, "budget_cores", goals.budget_cores);
    write_series(&pen, history, HISTORY_SERVICE, 0);
}

static void write_block(struct pen pen, const struct history *history, uint32_t block)
{
    struct history_block state = history_get_block(history, block);

    pen.scope = "block";
    pen.name = history_block_name(history, block);
    write_value(&pen, "scalable", state.flags & VIM_BLOCK_SCALABLE ? 1 : 0);
    write_value(&pen, "tabu", state.flags & VIM_BLOCK_TABU ? 1 : 0);
    write_value(&pen, "desired", state.desired);
    write_value(&pen, "ready", state.ready);
    write_value(&pen, "starting", state.starting);
    write_value(&pen, "minimum", state.minimum);
    write_value(&pen, "maximum", state.maximum);
    write_value(&pen, "quota_cores", state.quota_cores);
    write_value(&pen, "threads", state.threads);
    write_series(&pen, history, HISTORY_BLOCK, block);
}

static void write_action(struct pen pen, const struct history *history)
{
    struct history_action action = history_get_action(history);

    if (action.block == VIM_NO_INDEX)
        return;
    pen.scope = "action";
    pen.name = history_block_name(history, action.block);
    write_value(&pen, "delta", action.delta);
    write_value(&pen, "ready_ms", (double)action.ready);
    write_value(&pen, "outcome", action.outcome);
}

/* Cuts off what follows the last end of a line. False with errno. */
static bool end_last_line(FILE *file)
{
    char tail[LINE_MAX_BYTES];
    long size, from;
    size_t length;

    if (fseek(file, 0, SEEK_END) != 0 || (size = ftell(file)) < 0)
        return errno == ESPIPE; /* whatever reads it at the other end */
    from = size > (long)sizeof tail ? size - (long)sizeof tail : 0;
    if (fseek(file, from, SEEK_SET) != 0)
        return false;
    length = fread(tail, 1, sizeof tail, file);
    if (ferror(file))
        return false;
    while (length && tail[length - 1] != '\n')
        length--;
    /* What has no line that long was not written here. */
    if ((length || from == 0) && from + (long)length < size &&
        ftruncate(fileno(file), from + (long)length) != 0)
        return false;
    return fseek(file, 0, SEEK_END) == 0;
}

FILE *trace_append(const char *path)
{
    FILE *file = fopen(path, "a+e");
    int error;

    if (!file)
        return NULL;
    if (!end_last_line(file)) {
        error = errno;
        fclose(file);
        errno = error;
        return NULL;
    }
    if (ftell(file) == 0)
        trace_write_heading(file);
    return file;
}

void trace_write_heading(FILE *file)
{
    fputs(HEADING "\n", file);
}

void trace_write_window(FILE *file, const struct history *history, int64_t interval_ms)
{
    struct pen pen = {.file = file, .t = history_end(history)};
    char name[2 * HISTORY_NAME_MAX + 2];

    write_service(pen, history, interval_ms);
    for (uint32_t i = 0; i < history_block_count(history); i++)
        write_block(pen, history, i);
    for (uint32_t i = 0; i < history_edge_count(history); i++) {
        uint32_t caller, callee;

        history_edge_ends(history, i, &caller, &callee);
        snprintf(name, sizeof name, "%s>%s", history_block_name(history, caller),
                 history_block_name(history, callee));
        pen.scope = "edge";
        pen.name = name;
        write_series(&pen, history, HISTORY_EDGE, i);
    }
    write_action(pen, history);
}

/* --- A file that grows ------------------------------------------------------------------------ */

/* How large a regular file is; -1: it is another kind, and grows nowhere. */
static int64_t size_of(FILE *file)
{
    struct stat info;

    return fstat(fileno(file), &info) == 0 && S_ISREG(info.st_mode) ? (int64_t)info.st_size : -1;
}

/* Is what is at PATH the same file still? Another process may have begun a new one, or somebody has put it away. */
static bool is_at(FILE *file, const char *path)
{
    struct stat mine, there;

    return fstat(fileno(file), &mine) == 0 && stat(path, &there) == 0 &&
           mine.st_ino == there.st_ino && mine.st_dev == there.st_dev;
}

/* The time of the first window in it; -1 if there is none. */
static long long first_time(FILE *file)
{
    char line[LINE_MAX_BYTES];
    long long first = -1;

    rewind(file);
    while (first < 0 && fgets(line, sizeof line, file))
        if (sscanf(line, "%lld,", &first) != 1)
            first = -1;
    return first;
}

/* Gives the file at PATH the name PATH.FIRST. False with errno. */
static bool put_away(FILE *file, const char *path)
{
    CLEANUP_FREE char *name = text_format("%s.%lld", path, first_time(file));

    if (access(name, F_OK) == 0) {
        errno = EEXIST;
        return false;
    }
    return rename(path, name) == 0;
}

/* RET_FILE, with room for more. False with errno. */
static bool open_for_more(FILE **ret_file, const char *path, int64_t size_max)
{
    if (*ret_file && size_of(*ret_file) >= 0 && !is_at(*ret_file, path)) {
        fclose(*ret_file);
        *ret_file = NULL;
    }
    if (!*ret_file)
        *ret_file = trace_append(path);
    if (!*ret_file || size_of(*ret_file) < size_max)
        return *ret_file != NULL;
    if (!put_away(*ret_file, path))
        return false;
    fclose(*ret_file);
    *ret_file = trace_append(path);
    return *ret_file != NULL;
}

int trace_record(FILE **file, const char *path, int64_t size_max, const struct history *history,
                 int64_t interval_ms)
{
    int64_t before = -1;
    int error;

    if (open_for_more(file, path, size_max) && fflush(*file) == 0) {
        before = size_of(*file);
        trace_write_window(*file, history, interval_ms);
        if (fflush(*file) == 0 && !ferror(*file))
            return 0;
    }
    error = errno;
    /* Half a window would be another one. */
    if (before >= 0 && ftruncate(fileno(*file), before) != 0)
        log_event(VIM_WARNING, "half a window is left in a trace", "file=%s", path);
    if (*file)
        fclose(*file);
    *file = NULL;
    errno = error;
    return -1;
}

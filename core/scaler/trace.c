#include "scaler/trace.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <vim/plugin.h>

#include "base/memory.h"
#include "base/text.h"
#include "scaler/history.h"

#define LINE_MAX_BYTES 1024
#define HEADING "t_ms,scope,name,metric,value"
#define WINDOW_MS 5000

struct line {
    int64_t t;
    char *scope, *name, *metric;
    double value;
};

struct trace {
    char *path;
    FILE *file;
    unsigned number; /* of the line that was read last */
    uint32_t windows;
    struct history *history;
    bool waiting; /* `line` belongs to the next window */
    char buffer[LINE_MAX_BYTES];
    struct line line;
};

static int fault(struct trace *trace, struct text *reason, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static int fault(struct trace *trace, struct text *reason, const char *format, ...)
{
    va_list arguments;

    text_clear(reason);
    text_printf(reason, "%s:%u: ", trace->path, trace->number);
    va_start(arguments, format);
    text_vprintf(reason, format, arguments);
    va_end(arguments);
    return VIM_E_INVALID;
}

int trace_open(const char *path, uint32_t windows, struct trace **ret_trace,
               struct text *ret_reason)
{
    FILE *file = fopen(path, "re");
    struct trace *trace;

    if (!file) {
        text_clear(ret_reason);
        text_printf(ret_reason, "%s: %s", path, strerror(errno));
        return VIM_E_NOT_FOUND;
    }
    trace = memory_new(sizeof *trace);
    trace->path = text_duplicate(path);
    trace->file = file;
    trace->windows = windows;
    *ret_trace = trace;
    return VIM_OK;
}

void trace_close(struct trace *trace)
{
    if (!trace)
        return;
    fclose(trace->file);
    history_free(trace->history);
    free(trace->path);
    free(trace);
}

struct history *trace_history(struct trace *trace)
{
    return trace->history;
}

/* --- Reading --------------------------------------------------------------------------------- */

static bool parse_number(const char *text, double *ret_value)
{
    char *end;

    *ret_value = strtod(text, &end);
    return end != text && *end == '\0';
}

/* Cuts the line into its five fields. */
static int parse_line(struct trace *trace, struct text *reason)
{
    struct line *line = &trace->line;
    char *fields[5], *at = trace->buffer, *end;
    int count = 0;

    while (at && count < 5) {
        fields[count++] = at;
        at = strchr(at, ',');
        if (at)
            *at++ = '\0';
    }
    if (count != 5 || at)
        return fault(trace, reason, "not the five fields " HEADING);
    errno = 0;
    line->t = strtoll(fields[0], &end, 10);
    if (end == fields[0] || *end || errno || line->t < 0)
        return fault(trace, reason, "t_ms: not a time in milliseconds: %s", fields[0]);
    line->scope = fields[1];
    line->name = fields[2];
    line->metric = fields[3];
    if (!parse_number(fields[4], &line->value))
        return fault(trace, reason, "value: not a number: %s", fields[4]);
    return VIM_OK;
}

/* VIM_E_NOT_FOUND at the end. */
static int read_line(struct trace *trace, struct text *reason)
{
    while (fgets(trace->buffer, sizeof trace->buffer, trace->file)) {
        size_t length = strlen(trace->buffer);

        trace->number++;
        if (length + 1 == sizeof trace->buffer && trace->buffer[length - 1] != '\n')
            return fault(trace, reason, "longer than %d bytes", LINE_MAX_BYTES - 2);
        while (length && (trace->buffer[length - 1] == '\n' || trace->buffer[length - 1] == '\r'))
            trace->buffer[--length] = '\0';
        if (length == 0 || trace->buffer[0] == '#' || strcmp(trace->buffer, HEADING) == 0)
            continue;
        return parse_line(trace, reason);
    }
    return VIM_E_NOT_FOUND;
}

static bool take_goal(struct history *history, const char *metric, double value)
{
    struct history_goals goals = history_get_goals(history);

    if (strcmp(metric, "slo_p95_ms") == 0)
        goals.slo_p95_ms = value;
    else if (strcmp(metric, "slo_error_share") == 0)
        goals.slo_error_share = value;
    else if (strcmp(metric, "budget_cores") == 0)
        goals.budget_cores = value;
    else
        return strcmp(metric, "window_ms") == 0;
    history_set_goals(history, &goals);
    return true;
}

static bool take_state(struct history *history, uint32_t block, const char *metric, double value)
{
    struct history_block state = history_get_block(history, block);
    uint32_t number = value >= 0 && value <= 1e6 ? (uint32_t)value : 0;
    const struct {
        const char *name;
        uint32_t *field;
    } numbers[] = {{"desired", &state.desired},
                   {"ready", &state.ready},
                   {"starting", &state.starting},
                   {"minimum", &state.minimum},
                   {"maximum", &state.maximum}};
    uint32_t flag = strcmp(metric, "scalable") == 0 ? VIM_BLOCK_SCALABLE
                    : strcmp(metric, "tabu") == 0   ? VIM_BLOCK_TABU
                                                    : 0;
    bool known = true;

    if (flag)
        state.flags = value > 0 ? state.flags | flag : state.flags & ~flag;
    else if (strcmp(metric, "quota_cores") == 0)
        state.quota_cores = value;
    else if (strcmp(metric, "threads") == 0)
        state.threads = value;
    else {
        known = false;
        for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
            if (strcmp(metric, numbers[i].name) == 0) {
                *numbers[i].field = number;
                known = true;
            }
    }
    history_set_block(history, block, &state);
    return known;
}

static bool take_action(struct history *history, uint32_t block, const char *metric, double value)
{
    struct history_action action = history_get_action(history);

    if (action.block != block)
        action = (struct history_action){.block = block, .outcome = VIM_OUTCOME_PENDING};
    if (strcmp(metric, "delta") == 0)
        action.delta = value >= -1e6 && value <= 1e6 ? (int32_t)value : 0;
    else if (strcmp(metric, "ready_ms") == 0)
        action.ready = value >= 0 && value < 9e15 ? (int64_t)value : 0;
    else if (strcmp(metric, "outcome") == 0)
        action.outcome = value >= 0 && value <= VIM_OUTCOME_UNCLEAR ? (uint32_t)value : 0;
    else
        return false;
    history_set_action(history, &action);
    return true;
}

static uint32_t find_edge(struct trace *trace)
{
    char *arrow = strchr(trace->line.name, '>');
    uint32_t caller, callee;

    if (!arrow)
        return VIM_NO_INDEX;
    *arrow = '\0';
    caller = history_block(trace->history, trace->line.name);
    callee = history_block(trace->history, arrow + 1);
    *arrow = '>';
    return history_edge(trace->history, caller, callee);
}

static int take_line(struct trace *trace, struct text *reason)
{
    struct history *history = trace->history;
    const struct line *line = &trace->line;
    enum history_scope scope = HISTORY_SERVICE;
    uint32_t index = 0, metric;
    bool known = false;

    if (strcmp(line->scope, "edge") == 0) {
        scope = HISTORY_EDGE;
        index = find_edge(trace);
    } else if (strcmp(line->scope, "block") == 0 || strcmp(line->scope, "action") == 0) {
        scope = HISTORY_BLOCK;
        index = history_block(history, line->name);
    } else if (strcmp(line->scope, "service") != 0) {
        return fault(trace, reason, "scope: %s is not service, block, edge or action", line->scope);
    }
    if (index == VIM_NO_INDEX)
        return fault(trace, reason, "name: %s is no %s, or one too many", line->name, line->scope);
    metric = history_metric(scope, line->metric);
    if (strcmp(line->scope, "action") == 0)
        known = take_action(history, index, line->metric, line->value);
    else if (metric != VIM_NO_INDEX) {
        history_put(history, scope, index, metric, line->value);
        known = true;
    } else if (scope == HISTORY_SERVICE)
        known = take_goal(history, line->metric, line->value);
    else if (scope == HISTORY_BLOCK)
        known = take_state(history, index, line->metric, line->value);
    if (!known)
        return fault(trace, reason, "metric: %s has no %s", line->scope, line->metric);
    return VIM_OK;
}

/* The service's name and the length of a window have to be known before the first window. */
static int begin(struct trace *trace, struct text *reason)
{
    const struct line *line = &trace->line;
    int64_t window = WINDOW_MS;
    bool service = strcmp(line->scope, "service") == 0;

    if (service && strcmp(line->metric, "window_ms") == 0) {
        if (!(line->value >= 1 && line->value <= 3600000))
            return fault(trace, reason, "window_ms: not 1..3600000");
        window = (int64_t)line->value;
    }
    trace->history = history_new(service ? line->name : "service", window, trace->windows);
    return VIM_OK;
}

int trace_next(struct trace *trace, struct text *ret_reason)
{
    int64_t t;
    int code = trace->waiting ? VIM_OK : read_line(trace, ret_reason);

    if (code == VIM_OK && !trace->history)
        code = begin(trace, ret_reason);
    if (code != VIM_OK)
        return code;
    trace->waiting = false;
    t = trace->line.t;
    if (history_open_window(trace->history, t) != VIM_OK)
        return fault(trace, ret_reason, "t_ms: %lld lies in or before the window before",
                     (long long)t);
    do {
        code = take_line(trace, ret_reason);
        if (code == VIM_OK)
            code = read_line(trace, ret_reason);
    } while (code == VIM_OK && trace->line.t == t);
    trace->waiting = code == VIM_OK;
    return code == VIM_E_INVALID ? code : VIM_OK;
}

/* --- Writing --------------------------------------------------------------------------------- */

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

static void write_service(struct pen pen, const struct history *history)
{
    struct history_goals goals = history_get_goals(history);

    pen.scope = "service";
    pen.name = history_service(history);
    write_value(&pen, "window_ms", (double)history_window_ms(history));
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

void trace_write_heading(FILE *file)
{
    fputs(HEADING "\n", file);
}

void trace_write_window(FILE *file, const struct history *history)
{
    struct pen pen = {.file = file, .t = history_end(history)};
    char name[2 * HISTORY_NAME_MAX + 2];

    write_service(pen, history);
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

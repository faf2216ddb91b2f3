#include "scaler/trace.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <vim/plugin.h>

#include "base/memory.h"
#include "base/text.h"
#include "scaler/history.h"
#include "scaler/trace_internal.h"

#define WINDOW_MS 5000
#define COUNT_MOST 1e6 /* replicas */
#define TIME_MOST 9e15

struct line {
    int64_t t;
    char *scope, *name, *metric;
    double value;
};

/* What the window in progress has told already, a bit per metric. */
struct seen {
    uint64_t service, blocks[HISTORY_BLOCKS_MAX], edges[HISTORY_EDGES_MAX], action;
    uint32_t action_block;
};

struct trace {
    char *path;
    char *service; /* its name, once it has been told */
    FILE *file;
    unsigned number; /* of the line that was read last */
    uint32_t windows;
    struct history *history;
    int64_t interval_ms; /* between decisions; 0: not told */
    bool waiting; /* `line` belongs to the next window */
    struct seen seen;
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
    free(trace->service);
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
        /* Half a number is another number. */
        if (length == 0 || trace->buffer[length - 1] != '\n')
            return fault(trace, reason,
                         feof(trace->file) ? "the line has no end: it may be cut off"
                                           : "a byte of it is 0");
        while (length && (trace->buffer[length - 1] == '\n' || trace->buffer[length - 1] == '\r'))
            trace->buffer[--length] = '\0';
        if (length == 0 || trace->buffer[0] == '#' || strcmp(trace->buffer, HEADING) == 0)
            continue;
        return parse_line(trace, reason);
    }
    if (ferror(trace->file)) {
        text_clear(reason);
        text_printf(reason, "%s: %s", trace->path, strerror(errno));
        return VIM_E_INVALID;
    }
    return VIM_E_NOT_FOUND;
}

/* What a metric is that is no series. Of each: how a value has to be. */
enum sort { SORT_FLAG, SORT_COUNT, SORT_SHARE, SORT_AMOUNT, SORT_TIME, SORT_CHANGE, SORT_OUTCOME };

struct state_metric {
    const char *name;
    enum sort sort;
};

static const struct state_metric goal_metrics[] = {{"window_ms", SORT_TIME},
                                                   {"interval_ms", SORT_TIME},
                                                   {"slo_p95_ms", SORT_AMOUNT},
                                                   {"slo_error_share", SORT_SHARE},
                                                   {"budget_cores", SORT_AMOUNT}};
static const struct state_metric block_states[] = {
    {"scalable", SORT_FLAG}, {"tabu", SORT_FLAG},          {"desired", SORT_COUNT},
    {"ready", SORT_COUNT},   {"starting", SORT_COUNT},     {"minimum", SORT_COUNT},
    {"maximum", SORT_COUNT}, {"quota_cores", SORT_AMOUNT}, {"threads", SORT_AMOUNT}};
static const struct state_metric action_metrics[] = {
    {"delta", SORT_CHANGE}, {"ready_ms", SORT_TIME}, {"outcome", SORT_OUTCOME}};
#define COUNT_OF(list) ((uint32_t)(sizeof(list) / sizeof((list)[0])))

static bool is_whole(double value, double least, double most)
{
    return value >= least && value <= most && value == floor(value);
}

static bool fits(enum sort sort, double value)
{
    switch (sort) {
    case SORT_FLAG:
        return value == 0 || value == 1;
    case SORT_COUNT:
        return is_whole(value, 0, COUNT_MOST);
    case SORT_SHARE:
        return value >= 0 && value <= 1;
    case SORT_AMOUNT:
        return value >= 0; /* infinite, too: no limit */
    case SORT_TIME:
        return is_whole(value, 0, TIME_MOST);
    case SORT_CHANGE:
        return is_whole(value, -COUNT_MOST, COUNT_MOST);
    default:
        return is_whole(value, 0, VIM_OUTCOME_UNCLEAR);
    }
}

/* The place of the metric in LIST, if its value can be one; VIM_E_NOT_FOUND: it is not there. */
static int find_state(struct trace *trace, struct text *reason, const struct state_metric *list,
                      uint32_t count, uint32_t *ret_at)
{
    for (uint32_t i = 0; i < count; i++)
        if (strcmp(list[i].name, trace->line.metric) == 0) {
            *ret_at = i;
            return isnan(trace->line.value) || fits(list[i].sort, trace->line.value)
                       ? VIM_OK
                       : fault(trace, reason, "value: %s cannot be %g", list[i].name,
                               trace->line.value);
        }
    return VIM_E_NOT_FOUND;
}

static int take_goal(struct trace *trace, struct text *reason, uint32_t at)
{
    struct history_goals goals = history_get_goals(trace->history);
    double value = trace->line.value;

    if (at == 0 && value != (double)history_window_ms(trace->history))
        return fault(trace, reason, "window_ms: %g, after %lld", value,
                     (long long)history_window_ms(trace->history));
    if (at == 1)
        trace->interval_ms = (int64_t)value;
    else if (at == 2)
        goals.slo_p95_ms = value;
    else if (at == 3)
        goals.slo_error_share = value;
    else if (at == 4)
        goals.budget_cores = value;
    history_set_goals(trace->history, &goals);
    return VIM_OK;
}

static void take_state(struct history *history, uint32_t block, uint32_t at, double value)
{
    struct history_block state = history_get_block(history, block);
    uint32_t *const numbers[] = {&state.desired, &state.ready, &state.starting, &state.minimum,
                                 &state.maximum};

    if (at <= 1) {
        uint32_t flag = at == 0 ? VIM_BLOCK_SCALABLE : VIM_BLOCK_TABU;

        state.flags = value > 0 ? state.flags | flag : state.flags & ~flag;
    } else if (at < 2 + COUNT_OF(numbers)) {
        *numbers[at - 2] = (uint32_t)value;
    } else if (at == 2 + COUNT_OF(numbers)) {
        state.quota_cores = isinf(value) ? 0 : value;
    } else {
        state.threads = isinf(value) ? 0 : value;
    }
    history_set_block(history, block, &state);
}

static void take_action(struct history *history, uint32_t block, uint32_t at, double value)
{
    struct history_action action = history_get_action(history);

    if (action.block != block)
        action = (struct history_action){.block = block, .outcome = VIM_OUTCOME_PENDING};
    if (at == 0)
        action.delta = (int32_t)value;
    else if (at == 1)
        action.ready = (int64_t)value;
    else
        action.outcome = (uint32_t)value;
    history_set_action(history, &action);
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

/* Marks bit AT of what the window has told; a second time is a fault: which of the two holds would hang on the
 * order of lines. */
static int mark(struct trace *trace, struct text *reason, uint64_t *seen, uint32_t at)
{
    const struct line *line = &trace->line;

    if (*seen & UINT64_C(1) << at)
        return fault(trace, reason, "%s %s has two values of %s at %lld", line->scope, line->name,
                     line->metric, (long long)line->t);
    *seen |= UINT64_C(1) << at;
    return VIM_OK;
}

static int take_service_line(struct trace *trace, struct text *reason)
{
    const struct line *line = &trace->line;
    uint32_t at = history_metric(HISTORY_SERVICE, line->metric);
    int code = VIM_OK;

    if (trace->service && strcmp(line->name, trace->service) != 0)
        return fault(trace, reason, "name: %s, in a trace of the service %s", line->name,
                     trace->service);
    if (!trace->service)
        trace->service = text_duplicate(line->name);
    if (at != VIM_NO_INDEX) {
        history_put(trace->history, HISTORY_SERVICE, 0, at, line->value);
        return mark(trace, reason, &trace->seen.service, at);
    }
    code = find_state(trace, reason, goal_metrics, COUNT_OF(goal_metrics), &at);
    if (code == VIM_OK && !isnan(line->value))
        code = take_goal(trace, reason, at);
    return code == VIM_OK ? mark(trace, reason, &trace->seen.service,
                                 history_metric_count(HISTORY_SERVICE) + at)
                          : code;
}

static int take_block_line(struct trace *trace, struct text *reason, uint32_t block)
{
    const struct line *line = &trace->line;
    uint32_t at = history_metric(HISTORY_BLOCK, line->metric);
    int code = VIM_OK;

    if (at != VIM_NO_INDEX) {
        history_put(trace->history, HISTORY_BLOCK, block, at, line->value);
        return mark(trace, reason, &trace->seen.blocks[block], at);
    }
    code = find_state(trace, reason, block_states, COUNT_OF(block_states), &at);
    if (code == VIM_OK && !isnan(line->value))
        take_state(trace->history, block, at, line->value);
    return code == VIM_OK ? mark(trace, reason, &trace->seen.blocks[block],
                                 history_metric_count(HISTORY_BLOCK) + at)
                          : code;
}

static int take_action_line(struct trace *trace, struct text *reason, uint32_t block)
{
    uint32_t at = 0;
    int code = find_state(trace, reason, action_metrics, COUNT_OF(action_metrics), &at);

    if (code != VIM_OK)
        return code;
    if (trace->seen.action && trace->seen.action_block != block)
        return fault(trace, reason, "name: %s: a window tells one action, the last one",
                     trace->line.name);
    trace->seen.action_block = block;
    if (!isnan(trace->line.value))
        take_action(trace->history, block, at, trace->line.value);
    return mark(trace, reason, &trace->seen.action, at);
}

static int take_edge_line(struct trace *trace, struct text *reason, uint32_t edge)
{
    uint32_t at = history_metric(HISTORY_EDGE, trace->line.metric);

    if (at == VIM_NO_INDEX)
        return VIM_E_NOT_FOUND;
    history_put(trace->history, HISTORY_EDGE, edge, at, trace->line.value);
    return mark(trace, reason, &trace->seen.edges[edge], at);
}

static int take_line(struct trace *trace, struct text *reason)
{
    const struct line *line = &trace->line;
    bool service = strcmp(line->scope, "service") == 0, edge = strcmp(line->scope, "edge") == 0;
    bool action = strcmp(line->scope, "action") == 0;
    uint32_t index = 0;
    int code;

    if (!service && !edge && !action && strcmp(line->scope, "block") != 0)
        return fault(trace, reason, "scope: %s is not service, block, edge or action", line->scope);
    if (!service)
        index = edge ? find_edge(trace) : history_block(trace->history, line->name);
    if (index == VIM_NO_INDEX)
        return fault(trace, reason, "name: %s is no %s, or one too many", line->name, line->scope);
    code = service  ? take_service_line(trace, reason)
           : edge   ? take_edge_line(trace, reason, index)
           : action ? take_action_line(trace, reason, index)
                    : take_block_line(trace, reason, index);
    return code == VIM_E_NOT_FOUND
               ? fault(trace, reason, "metric: %s has no %s", line->scope, line->metric)
               : code;
}

/* The service's name and the length of a window have to be known before the first window is opened, wherever in it they
 * are told. Of what cannot be read twice (a pipe) the first line has to tell them. */
static int begin(struct trace *trace, struct text *reason)
{
    const struct line first = trace->line;
    const unsigned number = trace->number;
    const long place = ftell(trace->file);
    char buffer[LINE_MAX_BYTES], name[HISTORY_NAME_MAX + 1] = "service";
    int64_t window = WINDOW_MS;
    int code = VIM_OK;

    memcpy(buffer, trace->buffer, sizeof buffer);
    do {
        const struct line *line = &trace->line;

        if (strcmp(line->scope, "service") != 0)
            continue;
        if (strlen(line->name) > HISTORY_NAME_MAX)
            return fault(trace, reason, "name: longer than %u bytes", HISTORY_NAME_MAX);
        strcpy(name, line->name);
        if (strcmp(line->metric, "window_ms") == 0 && !isnan(line->value)) {
            if (!is_whole(line->value, 1, 3600000))
                return fault(trace, reason, "window_ms: not 1..3600000");
            window = (int64_t)line->value;
        }
    } while (place >= 0 && (code = read_line(trace, reason)) == VIM_OK && trace->line.t == first.t);
    trace->history = history_new(name, window, trace->windows);
    memcpy(trace->buffer, buffer, sizeof buffer);
    trace->line = first;
    trace->number = number;
    return place >= 0 && fseek(trace->file, place, SEEK_SET) != 0
               ? fault(trace, reason, "%s", strerror(errno))
               : VIM_OK;
}

int64_t trace_interval_ms(const struct trace *trace)
{
    return trace->interval_ms;
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
    memset(&trace->seen, 0, sizeof trace->seen);
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

/* Recorded measurements: read, looked at as a policy does, written and read again. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <vim/plugin.h>
#include "base/text.h"
#include "scaler/history.h"
#include "scaler/trace.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define WINDOWS 8

static void must(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void look_at(const struct history *history)
{
    static struct snapshot snapshot;
    snapshot_build(history, WINDOWS, NULL, &snapshot);
    must(snapshot.view.windows <= WINDOWS);
    must(history_block_count(history) <= HISTORY_BLOCKS_MAX);
    must(history_edge_count(history) <= HISTORY_EDGES_MAX);
}

/* Writes what is known, and reads it: the last window says the same. */
static void write_and_read(const struct history *history, unsigned depth);

static void read_file(const char *path, unsigned depth)
{
    struct trace *trace = NULL;
    struct text reason = {0};
    must(trace_open(path, WINDOWS, &trace, &reason) == VIM_OK);
    int code = VIM_OK;
    unsigned windows = 0;
    while ((code = trace_next(trace, &reason)) == VIM_OK) {
        look_at(trace_history(trace));
        if (++windows < 4 && depth == 0) {
            write_and_read(trace_history(trace), depth);
        }
    }
    must(code == VIM_E_NOT_FOUND || (code == VIM_E_INVALID && reason.length > 0));
    must(depth == 0 || code == VIM_E_NOT_FOUND);
    trace_close(trace);
    text_free(&reason);
}

static void with_file(const void *bytes, size_t size, unsigned depth)
{
    char path[64];
    int file = memfd_create("trace", MFD_CLOEXEC);
    must(file >= 0 && write(file, bytes, size) == (ssize_t)size);
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
    read_file(path, depth);
    close(file);
}

static void write_and_read(const struct history *history, unsigned depth)
{
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);
    must(file != NULL);
    trace_write_heading(file);
    trace_write_window(file, history, 0);
    must(fclose(file) == 0);
    with_file(text, size, depth + 1);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    with_file(data, size, 0);
    return 0;
}

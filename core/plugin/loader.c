#include "plugin/loader.h"
#include <ctype.h>
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/text.h"
#include "plugin/probe.h"

#define PROBE_MS 10000

static _Atomic(int64_t) probe_ms = PROBE_MS;

void plugin_set_probe_ms(int64_t ms)
{
    atomic_store(&probe_ms, ms);
}

struct attempt {
    const char *path;
    const char *name;
    uint32_t type;
    const struct vim_plugin *descriptor;
};

/* Loads the file into this process and looks at its descriptor. The object is never closed again:
 * closing is where shared objects crash. */
static int attempt_load(void *argument, struct text *reason)
{
    struct attempt *attempt = argument;
    void *object = dlopen(attempt->path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!object) {
        text_printf(reason, "cannot be loaded: %s", dlerror());
        return VIM_E_INVALID;
    }
    const struct vim_plugin *(*entry)(uint32_t host_abi);
    *(void **)&entry = dlsym(object, "vim_plugin_entry");
    if (!entry) {
        text_add(reason, "is not a vimd plugin: it exports no vim_plugin_entry");
        return VIM_E_INVALID;
    }
    attempt->descriptor = entry(VIM_ABI);
    if (!attempt->descriptor) {
        text_printf(reason, "refuses to work with this vimd (plugin ABI %u.%u)", VIM_ABI_MAJOR,
                    VIM_ABI_MINOR);
        return VIM_E_INVALID;
    }
    return plugin_lint(attempt->descriptor, attempt->name, attempt->type, reason);
}

/* A name goes into a path, so it must not be able to leave the directory. */
static bool is_file_name(const char *name)
{
    size_t length = strlen(name);
    for (size_t i = 0; i < length; i++) {
        if (!isalnum((unsigned char)name[i]) && name[i] != '-' && name[i] != '_') {
            return false;
        }
    }
    return length > 0 && length <= 63;
}

/* malloc'ed path of NAME.so, or NULL. */
static char *find_file(const char *const *directories, size_t count, const char *name)
{
    for (size_t i = 0; is_file_name(name) && i < count; i++) {
        CLEANUP_FREE char *path = text_format("%s/%s.so", directories[i], name);
        if (access(path, F_OK) == 0) {
            /* dlopen() searches its own path for a name without a slash, hence the absolute one. */
            char *absolute = realpath(path, NULL);
            return absolute ? absolute : TAKE(path);
        }
    }
    return NULL;
}

static void tell_missing(const char *const *directories, size_t count, const char *name,
                         struct text *reason)
{
    if (!is_file_name(name)) {
        text_printf(reason, "'%s' is no name of a plugin: 1 to 63 letters, digits, - and _", name);
        return;
    }
    text_printf(reason, "plugin %s: no file %s.so in", name, name);
    for (size_t i = 0; i < count; i++) {
        text_printf(reason, "%s %s", i ? "," : "", directories[i]);
    }
    if (count == 0) {
        text_add(reason, " any directory: none is configured");
    }
}

/* "plugin NAME (PATH): FAULT; FAULT" */
static void tell_fault(const struct attempt *attempt, const struct text *faults,
                       struct text *reason)
{
    text_printf(reason, "plugin %s (%s): ", attempt->name, attempt->path);
    size_t length = faults->length;
    while (length && faults->data[length - 1] == '\n') {
        length--;
    }
    for (size_t i = 0; i < length; i++) {
        if (faults->data[i] == '\n') {
            text_add(reason, "; ");
        } else {
            text_add_char(reason, faults->data[i]);
        }
    }
}

int plugin_load(const char *const *directories, size_t count, const char *name, uint32_t type,
                struct plugin **ret_plugin, struct text *ret_reason)
{
    text_clear(ret_reason);
    CLEANUP_FREE char *path = find_file(directories, count, name);
    if (!path) {
        tell_missing(directories, count, name, ret_reason);
        return VIM_E_NOT_FOUND;
    }
    struct attempt attempt = {.path = path, .name = name, .type = type};
    CLEANUP_TEXT struct text faults = {0};
    int code = probe_run(attempt_load, &attempt, atomic_load(&probe_ms), &faults);
    if (code == VIM_OK) {
        text_clear(&faults);
        code = attempt_load(&attempt, &faults);
    }
    if (code != VIM_OK) {
        tell_fault(&attempt, &faults, ret_reason);
        return code;
    }
    *ret_plugin = plugin_from_descriptor(attempt.descriptor, path);
    return VIM_OK;
}

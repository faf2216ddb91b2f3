/*
 * vim/sdk.h - conveniences for authors of plugins in C or C++.
 *
 * Everything here is `static inline` or a macro over plugin.h and driver.h: it is compiled into the plugin, it
 * is no part of the binary interface, and a plugin can do without it.
 *
 * Clean as C11 -pedantic and as C++17; needs the C library and poll().
 */
#ifndef VIM_SDK_H
#define VIM_SDK_H

#include <vim/driver.h>
#include <vim/plugin.h>

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Tells the compiler that argument AT of a function is a printf format, its values from VALUES on. */
#if defined(__GNUC__)
#define VIM_PRINTF(at, values) __attribute__((__format__(__printf__, at, values)))
#else
#define VIM_PRINTF(at, values)
#endif

/* Texts that the helpers below compose are cut at this many bytes, the NUL included. */
#define VIM_TEXT_MAX 1024

/* --- Sized structs --------------------------------------------------------------------------- */

/* True if the sized struct that POINTER points to is large enough to hold FIELD: whether the side
 * that filled it knows the field at all. */
#define VIM_HAS(pointer, type, field) \
    ((size_t)(pointer)->size >= offsetof(type, field) + sizeof((pointer)->field))

/* Copies a sized struct that the other side filled into one of our own, whatever its version:
 * min(both sizes), the rest is zero. TO and FROM point to structs that begin with a uint32_t
 * size; afterwards TO's size is TO_SIZE. */
static inline void vim_take(void *to, uint32_t to_size, const void *from)
{
    uint32_t size;
    memcpy(&size, from, sizeof(size));
    memset(to, 0, to_size);
    memcpy(to, from, size < to_size ? size : to_size);
    memcpy(to, &to_size, sizeof(to_size));
}

/* --- Texts with printf's formats ------------------------------------------------------------- */

/* host->fail() with a composed text. Returns CODE, so that a function can end with
 * `return vim_fail(host, call, VIM_E_INVALID, 0, "flavor %s is unknown", id);`. The text must not
 * hold secrets. */
VIM_PRINTF(5, 6)
static inline int vim_fail(const struct vim_host *host, struct vim_call *call, int code,
                           uint32_t retry_after_ms, const char *format, ...)
{
    char text[VIM_TEXT_MAX];
    va_list values;
    va_start(values, format);
    (void)vsnprintf(text, sizeof(text), format, values);
    va_end(values);
    return host->fail(call, code, retry_after_ms, text);
}

/* host->log() with composed fields: vim_log(host, self, VIM_INFO, "connected", "url=%s", url).
 * FORMAT may be NULL for an event without fields. */
VIM_PRINTF(5, 6)
static inline void vim_log(const struct vim_host *host, struct vim_self *self, int level,
                           const char *event, const char *format, ...)
{
    char text[VIM_TEXT_MAX];
    va_list values;
    if (format == NULL) {
        host->log(self, level, event, NULL);
        return;
    }
    va_start(values, format);
    (void)vsnprintf(text, sizeof(text), format, values);
    va_end(values);
    host->log(self, level, event, text);
}

/* host->note() with a composed value: vim_note(host, call, "progress", "%d", percent). */
VIM_PRINTF(4, 5)
static inline void vim_note(const struct vim_host *host, struct vim_call *call, const char *name,
                            const char *format, ...)
{
    char text[VIM_TEXT_MAX];
    va_list values;
    va_start(values, format);
    (void)vsnprintf(text, sizeof(text), format, values);
    va_end(values);
    host->note(call, name, text);
}

/* host->keep() with a composed cursor. A cursor that does not fit into VIM_TEXT_MAX is not kept,
 * and the result is VIM_E_INTERNAL, already explained; else VIM_OK. */
VIM_PRINTF(3, 4)
static inline int vim_keep(const struct vim_host *host, struct vim_call *call, const char *format,
                           ...)
{
    char text[VIM_TEXT_MAX];
    va_list values;
    int length;
    va_start(values, format);
    length = vsnprintf(text, sizeof(text), format, values);
    va_end(values);
    if (length < 0 || (size_t)length >= sizeof(text)) {
        return host->fail(call, VIM_E_INTERNAL, 0, "the cursor of the operation is too long");
    }
    host->keep(call, text);
    return VIM_OK;
}

/* --- Results of a driver's calls ------------------------------------------------------------- */

/* Emits one resource. STATUS is one of driver.h's words, FLAGS are enum vim_item_flag, TAG is the
 * request id found on the resource or NULL, BODY its JSON. Returns what emit() returns: nonzero
 * when no more are wanted. */
static inline int vim_emit(const struct vim_host *host, struct vim_call *call, const char *kind,
                           const char *id, const char *status, uint32_t flags, const char *tag,
                           const char *body)
{
    struct vim_item item;
    memset(&item, 0, sizeof(item));
    item.size = (uint32_t)sizeof(item);
    item.flags = flags;
    item.kind = kind;
    item.id = id;
    item.status = status;
    item.tag = tag;
    item.body = body;
    return host->emit(call, &item);
}

/* Emits that a resource no longer exists: for list() with `since`. */
static inline int vim_emit_gone(const struct vim_host *host, struct vim_call *call,
                                const char *kind, const char *id)
{
    return vim_emit(host, call, kind, id, NULL, VIM_ITEM_GONE, NULL, NULL);
}

/* Ends a step: `return vim_again(host, call, 500);` - call it again after DELAY_MS. */
static inline int vim_again(const struct vim_host *host, struct vim_call *call, uint32_t delay_ms)
{
    host->again(call, delay_ms);
    return VIM_AGAIN;
}

/* Ends a step: call it again when the inventory shows that KIND ID is no longer pending, at the
 * latest after AT_MOST_MS. */
static inline int vim_await(const struct vim_host *host, struct vim_call *call, const char *kind,
                            const char *id, uint32_t at_most_ms)
{
    host->await(call, kind, id, at_most_ms);
    return VIM_AGAIN;
}

/* True if the driver's traits say that it has VERB (enum vim_verb) for KIND: what a step asks first,
 * so that everything else is VIM_E_UNSUPPORTED. */
static inline int vim_can(const struct vim_driver_ops *ops, const char *kind, uint32_t verb)
{
    uint32_t i;
    for (i = 0; i < ops->trait_count; i++) {
        if (strcmp(ops->traits[i].kind, kind) == 0) {
            return (ops->traits[i].verbs & verb) != 0;
        }
    }
    return 0;
}

/* --- Waiting --------------------------------------------------------------------------------- */

/* Waits MS milliseconds, or less if the call is cancelled or its deadline comes before. Returns 1
 * when all of it has passed, 0 when the call should end now. Looks at left_ms() every 50 ms, so
 * that a cancelled call ends soon:
 *     while (!ready(instance)) {
 *         if (!vim_wait(host, call, 200)) {
 *             return vim_fail(host, call, VIM_E_TIMEOUT, 0, "it never became ready");
 *         }
 *     }
 * A driver's step should rather return vim_again() or vim_await(): waiting holds a thread. */
static inline int vim_wait(const struct vim_host *host, struct vim_call *call, int64_t ms)
{
    for (;;) {
        int64_t left = host->left_ms(call);
        int64_t nap = ms < 50 ? ms : 50;
        if (left <= 0) {
            return 0;
        }
        if (ms <= 0) {
            return 1;
        }
        if (nap > left) {
            nap = left;
        }
        (void)poll(NULL, 0, (int)nap);
        ms -= nap;
    }
}

/* --- Options ---------------------------------------------------------------------------------
 * One line per option in the table: VIM_OPTION_TEXT(struct config, url, VIM_REQUIRED, NULL,
 * "URL of the far side"). The option is named as the field. A field whose size does not fit the
 * option's type does not compile.
 */
#define VIM_OPTION_OFFSET(config, field, type) \
    (offsetof(config, field) +                 \
     0 * sizeof(char[sizeof(((config *)0)->field) == sizeof(type) ? 1 : -1]))

#define VIM_OPTION_ANY(config, field, kind, type, flags, value, help, choices, low, high) \
    {                                                                                     \
#field, (kind), (flags), (value), (help), (choices), (low), (high),               \
            VIM_OPTION_OFFSET(config, field, type)                                        \
    }

/* const char *field; */
#define VIM_OPTION_TEXT(config, field, flags, value, help) \
    VIM_OPTION_ANY(config, field, VIM_TEXT, const char *, flags, value, help, NULL, 0, 0)
/* const char *field; a relative path is taken from the configuration file's own folder */
#define VIM_OPTION_PATH(config, field, flags, value, help) \
    VIM_OPTION_ANY(config, field, VIM_PATH, const char *, flags, value, help, NULL, 0, 0)
/* const char *field; one of the words in CHOICES */
#define VIM_OPTION_CHOICE(config, field, flags, value, choices, help) \
    VIM_OPTION_ANY(config, field, VIM_CHOICE, const char *, flags, value, help, choices, 0, 0)
/* int64_t field; LOW and HIGH both 0 for no bounds */
#define VIM_OPTION_INTEGER(config, field, flags, value, low, high, help) \
    VIM_OPTION_ANY(config, field, VIM_INTEGER, int64_t, flags, value, help, NULL, low, high)
/* double field; */
#define VIM_OPTION_NUMBER(config, field, flags, value, low, high, help) \
    VIM_OPTION_ANY(config, field, VIM_NUMBER, double, flags, value, help, NULL, low, high)
/* int32_t field; */
#define VIM_OPTION_BOOLEAN(config, field, flags, value, help) \
    VIM_OPTION_ANY(config, field, VIM_BOOLEAN, int32_t, flags, value, help, NULL, 0, 0)
/* int64_t field, in milliseconds; LOW and HIGH too */
#define VIM_OPTION_DURATION(config, field, flags, value, low, high, help) \
    VIM_OPTION_ANY(config, field, VIM_DURATION, int64_t, flags, value, help, NULL, low, high)
/* int64_t field; */
#define VIM_OPTION_BYTES(config, field, flags, value, low, high, help) \
    VIM_OPTION_ANY(config, field, VIM_BYTES, int64_t, flags, value, help, NULL, low, high)
/* struct vim_texts field; VALUE is always NULL: a list has no default */
#define VIM_OPTION_LIST(config, field, flags, help) \
    VIM_OPTION_ANY(config, field, VIM_LIST, struct vim_texts, flags, NULL, help, NULL, 0, 0)

/* How many elements a table has. */
#define VIM_COUNT(array) ((uint32_t)(sizeof(array) / sizeof((array)[0])))

/* --- Entry ----------------------------------------------------------------------------------- */

/* Defines vim_plugin_entry() to give DESCRIPTOR (a `struct vim_plugin`) to any host of the same
 * major version of the interface. Without a semicolon. */
#define VIM_PLUGIN_ENTRY(descriptor)                                        \
    VIM_EXPORT const struct vim_plugin *vim_plugin_entry(uint32_t host_abi) \
    {                                                                       \
        return (host_abi >> 16) == VIM_ABI_MAJOR ? &(descriptor) : NULL;    \
    }

#ifdef __cplusplus
}
#endif
#endif

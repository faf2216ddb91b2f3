/*
 * vim/plugin.h - what every vimd plugin shares: descriptor, host services, errors, options.
 *
 * A plugin is a shared object that exports exactly one function, vim_plugin_entry(). It imports
 * nothing from vimd: everything it may call arrives as `struct vim_host` when an instance is
 * opened. One plugin (one .so) can have many instances, each with its own configuration.
 *
 *   load    dlopen(NOW | LOCAL | NODELETE), vim_plugin_entry(); first tried in a child process
 *   open    config -> instance; checks the configuration, does not wait for the far side
 *   probe   is the far side well? may be called at any time between open and close
 *   ops     the calls of the plugin's type: driver.h, store.h, queue.h, policy.h
 *   close   the instance ends; the .so stays mapped until the process ends
 *
 * Rules of the binary interface
 *   - Every shared struct begins with its own size. Fields are only ever appended. A reader takes
 *     min(both sizes) and treats the rest as zero; an array carries the stride of its elements.
 *     "The other side can do X" means: X lies inside its size and is not NULL.
 *   - Same VIM_ABI_MAJOR loads; the minor number only tells.
 *   - No memory crosses. Arguments live for the duration of the call, unless their comment says
 *     otherwise; results are pushed through the host's emit(), keep() and fail(), which copy.
 *   - All text is UTF-8, NUL-terminated. Documents are JSON text (RFC 8259). Durations are in
 *     milliseconds; points in time are milliseconds since 1970-01-01T00:00:00Z, 0 meaning none.
 *   - Calls block. vimd makes them on threads of the instance's own lane, several at once unless
 *     the plugin sets VIM_SERIAL. A call asks left_ms() now and then, and bounds its waits by it.
 *   - A function that can fail returns VIM_OK or a negative enum vim_error.
 *
 * This header needs nothing but the C library's headers, and is clean as C11 and as C++17.
 */
#ifndef VIM_PLUGIN_H
#define VIM_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VIM_ABI_MAJOR 1u
#define VIM_ABI_MINOR 0u
#define VIM_ABI ((VIM_ABI_MAJOR << 16) | VIM_ABI_MINOR)

/*
 * Error codes come in classes, so that a code added later is classed rightly by an older reader:
 *   -1 ..  -99  permanent: the same call will fail again
 *   -100 .. -199  transient: nothing happened; the same call may succeed later
 *   -200 .. -299  outcome unknown: it may have happened; repeat only under the same request id
 */
enum vim_error {
    VIM_OK = 0,
    VIM_AGAIN = 1, /* a driver step that is not done; it has called again() or await() */

    VIM_E_INVALID = -1, /* the request makes no sense to the far side */
    VIM_E_NOT_FOUND = -2, /* what the call is about does not exist */
    VIM_E_CONFLICT = -3, /* the state of things forbids it; store: a row is not as expected */
    VIM_E_DENIED = -4, /* the credentials are good but do not allow it */
    VIM_E_QUOTA = -5, /* a quota or the capacity is exhausted */
    VIM_E_UNSUPPORTED = -6, /* this plugin or far side cannot do it */
    VIM_E_CANCELLED = -7, /* given up because the caller cancelled */
    VIM_E_INTERNAL = -8, /* a defect, here or at the far side */
    VIM_E_FAILED = -9, /* accepted by the far side, which then reported failure */

    VIM_E_BUSY = -100, /* rate limited, locked or overloaded; see retry_after_ms */
    VIM_E_UNAVAILABLE = -101, /* not reachable, or answers that it is down */
    VIM_E_CREDENTIAL = -102, /* credentials refused; renewing them may help */
    VIM_E_IN_USE = -103, /* something else still depends on it; may pass */

    VIM_E_TIMEOUT = -200, /* no answer in time */
    VIM_E_LOST = -201 /* the connection broke after the request was sent */
};

/* Classes of enum vim_error; any negative number belongs to exactly one. */
#define VIM_IS_PERMANENT(code) ((code) < 0 && (code) > -100)
#define VIM_IS_TRANSIENT(code) ((code) <= -100 && (code) > -200)
#define VIM_IS_UNKNOWN(code) ((code) <= -200)

enum vim_level { VIM_ERROR = 0, VIM_WARNING = 1, VIM_INFO = 2, VIM_DEBUG = 3 };

/* Opaque: one call in progress. Valid until the plugin function that received it returns, and
 * only on the thread on which it was received. */
struct vim_call;

/* Opaque: one instance as the host knows it. Valid from open() until close() returned, on any
 * thread, the plugin's own included. */
struct vim_self;

/*
 * One thing pushed through emit(). Which fields mean what depends on the plugin's type; the
 * headers of the types say so. Text fields may be NULL where they are not needed; all are copied.
 */
struct vim_item {
    uint32_t size; /* sizeof(struct vim_item) as the emitter knows it */
    uint32_t flags; /* enum vim_item_flag */
    const char *kind; /* driver: resource kind; store: collection; queue: topic */
    const char *id; /* driver: the far side's id; store and queue: the row's or entry's id */
    const char *parent; /* store: the row's parent; driver: the id of what it lies in, or NULL */
    const char *status; /* driver: normalised status, see driver.h */
    const char *tag; /* driver: request id found on the resource, or NULL */
    const char *body; /* JSON text */
    uint32_t state; /* store: 0..31 */
    uint32_t reserved; /* 0 */
    int64_t due; /* store: see store.h */
    uint64_t revision; /* store: revision of the row; queue: number of deliveries so far */
};

enum vim_item_flag {
    VIM_ITEM_PENDING = 1u << 0, /* driver: still changing by itself; look again soon */
    VIM_ITEM_GONE = 1u << 1, /* driver: no longer exists; only kind and id are needed */
    VIM_ITEM_SHARED = 1u << 2 /* driver: visible to every project (a public image, say) */
};

/*
 * What vimd offers to a plugin. Passed to open(); valid until the process ends. Functions that
 * take a vim_call are for the thread that received it; those that take a vim_self may be called
 * from any thread. None of them blocks, except read(), which may wait for a disk.
 */
struct vim_host {
    uint32_t size; /* sizeof(struct vim_host) as the host knows it */
    uint32_t abi; /* VIM_ABI of the host */

    /* Writes one event to the log. EVENT names it in a few words; FIELDS is NULL or text of the
     * form key=value key="value with spaces". Values of SECRET options found in either are
     * replaced before anything is written. */
    void (*log)(struct vim_self *self, int level, const char *event, const char *fields);

    /* Adds ADD to a counter of this instance, shown in /metrics as vimd_plugin_NAME with the
     * label instance and LABELS (NULL, or Prometheus form: service="compute",status="200").
     * NAME is lower case with underscores and ends in _total. */
    void (*count)(struct vim_self *self, const char *name, const char *labels, double add);

    /* A fact about the instance, or NULL if there is no such fact. Names: "instance" (its
     * configured name), "state_dir" (an existing directory, private to vimd, where the instance
     * may keep files named after the instance), "version" (of vimd). The text stays valid as
     * long as the instance. */
    const char *(*about)(struct vim_self *self, const char *name);

    /* Pushes one result. Returns 0, or nonzero when no more are wanted: the call then ends
     * early and returns VIM_OK. */
    int (*emit)(struct vim_call *call, const struct vim_item *item);

    /* Sets the cursor that the next step of this operation (or the next pass of this list) gets
     * back as `kept`. The last one set in a call counts, and is stored together with the call's
     * outcome. At most VIM_KEPT_MAX bytes. NULL clears it. */
    void (*keep)(struct vim_call *call, const char *cursor);

    /* For a step that is going to return VIM_AGAIN: call it again after DELAY_MS. */
    void (*again)(struct vim_call *call, uint32_t delay_ms);

    /* For a step that is going to return VIM_AGAIN: call it again when the inventory shows that
     * the resource KIND with the far side's ID is no longer pending, or gone; at the latest
     * after AT_MOST_MS. The next step finds what was seen in op->seen. */
    void (*await)(struct vim_call *call, const char *kind, const char *id, uint32_t at_most_ms);

    /* Explains the error that the call is going to return. CODE is what it returns. TEXT is for
     * people and must not hold secrets. RETRY_AFTER_MS is 0, or what the far side asked for.
     * Returns CODE, so that a call can end with `return host->fail(...)`. */
    int (*fail)(struct vim_call *call, int code, uint32_t retry_after_ms, const char *text);

    /* Milliseconds left for this call; 0 when it is cancelled or its deadline has passed. */
    int64_t (*left_ms)(struct vim_call *call);

    /* Records a fact about the step in progress; stored with the task and shown to its owner.
     * Names: "step" (what is being done, in a word or two: "create-port"), "backend_service",
     * "backend_request_id", "backend_status" (HTTP status), "backend_message", "progress"
     * (0..100). The last value of a name counts; backend_request_id accumulates. */
    void (*note)(struct vim_call *call, const char *name, const char *value);

    /* Reads the data that came with the request (an image's, say), at OFFSET. Returns the number
     * of bytes read, 0 at the end, or a negative enum vim_error. */
    int64_t (*read)(struct vim_call *call, uint64_t offset, void *buffer, size_t size);

    /* Optional for both sides. Tells of a connection to the far side: OPEN is 1 when FD has just been
     * connected, and 0 right before it is closed. vimd reads nothing from it and writes nothing to it; it asks
     * the kernel how the network is (round trip, segments sent again), which /metrics shows. */
    void (*connection)(struct vim_self *self, int fd, int open);

    /* Optional for both sides. From now on (WAITS is 1) the call waits for something of this process that its
     * other calls have, a connection of a pool say; or no longer (0). vimd counts that time as waiting, not as
     * a call that is under way to the far side, and so can tell a far side that is slow from one that is not
     * asked. Telling the same twice does nothing; what still waits when the call returns no longer does. Unlike
     * the others it may be called on any thread, for as long as the call has not returned, by one at a time. */
    void (*waiting)(struct vim_call *call, int waits);
};

#define VIM_KEPT_MAX 16384u

/* --- Options ---------------------------------------------------------------------------------
 * One table per plugin validates the configuration with file and line, fills the plugin's own
 * configuration struct, documents it (vimd --describe PLUGIN), redacts secrets, and tells which
 * changes a reload can apply in place.
 */
enum vim_option_type {
    VIM_TEXT = 0, /* const char *; NULL when neither set nor defaulted */
    VIM_INTEGER = 1, /* int64_t */
    VIM_NUMBER = 2, /* double */
    VIM_BOOLEAN = 3, /* int32_t, 0 or 1; YAML true/false */
    VIM_DURATION = 4, /* int64_t in milliseconds; YAML 250ms, 30s, 5m, 2h, 1d */
    VIM_BYTES = 5, /* int64_t; YAML 512, 64KiB, 10MiB, 1GiB */
    VIM_CHOICE = 6, /* const char *, one of `choices` */
    VIM_LIST = 7, /* struct vim_texts; YAML sequence of texts */
    VIM_PATH = 8 /* const char *; a relative path is taken from the file's own folder */
};

enum vim_option_flag {
    VIM_REQUIRED = 1u << 0, /* has to be set */
    VIM_SECRET = 1u << 1, /* never shown in logs, dumps or answers */
    VIM_LIVE = 1u << 2 /* reconfigure() can apply a change; without it a reload opens a new
                               instance */
};

struct vim_texts {
    uint32_t count;
    const char *const *items;
};

struct vim_option {
    const char *name; /* as in the YAML, lower case with underscores */
    uint32_t type; /* enum vim_option_type */
    uint32_t flags; /* enum vim_option_flag */
    const char *default_value; /* as it would be written in YAML, or NULL for none */
    const char *help; /* one sentence; units and consequences, not the name again */
    const char *choices; /* VIM_CHOICE: the words, separated by spaces; else NULL */
    int64_t minimum; /* VIM_INTEGER, VIM_DURATION, VIM_BYTES, VIM_NUMBER; both 0 for */
    int64_t maximum; /*   no bounds */
    size_t offset; /* of the field in the plugin's configuration struct */
};

/* --- Descriptor ------------------------------------------------------------------------------ */
enum vim_plugin_type {
    VIM_DRIVER = 1, /* ops: struct vim_driver_ops, driver.h */
    VIM_STORE = 2, /* ops: struct vim_store_ops, store.h */
    VIM_QUEUE = 3, /* ops: struct vim_queue_ops, queue.h */
    VIM_POLICY = 4 /* ops: struct vim_policy_ops, policy.h */
};

enum vim_plugin_flag {
    VIM_SERIAL = 1u << 0, /* at most one call at a time on an instance */
    VIM_CHEAP = 1u << 1 /* its reads answer from memory or a local disk in well under a
                             millisecond: vimd may make them on its network threads */
};

struct vim_plugin {
    uint32_t size; /* sizeof(struct vim_plugin) */
    uint32_t abi; /* VIM_ABI that the plugin was compiled with */
    uint32_t type; /* enum vim_plugin_type */
    uint32_t flags; /* enum vim_plugin_flag */
    const char *name; /* as configurations name it: the file is NAME.so */
    const char *version; /* the plugin's own */
    const char *summary; /* one sentence */

    const struct vim_option *options;
    uint32_t option_count;
    uint32_t option_stride; /* sizeof(struct vim_option) */
    uint32_t config_size; /* sizeof the plugin's configuration struct */
    uint32_t reserved; /* 0 */

    /* Makes an instance. CONFIG is the plugin's configuration struct, filled by the option
     * table; it, and HOST and SELF, stay valid until close() has returned, or until a
     * reconfigure() that replaced it has. On success stores the instance in RET_INSTANCE.
     * Errors: VIM_E_INVALID with fail() naming the option, and whatever a local resource gives;
     * a far side that is down is not an error here. */
    int (*open)(struct vim_call *call, const struct vim_host *host, struct vim_self *self,
                const void *config, void **ret_instance);

    /* Ends an instance: its threads have ended and its connections are closed when it returns.
     * No call is in progress and none follows. */
    void (*close)(void *instance);

    /* Asks whether the far side is well: reachable, credentials good. May emit one item of kind
     * "vim" whose body is a JSON object of facts worth showing (versions, endpoints). */
    int (*probe)(struct vim_call *call, void *instance);

    /* Optional. Applies a configuration that differs from the current one in VIM_LIVE options
     * only. No other call is in progress. On error the old configuration stays in force. */
    int (*reconfigure)(struct vim_call *call, void *instance, const void *config);

    const void *ops; /* the operations of the plugin's type */
};

#if defined(_WIN32)
#error "vimd runs on POSIX systems"
#endif
#if defined(__GNUC__)
#define VIM_EXPORT __attribute__((visibility("default")))
#else
#define VIM_EXPORT
#endif

/*
 * The one exported function of a plugin. HOST_ABI is the host's VIM_ABI. Returns the descriptor,
 * which stays valid until the process ends, or NULL if the plugin cannot work with that host.
 * Must not start threads, open files or write anything: it is also called just to look.
 */
VIM_EXPORT const struct vim_plugin *vim_plugin_entry(uint32_t host_abi);

#ifdef __cplusplus
}
#endif
#endif

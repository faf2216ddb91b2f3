/*
 * Option tables of the daemon's own sections. `vimd --describe SECTION` prints them.
 */
#include "main/settings.h"

#include <stddef.h>
#include "link/link.h"

#define SECTION(name_, list, type, help_, nested_)                                           \
    {                                                                                        \
        .name = (name_), .help = (help_), .options = (list),                                 \
        .count = sizeof(list) / sizeof((list)[0]), .size = sizeof(type), .nested = (nested_) \
    }

#define AT(field) offsetof(struct daemon_config, field)
static const struct vim_option daemon_options[] = {
    {.name = "id",
     .type = VIM_TEXT,
     .offset = AT(id),
     .help =
         "Of this vimd, the same for all its processes: what it makes is marked with it, and what "
         "carries the mark of another one is no orphan here. To be set before anything is made; "
         "left out: no mark, and whatever carries a tag may be an orphan."},
    {.name = "state_dir",
     .type = VIM_PATH,
     .default_value = "/var/lib/vimd",
     .offset = AT(state_dir),
     .help = "Folder for all that vimd keeps; made with mode 0700. One vimd per folder."},
    {.name = "plugin_dir",
     .type = VIM_PATH,
     .offset = AT(plugin_dir),
     .help =
         "Folder with the plugins; left out: ../plugins and the lib folder beside the folder of the "
         "program, and where they were installed."},
    {.name = "roles",
     .type = VIM_LIST,
     .offset = AT(roles),
     .help =
         "Blocks that this process is made of: api, logic, worker, scaler; left out: all, the last one if "
         "there are `services`. --role on the command line counts more."},
    {.name = "spool_dir",
     .type = VIM_PATH,
     .offset = AT(spool_dir),
     .help =
         "Folder where uploads wait until the infrastructure has taken them. Logic processes put them "
         "there and worker processes take them from there, under the same path; left out: spool in "
         "state_dir, which suits processes that are both."},
    {.name = "drain_timeout",
     .type = VIM_DURATION,
     .default_value = "20s",
     .maximum = 3600000,
     .flags = VIM_LIVE,
     .offset = AT(drain_ms),
     .help = "At a stop, how long requests and steps in progress may take to end."},
    {.name = "heartbeat",
     .type = VIM_DURATION,
     .default_value = "2s",
     .minimum = 100,
     .maximum = 60000,
     .offset = AT(heartbeat_ms),
     .help =
         "Between signs of life in the store; after five that did not come the others take this "
         "process for dead. The same in all processes that share a store."},
};
#undef AT

#define AT(field) offsetof(struct log_config, field)
static const struct vim_option log_options[] = {
    {.name = "level",
     .type = VIM_CHOICE,
     .default_value = "info",
     .choices = "error warning info debug",
     .flags = VIM_LIVE,
     .offset = AT(level),
     .help = "Events below it are dropped."},
    {.name = "format",
     .type = VIM_CHOICE,
     .default_value = "logfmt",
     .choices = "logfmt json",
     .flags = VIM_LIVE,
     .offset = AT(format),
     .help = "Form of the lines, which go to standard error."},
};
#undef AT

#define AT(field) offsetof(struct health_config, field)
static const struct vim_option health_options[] = {
    {.name = "listen",
     .type = VIM_TEXT,
     .offset = AT(listen),
     .help =
         "Where /healthz and /readyz of this process are answered without a token, whatever its roles: "
         "as 127.0.0.1:8781; left out: nowhere but at the API."},
    {.name = "metrics",
     .type = VIM_BOOLEAN,
     .default_value = "false",
     .offset = AT(metrics),
     .help = "Answer /metrics there too, to everybody who can reach it."},
};
#undef AT

#define AT(field) offsetof(struct store_config, field)
static const struct vim_option store_options[] = {
    {.name = "plugin",
     .type = VIM_TEXT,
     .default_value = VIMD_DEFAULT_STORE,
     .offset = AT(plugin),
     .help = "Store plugin; `vimd --describe NAME` tells its options."},
    {.name = "timeout",
     .type = VIM_DURATION,
     .default_value = "10s",
     .minimum = 10,
     .maximum = 600000,
     .offset = AT(timeout_ms),
     .help = "For one call of the store."},
};
#undef AT

#define AT(field) offsetof(struct queue_config, field)
static const struct vim_option queue_options[] = {
    {.name = "plugin",
     .type = VIM_TEXT,
     .default_value = VIMD_DEFAULT_QUEUE,
     .offset = AT(plugin),
     .help = "Queue plugin; it carries hints only, so it may lose them."},
};
#undef AT

#define AT(field) offsetof(struct tasks_config, field)
static const struct vim_option tasks_options[] = {
    {.name = "deadline",
     .type = VIM_DURATION,
     .default_value = "1h",
     .minimum = 10,
     .maximum = 604800000,
     .flags = VIM_LIVE,
     .offset = AT(deadline_ms),
     .help = "From accepting a task to its end; then it is undone and timed_out."},
    {.name = "max_attempts",
     .type = VIM_INTEGER,
     .default_value = "20",
     .minimum = 1,
     .maximum = 10000,
     .flags = VIM_LIVE,
     .offset = AT(max_attempts),
     .help = "Failures of one step in a row before the task fails."},
    {.name = "backoff_base",
     .type = VIM_DURATION,
     .default_value = "500ms",
     .minimum = 1,
     .maximum = 600000,
     .flags = VIM_LIVE,
     .offset = AT(backoff_base_ms),
     .help = "Most that is waited before the first repetition (a random part of it is); doubled "
             "each time."},
    {.name = "backoff_cap",
     .type = VIM_DURATION,
     .default_value = "60s",
     .minimum = 1,
     .maximum = 3600000,
     .flags = VIM_LIVE,
     .offset = AT(backoff_cap_ms),
     .help = "Most that is waited before any repetition."},
    {.name = "lease_margin",
     .type = VIM_DURATION,
     .default_value = "30s",
     .minimum = 10,
     .maximum = 3600000,
     .flags = VIM_LIVE,
     .offset = AT(lease_margin_ms),
     .help = "A step that has not ended this long after its VIM's call_timeout is given to "
             "somebody else."},
    {.name = "sweep",
     .type = VIM_DURATION,
     .default_value = "2s",
     .minimum = 10,
     .maximum = 600000,
     .flags = VIM_LIVE,
     .offset = AT(sweep_ms),
     .help = "Between looks for tasks that are due and that the queue has forgotten."},
    {.name = "idempotency",
     .type = VIM_DURATION,
     .default_value = "1d",
     .minimum = 1000,
     .maximum = 2592000000,
     .flags = VIM_LIVE,
     .offset = AT(idempotency_ms),
     .help = "How long an Idempotency-Key is remembered."},
    {.name = "retention",
     .type = VIM_DURATION,
     .default_value = "7d",
     .minimum = 0,
     .maximum = 31536000000,
     .flags = VIM_LIVE,
     .offset = AT(retention_ms),
     .help = "How long ended tasks are kept; 0s: for ever."},
    {.name = "active_max",
     .type = VIM_INTEGER,
     .default_value = "100000",
     .minimum = 1,
     .maximum = 10000000,
     .flags = VIM_LIVE,
     .offset = AT(active_max),
     .help = "Tasks that have not ended, at most; beyond: 503."},
};
#undef AT

#define AT(field) offsetof(struct events_config, field)
static const struct vim_option events_options[] = {
    {.name = "retention",
     .type = VIM_DURATION,
     .default_value = "7d",
     .minimum = 0,
     .maximum = 31536000000,
     .flags = VIM_LIVE,
     .offset = AT(retention_ms),
     .help = "How long events are kept for those who come late, from when they happened; 0s: for "
             "ever. A change holds for events from then on."},
};
#undef AT

#define AT(field) offsetof(struct worker_config, field)
static const struct vim_option worker_options[] = {
    {.name = "threads",
     .type = VIM_INTEGER,
     .default_value = "2",
     .minimum = 1,
     .maximum = 64,
     .offset = AT(threads),
     .help = "Threads that take tasks off the queue; they do not wait for drivers, so a few keep "
             "many thousands of tasks going."},
};
#undef AT

#define AT(field) offsetof(struct vim_config, field)
static const struct vim_option vims_options[] = {
    {.name = "name",
     .type = VIM_TEXT,
     .flags = VIM_REQUIRED,
     .offset = AT(name),
     .help = "Name in the API and in stored resources: 1 to 63 of a-z, 0-9 and -."},
    {.name = "driver",
     .type = VIM_TEXT,
     .flags = VIM_REQUIRED,
     .offset = AT(driver),
     .help = "Driver plugin; `vimd --describe NAME` tells its options."},
    {.name = "project",
     .type = VIM_TEXT,
     .flags = VIM_REQUIRED,
     .offset = AT(project),
     .help = "Project that owns what is found there and was not made through vimd."},
    {.name = "call_timeout",
     .type = VIM_DURATION,
     .default_value = "60s",
     .minimum = 100,
     .maximum = 3600000,
     .flags = VIM_LIVE,
     .offset = AT(call_timeout_ms),
     .help = "For one call of the driver; the upload of data gets 1 s more per MiB."},
    {.name = "poll_pending",
     .type = VIM_DURATION,
     .default_value = "1s",
     .minimum = 10,
     .maximum = 3600000,
     .flags = VIM_LIVE,
     .offset = AT(poll_pending_ms),
     .help = "Between looks at a kind of resource while one of them is changing."},
    {.name = "poll_idle",
     .type = VIM_DURATION,
     .default_value = "30s",
     .minimum = 10,
     .maximum = 86400000,
     .flags = VIM_LIVE,
     .offset = AT(poll_idle_ms),
     .help = "Between looks otherwise: how old the answers of the API may be."},
    {.name = "poll_full",
     .type = VIM_DURATION,
     .default_value = "5m",
     .minimum = 10,
     .maximum = 86400000,
     .flags = VIM_LIVE,
     .offset = AT(poll_full_ms),
     .help = "Between complete looks where the driver can also ask for changes only."},
    {.name = "poll_backoff",
     .type = VIM_DURATION,
     .default_value = "5m",
     .minimum = 10,
     .maximum = 86400000,
     .flags = VIM_LIVE,
     .offset = AT(poll_backoff_ms),
     .help = "Longest pause between looks while they fail."},
    {.name = "operations",
     .type = VIM_INTEGER,
     .default_value = "64",
     .minimum = 1,
     .maximum = 100000,
     .flags = VIM_LIVE,
     .offset = AT(operations),
     .help = "Steps of tasks in progress at once."},
    {.name = "check_quota",
     .type = VIM_BOOLEAN,
     .default_value = "true",
     .flags = VIM_LIVE,
     .offset = AT(check_quota),
     .help = "Whether network services and dry runs are held against quota and capacity."},
    {.name = "threads",
     .type = VIM_INTEGER,
     .default_value = "4",
     .minimum = 1,
     .maximum = 256,
     .flags = VIM_LIVE,
     .offset = AT(threads),
     .help = "Threads that call the driver."},
    {.name = "queue",
     .type = VIM_INTEGER,
     .default_value = "1000",
     .minimum = 1,
     .maximum = 1000000,
     .flags = VIM_LIVE,
     .offset = AT(queue),
     .help = "Calls that may wait for such a thread."},
};
#undef AT

static const struct config_table daemon_table = SECTION(
    "daemon", daemon_options, struct daemon_config, "Top level of the file.",
    "log api link health store queue tasks events webhooks alarms worker vims platforms services");
static const struct config_table log_table =
    SECTION("log", log_options, struct log_config, "The log, on standard error.", NULL);
static const struct config_table health_table =
    SECTION("health", health_options, struct health_config,
            "Health checks of a process, for whoever looks after it.", NULL);
static const struct config_table store_table =
    SECTION("store", store_options, struct store_config,
            "Where the truth is kept. `options` holds those of the plugin.", "options");
static const struct config_table queue_table =
    SECTION("queue", queue_options, struct queue_config,
            "What wakes workers. `options` holds those of the plugin.", "options");
static const struct config_table tasks_table =
    SECTION("tasks", tasks_options, struct tasks_config, "How tasks are worked off.", NULL);
static const struct config_table events_table = SECTION(
    "events", events_options, struct events_config, "What happened, for those who ask.", NULL);
static const struct config_table worker_table =
    SECTION("worker", worker_options, struct worker_config, "Who works them off.", NULL);
const struct config_table vims_table = SECTION(
    "vims", vims_options, struct vim_config,
    "List of the infrastructures, each with these keys, and `options` for those of its driver.",
    "options");

const struct config_table *const section_tables[SECTION_COUNT] = {
    [SECTION_DAEMON] = &daemon_table,     [SECTION_LOG] = &log_table,
    [SECTION_API] = &api_table,           [SECTION_LINK] = &link_table,
    [SECTION_HEALTH] = &health_table,     [SECTION_STORE] = &store_table,
    [SECTION_QUEUE] = &queue_table,       [SECTION_TASKS] = &tasks_table,
    [SECTION_WEBHOOKS] = &webhooks_table, [SECTION_EVENTS] = &events_table,
    [SECTION_WORKER] = &worker_table,     [SECTION_ALARMS] = &alarms_table,
};

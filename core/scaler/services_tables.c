/* The option tables of `platforms`, `services` and what is in them. */
#include "scaler/services_internal.h"

#include <stddef.h>

#define TABLE(name_, list, type, help_, nested_)                                             \
    {                                                                                        \
        .name = (name_), .help = (help_), .options = (list),                                 \
        .count = sizeof(list) / sizeof((list)[0]), .size = sizeof(type), .nested = (nested_) \
    }

#define AT(field) offsetof(struct platform_config, field)
static const struct vim_option platform_options[] = {
    {.name = "name",
     .type = VIM_TEXT,
     .flags = VIM_REQUIRED,
     .offset = AT(name),
     .help = "Name by which blocks refer to it: 1 to 63 of a-z, 0-9 and -."},
    {.name = "driver",
     .type = VIM_TEXT,
     .flags = VIM_REQUIRED,
     .offset = AT(driver),
     .help = "Driver plugin with the kind `group`; `vimd --describe NAME` tells its options."},
    {.name = "call_timeout",
     .type = VIM_DURATION,
     .default_value = "10s",
     .minimum = 100,
     .maximum = 60000,
     .offset = AT(call_timeout_ms),
     .help =
         "For one call of the driver. One that takes longer is given up; what came of it is seen "
         "with the next look."},
};
#undef AT

#define AT(field) offsetof(struct service_config, field)
static const struct vim_option service_options[] = {
    {.name = "name",
     .type = VIM_TEXT,
     .flags = VIM_REQUIRED,
     .offset = AT(name),
     .help = "Name in the API and in traces: 1 to 63 of a-z, 0-9 and -."},
    {.name = "project",
     .type = VIM_TEXT,
     .offset = AT(project),
     .help = "Project whose members see it and may steer it; left out: all see it, administrators "
             "steer it."},
    {.name = "mode",
     .type = VIM_CHOICE,
     .default_value = "advise",
     .choices = "off advise confirm act",
     .offset = AT(mode),
     .help =
         "What is done: off: measured only; advise: decided, logged and published; confirm: and "
         "carried out once somebody has approved it; act: and carried out. A mode that was set "
         "through the API stays in force until this is changed."},
    {.name = "interval",
     .type = VIM_DURATION,
     .default_value = "10s",
     .minimum = 100,
     .maximum = 3600000,
     .offset = AT(interval_ms),
     .help = "Between decisions; a multiple of the window."},
    {.name = "window",
     .type = VIM_DURATION,
     .default_value = "5s",
     .minimum = 100,
     .maximum = 300000,
     .offset = AT(window_ms),
     .help =
         "What one value of a series is the mean of. Windows end at multiples of it in the time of "
         "day, in all processes."},
    {.name = "windows",
     .type = VIM_INTEGER,
     .default_value = "64",
     .minimum = 4,
     .maximum = HISTORY_WINDOWS_MAX,
     .offset = AT(windows),
     .help = "How many are remembered; a policy takes as many of them as it wants."},
    {.name = "slo_p95",
     .type = VIM_DURATION,
     .default_value = "0s",
     .maximum = 3600000,
     .offset = AT(slo_p95_ms),
     .help = "Promise: 95 % of the requests are answered within it; 0s: there is none."},
    {.name = "slo_errors",
     .type = VIM_NUMBER,
     .default_value = "0",
     .minimum = 0,
     .maximum = 1,
     .offset = AT(slo_errors),
     .help = "Promise: at most this share of the requests fails; 0: there is none."},
    {.name = "budget_cores",
     .type = VIM_NUMBER,
     .default_value = "0",
     .minimum = 0,
     .maximum = 1000000,
     .offset = AT(budget_cores),
     .help =
         "Processor cores that all replicas together may have (where the size of one is known); "
         "0: no limit."},
    {.name = "cooldown_out",
     .type = VIM_DURATION,
     .default_value = "15s",
     .maximum = 86400000,
     .offset = AT(cooldown_out_ms),
     .help = "A block is not scaled out so soon after its last action."},
    {.name = "cooldown_in",
     .type = VIM_DURATION,
     .default_value = "2m",
     .maximum = 86400000,
     .offset = AT(cooldown_in_ms),
     .help = "Nor in."},
    {.name = "confirm_timeout",
     .type = VIM_DURATION,
     .default_value = "10m",
     .minimum = 1000,
     .maximum = 86400000,
     .offset = AT(confirm_ms),
     .help = "In mode confirm, how long a decision may be approved."},
    {.name = "retention",
     .type = VIM_DURATION,
     .default_value = "7d",
     .minimum = 60000,
     .maximum = 31536000000,
     .offset = AT(retention_ms),
     .help = "How long decisions are kept in the log."},
    {.name = "record",
     .type = VIM_PATH,
     .offset = AT(record),
     .help =
         "File that every window is added to, as vim-replay reads it; it grows by some 10 KB per "
         "minute."},
    {.name = "record_max",
     .type = VIM_BYTES,
     .default_value = "1GiB",
     .minimum = 65536,
     .maximum = (int64_t)1 << 50,
     .offset = AT(record_max),
     .help = "Size at which a new `record` begins; the old one is kept as RECORD.T, T being the "
             "t_ms of its first window."},
};
#undef AT

#define AT(field) offsetof(struct source_config, field)
static const struct vim_option source_options[] = {
    {.name = "type",
     .type = VIM_CHOICE,
     .flags = VIM_REQUIRED,
     .choices = "prometheus vimd",
     .offset = AT(type),
     .help =
         "prometheus: endpoints in its text format, and `signals` computed from their series; vimd: the "
         "processes that share the store, by their heartbeats."},
    {.name = "endpoints",
     .type = VIM_LIST,
     .offset = AT(endpoints),
     .help = "URLs (http or https), one per replica or one that has the series of all."},
    {.name = "timeout",
     .type = VIM_DURATION,
     .default_value = "2s",
     .minimum = 10,
     .maximum = 60000,
     .offset = AT(timeout_ms),
     .help = "For one look at an endpoint; shorter than the window."},
    {.name = "size_max",
     .type = VIM_BYTES,
     .default_value = "4MiB",
     .minimum = 1024,
     .maximum = 67108864,
     .offset = AT(size_max),
     .help = "Most that an endpoint may answer; what is more is not looked at."},
    {.name = "ca_file",
     .type = VIM_PATH,
     .offset = AT(ca_file),
     .help = "Certificates (PEM) by which endpoints are known; left out: the system's."},
    {.name = "token",
     .type = VIM_TEXT,
     .flags = VIM_SECRET,
     .offset = AT(token),
     .help = "Sent as a bearer token."},
};
#undef AT

#define AT(field) offsetof(struct block_config, field)
static const struct vim_option block_options[] = {
    {.name = "name",
     .type = VIM_TEXT,
     .flags = VIM_REQUIRED,
     .offset = AT(name),
     .help = "Name: 1 to 63 of a-z, 0-9 and -."},
    {.name = "role",
     .type = VIM_TEXT,
     .offset = AT(role),
     .help = "Of a vimd that is watched: which of its blocks this is; left out: the name says it."},
    {.name = "platform",
     .type = VIM_TEXT,
     .offset = AT(platform),
     .help =
         "Where its replicas are: an element of `platforms`; left out: it is watched, and cannot be "
         "scaled."},
    {.name = "group",
     .type = VIM_TEXT,
     .offset = AT(group),
     .help = "The platform's id of the group of its replicas; left out: the name."},
    {.name = "min",
     .type = VIM_INTEGER,
     .default_value = "1",
     .minimum = 0,
     .maximum = 1000,
     .offset = AT(minimum),
     .help = "Fewest replicas."},
    {.name = "max",
     .type = VIM_INTEGER,
     .default_value = "10",
     .minimum = 0,
     .maximum = 1000,
     .offset = AT(maximum),
     .help = "Most replicas."},
    {.name = "quota_cores",
     .type = VIM_NUMBER,
     .default_value = "0",
     .minimum = 0,
     .maximum = 100000,
     .offset = AT(quota_cores),
     .help = "Processor cores that one replica may use; 0: as the platform says."},
    {.name = "threads",
     .type = VIM_NUMBER,
     .default_value = "0",
     .minimum = 0,
     .maximum = 1000000,
     .offset = AT(threads),
     .help =
         "Threads of one replica that serve requests; 0: it is asynchronous, or the source says."},
};
#undef AT

#define AT(field) offsetof(struct edge_config, field)
static const struct vim_option edge_options[] = {
    {.name = "caller",
     .type = VIM_TEXT,
     .flags = VIM_REQUIRED,
     .offset = AT(caller),
     .help = "The block that calls."},
    {.name = "callee",
     .type = VIM_TEXT,
     .flags = VIM_REQUIRED,
     .offset = AT(callee),
     .help = "The block that is called."},
};
#undef AT

#define AT(field) offsetof(struct policy_config, field)
static const struct vim_option policy_options[] = {
    {.name = "plugin",
     .type = VIM_TEXT,
     .flags = VIM_REQUIRED,
     .offset = AT(plugin),
     .help = "Policy plugin; `vimd --describe NAME` tells its options."},
};
#undef AT

const struct config_table platform_table = TABLE(
    "platforms", platform_options, struct platform_config,
    "List of the platforms on which services are scaled, each with these keys, and `options` for "
    "those of its driver. Opened by processes with the role scaler alone.",
    "options");
const struct config_table service_table = TABLE(
    "services", service_options, struct service_config,
    "List of the services that are watched and scaled by processes with the role scaler, each with "
    "these keys, and `source`, `signals`, `policy`, `shadow`, `blocks` and `edges`.",
    "source signals policy shadow blocks edges");
const struct config_table source_table =
    TABLE("source", source_options, struct source_config, "What measures a service.", NULL);
const struct config_table block_table =
    TABLE("blocks", block_options, struct block_config,
          "List of what a service is made of, each with these keys, and `signals`.", "signals");
const struct config_table edge_table =
    TABLE("edges", edge_options, struct edge_config,
          "List of the calls between blocks, each with these keys, and `signals`, or as `CALLER -> "
          "CALLEE`.",
          "signals");
const struct config_table policy_table = TABLE(
    "policy", policy_options, struct policy_config,
    "What decides, or in the list `shadow` what decides beside it and is only logged; `options` "
    "holds those of the plugin. The name of the plugin alone will do.",
    "options");

const struct config_table *const services_tables[] = {
    &platform_table, &service_table, &source_table, &policy_table, &block_table, &edge_table, NULL};

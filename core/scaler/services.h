/*
 * scaler/services.h - the services that are watched, as the configuration says them.
 *
 *     platforms:  - {name, driver, options}           where replicas are: drivers with the kind "group"
 *     services:   - {name, policy, source, blocks, edges ...}
 *
 * services_load() reads both sections, checks all that can be checked without opening anything, and tells
 * every mistake with file, line and column. What it returns is immutable.
 */
#ifndef SCALER_SERVICES_H
#define SCALER_SERVICES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <vim/driver.h>
#include "config/config.h"
#include "config/fill.h"
#include "plugin/registry.h"
#include "scaler/history.h"
#include "scaler/signal.h"

#define SERVICES_MAX 32u
#define SERVICE_SHADOWS_MAX 8u

enum service_mode {
    SERVICE_OFF, /* measured and recorded; nothing is decided */
    SERVICE_ADVISE, /* decided, logged, published */
    SERVICE_CONFIRM, /* and done once somebody has approved it */
    SERVICE_ACT /* and done */
};
/* "off", "advise", "confirm", "act", and back: false for another word. */
const char *service_mode_name(enum service_mode mode);
bool service_mode_by_name(const char *name, enum service_mode *ret_mode);

/* A plugin that is named, and its options. */
struct service_plugin {
    char *name;
    const struct plugin *plugin; /* NULL: the process has no use for it, and it is not there */
    const struct config_node *node, *parent;
    struct config_struct *options; /* NULL once an instance has taken it over */
};

struct service_platform {
    const char *name;
    int64_t call_timeout_ms; /* within which a call has to be through */
    struct config_struct *section;
    struct service_plugin driver;
};

struct service_block {
    const char *name;
    const char *platform, *group; /* NULL: it cannot be scaled */
    const char *role; /* of vimd's own processes: what measures it with the source `vimd` */
    uint32_t minimum, maximum;
    double quota_cores, threads; /* 0: as the platform says; none */
    struct signals signals; /* of the source `prometheus` */
    struct config_struct *section;
};

struct service_edge {
    uint32_t caller, callee; /* indices of blocks */
    struct signals signals;
};

enum service_source_kind { SOURCE_VIMD, SOURCE_PROMETHEUS };

/* What measures the service. */
struct service_source {
    enum service_source_kind kind;
    struct vim_texts endpoints; /* URLs, of SOURCE_PROMETHEUS */
    int64_t timeout_ms; /* of one look */
    int64_t size_max; /* bytes of one answer */
    const char *ca_file, *token; /* or NULL */
    struct config_struct *section;
};

struct service {
    const char *name;
    const char *project; /* whose members see and steer it; PROJECT_SHARED: everybody sees it */
    enum service_mode mode;
    int64_t interval_ms; /* between decisions: a multiple of the window */
    int64_t window_ms;
    uint32_t windows; /* remembered */
    double slo_p95_ms, slo_error_share, budget_cores; /* 0, 0, infinite: none */
    int64_t cooldown_out_ms, cooldown_in_ms;
    int64_t confirm_ms; /* how long a decision waits for its approval */
    int64_t retention_ms; /* of decisions */
    const char *record; /* file of the trace, or NULL */
    int64_t record_max; /* bytes at which a new one begins */
    struct service_source source;
    struct signals signals;
    struct service_plugin policy, shadows[SERVICE_SHADOWS_MAX];
    uint32_t shadow_count;
    struct service_block *blocks;
    uint32_t block_count;
    struct service_edge *edges;
    uint32_t edge_count;
    struct config_struct *section;
};

struct services {
    struct service_platform *platforms;
    size_t platform_count;
    struct service *items;
    size_t count;
};

/* The tables of `platforms` and `services` and what is in them, for descriptions. NULL at the end. */
extern const struct config_table *const services_tables[];

/* Reads the sections of ROOT. NEEDED: the process has the role scaler, so a plugin that cannot be loaded is an
 * error, and no warning. Errors are added to ERRORS; the result is to be freed in any case. */
struct services *services_load(const struct config_node *root, struct registry *registry,
                               bool needed, struct config_errors *errors);
void services_free(struct services *services); /* NULL is fine */

/* As YAML, without secrets. */
struct text;
void services_dump(const struct services *services, struct text *text);

/* The index of a block, or VIM_NO_INDEX. */
uint32_t service_block_by_name(const struct service *service, const char *name);

#endif

/* scaler/services_internal.h - what the tables of services fill. */
#ifndef SCALER_SERVICES_INTERNAL_H
#define SCALER_SERVICES_INTERNAL_H

#include "scaler/services.h"

struct platform_config {
    const char *name, *driver;
    int64_t call_timeout_ms;
};

struct service_config {
    const char *name, *project, *mode, *record;
    int64_t interval_ms, window_ms, windows, slo_p95_ms, confirm_ms, retention_ms;
    int64_t cooldown_out_ms, cooldown_in_ms, record_max;
    double slo_errors, budget_cores;
};

struct source_config {
    const char *type, *ca_file, *token;
    struct vim_texts endpoints;
    int64_t timeout_ms, size_max;
};

struct block_config {
    const char *name, *role, *platform, *group;
    int64_t minimum, maximum;
    double quota_cores, threads;
};

struct edge_config {
    const char *caller, *callee;
};

struct policy_config {
    const char *plugin;
};

/* services_checks.c: NODE is the mapping of what is checked. Mistakes are added to ERRORS. */
void services_check_source(const struct config_node *node, const struct service_source *source,
                           struct config_errors *errors);
/* Is the block one that the source vimd can tell of? */
void services_check_role(const struct config_node *node, const struct service *service,
                         const struct service_block *block, struct config_errors *errors);
/* A promise needs the signals that tell whether it is kept. A warning: it does no harm. */
void services_check_promises(const struct config_node *node, const struct service *service,
                             struct config_errors *errors);
/* Are there the files that it names, as far as they have to be there? */
void services_check_files(const struct config_node *node, const struct service *service,
                          struct config_errors *errors);
/* Does one of the services before it write to the same file? */
void services_check_record(const struct config_node *node, const struct services *services,
                           const struct service *service, struct config_errors *errors);

extern const struct config_table platform_table, service_table, source_table, block_table,
    edge_table, policy_table;

#endif

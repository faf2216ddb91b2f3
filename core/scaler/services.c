#include "scaler/services.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/memory.h"
#include "base/text.h"
#include "model/resource.h"
#include "scaler/services_internal.h"

/* What is passed along while the sections are read. */
struct loading {
    struct services *services;
    struct registry *registry;
    struct config_errors *errors;
    bool needed;
};

static const char *const mode_names[] = {"off", "advise", "confirm", "act"};

const char *service_mode_name(enum service_mode mode)
{
    return mode_names[mode];
}

bool service_mode_by_name(const char *name, enum service_mode *ret_mode)
{
    for (unsigned i = 0; i < sizeof(mode_names) / sizeof(mode_names[0]); i++) {
        if (strcmp(mode_names[i], name) == 0) {
            *ret_mode = (enum service_mode)i;
            return true;
        }
    }
    return false;
}

uint32_t service_block_by_name(const struct service *service, const char *name)
{
    for (uint32_t i = 0; i < service->block_count; i++) {
        if (text_equal(service->blocks[i].name, name)) {
            return i;
        }
    }
    return VIM_NO_INDEX;
}

/* --- Names and lists ------------------------------------------------------------------------------ */

static bool name_is_good(const char *name)
{
    size_t length = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-");
    return length >= 1 && length <= HISTORY_NAME_MAX && name[length] == '\0';
}

static void check_name(struct loading *loading, const struct config_node *node, const char *name,
                       bool is_taken, const char *what)
{
    if (!name_is_good(name)) {
        config_error(loading->errors, config_get(node, "name"),
                     "'%s' is not a name: 1 to 63 of a-z, 0-9 and -", name);
    } else if (is_taken) {
        config_error(loading->errors, config_get(node, "name"), "there are two %s named '%s'", what,
                     name);
    }
}

/* The list KEY of NODE, or NULL if there is none or it has no elements; else at most LIMIT of them. */
static const struct config_node *get_list(struct loading *loading, const struct config_node *node,
                                          const char *key, size_t limit)
{
    const struct config_node *list = config_get(node, key);
    if (!list || (config_type(list) == CONFIG_SCALAR && !config_text(list))) {
        return NULL;
    }
    if (config_type(list) != CONFIG_SEQUENCE) {
        config_error(loading->errors, list, "expected a list");
        return NULL;
    }
    if (config_count(list) > limit) {
        config_error(loading->errors, list, "has %zu elements; at most %zu are possible",
                     config_count(list), limit);
        return NULL;
    }
    return list;
}

/* --- Plugins -------------------------------------------------------------------------------------- */

static void load_plugin(struct loading *loading, const struct config_node *mapping,
                        const struct config_node *place, const char *name, uint32_t type,
                        struct service_plugin *use)
{
    CLEANUP_TEXT struct text reason = {0};
    use->name = text_duplicate(name);
    use->parent = place;
    if (registry_load(loading->registry, name, type, &use->plugin, &reason)) {
        if (loading->needed) {
            config_error(loading->errors, place, "%s", text_get(&reason));
        } else {
            config_warning(loading->errors, place, "options are not checked: %s",
                           text_get(&reason));
        }
        return;
    }
    use->node = config_get(mapping, "options");
    config_fill(&use->plugin->table, use->node, place, loading->errors, &use->options);
}

/* A policy: {plugin, options}, or the name of the plugin alone. */
static void load_policy(struct loading *loading, const struct config_node *node,
                        struct service_plugin *use)
{
    struct config_struct *section = NULL;
    if (config_type(node) == CONFIG_SCALAR) {
        const char *name = config_text(node);
        if (name) {
            load_plugin(loading, NULL, node, name, VIM_POLICY, use);
        } else {
            config_error(loading->errors, node, "expected the name of a policy plugin");
        }
    } else if (config_fill(&policy_table, node, node, loading->errors, &section) == VIM_OK) {
        const struct policy_config *policy = config_data(section);
        load_plugin(loading, node, config_get(node, "plugin"), policy->plugin, VIM_POLICY, use);
        config_struct_free(section);
    }
}

static void plugin_free_use(struct service_plugin *use)
{
    free(use->name);
    config_struct_free(use->options);
}

/* --- Platforms ------------------------------------------------------------------------------------ */

static const struct service_platform *find_platform(const struct services *services,
                                                    const char *name)
{
    for (size_t i = 0; i < services->platform_count; i++) {
        if (text_equal(services->platforms[i].name, name)) {
            return &services->platforms[i];
        }
    }
    return NULL;
}

static bool has_groups(const struct plugin *plugin)
{
    for (uint32_t i = 0; i < plugin->ops.driver.trait_count; i++) {
        const struct vim_trait *trait = &plugin->ops.driver.traits[i];
        if (strcmp(trait->kind, "group") == 0 && (trait->verbs & VIM_VERB_GET) &&
            (trait->verbs & VIM_VERB_UPDATE)) {
            return true;
        }
    }
    return false;
}

static void load_platform(struct loading *loading, const struct config_node *node)
{
    struct services *services = loading->services;
    struct service_platform *platform = &services->platforms[services->platform_count];
    if (config_fill(&platform_table, node, node, loading->errors, &platform->section)) {
        return;
    }
    const struct platform_config *config = config_data(platform->section);
    check_name(loading, node, config->name, find_platform(services, config->name), "platforms");
    platform->name = config->name;
    platform->call_timeout_ms = config->call_timeout_ms;
    services->platform_count++;
    const struct config_node *place = config_get(node, "driver");
    load_plugin(loading, node, place, config->driver, VIM_DRIVER, &platform->driver);
    if (platform->driver.plugin && !has_groups(platform->driver.plugin)) {
        config_error(loading->errors, place, "the driver %s scales nothing: it has no kind `group`",
                     config->driver);
    }
}

/* --- Signals -------------------------------------------------------------------------------------- */

static char *metric_names(enum history_scope scope)
{
    struct text names = {0};
    for (uint32_t i = 0; i < history_metric_count(scope); i++) {
        text_printf(&names, "%s%s", i ? " " : "", history_metric_name(scope, i));
    }
    return text_take(&names);
}

static void load_signal(struct loading *loading, const struct config_node *node, const char *name,
                        enum history_scope scope, struct signals *signals)
{
    struct signal *signal = &signals->items[signals->count];
    uint32_t metric = history_metric(scope, name);
    char why[160];
    if (metric == VIM_NO_INDEX) {
        return; /* told as an unknown key */
    }
    if (!config_text(node)) {
        config_error(loading->errors, node, "expected an expression, as in rate(requests_total)");
    } else if (signal_parse(config_text(node), signal, why) != VIM_OK) {
        config_error(loading->errors, node, "%s", why);
    } else {
        signal->metric = metric;
        signals->count++;
        for (uint32_t i = 0; i < signal->term_count && scope != HISTORY_BLOCK; i++) {
            for (uint32_t j = 0; j < signal->terms[i].factor_count; j++) {
                if (signal->terms[i].factors[j].kind != FACTOR_NUMBER) {
                    config_error(loading->errors, node, "only a block has ready and quota");
                }
            }
        }
    }
}

static void load_signals(struct loading *loading, const struct config_node *parent,
                         enum history_scope scope, const struct service *service,
                         struct signals *signals)
{
    const struct config_node *node = config_get(parent, "signals");
    if (!node) {
        return;
    }
    if (service->source.section && service->source.kind != SOURCE_PROMETHEUS) {
        config_error(loading->errors, node,
                     "are for the source prometheus; this one knows its own");
        return;
    }
    CLEANUP_FREE char *known = metric_names(scope);
    config_check_keys(node, known, loading->errors);
    if (config_type(node) != CONFIG_MAPPING) {
        return;
    }
    signals->items = memory_new_array(config_count(node) + 1, sizeof(*signals->items));
    for (size_t i = 0; i < config_count(node); i++) {
        load_signal(loading, config_at(node, i), config_key_at(node, i), scope, signals);
    }
}

/* --- Services ------------------------------------------------------------------------------------- */

static void load_source(struct loading *loading, const struct config_node *parent,
                        struct service *service)
{
    const struct config_node *node = config_get(parent, "source");
    struct service_source *source = &service->source;
    if (config_fill(&source_table, node, parent, loading->errors, &source->section)) {
        return;
    }
    const struct source_config *config = config_data(source->section);
    source->kind = text_equal(config->type, "vimd") ? SOURCE_VIMD : SOURCE_PROMETHEUS;
    source->endpoints = config->endpoints;
    source->timeout_ms = config->timeout_ms;
    source->size_max = config->size_max;
    source->ca_file = config->ca_file;
    source->token = config->token;
    services_check_source(node, source, loading->errors);
}

/* One group is one block: two that scale it would not see each other. */
static bool group_is_taken(const struct services *services, const struct service *service,
                           const struct service_block *block)
{
    for (size_t i = 0; i <= services->count; i++) {
        const struct service *other = &services->items[i];
        for (uint32_t j = 0; j < other->block_count; j++) {
            const struct service_block *taken = &other->blocks[j];
            if (taken != block && text_equal(taken->platform, block->platform) &&
                text_equal(taken->group, block->group)) {
                return true;
            }
        }
        if (other == service) {
            break;
        }
    }
    return false;
}

static void check_block(struct loading *loading, const struct config_node *node,
                        const struct service *service, const struct service_block *block)
{
    const struct config_node *platform = config_get(node, "platform");
    if (block->minimum > block->maximum) {
        config_error(loading->errors, config_get(node, config_get(node, "min") ? "min" : "max"),
                     "min %u is more than max %u", block->minimum, block->maximum);
    }
    if (block->platform && !find_platform(loading->services, block->platform)) {
        config_error(loading->errors, platform, "there is no platform named '%s'", block->platform);
    } else if (block->platform && group_is_taken(loading->services, service, block)) {
        config_error(loading->errors, platform, "the group %s of %s is another block's already",
                     block->group, block->platform);
    } else if (!block->platform && config_get(node, "group")) {
        config_error(loading->errors, config_get(node, "group"),
                     "a group is of a platform: key platform is missing");
    }
}

static void load_block(struct loading *loading, const struct config_node *node,
                       struct service *service)
{
    struct service_block *block = &service->blocks[service->block_count];
    if (config_fill(&block_table, node, node, loading->errors, &block->section)) {
        return;
    }
    const struct block_config *config = config_data(block->section);
    check_name(loading, node, config->name,
               service_block_by_name(service, config->name) != VIM_NO_INDEX, "blocks");
    block->name = config->name;
    block->role = config->role ? config->role : config->name;
    block->platform = config->platform;
    block->group = !config->platform ? NULL : config->group ? config->group : config->name;
    block->minimum = (uint32_t)config->minimum;
    block->maximum = (uint32_t)config->maximum;
    block->quota_cores = config->quota_cores;
    block->threads = config->threads;
    service->block_count++;
    load_signals(loading, node, HISTORY_BLOCK, service, &block->signals);
    check_block(loading, node, service, block);
    services_check_role(node, service, block, loading->errors);
}

static void add_edge(struct loading *loading, const struct config_node *node,
                     struct service *service, const char *caller, const char *callee)
{
    struct service_edge *edge = &service->edges[service->edge_count];
    edge->caller = service_block_by_name(service, caller);
    edge->callee = service_block_by_name(service, callee);
    if (edge->caller == VIM_NO_INDEX || edge->callee == VIM_NO_INDEX) {
        config_error(loading->errors, node, "there is no block named '%s'",
                     edge->caller == VIM_NO_INDEX ? caller : callee);
        return;
    }
    for (uint32_t i = 0; i < service->edge_count; i++) {
        if (service->edges[i].caller == edge->caller && service->edges[i].callee == edge->callee) {
            config_error(loading->errors, node, "the edge %s -> %s is there twice", caller, callee);
            return;
        }
    }
    load_signals(loading, node, HISTORY_EDGE, service, &edge->signals);
    service->edge_count++;
}

/* {caller, callee, signals} or "CALLER -> CALLEE". */
static void load_edge(struct loading *loading, const struct config_node *node,
                      struct service *service)
{
    struct config_struct *section = NULL;
    const char *text = config_type(node) == CONFIG_SCALAR ? config_text(node) : NULL;
    const char *arrow = text ? strstr(text, "->") : NULL;
    if (arrow) {
        size_t length = (size_t)(arrow - text);
        while (length > 0 && text[length - 1] == ' ') {
            length--;
        }
        CLEANUP_FREE char *caller = text_duplicate_bytes(text, length);
        add_edge(loading, node, service, caller, arrow + 2 + strspn(arrow + 2, " "));
    } else if (config_type(node) == CONFIG_SCALAR) {
        config_error(loading->errors, node, "expected CALLER -> CALLEE, or caller and callee");
    } else if (config_fill(&edge_table, node, node, loading->errors, &section) == VIM_OK) {
        const struct edge_config *config = config_data(section);
        add_edge(loading, node, service, config->caller, config->callee);
        config_struct_free(section);
    }
}

static void take_service(struct service *service, const struct service_config *config)
{
    service->name = config->name;
    service->project = config->project ? config->project : PROJECT_SHARED;
    service_mode_by_name(config->mode, &service->mode);
    service->interval_ms = config->interval_ms;
    service->window_ms = config->window_ms;
    service->windows = (uint32_t)config->windows;
    service->slo_p95_ms = (double)config->slo_p95_ms;
    service->slo_error_share = config->slo_errors;
    service->budget_cores = config->budget_cores > 0 ? config->budget_cores : INFINITY;
    service->cooldown_out_ms = config->cooldown_out_ms;
    service->cooldown_in_ms = config->cooldown_in_ms;
    service->confirm_ms = config->confirm_ms;
    service->retention_ms = config->retention_ms;
    service->record = config->record;
    service->record_max = config->record_max;
}

static void check_service(struct loading *loading, const struct config_node *node,
                          const struct service *service)
{
    const char *project = service->project;
    bool is_taken = false;
    for (size_t i = 0; i < loading->services->count; i++) {
        is_taken = is_taken || text_equal(loading->services->items[i].name, service->name);
    }
    check_name(loading, node, service->name, is_taken, "services");
    services_check_record(node, loading->services, service, loading->errors);
    if (config_get(node, "project") && (strlen(project) > 63 || text_equal(project, "*"))) {
        config_error(loading->errors, config_get(node, "project"),
                     "not a project: 1 to 63 bytes, not *");
    }
    if (service->interval_ms % service->window_ms) {
        config_error(loading->errors,
                     config_get(node, config_get(node, "interval") ? "interval" : "window"),
                     "interval (%lld ms) has to be a multiple of window (%lld ms)",
                     (long long)service->interval_ms, (long long)service->window_ms);
    }
    if (service->source.section && service->source.timeout_ms >= service->window_ms) {
        const struct config_node *source = config_get(node, "source"),
                                 *timeout = config_get(source, "timeout");
        config_error(loading->errors, timeout ? timeout : source,
                     "timeout (%lld ms) has to be shorter than window (%lld ms)",
                     (long long)service->source.timeout_ms, (long long)service->window_ms);
    }
    services_check_promises(node, service, loading->errors);
    if (loading->needed) {
        services_check_files(node, service, loading->errors);
    }
}

static void load_policies(struct loading *loading, const struct config_node *node,
                          struct service *service)
{
    const struct config_node *policy = config_get(node, "policy");
    if (policy) {
        load_policy(loading, policy, &service->policy);
    } else {
        config_error(loading->errors, node, "required key policy is missing");
    }
    const struct config_node *list = get_list(loading, node, "shadow", SERVICE_SHADOWS_MAX);
    for (size_t i = 0; list && i < config_count(list); i++) {
        load_policy(loading, config_at(list, i), &service->shadows[service->shadow_count++]);
    }
}

static void load_service(struct loading *loading, const struct config_node *node)
{
    struct service *service = &loading->services->items[loading->services->count];
    if (config_fill(&service_table, node, node, loading->errors, &service->section)) {
        return;
    }
    take_service(service, config_data(service->section));
    load_source(loading, node, service);
    load_signals(loading, node, HISTORY_SERVICE, service, &service->signals);
    size_t before = loading->errors->count;
    const struct config_node *list = get_list(loading, node, "blocks", HISTORY_BLOCKS_MAX);
    service->blocks = memory_new_array(list ? config_count(list) : 1, sizeof(*service->blocks));
    for (size_t i = 0; list && i < config_count(list); i++) {
        load_block(loading, config_at(list, i), service);
    }
    if (service->block_count == 0 && loading->errors->count == before) {
        const struct config_node *blocks = config_get(node, "blocks");
        config_error(loading->errors, blocks ? blocks : node,
                     "a service has at least one block: blocks: [{name: ...}]");
    }
    list = get_list(loading, node, "edges", HISTORY_EDGES_MAX);
    service->edges = memory_new_array(list ? config_count(list) : 1, sizeof(*service->edges));
    for (size_t i = 0; list && i < config_count(list); i++) {
        load_edge(loading, config_at(list, i), service);
    }
    load_policies(loading, node, service);
    check_service(loading, node, service);
    loading->services->count++;
}

struct services *services_load(const struct config_node *root, struct registry *registry,
                               bool needed, struct config_errors *errors)
{
    struct services *services = MEMORY_NEW(struct services);
    struct loading loading = {
        .services = services, .registry = registry, .errors = errors, .needed = needed};
    const struct config_node *list = get_list(&loading, root, "platforms", SERVICES_MAX);
    services->platforms =
        memory_new_array(list ? config_count(list) : 1, sizeof(*services->platforms));
    for (size_t i = 0; list && i < config_count(list); i++) {
        load_platform(&loading, config_at(list, i));
    }
    list = get_list(&loading, root, "services", SERVICES_MAX);
    services->items = memory_new_array(list ? config_count(list) + 1 : 1, sizeof(*services->items));
    for (size_t i = 0; list && i < config_count(list); i++) {
        load_service(&loading, config_at(list, i));
    }
    if (needed && (!list || config_count(list) == 0) && errors->count == 0) {
        config_error(errors, list ? list : root, "the role scaler needs services: [{name: ...}]");
    }
    return services;
}

static void service_free(struct service *service)
{
    for (uint32_t i = 0; i < service->block_count; i++) {
        signals_free(&service->blocks[i].signals);
        config_struct_free(service->blocks[i].section);
    }
    for (uint32_t i = 0; i < service->edge_count; i++) {
        signals_free(&service->edges[i].signals);
    }
    for (uint32_t i = 0; i < service->shadow_count; i++) {
        plugin_free_use(&service->shadows[i]);
    }
    plugin_free_use(&service->policy);
    signals_free(&service->signals);
    config_struct_free(service->source.section);
    config_struct_free(service->section);
    free(service->blocks);
    free(service->edges);
}

void services_free(struct services *services)
{
    if (!services) {
        return;
    }
    for (size_t i = 0; i < services->count; i++) {
        service_free(&services->items[i]);
    }
    for (size_t i = 0; i < services->platform_count; i++) {
        plugin_free_use(&services->platforms[i].driver);
        config_struct_free(services->platforms[i].section);
    }
    free(services->platforms);
    free(services->items);
    free(services);
}

/* --- Out ------------------------------------------------------------------------------------------ */

static void dump_plugin(const struct service_plugin *use, unsigned indent, struct text *text)
{
    if (use->options) {
        text_printf(text, "%*soptions:\n", (int)indent, "");
        config_dump(use->options, indent + 2, text);
    }
}

static void dump_policy(const struct service_plugin *use, unsigned indent, struct text *text)
{
    text_printf(text, "%*splugin: %s\n", (int)indent, "", use->name ? use->name : "");
    dump_plugin(use, indent, text);
}

static void dump_signals(const struct signals *signals, enum history_scope scope, unsigned indent,
                         struct text *text)
{
    if (signals->count) {
        text_printf(text, "%*ssignals:\n", (int)indent, "");
    }
    for (uint32_t i = 0; i < signals->count; i++) {
        text_printf(text, "%*s%s: ", (int)indent + 2, "",
                    history_metric_name(scope, signals->items[i].metric));
        config_dump_scalar(signals->items[i].text, text);
        text_add(text, "\n");
    }
}

static void dump_service(const struct service *service, struct text *text)
{
    text_add(text, "  -\n");
    config_dump(service->section, 4, text);
    text_add(text, "    source:\n");
    config_dump(service->source.section, 6, text);
    dump_signals(&service->signals, HISTORY_SERVICE, 4, text);
    text_add(text, "    policy:\n");
    dump_policy(&service->policy, 6, text);
    text_add(text, service->shadow_count ? "    shadow:\n" : "");
    for (uint32_t i = 0; i < service->shadow_count; i++) {
        text_add(text, "      -\n");
        dump_policy(&service->shadows[i], 8, text);
    }
    text_add(text, "    blocks:\n");
    for (uint32_t i = 0; i < service->block_count; i++) {
        text_add(text, "      -\n");
        config_dump(service->blocks[i].section, 8, text);
        dump_signals(&service->blocks[i].signals, HISTORY_BLOCK, 8, text);
    }
    text_add(text, service->edge_count ? "    edges:\n" : "");
    for (uint32_t i = 0; i < service->edge_count; i++) {
        const struct service_edge *edge = &service->edges[i];
        text_printf(text, "      -\n        caller: %s\n        callee: %s\n",
                    service->blocks[edge->caller].name, service->blocks[edge->callee].name);
        dump_signals(&edge->signals, HISTORY_EDGE, 8, text);
    }
}

void services_dump(const struct services *services, struct text *text)
{
    text_add(text, services->platform_count ? "platforms:\n" : "");
    for (size_t i = 0; i < services->platform_count; i++) {
        text_add(text, "  -\n");
        config_dump(services->platforms[i].section, 4, text);
        dump_plugin(&services->platforms[i].driver, 4, text);
    }
    text_add(text, services->count ? "services:\n" : "");
    for (size_t i = 0; i < services->count; i++) {
        dump_service(&services->items[i], text);
    }
}

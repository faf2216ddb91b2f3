/* What is wrong with a service although each of its keys is well. */
#include <errno.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/text.h"
#include "scaler/fleet_internal.h"
#include "scaler/services_internal.h"

/* http[s]://HOST[:PORT][/PATH], as far as a mistake would only show when nothing is measured. */
static bool is_url(const char *url)
{
    size_t scheme = text_starts_with(url, "https://")  ? strlen("https://")
                    : text_starts_with(url, "http://") ? strlen("http://")
                                                       : 0;
    for (const char *c = url; *c; c++) {
        if ((unsigned char)*c <= ' ' || *c == 0x7F) {
            return false;
        }
    }
    const char *host = url + scheme, *end = host + strcspn(host, "/?#");
    const char *bracket = *host == '[' ? memchr(host, ']', (size_t)(end - host)) : host;
    const char *port = bracket ? memchr(bracket, ':', (size_t)(end - bracket)) : NULL;
    if (scheme == 0 || !bracket || host == end || port == host) {
        return false;
    }
    if (!port) {
        return true;
    }
    char *behind;
    long number = strtol(port + 1, &behind, 10);
    return behind == end && port[1] >= '0' && port[1] <= '9' && number >= 1 && number <= 65535;
}

static bool has_user(const char *url)
{
    const char *host = strstr(url, "://");
    host = host ? host + 3 : url;
    return memchr(host, '@', strcspn(host, "/?#")) != NULL;
}

static void check_endpoints(const struct config_node *list, const struct vim_texts *endpoints,
                            struct config_errors *errors)
{
    for (uint32_t i = 0; i < endpoints->count; i++) {
        const char *url = endpoints->items[i];
        if (has_user(url)) {
            config_error(errors, config_at(list, i),
                         "a URL stands in logs and answers: no user and password in it, but token: "
                         "${file:...} beside it");
        } else if (!is_url(url)) {
            config_error(errors, config_at(list, i),
                         "'%s' is not a URL: expected http://HOST:PORT/PATH or https://...", url);
        }
        for (uint32_t j = 0; j < i; j++) {
            if (text_equal(url, endpoints->items[j])) {
                config_error(errors, config_at(list, i),
                             "it is there twice, and its series would count twice");
                break;
            }
        }
    }
}

void services_check_source(const struct config_node *node, const struct service_source *source,
                           struct config_errors *errors)
{
    static const char *const of_prometheus[] = {"endpoints", "ca_file", "token"};
    const struct config_node *list = config_get(node, "endpoints");
    for (size_t i = 0; source->kind != SOURCE_PROMETHEUS && i < 3; i++) {
        if (config_get(node, of_prometheus[i])) {
            config_error(errors, config_get(node, of_prometheus[i]),
                         "is for the source prometheus; this one asks nobody");
        }
    }
    if (source->kind != SOURCE_PROMETHEUS) {
        return;
    }
    if (source->endpoints.count == 0) {
        config_error(errors, list ? list : node,
                     "the source prometheus needs endpoints: [http://HOST:PORT/metrics ...]");
    }
    check_endpoints(list, &source->endpoints, errors);
    for (const char *c = source->token; c && *c; c++) {
        if ((unsigned char)*c <= ' ' || *c == 0x7F) {
            config_error(errors, config_get(node, "token"),
                         "a token has no space, end of a line or control character in it");
            break;
        }
    }
}

void services_check_role(const struct config_node *node, const struct service *service,
                         const struct service_block *block, struct config_errors *errors)
{
    bool is_known = fleet_role(block->role) >= 0 || fleet_callee(block->role) >= 0;
    const struct config_node *role = config_get(node, "role");
    if (role && service->source.section && service->source.kind == SOURCE_PROMETHEUS) {
        config_error(errors, role, "is for the source vimd; this one has signals");
    }
    /* What a platform tells of a block suffices for some policies. */
    if (service->source.section && service->source.kind == SOURCE_VIMD && !is_known &&
        (role || !block->platform)) {
        config_error(errors, role ? role : config_get(node, "name"),
                     "vimd has no block '%s': role is one of api logic worker store queue nfvi",
                     block->role);
    }
}

static bool has_signal(const struct service *service, const char *name)
{
    uint32_t metric = history_metric(HISTORY_SERVICE, name);
    for (uint32_t i = 0; i < service->signals.count; i++) {
        if (service->signals.items[i].metric == metric) {
            return true;
        }
    }
    return false;
}

void services_check_promises(const struct config_node *node, const struct service *service,
                             struct config_errors *errors)
{
    if (!service->source.section || service->source.kind != SOURCE_PROMETHEUS) {
        return; /* the other one measures both */
    }
    if (service->slo_p95_ms > 0 && !has_signal(service, "latency_p95")) {
        config_warning(errors, config_get(node, "slo_p95"),
                       "nobody sees whether it is kept without the signal latency_p95");
    }
    if (service->slo_error_share > 0 &&
        !(has_signal(service, "errors") && has_signal(service, "offered"))) {
        config_warning(errors, config_get(node, "slo_errors"),
                       "nobody sees whether it is kept without the signals errors and offered");
    }
}

void services_check_files(const struct config_node *node, const struct service *service,
                          struct config_errors *errors)
{
    const char *ca_file = service->source.ca_file;
    struct stat info;
    if (ca_file && access(ca_file, R_OK) != 0) {
        config_error(errors, config_get(config_get(node, "source"), "ca_file"),
                     "%s cannot be read: %s", ca_file, strerror(errno));
    }
    if (!service->record) {
        return;
    }
    CLEANUP_FREE char *copy = text_duplicate(service->record);
    const char *folder = dirname(copy);
    if (stat(service->record, &info) == 0 && S_ISDIR(info.st_mode)) {
        config_error(errors, config_get(node, "record"), "%s is a folder: a file is needed",
                     service->record);
    } else if (stat(folder, &info) != 0 || !S_ISDIR(info.st_mode)) {
        config_error(errors, config_get(node, "record"), "there is no folder %s", folder);
    }
}

void services_check_record(const struct config_node *node, const struct services *services,
                           const struct service *service, struct config_errors *errors)
{
    for (size_t i = 0; service->record && i < services->count; i++) {
        if (services->items[i].record && text_equal(services->items[i].record, service->record)) {
            config_error(errors, config_get(node, "record"),
                         "is where the windows of %s are written: a trace is of one service",
                         services->items[i].name);
        }
    }
}

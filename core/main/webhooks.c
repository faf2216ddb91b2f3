/* The section `webhooks`: where events may be sent, and how. */
#include "main/daemon.h"

#include <stddef.h>
#include <stdlib.h>
#include "base/outbound.h"
#include "worker/webhooks.h"

#define AT(field) offsetof(struct webhooks_config, field)
static const struct vim_option webhooks_options[] = {
    {.name = "allow_hosts",
     .type = VIM_LIST,
     .offset = AT(allow_hosts),
     .help =
         "Hosts that subscriptions may name: hooks.example.org, *.example.org, with :8443 for another "
         "port than the scheme's; left out: every host, on every port."},
    {.name = "allow_networks",
     .type = VIM_LIST,
     .offset = AT(allow_networks),
     .help = "Networks that may be called although they are private, loopback or link-local: "
             "10.1.0.0/16, fd00:1::/32. Addresses are looked at when a connection is made."},
    {.name = "allow_http",
     .type = VIM_BOOLEAN,
     .default_value = "false",
     .offset = AT(allow_http),
     .help = "Whether addresses may be http://, where everybody on the way can read what is sent."},
    {.name = "ca_file",
     .type = VIM_PATH,
     .offset = AT(ca_file),
     .help = "Certificates (PEM) by which receivers are known; left out: the system's."},
    {.name = "source",
     .type = VIM_TEXT,
     .default_value = "urn:vimd",
     .offset = AT(source),
     .help =
         "`source` of the CloudEvents: a URI; with `id` it is unique, so give each service its own."},
    {.name = "connect_timeout",
     .type = VIM_DURATION,
     .default_value = "5s",
     .minimum = 10,
     .maximum = 60000,
     .offset = AT(connect_timeout_ms),
     .help = "For a name to be resolved and a connection to be made."},
    {.name = "timeout",
     .type = VIM_DURATION,
     .default_value = "10s",
     .minimum = 10,
     .maximum = 120000,
     .offset = AT(timeout_ms),
     .help = "For a receiver to answer, from the beginning."},
    {.name = "backoff_base",
     .type = VIM_DURATION,
     .default_value = "1s",
     .minimum = 1,
     .maximum = 600000,
     .offset = AT(backoff_base_ms),
     .help =
         "Most that is waited before an event is sent again (a random part of it is); doubled each "
         "time, until something is taken."},
    {.name = "backoff_cap",
     .type = VIM_DURATION,
     .default_value = "5m",
     .minimum = 1,
     .maximum = 86400000,
     .offset = AT(backoff_cap_ms),
     .help = "Most that is ever waited."},
    {.name = "max_attempts",
     .type = VIM_INTEGER,
     .default_value = "12",
     .minimum = 1,
     .maximum = 1000,
     .offset = AT(max_attempts),
     .help =
         "After so many attempts an event becomes a dead letter, and the next one has its turn."},
    {.name = "concurrency",
     .type = VIM_INTEGER,
     .default_value = "256",
     .minimum = 1,
     .maximum = 10000,
     .offset = AT(concurrency),
     .help = "Requests side by side; a subscription has one at a time."},
    {.name = "retention",
     .type = VIM_DURATION,
     .default_value = "30d",
     .minimum = 0,
     .maximum = 31536000000,
     .offset = AT(retention_ms),
     .help = "How long dead letters are kept; 0s: for ever."},
};
#undef AT

const struct config_table webhooks_table =
    CONFIG_TABLE("webhooks", webhooks_options, struct webhooks_config,
                 "Where events may be sent that are subscribed to, and how.");

static int make_rules(const struct webhooks_config *config, struct outbound **ret_rules,
                      char ret_why[256])
{
    return outbound_new(config->allow_hosts.items, config->allow_hosts.count,
                        config->allow_networks.items, config->allow_networks.count,
                        config->allow_http, ret_rules, ret_why);
}

int webhooks_check(const struct webhooks_config *config, struct failure *failure)
{
    struct outbound *rules = NULL;
    char why[256];
    int code = make_rules(config, &rules, why);
    outbound_free(rules);
    return code == VIM_OK ? VIM_OK : failure_set(failure, code, "allow_networks: %s", why);
}

int daemon_open_rules(struct daemon *daemon, struct failure *failure)
{
    char why[256];
    const struct webhooks_config *config = settings_section(daemon->settings, SECTION_WEBHOOKS);
    int code = make_rules(config, &daemon->outbound, why);
    return code == VIM_OK ? VIM_OK : failure_set(failure, code, "webhooks: %s", why);
}

int daemon_open_webhooks(struct daemon *daemon, struct failure *failure)
{
    const struct webhooks_config *config = settings_section(daemon->settings, SECTION_WEBHOOKS);
    struct webhooks_settings settings = {
        .rules = daemon->outbound,
        .source = config->source,
        .ca_file = config->ca_file,
        .connect_timeout_ms = config->connect_timeout_ms,
        .timeout_ms = config->timeout_ms,
        .backoff_base_ms = config->backoff_base_ms,
        .backoff_cap_ms = config->backoff_cap_ms,
        .max_attempts = (uint32_t)config->max_attempts,
        .concurrency = (uint32_t)config->concurrency,
        .retention_ms = config->retention_ms,
        .presence = daemon->presence,
    };
    daemon->webhooks = webhooks_new(daemon->store, &settings);
    return webhooks_start(daemon->webhooks, failure);
}

void daemon_stop_webhooks(struct daemon *daemon)
{
    if (daemon->webhooks) {
        webhooks_stop(daemon->webhooks);
    }
}

void daemon_free_webhooks(struct daemon *daemon)
{
    webhooks_free(daemon->webhooks);
    outbound_free(daemon->outbound);
}

/*
 * The section `link` of the configuration.
 */
#include <stddef.h>
#include <string.h>
#include "link/remote.h"
#include "link/tls.h"

#define SECRET_MIN 16
#define SECRET_MAX 512

#define AT(field) offsetof(struct link_config, field)

static const struct vim_option link_options[] = {
    {.name = "listen",
     .type = VIM_LIST,
     .offset = AT(listen),
     .help = "Where a logic process takes the requests of API processes: addresses and ports, as "
             "10.0.0.5:8790 or [::1]:8790, or unix:/PATH."},
    {.name = "advertise",
     .type = VIM_TEXT,
     .offset = AT(advertise),
     .help =
         "What API processes reach this logic process as; left out: the first of listen, and for "
         "0.0.0.0 the address that the name of the host has."},
    {.name = "logic",
     .type = VIM_LIST,
     .flags = VIM_LIVE,
     .offset = AT(logic),
     .help =
         "Where an API process finds logic processes: as listen, or NAME:PORT, of which every "
         "address is a logic process. Those that one of them knows of are found by themselves."},
    {.name = "secret",
     .type = VIM_TEXT,
     .flags = VIM_SECRET | VIM_LIVE,
     .offset = AT(secret),
     .help =
         "By which processes of the service know each other: the same for all, 16 bytes at least."},
    {.name = "previous_secret",
     .type = VIM_TEXT,
     .flags = VIM_SECRET | VIM_LIVE,
     .offset = AT(previous_secret),
     .help = "Of a logic process: believed as well, while the secret is being changed."},
    {.name = "insecure",
     .type = VIM_BOOLEAN,
     .default_value = "false",
     .offset = AT(insecure),
     .help = "Allow addresses other than loopback without TLS. Secret and requests then cross the "
             "network in the clear; only for a network that nobody else listens to."},
    {.name = "tls_certificate",
     .type = VIM_PATH,
     .offset = AT(tls_certificate),
     .help =
         "PEM file: the certificate that this process shows the others, at both ends. Turns TLS on, "
         "together with tls_key and tls_ca; all processes of the link have it or none. Read again at "
         "SIGHUP."},
    {.name = "tls_key",
     .type = VIM_PATH,
     .offset = AT(tls_key),
     .help =
         "PEM file: its private key. Refused if group or others can read it. Read again at SIGHUP."},
    {.name = "tls_ca",
     .type = VIM_PATH,
     .offset = AT(tls_ca),
     .help =
         "PEM file: the CA that has signed the certificates of all processes of the link, and of "
         "nothing else."},
    {.name = "tls_name",
     .type = VIM_TEXT,
     .offset = AT(tls_name),
     .help =
         "Name that the certificates of logic processes have; left out: any certificate of the CA "
         "will do."},
    {.name = "threads",
     .type = VIM_INTEGER,
     .default_value = "0",
     .minimum = 0,
     .maximum = 64,
     .offset = AT(threads),
     .help = "Of a logic process: network threads; 0 takes one per processor, at most 8."},
    {.name = "blocking_threads",
     .type = VIM_INTEGER,
     .default_value = "32",
     .minimum = 1,
     .maximum = 256,
     .offset = AT(blocking_threads),
     .help = "Of a logic process: threads for requests that wait for the store; half as many "
             "more, up to 4, or an eighth, for searches and large lists, which have a queue of "
             "their own."},
    {.name = "blocking_queue",
     .type = VIM_INTEGER,
     .default_value = "1024",
     .minimum = 1,
     .maximum = 100000,
     .offset = AT(blocking_queue),
     .help =
         "Of a logic process: requests that may wait for such a thread; beyond, others are asked."},
    {.name = "blocking_wait",
     .type = VIM_DURATION,
     .default_value = "1s",
     .minimum = 10,
     .maximum = 60000,
     .offset = AT(blocking_wait_ms),
     .help =
         "How long they may wait for it; beyond: 503, and half of that closes the queue to more."},
    {.name = "connections",
     .type = VIM_INTEGER,
     .default_value = "4096",
     .minimum = 1,
     .maximum = 100000,
     .offset = AT(connections),
     .help = "Of a logic process: open connections at most; more wait in the kernel."},
    {.name = "in_flight",
     .type = VIM_INTEGER,
     .default_value = "2048",
     .minimum = 1,
     .maximum = 100000,
     .flags = VIM_LIVE,
     .offset = AT(in_flight),
     .help = "Of a logic process: requests in progress at most; beyond, others are asked."},
    {.name = "requests",
     .type = VIM_INTEGER,
     .default_value = "256",
     .minimum = 1,
     .maximum = 100000,
     .flags = VIM_LIVE,
     .offset = AT(requests),
     .help =
         "Of an API process: requests in progress at each logic process, and so connections to it."},
    {.name = "queue",
     .type = VIM_INTEGER,
     .default_value = "1024",
     .minimum = 1,
     .maximum = 100000,
     .flags = VIM_LIVE,
     .offset = AT(queue),
     .help =
         "Of an API process: requests that may wait for a logic process with room; beyond: 503."},
    {.name = "queue_wait",
     .type = VIM_DURATION,
     .default_value = "2s",
     .minimum = 10,
     .maximum = 60000,
     .flags = VIM_LIVE,
     .offset = AT(queue_wait_ms),
     .help = "Of an API process: how long one may wait so, or for any logic process to be there. "
             "While they are there, a quarter of that closes the queue to more: 503."},
    {.name = "answer_max",
     .type = VIM_BYTES,
     .default_value = "64MiB",
     .minimum = 1048576,
     .maximum = 0x40000000,
     .flags = VIM_LIVE,
     .offset = AT(answer_max),
     .help = "Of an API process: an answer at most."},
    {.name = "connect_timeout",
     .type = VIM_DURATION,
     .default_value = "500ms",
     .minimum = 10,
     .maximum = 60000,
     .flags = VIM_LIVE,
     .offset = AT(connect_timeout_ms),
     .help = "Of an API process: for a connection to be made."},
    {.name = "probe_interval",
     .type = VIM_DURATION,
     .default_value = "250ms",
     .minimum = 10,
     .maximum = 60000,
     .flags = VIM_LIVE,
     .offset = AT(probe_interval_ms),
     .help = "Of an API process: between looks whether a logic process is well."},
    {.name = "probe_timeout",
     .type = VIM_DURATION,
     .default_value = "700ms",
     .minimum = 10,
     .maximum = 60000,
     .flags = VIM_LIVE,
     .offset = AT(probe_timeout_ms),
     .help =
         "Of an API process: a logic process that takes longer to tell is left alone until it does."},
    {.name = "refresh",
     .type = VIM_DURATION,
     .default_value = "2s",
     .minimum = 100,
     .maximum = 3600000,
     .flags = VIM_LIVE,
     .offset = AT(refresh_ms),
     .help = "Of an API process: between looks for the addresses of names."},
};

const struct config_table link_table =
    CONFIG_TABLE("link", link_options, struct link_config,
                 "How API processes and logic processes of the same service reach each other.");

static int check_addresses(const struct vim_texts *texts, const char *what, bool names,
                           bool insecure, struct failure *failure)
{
    for (size_t i = 0; i < texts->count; i++) {
        struct address address;
        int code = address_parse(texts->items[i], &address);
        if (code == VIM_E_INVALID || (code == VIM_AGAIN && !names)) {
            return failure_set(failure, VIM_E_INVALID,
                               "%s: '%s' is not ADDRESS:PORT%s or unix:/PATH", what,
                               texts->items[i], names ? ", NAME:PORT" : "");
        }
        if (!insecure && (code == VIM_AGAIN || !address_is_local(&address))) {
            return failure_set(
                failure, VIM_E_INVALID,
                "%s: %s is not on this host, and secret and requests would cross the "
                "network in the clear; set tls_certificate, tls_key and tls_ca, or insecure: true if "
                "nobody else listens there",
                what, texts->items[i]);
        }
    }
    return VIM_OK;
}

static int check_tls(const struct link_config *config, struct failure *failure)
{
    const char *const files[] = {config->tls_certificate, config->tls_key, config->tls_ca};
    int count = !!files[0] + !!files[1] + !!files[2];
    if (count != 0 && count != 3) {
        return failure_set(failure, VIM_E_INVALID,
                           "tls_certificate, tls_key and tls_ca belong together");
    }
    struct link_tls *tls = NULL;
    int code = count ? link_tls_open(files[0], files[1], files[2], NULL, &tls, failure) : VIM_OK;
    link_tls_close(tls);
    return code;
}

static int check_secret(const char *name, const char *secret, struct failure *failure)
{
    if (secret && (strlen(secret) < SECRET_MIN || strlen(secret) > SECRET_MAX ||
                   strspn(secret, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                  "0123456789+/=-_.") != strlen(secret))) {
        return failure_set(
            failure, VIM_E_INVALID,
            "%s: not %d to %d letters, digits and +/=-_. ; `openssl rand -base64 33` "
            "makes a good one",
            name, SECRET_MIN, SECRET_MAX);
    }
    return VIM_OK;
}

int link_check(const struct link_config *config, struct failure *failure)
{
    int code = check_secret("secret", config->secret, failure);
    code = code ? code : check_secret("previous_secret", config->previous_secret, failure);
    if (code) {
        return code;
    }
    if ((config->listen.count || config->logic.count) && !config->secret) {
        return failure_set(failure, VIM_E_INVALID, "secret is missing");
    }
    bool hidden = config->insecure || config->tls_ca;
    code = check_tls(config, failure);
    code = code ? code : check_addresses(&config->listen, "listen", false, hidden, failure);
    return code ? code : check_addresses(&config->logic, "logic", true, hidden, failure);
}

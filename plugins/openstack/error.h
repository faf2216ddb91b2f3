/*
 * error.h - from what a service answers to enum vim_error and a text for people.
 *
 * OpenStack has six shapes of error body, and HTML:
 *     Keystone, and the token filter in front of the others   {"error": {code, message, title}}
 *     Nova                                                    {"<faultName>": {code, message}}
 *     Neutron                                                 {"NeutronError": {type, message}}
 *     Placement                                               {"errors": [{status, title, detail}]}
 *     Glance, unknown paths                                   {"message": HTML, code, title}
 *     proxies, and Glance to who does not ask for JSON        HTML
 */
#ifndef OPENSTACK_ERROR_H
#define OPENSTACK_ERROR_H

#include <stddef.h>
#include <stdint.h>

enum os_service { OS_IDENTITY, OS_COMPUTE, OS_NETWORK, OS_IMAGE, OS_VOLUME, OS_SERVICES };

struct os_error {
    int code; /* enum vim_error, negative; 0 for none */
    uint32_t retry_after_ms; /* what the service asked for, or 0 */
    char type[64]; /* the service's own name for it ("OverQuota"), or "" */
    char message[512]; /* the service's own words, or "" */
};

/* An answer with a status of 400 or more. */
struct os_refusal {
    enum os_service service;
    int write; /* the request may have changed something */
    long status;
    int has_retry_after;
    uint32_t retry_after_ms;
    const char *body;
    size_t length;
};

/* "identity", "compute", "network", "image", "volume": as OpenStack's catalog calls them, or nearly. */
const char *os_service_name(enum os_service service);

/* Fills ERROR. A 404 counts as VIM_E_NOT_FOUND only in the shape in which the service itself says
 * it: a proxy's 404 must not make things look deleted. */
void os_error_read(struct os_error *error, const struct os_refusal *refusal);

/* True if TEXT, a server's fault or a message, tells that there is no room: a quota or no host. */
int os_error_is_capacity(const char *text);

#endif

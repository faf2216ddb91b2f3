/*
 * base/outbound.h - which addresses may be called that a user has named: no private, loopback or link-local
 * ones, and no others that are not of the public network, unless the configuration allows them.
 */
#ifndef BASE_OUTBOUND_H
#define BASE_OUTBOUND_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

struct outbound; /* rules; never change */

/* HOSTS: "hooks.example.org", "*.example.org", with ":8443" where another port than the scheme's is meant; none:
 * every host. NETWORKS: "10.1.0.0/16", "fd00::/8", "127.0.0.1": allowed although they are not public. VIM_E_INVALID
 * and RET_WHY if one of them is none. */
int outbound_new(const char *const *hosts, size_t host_count, const char *const *networks,
                 size_t network_count, bool allow_http, struct outbound **ret_rules,
                 char ret_why[256]);
void outbound_free(struct outbound *rules); /* NULL is fine */

/* Is it a URL that may be called, as far as can be told without resolving its name? http (if allowed) or https,
 * a host, perhaps a port, a path; no user, no fragment, nothing that two readers could read differently. */
bool outbound_url(const struct outbound *rules, const char *url, char ret_why[256]);

/* May a connection be made there? */
bool outbound_address(const struct outbound *rules, const struct sockaddr *address);

#endif

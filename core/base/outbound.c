#include "base/outbound.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <vim/plugin.h>
#include "base/cleanup.h"
#include "base/memory.h"
#include "base/text.h"

#define URL_MAX 2048
#define HOST_MAX 253

/* IPv4 as ::ffff:a.b.c.d. */
struct network {
    uint8_t address[16];
    unsigned bits;
};

struct outbound {
    bool allow_http;
    char **hosts;
    size_t host_count;
    struct network *networks;
    size_t network_count;
};

/* Not of the public network (IANA's registries of special-purpose addresses), and those that carry an IPv4
 * address inside: 6to4 and Teredo. NAT64 is looked into. */
static const char *const special[] = {
    "0.0.0.0/8",      "10.0.0.0/8",      "100.64.0.0/10",  "127.0.0.0/8",    "169.254.0.0/16",
    "172.16.0.0/12",  "192.0.0.0/24",    "192.0.2.0/24",   "192.88.99.0/24", "192.168.0.0/16",
    "198.18.0.0/15",  "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",    "::/96",
    "64:ff9b:1::/48", "100::/64",        "2001::/23",      "2001:db8::/32",  "2002::/16",
    "3fff::/20",      "5f00::/16",       "fc00::/7",       "fe80::/9",       "ff00::/8",
};

static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
static const uint8_t nat64[12] = {0x00, 0x64, 0xff, 0x9b};

static bool network_parse(const char *text, struct network *ret_network)
{
    char address[64];
    const char *slash = strchr(text, '/');
    size_t length = slash ? (size_t)(slash - text) : strlen(text);
    long long bits = -1;
    if (length >= sizeof(address) || (slash && text_to_integer(slash + 1, &bits) != VIM_OK)) {
        return false;
    }
    memcpy(address, text, length);
    address[length] = '\0';
    struct network network = {0};
    bool is_v4 = inet_pton(AF_INET, address, network.address + 12) == 1;
    if (is_v4) {
        memcpy(network.address, mapped, sizeof(mapped));
    } else if (inet_pton(AF_INET6, address, network.address) != 1) {
        return false;
    }
    long long most = is_v4 ? 32 : 128;
    bits = slash ? bits : most;
    if (bits < 0 || bits > most) {
        return false;
    }
    network.bits = (unsigned)(bits + 128 - most);
    *ret_network = network;
    return true;
}

static bool network_has(const struct network *network, const uint8_t address[16])
{
    unsigned bytes = network->bits / 8, rest = network->bits % 8;
    if (memcmp(network->address, address, bytes) != 0) {
        return false;
    }
    return rest == 0 || ((network->address[bytes] ^ address[bytes]) >> (8 - rest)) == 0;
}

static bool is_special(const uint8_t address[16])
{
    for (size_t i = 0; i < sizeof(special) / sizeof(special[0]); i++) {
        struct network network;
        if (network_parse(special[i], &network) && network_has(&network, address)) {
            return true;
        }
    }
    return false;
}

static bool is_allowed(const struct outbound *rules, const uint8_t address[16])
{
    for (size_t i = 0; i < rules->network_count; i++) {
        if (network_has(&rules->networks[i], address)) {
            return true;
        }
    }
    if (memcmp(address, nat64, sizeof(nat64)) == 0) {
        uint8_t inner[16];
        memcpy(inner, mapped, sizeof(mapped));
        memcpy(inner + 12, address + 12, 4);
        return is_allowed(rules, inner);
    }
    return !is_special(address);
}

bool outbound_address(const struct outbound *rules, const struct sockaddr *address)
{
    uint8_t bytes[16];
    if (address->sa_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, address, sizeof(v4));
        memcpy(bytes, mapped, sizeof(mapped));
        memcpy(bytes + 12, &v4.sin_addr, 4);
    } else if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, address, sizeof(v6));
        memcpy(bytes, &v6.sin6_addr, 16);
    } else {
        return false;
    }
    return is_allowed(rules, bytes);
}

int outbound_new(const char *const *hosts, size_t host_count, const char *const *networks,
                 size_t network_count, bool allow_http, struct outbound **ret_rules,
                 char ret_why[256])
{
    struct outbound *rules = MEMORY_NEW(struct outbound);
    rules->allow_http = allow_http;
    rules->hosts = memory_new_array(host_count + 1, sizeof(*rules->hosts));
    rules->networks = memory_new_array(network_count + 1, sizeof(*rules->networks));
    for (size_t i = 0; i < host_count; i++) {
        rules->hosts[rules->host_count++] = text_duplicate(hosts[i]);
    }
    for (size_t i = 0; i < network_count; i++) {
        if (!network_parse(networks[i], &rules->networks[rules->network_count++])) {
            (void)snprintf(ret_why, 256, "%.100s is no network, as in 10.1.0.0/16", networks[i]);
            outbound_free(rules);
            return VIM_E_INVALID;
        }
    }
    *ret_rules = rules;
    return VIM_OK;
}

void outbound_free(struct outbound *rules)
{
    if (rules) {
        for (size_t i = 0; i < rules->host_count; i++) {
            free(rules->hosts[i]);
        }
        free(rules->hosts);
        free(rules->networks);
        free(rules);
    }
}

/* --- URLs ---------------------------------------------------------------------------------------- */

static bool complain(char ret_why[256], const char *why)
{
    (void)snprintf(ret_why, 256, "%s", why);
    return false;
}

/* HOST is without brackets; PORT "" where it is the scheme's. */
static bool host_matches(const char *pattern, const char *host, const char *port)
{
    const char *colon = strrchr(pattern, ':');
    size_t length = colon ? (size_t)(colon - pattern) : strlen(pattern);
    if (strcmp(colon ? colon + 1 : "", port) != 0) {
        return false;
    }
    if (length > 2 && pattern[0] == '*' && pattern[1] == '.') {
        size_t host_length = strlen(host);
        return host_length > length - 1 &&
               strncasecmp(host + host_length - (length - 1), pattern + 1, length - 1) == 0;
    }
    return strlen(host) == length && strncasecmp(host, pattern, length) == 0;
}

/* An address that stands in the URL itself is looked at now, to say so at once. */
static bool literal_allowed(const struct outbound *rules, const char *host)
{
    struct network network;
    return !network_parse(host, &network) || is_allowed(rules, network.address);
}

bool outbound_url(const struct outbound *rules, const char *url, char ret_why[256])
{
    bool secure = strncmp(url, "https://", 8) == 0;
    if (!secure && strncmp(url, "http://", 7) != 0) {
        return complain(ret_why, "must begin with https://");
    }
    if (!secure && !rules->allow_http) {
        return complain(ret_why, "must begin with https:// (http is not allowed here)");
    }
    const char *at = url + (secure ? 8 : 7);
    bool bracket = *at == '[';
    at += bracket;
    size_t length = strspn(at, bracket ? "0123456789abcdefABCDEF:."
                                       : "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                         "0123456789.-");
    if (length == 0 || length > HOST_MAX || strlen(url) > URL_MAX) {
        return complain(ret_why, "has no host, or is too long");
    }
    char host[HOST_MAX + 1], port[8] = "";
    memcpy(host, at, length);
    host[length] = '\0';
    at += length;
    if (bracket && *at++ != ']') {
        return complain(ret_why, "has a host that is no address in brackets");
    }
    if (*at == ':') {
        size_t digits = strspn(++at, "0123456789");
        long number = digits >= 1 && digits <= 5 ? strtol(at, NULL, 10) : 0;
        if (number < 1 || number > 65535) {
            return complain(ret_why, "has a port that is none");
        }
        if (number != (secure ? 443 : 80)) {
            (void)snprintf(port, sizeof(port), "%ld", number);
        }
        at += digits;
    }
    if (*at != '\0' && *at != '/' && *at != '?') {
        return complain(ret_why, "has something behind its host that is no port and no path");
    }
    for (; *at; at++) {
        if (*at <= ' ' || *at > '~' || strchr("\\\"<>#^`{|}", *at)) {
            return complain(ret_why, "has a character that has to be escaped, or a fragment");
        }
    }
    for (size_t i = 0; i < rules->host_count; i++) {
        if (host_matches(rules->hosts[i], host, port)) {
            return literal_allowed(rules, host) ||
                   complain(ret_why, "has an address that must not be called");
        }
    }
    if (rules->host_count) {
        return complain(ret_why, "has a host (and port) that is not on the list of those allowed");
    }
    return literal_allowed(rules, host) ||
           complain(ret_why, "has an address that must not be called");
}

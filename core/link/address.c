/*
 * Addresses of replicas.
 */
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include "base/cleanup.h"
#include "base/memory.h"
#include "base/text.h"
#include "link/remote.h"

#define UNIX_PREFIX "unix:"

static int address_unix(const char *path, struct address *ret_address)
{
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    if (path[0] != '/' || strlen(path) >= sizeof local.sun_path) {
        return VIM_E_INVALID;
    }
    strncpy(local.sun_path, path, sizeof local.sun_path - 1);
    *ret_address = (struct address){.size = sizeof local};
    memcpy(&ret_address->socket, &local, sizeof local);
    return VIM_OK;
}

/* "HOST:PORT" in two; HOST is malloc'ed, without brackets. */
static int address_split(const char *text, char **ret_host, uint16_t *ret_port)
{
    const char *colon = strrchr(text, ':');
    long long port = 0;
    if (!colon || colon == text || text_to_integer(colon + 1, &port) || port < 1 || port > 65535) {
        return VIM_E_INVALID;
    }
    bool brackets = text[0] == '[' && colon[-1] == ']';
    *ret_port = (uint16_t)port;
    *ret_host = brackets ? text_duplicate_bytes(text + 1, (size_t)(colon - text) - 2)
                         : text_duplicate_bytes(text, (size_t)(colon - text));
    return VIM_OK;
}

static bool address_is_name(const char *host)
{
    size_t length = strspn(host, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                 "-._");
    return length > 0 && length < 254 && host[length] == '\0';
}

int address_parse(const char *text, struct address *ret_address)
{
    if (text_starts_with(text, UNIX_PREFIX)) {
        return address_unix(text + strlen(UNIX_PREFIX), ret_address);
    }
    CLEANUP_FREE char *host = NULL;
    uint16_t port = 0;
    if (address_split(text, &host, &port)) {
        return VIM_E_INVALID;
    }
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    *ret_address = (struct address){0};
    if (inet_pton(AF_INET, host, &v4.sin_addr) == 1) {
        memcpy(&ret_address->socket, &v4, ret_address->size = sizeof v4);
        return VIM_OK;
    }
    if (inet_pton(AF_INET6, host, &v6.sin6_addr) == 1) {
        memcpy(&ret_address->socket, &v6, ret_address->size = sizeof v6);
        return VIM_OK;
    }
    return address_is_name(host) ? VIM_AGAIN : VIM_E_INVALID;
}

bool address_is_local(const struct address *address)
{
    const struct sockaddr_in *v4 = (const void *)&address->socket;
    const struct sockaddr_in6 *v6 = (const void *)&address->socket;
    switch (address->socket.ss_family) {
    case AF_UNIX:
        return true;
    case AF_INET:
        return ntohl(v4->sin_addr.s_addr) >> 24 == 127;
    default:
        return IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
    }
}

bool address_equal(const struct address *a, const struct address *b)
{
    if (a->socket.ss_family != b->socket.ss_family) {
        return false;
    }
    const struct sockaddr_in6 *six_a = (const void *)&a->socket, *six_b = (const void *)&b->socket;
    if (a->socket.ss_family == AF_INET6) {
        return six_a->sin6_port == six_b->sin6_port &&
               memcmp(&six_a->sin6_addr, &six_b->sin6_addr, sizeof six_a->sin6_addr) == 0;
    }
    return a->size == b->size && memcmp(&a->socket, &b->socket, a->size) == 0;
}

void address_format(const struct address *address, struct text *text)
{
    char host[INET6_ADDRSTRLEN] = "";
    const struct sockaddr_in *v4 = (const void *)&address->socket;
    const struct sockaddr_in6 *v6 = (const void *)&address->socket;
    const struct sockaddr_un *local = (const void *)&address->socket;
    switch (address->socket.ss_family) {
    case AF_UNIX:
        text_printf(text, UNIX_PREFIX "%s", local->sun_path);
        break;
    case AF_INET:
        inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host);
        text_printf(text, "%s:%u", host, ntohs(v4->sin_port));
        break;
    default:
        inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
        text_printf(text, "[%s]:%u", host, ntohs(v6->sin6_port));
    }
}

void addresses_add(struct addresses *addresses, const struct address *address)
{
    for (size_t i = 0; i < addresses->count; i++) {
        if (address_equal(&addresses->items[i], address)) {
            return;
        }
    }
    addresses->items =
        memory_resize(addresses->items, addresses->count + 1, sizeof *addresses->items);
    addresses->items[addresses->count++] = *address;
}

bool addresses_resolve(struct addresses *addresses, const char *text)
{
    struct address address;
    int code = address_parse(text, &address);
    if (code == VIM_OK) {
        addresses_add(addresses, &address);
    }
    if (code != VIM_AGAIN) {
        return code == VIM_OK;
    }
    CLEANUP_FREE char *host = NULL;
    uint16_t port = 0;
    address_split(text, &host, &port);
    char service[8];
    (void)snprintf(service, sizeof service, "%u", port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    if (getaddrinfo(host, service, &hints, &found)) {
        return false;
    }
    for (const struct addrinfo *one = found; one; one = one->ai_next) {
        if (one->ai_addrlen <= sizeof address.socket) {
            address = (struct address){.size = one->ai_addrlen};
            memcpy(&address.socket, one->ai_addr, one->ai_addrlen);
            addresses_add(addresses, &address);
        }
    }
    freeaddrinfo(found);
    return true;
}

void addresses_free(struct addresses *addresses)
{
    free(addresses->items);
    *addresses = (struct addresses){0};
}

char *link_resolve(const char *text)
{
    struct addresses found = {0};
    struct text first = {0};
    if (addresses_resolve(&found, text) && found.count > 0) {
        address_format(&found.items[0], &first);
    }
    addresses_free(&found);
    return first.length ? text_take(&first) : NULL;
}

/*
 * vimd health: asks the vimd of this configuration whether it is alive, through its health listener. For containers,
 * which have no other program that could.
 */
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/text.h"
#include "config/config.h"
#include "config/fill.h"
#include "main/commands.h"
#include "main/settings.h"

#define WAIT_SECONDS 3

static int health_fail(const char *what, const char *detail)
{
    fprintf(stderr, "vimd: %s%s\n", what, detail);
    return 1;
}

/* A connection to ADDRESS (HOST:PORT as a listener has it, or unix:PATH), or -1. */
static int health_connect(const char *address)
{
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    struct timeval wait = {.tv_sec = WAIT_SECONDS};
    const char *path = text_starts_with(address, "unix:") ? address + 5 : NULL;
    CLEANUP_FREE char *host = text_duplicate(address);
    char *port = strrchr(host, ':');
    if (!path && port) {
        *port++ = '\0';
        host[strcspn(host, "]")] = '\0';
        const char *name = host + (host[0] == '[');
        /* What listens on all addresses listens on this one. */
        name = text_equal(name, "0.0.0.0") ? "127.0.0.1" : text_equal(name, "::") ? "::1" : name;
        (void)getaddrinfo(name, port, &hints, &found);
    } else if (path && strlen(path) < sizeof(local.sun_path)) {
        memcpy(local.sun_path, path, strlen(path) + 1);
    }
    int fd = path || found
                 ? socket(path ? AF_UNIX : found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0)
                 : -1;
    if (fd >= 0) {
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
        const struct sockaddr *to = path ? (const struct sockaddr *)&local : found->ai_addr;
        if (connect(fd, to, path ? (socklen_t)sizeof(local) : found->ai_addrlen) != 0) {
            (void)close(fd);
            fd = -1;
        }
    }
    if (found) {
        freeaddrinfo(found);
    }
    return fd;
}

/* The status of GET /healthz, or 0. */
static int health_ask(int fd)
{
    static const char request[] =
        "GET /healthz HTTP/1.1\r\nHost: vimd\r\nConnection: close\r\n\r\n";
    char line[64] = "";
    size_t length = 0;
    ssize_t got;
    if (send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL) != (ssize_t)sizeof(request) - 1) {
        return 0;
    }
    while (length < sizeof(line) - 1 && !strchr(line, '\n') &&
           (got = recv(fd, line + length, sizeof(line) - 1 - length, 0)) > 0) {
        length += (size_t)got;
    }
    return text_starts_with(line, "HTTP/1.1 ") ? (int)strtol(line + 9, NULL, 10) : 0;
}

int command_health(const struct options *options)
{
    struct config_errors errors = {0};
    struct config *config = NULL;
    struct config_struct *filled = NULL;
    int result = 1;
    if (config_load(options->config, &config, &errors) ||
        config_fill(section_tables[SECTION_HEALTH], config_get(config_root(config), "health"), NULL,
                    &errors, &filled)) {
        for (size_t i = 0; i < errors.count; i++) {
            (void)health_fail(errors.items[i], "");
        }
    } else {
        const struct health_config *health = config_data(filled);
        int fd = health->listen ? health_connect(health->listen) : -1;
        int status = fd >= 0 ? health_ask(fd) : 0;
        result = status == 200 ? 0
                 : !health->listen
                     ? health_fail("the configuration has no health.listen to ask at", "")
                 : fd < 0 ? health_fail("nothing listens at ", health->listen)
                          : health_fail("not healthy at ", health->listen);
        if (fd >= 0) {
            (void)close(fd);
        }
    }
    config_struct_free(filled);
    config_free(config);
    config_errors_free(&errors);
    return result;
}

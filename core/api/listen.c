#include "api/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/text.h"

#define BACKLOG 1024

struct listen_address {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_un local;
    } socket;
    socklen_t size;
};

static int listen_local(const char *path, struct listen_address *ret_address,
                        struct failure *failure)
{
    struct sockaddr_un *local = &ret_address->socket.local;
    if (path[0] != '/' || strlen(path) >= sizeof local->sun_path) {
        return failure_set(failure, VIM_E_INVALID,
                           "listen: '%s' is not an absolute path of at most %zu bytes", path,
                           sizeof local->sun_path - 1);
    }
    local->sun_family = AF_UNIX;
    strncpy(local->sun_path, path, sizeof local->sun_path - 1);
    ret_address->size = sizeof *local;
    return VIM_OK;
}

static int listen_address(const char *text, struct listen_address *ret_address,
                          struct failure *failure)
{
    *ret_address = (struct listen_address){0};
    if (text_starts_with(text, LISTEN_UNIX)) {
        return listen_local(text + strlen(LISTEN_UNIX), ret_address, failure);
    }
    CLEANUP_FREE char *copy = text_duplicate(text);
    char *host = copy;
    char *colon = strrchr(copy, ':');
    long long port = -1;
    if (!colon || text_to_integer(colon + 1, &port) || port < 0 || port > 65535) {
        return failure_set(failure, VIM_E_INVALID,
                           "listen: '%s' is not ADDRESS:PORT, as in 127.0.0.1:8780, or " LISTEN_UNIX
                           "/PATH",
                           text);
    }
    *colon = '\0';
    if (host[0] == '[' && colon[-1] == ']') {
        colon[-1] = '\0';
        struct sockaddr_in6 *v6 = &ret_address->socket.v6;
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons((uint16_t)port);
        ret_address->size = sizeof *v6;
        if (inet_pton(AF_INET6, host + 1, &v6->sin6_addr) == 1) {
            return VIM_OK;
        }
    } else {
        struct sockaddr_in *v4 = &ret_address->socket.v4;
        v4->sin_family = AF_INET;
        v4->sin_port = htons((uint16_t)port);
        ret_address->size = sizeof *v4;
        if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
            return VIM_OK;
        }
    }
    return failure_set(failure, VIM_E_INVALID,
                       "listen: '%s' is not an IP address (IPv6 in brackets); names are not "
                       "resolved",
                       text);
}

int listen_parse(const char *text, bool *ret_loopback, struct failure *failure)
{
    struct listen_address address;
    int code = listen_address(text, &address, failure);
    if (code) {
        return code;
    }
    sa_family_t family = address.socket.any.sa_family;
    *ret_loopback = family == AF_UNIX ||
                    (family == AF_INET ? (ntohl(address.socket.v4.sin_addr.s_addr) >> 24) == 127
                                       : IN6_IS_ADDR_LOOPBACK(&address.socket.v6.sin6_addr));
    return VIM_OK;
}

/* A socket's file outlives the process that made it. One that nobody listens at is in the way; true
 * if it is not any more. */
static bool listen_clear(const struct listen_address *address)
{
    struct stat info;
    const char *path = address->socket.local.sun_path;
    if (lstat(path, &info) != 0) {
        return errno == ENOENT;
    }
    CLEANUP_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (!S_ISSOCK(info.st_mode) || fd < 0 ||
        connect(fd, &address->socket.any, address->size) == 0 || errno != ECONNREFUSED) {
        errno = EADDRINUSE;
        return false;
    }
    return unlink(path) == 0;
}

int listen_open(const char *text, bool shared, int *ret_fd, uint16_t *ret_port,
                struct failure *failure)
{
    struct listen_address address;
    int code = listen_address(text, &address, failure);
    if (code) {
        return code;
    }
    sa_family_t family = address.socket.any.sa_family;
    CLEANUP_FD int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1;
    if (fd < 0 || (family == AF_UNIX && !listen_clear(&address)) ||
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) ||
        (shared && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on)) ||
        bind(fd, &address.socket.any, address.size) || listen(fd, BACKLOG) ||
        getsockname(fd, &address.socket.any, &address.size)) {
        return failure_set(failure, VIM_E_UNAVAILABLE, "cannot listen on %s: %s", text,
                           strerror(errno));
    }
    *ret_port = family == AF_UNIX   ? 0
                : family == AF_INET ? ntohs(address.socket.v4.sin_port)
                                    : ntohs(address.socket.v6.sin6_port);
    *ret_fd = fd;
    fd = -1;
    return VIM_OK;
}

unsigned listen_threads(int64_t configured)
{
    if (configured > 0) {
        return (unsigned)configured;
    }
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    return processors < 1 ? 1 : processors > 8 ? 8 : (unsigned)processors;
}

/* The kernel resets whoever it has connected to a listening socket that is closed before he was accepted,
 * and does not hand him to another one at the same port. So it is told to drop what asks for a new
 * connection. It shows the filter a packet from its TCP header on. */
void listen_end(int fd)
{
    enum { FLAGS_AT = 13, SYN = 0x02, ACK = 0x10 };
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, FLAGS_AT),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, SYN | ACK),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYN, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
    };
    const struct sock_fprog program = {sizeof code / sizeof *code, code};
    /* Where it is refused, or of a Unix socket: as good as it goes without. */
    (void)setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
}

void listen_remove(const char *text)
{
    if (text_starts_with(text, LISTEN_UNIX)) {
        unlink(text + strlen(LISTEN_UNIX));
    }
}

#include "client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/text.h"

#define PATIENCE_MS 20000

int client_connect(uint16_t port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

size_t client_send_bytes(int fd, const void *bytes, size_t size)
{
    size_t sent = 0;
    while (sent < size) {
        ssize_t count = send(fd, (const char *)bytes + sent, size - sent, MSG_NOSIGNAL);
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count <= 0) {
            break;
        }
        sent += (size_t)count;
    }
    return sent;
}

size_t client_send(int fd, const char *text)
{
    return client_send_bytes(fd, text, strlen(text));
}

/* One read: false at the end. */
static bool client_read(int fd, struct text *text, size_t most)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&poll_fd, 1, PATIENCE_MS), 1);
    char buffer[65536];
    ssize_t count = recv(fd, buffer, most < sizeof buffer ? most : sizeof buffer, 0);
    if (count > 0) {
        text_add_bytes(text, buffer, (size_t)count);
    }
    return count > 0;
}

char *client_read_all(int fd, size_t *ret_size)
{
    struct text text = {0};
    while (client_read(fd, &text, SIZE_MAX)) {
    }
    if (ret_size) {
        *ret_size = text.length;
    }
    return text_take(&text);
}

static char *client_read_one(int fd, bool body)
{
    struct text text = {0};
    const char *end = NULL;
    while (!end && client_read(fd, &text, 1)) {
        end = strstr(text_get(&text), "\r\n\r\n");
    }
    if (end && body) {
        const char *length = strcasestr(text_get(&text), "\r\ncontent-length:");
        size_t left = length ? (size_t)atoll(length + 17) : 0;
        size_t total = text.length + left;
        while (text.length < total && client_read(fd, &text, total - text.length)) {
        }
    }
    return text_take(&text);
}

char *client_read_answer(int fd)
{
    return client_read_one(fd, true);
}

char *client_read_head(int fd)
{
    return client_read_one(fd, false);
}

char *client_ask(uint16_t port, const char *text)
{
    int fd = client_connect(port);
    client_send(fd, text);
    char *answer = client_read_answer(fd);
    close(fd);
    return answer;
}

int client_status(const char *answer)
{
    return strncmp(answer, "HTTP/1.1 ", 9) == 0 ? atoi(answer + 9) : -1;
}

void client_abort(int fd)
{
    struct linger linger = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    close(fd);
}

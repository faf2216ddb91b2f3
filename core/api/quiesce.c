/*
 * The listener at a stop: nobody is reset who has begun to connect, and nobody begins.
 */
#include "api/internal.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>
#include "api/listen.h"
#include "base/clock.h"

/* So long a stop lets those finish who were about to connect (a way there and back), and waits for
 * network threads to tell what they have accepted. */
#define HANDSHAKE_MS 10
#define TELL_MS 1000

void quiesce_tell(struct api *api)
{
    static _Thread_local unsigned passed;
    unsigned round = atomic_load(&api->round);
    if (passed != round) {
        passed = round;
        atomic_fetch_add(&api->passed, 1);
    }
}

/* Who has connected and was not accepted yet would be reset. */
static void quiesce_accept_the_rest(struct api *api)
{
    struct sockaddr_storage address;
    socklen_t size = sizeof address;
    int fd;
    while ((fd = accept4(api->listen_fd, (struct sockaddr *)&address, &size,
                         SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        http_take(api, fd, (struct sockaddr *)&address, size);
        size = sizeof address;
    }
}

/* Hands a connection of nobody to each network thread, and waits for all to have told of one. */
static bool quiesce_pass_through(struct api *api, int64_t end)
{
    static const struct sockaddr nobody = {.sa_family = AF_UNIX};
    atomic_store(&api->passed, 0);
    atomic_fetch_add(&api->round, 1);
    for (int64_t pause = 1; atomic_load(&api->passed) < api->threads; pause *= 2) {
        /* MHD goes by the numbers of their sockets, which follow each other. */
        for (unsigned i = 0; i < api->threads; i++) {
            int pair[2];
            if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair)) {
                return false;
            }
            close(pair[1]);
            http_take(api, pair[0], &nobody, sizeof nobody.sa_family);
        }
        int64_t left = end - clock_mono_ms();
        if (left <= 0) {
            return false;
        }
        clock_sleep_ms(pause < left ? pause : left);
    }
    return true;
}

void quiesce_listener(struct api *api, int64_t end)
{
    listen_remove(api->listen);
    listen_end(api->listen_fd);
    if (!http_stop_accepting(api)) {
        return;
    }
    int64_t now = clock_mono_ms();
    int64_t last = now + HANDSHAKE_MS < end ? now + HANDSHAKE_MS : end;
    struct pollfd wait = {.fd = api->listen_fd, .events = POLLIN};
    do {
        quiesce_accept_the_rest(api);
        now = clock_mono_ms();
    } while (now < last && poll(&wait, 1, (int)(last - now)) >= 0);
    shutdown(api->listen_fd, SHUT_RDWR);
    /* A thread that was about to accept does so before or after it tells of what it was handed, and
     * tells of it before it looks for more. */
    last = now + TELL_MS < end ? now + TELL_MS : end;
    if (quiesce_pass_through(api, last)) {
        quiesce_pass_through(api, last);
    }
}

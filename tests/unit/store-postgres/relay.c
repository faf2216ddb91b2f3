#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "relay.h"
#include "test_host.h"

#define MESSAGE_MAX (1 << 16)
#define LOOK_MS 5

/* One side of a connection: what has come from it and is no whole message yet. */
struct side {
    int fd;
    size_t length;
    unsigned char buffer[MESSAGE_MAX];
};

struct relay_link {
    struct relay *relay;
    pthread_t thread;
    struct side client, server;
    bool begun; /* the first message of a client has no type */
    bool held, cut; /* with the relay's lock, as is the next */
    unsigned reads; /* since the last question */
};

static void fail(const char *what)
{
    perror(what);
    abort(); /* and not a failed assertion: it is none of cmocka's threads */
}

/* A client asks for the result of a prepared STATEMENT. */
static void look_at_statement(struct relay_link *link, const char *statement)
{
    struct relay *relay = link->relay;

    pthread_mutex_lock(&relay->lock);
    if (strcmp(statement, relay->question) == 0) {
        relay->questions++;
        link->reads = 0;
        link->held = relay->hold;
        relay->held += relay->hold;
        link->cut = relay->cut;
        relay->hold = relay->cut = false;
    } else if (strcmp(statement, "get") == 0 || strncmp(statement, "scan_", 5) == 0) {
        relay->reads++;
        relay->early += link->held;
        link->reads++;
    }
    pthread_cond_broadcast(&relay->changed);
    pthread_mutex_unlock(&relay->lock);
}

/* The server has answered a pipeline. True: the connection ends here. */
static bool look_at_end(struct relay_link *link)
{
    struct relay *relay = link->relay;
    bool ends;

    pthread_mutex_lock(&relay->lock);
    ends = link->cut;
    relay->cuts += ends;
    pthread_cond_broadcast(&relay->changed);
    pthread_mutex_unlock(&relay->lock);
    return ends;
}

/* May what the server says go on to the client? */
static bool may_answer(struct relay_link *link)
{
    bool may;

    pthread_mutex_lock(&link->relay->lock);
    may = !link->held && !(link->cut && link->reads == 0);
    pthread_mutex_unlock(&link->relay->lock);
    return may;
}

static bool send_all(int fd, const unsigned char *data, size_t size)
{
    while (size > 0) {
        ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);

        if (sent <= 0)
            return false;
        data += sent;
        size -= (size_t)sent;
    }
    return true;
}

/* The length of the message at the beginning of what has come; 0: it is not all there. */
static size_t message_length(const struct side *side, bool typed)
{
    uint32_t length;

    if (side->length < sizeof length + typed)
        return 0;
    memcpy(&length, side->buffer + typed, sizeof length);
    length = ntohl(length) + typed;
    if (length > MESSAGE_MAX)
        fail("a message is too long for the relay");
    return length <= side->length ? length : 0;
}

/* Sends on what has come FROM one side, message by message. False: the connection ends. */
static bool pump(struct relay_link *link, struct side *from, struct side *to)
{
    bool is_client = from == &link->client;
    ssize_t got = recv(from->fd, from->buffer + from->length, MESSAGE_MAX - from->length, 0);
    size_t length;

    if (got <= 0)
        return false;
    from->length += (size_t)got;
    while ((length = message_length(from, !is_client || link->begun)) > 0) {
        unsigned char type = !is_client || link->begun ? from->buffer[0] : 0;

        if (is_client && type == 'B') /* names of the portal and of the statement */
            look_at_statement(link, strchr((char *)from->buffer + 5, '\0') + 1);
        link->begun |= is_client;
        if (!send_all(to->fd, from->buffer, length))
            return false;
        from->length -= length;
        memmove(from->buffer, from->buffer + length, from->length);
        if (!is_client && type == 'Z' && look_at_end(link))
            return false;
    }
    return true;
}

static bool relay_ends(struct relay *relay)
{
    bool ends;

    pthread_mutex_lock(&relay->lock);
    ends = relay->ends;
    pthread_mutex_unlock(&relay->lock);
    return ends;
}

static void *run_link(void *context)
{
    struct relay_link *link = context;
    bool goes_on = true;

    while (goes_on && !relay_ends(link->relay)) {
        bool answers = may_answer(link);
        struct pollfd files[2] = {{.fd = link->client.fd, .events = POLLIN},
                                  {.fd = answers ? link->server.fd : -1, .events = POLLIN}};

        poll(files, 2, LOOK_MS);
        if (files[0].revents)
            goes_on = pump(link, &link->client, &link->server);
        if (goes_on && files[1].revents)
            goes_on = pump(link, &link->server, &link->client);
    }
    shutdown(link->client.fd, SHUT_RDWR);
    shutdown(link->server.fd, SHUT_RDWR);
    return NULL;
}

static int connect_to(const char *variable)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons((uint16_t)atoi(getenv(variable)))};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        fail("connect");
    return fd;
}

static void *run_relay(void *context)
{
    struct relay *relay = context;
    struct pollfd file = {.fd = relay->listener, .events = POLLIN};

    while (!relay_ends(relay)) {
        struct relay_link *link;

        if (poll(&file, 1, LOOK_MS) != 1)
            continue;
        if (relay->count == RELAY_LINKS_MAX)
            fail("too many connections for the relay");
        link = calloc(1, sizeof *link);
        link->relay = relay;
        link->client.fd = accept4(relay->listener, NULL, NULL, SOCK_CLOEXEC);
        link->server.fd = connect_to(relay->to);
        pthread_mutex_lock(&relay->lock);
        relay->links[relay->count++] = link;
        pthread_mutex_unlock(&relay->lock);
        pthread_create(&link->thread, NULL, run_link, link);
    }
    return NULL;
}

struct relay *relay_open(const char *to, const char *question)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    struct relay *relay = calloc(1, sizeof *relay);
    pthread_condattr_t attributes;

    relay->to = to;
    relay->question = question;
    pthread_mutex_init(&relay->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&relay->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    relay->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(relay->listener, (struct sockaddr *)&address, size) < 0 ||
        listen(relay->listener, 64) < 0 ||
        getsockname(relay->listener, (struct sockaddr *)&address, &size) < 0)
        fail("bind");
    relay->port = ntohs(address.sin_port);
    pthread_create(&relay->thread, NULL, run_relay, relay);
    return relay;
}

void relay_close(struct relay *relay)
{
    pthread_mutex_lock(&relay->lock);
    relay->ends = true;
    pthread_mutex_unlock(&relay->lock);
    pthread_join(relay->thread, NULL);
    for (unsigned i = 0; i < relay->count; i++) {
        pthread_join(relay->links[i]->thread, NULL);
        close(relay->links[i]->client.fd);
        close(relay->links[i]->server.fd);
        free(relay->links[i]);
    }
    close(relay->listener);
    pthread_cond_destroy(&relay->changed);
    pthread_mutex_destroy(&relay->lock);
    free(relay);
}

/* With the lock held. */
static void let_go(struct relay *relay)
{
    for (unsigned i = 0; i < relay->count; i++)
        relay->links[i]->held = false;
    relay->hold = false;
}

void relay_begin(struct relay *relay, bool hold, bool cut)
{
    pthread_mutex_lock(&relay->lock);
    let_go(relay);
    relay->questions = relay->held = relay->cuts = relay->reads = relay->early = 0;
    relay->hold = hold;
    relay->cut = cut;
    pthread_mutex_unlock(&relay->lock);
}

void relay_release(struct relay *relay)
{
    pthread_mutex_lock(&relay->lock);
    let_go(relay);
    pthread_mutex_unlock(&relay->lock);
}

bool relay_await(struct relay *relay, const unsigned *count, unsigned least, int ms)
{
    int64_t end = test_now() + ms;
    struct timespec until = {.tv_sec = end / 1000, .tv_nsec = end % 1000 * 1000000};
    bool is_there;
    int rc = 0;

    pthread_mutex_lock(&relay->lock);
    while (!(is_there = *count >= least) && rc == 0)
        rc = pthread_cond_timedwait(&relay->changed, &relay->lock, &until);
    pthread_mutex_unlock(&relay->lock);
    return is_there;
}

unsigned relay_count(struct relay *relay, const unsigned *count)
{
    unsigned counted;

    pthread_mutex_lock(&relay->lock);
    counted = *count;
    pthread_mutex_unlock(&relay->lock);
    return counted;
}

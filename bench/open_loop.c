/*
 * A load that does not wait for answers: so many requests per second, whatever becomes of them, over
 * kept-alive connections to 127.0.0.1.
 *
 *     open_loop PORT RATE SECONDS CONNECTIONS REQUEST_FILE
 *
 * The request is sent as it is in the file, but for its first "########", which becomes a number of eight
 * digits, another one each time. A request that is due while all connections wait for answers is sent late;
 * its time counts from when it was due, so nothing is left out of the figures.
 *
 * Connections come from as many addresses of 127.0.0.0/24 as are needed for a thousand from each.
 *
 * Prints a line per status: STATUS COUNT P50_MS P99_MS MAX_MS WITH_RETRY_AFTER, status 0 for connections
 * that were closed without an answer, then "unanswered COUNT" of those that were due but got none, and "seconds S" from the
 * first request to the last answer.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define STATUSES 600
#define BUCKETS 4000 /* of the histogram: 0.5 % wide, from 1 us on */
#define ANSWER_MAX 65536
#define PER_ADDRESS \
    1000 /* connections; ports of one address are not endless, and servers limit them */
#define GRACE_S 10 /* for the last answers */

struct client {
    int fd;
    bool busy;
    int64_t due; /* of the request under way */
    size_t got;
    char answer[ANSWER_MAX];
};

struct outcome {
    uint64_t count, retry_after, buckets[BUCKETS];
    int64_t max;
};

static struct outcome *outcomes[STATUSES];
static struct client *clients;
static unsigned client_count, *idle, idle_count;
static struct sockaddr_in server;
static char *request, *number;
static size_t request_size;
static int64_t last_answer;
static int epoll;

static void die(const char *what)
{
    fprintf(stderr, "open_loop: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* Buckets grow by 1/256 of their value: floor of log2 and eight more bits. */
static unsigned bucket_of(int64_t us)
{
    uint64_t value = us < 256 ? 256 : (uint64_t)us;
    unsigned log = 63 - (unsigned)__builtin_clzll(value);
    unsigned bucket = (log - 8) * 256 + (unsigned)(value >> (log - 8) & 255);
    return us < 256                 ? (unsigned)(us < 0 ? 0 : us)
           : bucket + 256 < BUCKETS ? bucket + 256
                                    : BUCKETS - 1;
}

static double bucket_ms(unsigned bucket)
{
    if (bucket < 256) {
        return bucket / 1000.0;
    }
    unsigned log = (bucket - 256) / 256 + 8;
    return (double)((256 + (uint64_t)(bucket - 256) % 256) << (log - 8)) / 1000.0;
}

static void record(unsigned status, int64_t due, bool retry_after)
{
    struct outcome *outcome = outcomes[status];
    if (!outcome) {
        outcome = outcomes[status] = calloc(1, sizeof *outcome);
        if (!outcome) {
            die("memory");
        }
    }
    last_answer = now_us();
    int64_t took = last_answer - due;
    outcome->count++;
    outcome->retry_after += retry_after;
    outcome->buckets[bucket_of(took)]++;
    outcome->max = took > outcome->max ? took : outcome->max;
}

static void client_open(struct client *client)
{
    unsigned address = (unsigned)(client - clients) / PER_ADDRESS;
    struct sockaddr_in own = {.sin_family = AF_INET,
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK + address)};
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (client->fd < 0 || bind(client->fd, (struct sockaddr *)&own, sizeof own) != 0 ||
        connect(client->fd, (struct sockaddr *)&server, sizeof server) != 0) {
        die("connect");
    }
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
    if (fcntl(client->fd, F_SETFL, O_NONBLOCK) != 0 ||
        epoll_ctl(epoll, EPOLL_CTL_ADD, client->fd, &event) != 0) {
        die("epoll");
    }
}

static void client_free(struct client *client)
{
    client->busy = false;
    client->got = 0;
    idle[idle_count++] = (unsigned)(client - clients);
}

/* The request under way ends without an answer; another connection takes this one's place. */
static void client_lost(struct client *client)
{
    if (client->busy) {
        record(0, client->due, false);
        client_free(client);
    }
    close(client->fd);
    client_open(client);
}

static void client_send(int64_t due)
{
    static unsigned sent;
    struct client *client = &clients[idle[--idle_count]];
    char digits[9];
    snprintf(digits, sizeof digits, "%08u", sent++ % 100000000);
    if (number) {
        memcpy(number, digits, 8);
    }
    client->busy = true;
    client->due = due;
    if (send(client->fd, request, request_size, MSG_NOSIGNAL) != (ssize_t)request_size) {
        client_lost(client);
    }
}

/* The whole answer is there: what it was, else 0. */
static unsigned answer_status(struct client *client, bool *ret_retry_after, bool *ret_close)
{
    client->answer[client->got] = '\0';
    char *end = strstr(client->answer, "\r\n\r\n");
    char *length = end ? strcasestr(client->answer, "\r\nContent-Length:") : NULL;
    size_t body = length && length < end ? strtoul(length + 17, NULL, 10) : 0;
    if (!end || client->got < (size_t)(end + 4 - client->answer) + body) {
        return 0;
    }
    end[2] = '\0';
    *ret_retry_after = strcasestr(client->answer, "\r\nRetry-After:") != NULL;
    *ret_close = strcasestr(client->answer, "\r\nConnection: close") != NULL;
    unsigned status = (unsigned)strtoul(client->answer + 9, NULL, 10);
    return status < STATUSES ? status : 0;
}

static void client_read(struct client *client)
{
    ssize_t got = recv(client->fd, client->answer + client->got, ANSWER_MAX - 1 - client->got, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (got <= 0 || !client->busy) {
        client_lost(client);
        return;
    }
    client->got += (size_t)got;
    bool retry_after = false, closes = false;
    unsigned status = answer_status(client, &retry_after, &closes);
    if (status) {
        record(status, client->due, retry_after);
        client_free(client);
        if (closes) {
            client_lost(client);
        }
    } else if (client->got == ANSWER_MAX - 1) {
        client_lost(client);
    }
}

static void read_answers(int64_t until)
{
    struct epoll_event events[256];
    int64_t wait = until - now_us();
    int count = epoll_wait(epoll, events, 256, wait > 0 ? (int)(wait / 1000) : 0);
    for (int i = 0; i < count; i++) {
        client_read(events[i].data.ptr);
    }
}

static double quantile(const struct outcome *outcome, double q)
{
    uint64_t wanted = (uint64_t)(q * (double)(outcome->count - 1)), seen = 0;
    for (unsigned i = 0; i < BUCKETS; i++) {
        seen += outcome->buckets[i];
        if (seen > wanted) {
            return bucket_ms(i);
        }
    }
    return (double)outcome->max / 1000;
}

static void read_request(const char *path)
{
    FILE *file = fopen(path, "rbe");
    request = calloc(1, ANSWER_MAX);
    if (!file || !request) {
        die(path);
    }
    request_size = fread(request, 1, ANSWER_MAX - 1, file);
    fclose(file);
    number = strstr(request, "########");
}

int main(int argc, char **argv)
{
    if (argc != 6) {
        fprintf(stderr, "usage: open_loop PORT RATE SECONDS CONNECTIONS REQUEST_FILE\n");
        return 2;
    }
    server = (struct sockaddr_in){.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)atoi(argv[1])),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    double rate = atof(argv[2]);
    int64_t seconds = atoi(argv[3]);
    client_count = (unsigned)atoi(argv[4]);
    read_request(argv[5]);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    clients = calloc(client_count, sizeof *clients);
    idle = calloc(client_count, sizeof *idle);
    if (epoll < 0 || !clients || !idle) {
        die("memory");
    }
    for (unsigned i = 0; i < client_count; i++) {
        client_open(&clients[i]);
        client_free(&clients[i]);
    }
    int64_t start = now_us(), end = start + seconds * 1000000;
    uint64_t due_count = (uint64_t)(rate * (double)seconds), sent = 0;
    while (now_us() < end + GRACE_S * 1000000 && (sent < due_count || idle_count < client_count)) {
        int64_t next = start + (int64_t)((double)sent * 1e6 / rate);
        while (sent < due_count && idle_count > 0 && next <= now_us()) {
            client_send(next);
            next = start + (int64_t)((double)++sent * 1e6 / rate);
        }
        read_answers(sent < due_count && idle_count > 0 ? next : now_us() + 10000);
    }
    for (unsigned i = 0; i < STATUSES; i++) {
        if (outcomes[i]) {
            printf("%u %lu %.3f %.3f %.3f %lu\n", i, outcomes[i]->count, quantile(outcomes[i], 0.5),
                   quantile(outcomes[i], 0.99), (double)outcomes[i]->max / 1000,
                   outcomes[i]->retry_after);
        }
    }
    printf("unanswered %lu\n", due_count - sent + (client_count - idle_count));
    printf("seconds %.3f\n", (double)(last_answer - start) / 1e6);
    return 0;
}

/* Locks: tcp_mutex, a leaf. It is held over the look at a connection, so that its owner cannot close it meanwhile. */
#include "base/tcp.h"

#include <linux/tcp.h>
#include <math.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include "base/cleanup.h"
#include "base/memory.h"

struct connection {
    int fd;
    uint64_t retransmits; /* as told last */
    uint64_t segments; /* likewise, in and out */
    /* Likewise: for how long it had data that was not acknowledged, and the receiver no room for it. */
    uint64_t busy_us, limited_us;
};

static struct callee {
    struct connection *items;
    size_t count, room;
    uint64_t made;
    /* Of those that are closed, and of the others up to what they told last. */
    uint64_t retransmits;
    double network_us;
} callees[TCP_CALLEE_COUNT];
static pthread_mutex_t tcp_mutex = PTHREAD_MUTEX_INITIALIZER;

/* False if FD is no TCP connection. What an older kernel does not tell stays zero. */
static bool tcp_info(int fd, struct tcp_info *ret_info)
{
    socklen_t size = sizeof(*ret_info);
    memset(ret_info, 0, sizeof(*ret_info));
    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, ret_info, &size) == 0 &&
           size > offsetof(struct tcp_info, tcpi_rtt);
}

/* Takes over what the connection tells. True if it had traffic. */
static bool update(struct callee *callee, struct connection *one, const struct tcp_info *info)
{
    uint64_t segments = (uint64_t)info->tcpi_segs_in + info->tcpi_segs_out;
    bool active = segments != one->segments;
    callee->network_us += tcp_network_us(info->tcpi_busy_time - one->busy_us,
                                         info->tcpi_rwnd_limited - one->limited_us, info->tcpi_rtt,
                                         info->tcpi_rttvar, info->tcpi_min_rtt);
    one->busy_us = info->tcpi_busy_time;
    one->limited_us = info->tcpi_rwnd_limited;
    callee->retransmits += info->tcpi_total_retrans > one->retransmits
                               ? info->tcpi_total_retrans - one->retransmits
                               : 0;
    one->retransmits = info->tcpi_total_retrans;
    one->segments = segments;
    return active;
}

void tcp_add(enum tcp_callee which, int fd)
{
    struct tcp_info info;
    if (fd < 0 || !tcp_info(fd, &info)) {
        return;
    }
    struct callee *callee = &callees[which];
    LOCK_GUARD(&tcp_mutex);
    if (callee->count == callee->room) {
        callee->room = callee->room ? callee->room * 2 : 16;
        callee->items = memory_resize(callee->items, callee->room, sizeof(*callee->items));
    }
    callee->items[callee->count++] = (struct connection){
        .fd = fd, .busy_us = info.tcpi_busy_time, .limited_us = info.tcpi_rwnd_limited};
    callee->made++;
}

void tcp_remove(enum tcp_callee which, int fd)
{
    struct callee *callee = &callees[which];
    LOCK_GUARD(&tcp_mutex);
    for (size_t i = 0; i < callee->count; i++) {
        if (callee->items[i].fd == fd) {
            struct tcp_info info;
            if (tcp_info(fd, &info)) {
                (void)update(callee, &callee->items[i], &info);
            }
            callee->items[i] = callee->items[--callee->count];
            return;
        }
    }
}

double tcp_round_trip_ms(uint32_t smoothed, uint32_t deviation, uint32_t least)
{
    uint32_t sure = smoothed > deviation ? smoothed - deviation : 0;
    least = least < smoothed ? least : smoothed; /* unset: there was none yet */
    return (sure > least ? sure : least) / 1000.0;
}

double tcp_network_us(uint64_t busy, uint64_t limited, uint32_t smoothed, uint32_t deviation,
                      uint32_t least)
{
    return busy > limited && smoothed > 0
               ? (double)(busy - limited) * 1000 * tcp_round_trip_ms(smoothed, deviation, least) /
                     smoothed
               : 0;
}

void tcp_look(enum tcp_callee which, struct tcp_sum *ret_sum)
{
    struct callee *callee = &callees[which];
    double all = 0, busy = 0;
    unsigned count = 0, busy_count = 0;
    LOCK_GUARD(&tcp_mutex);
    for (size_t i = 0; i < callee->count; i++) {
        struct tcp_info info;
        if (!tcp_info(callee->items[i].fd, &info)) {
            continue;
        }
        double rtt_ms = tcp_round_trip_ms(info.tcpi_rtt, info.tcpi_rttvar, info.tcpi_min_rtt);
        all += rtt_ms;
        count++;
        if (update(callee, &callee->items[i], &info)) {
            busy += rtt_ms;
            busy_count++;
        }
    }
    ret_sum->connections = count;
    ret_sum->made = callee->made;
    ret_sum->rtt_ms = busy_count ? busy / busy_count : count ? all / count : NAN;
    ret_sum->retransmits = callee->retransmits;
    ret_sum->network_us = (uint64_t)callee->network_us;
}

const char *tcp_callee_name(enum tcp_callee callee)
{
    static const char *const names[] = {"logic", "store", "queue", "nfvi"};
    return names[callee];
}

/*
 * base/tcp.h - how the network between this process and those it calls is, out of what the kernel knows of its
 * TCP connections (TCP_INFO). Nothing is sent for it.
 *
 * Connections are told under the name of who is at their other end; sockets of other kinds are not counted. The
 * descriptor stays its owner's, who takes it out before it is closed.
 */
#ifndef BASE_TCP_H
#define BASE_TCP_H

#include <stdint.h>

enum tcp_callee { TCP_LOGIC, TCP_STORE, TCP_QUEUE, TCP_NFVI, TCP_CALLEE_COUNT };

void tcp_add(enum tcp_callee callee, int fd);
void tcp_remove(enum tcp_callee callee, int fd); /* unknown ones are fine */

struct tcp_sum {
    unsigned connections; /* that are open */
    uint64_t made; /* that there ever were */
    /* Round trip, see tcp_round_trip_ms(): mean over those that had traffic since the look before, else over all; NaN
     * if there are none. */
    double rtt_ms;
    uint64_t retransmits; /* segments sent again, of all connections that there ever were */
    /* Microseconds for which connections had data on its way that was not acknowledged, summed over all that there ever
     * were; of acknowledgements that are held back only the network's part. A call that goes to and fro several times
     * is in it with each of them. */
    uint64_t network_us;
};

/* What of a SMOOTHED round trip is the network's. A receiver holds its acknowledgement back for up to 40 ms, to send
 * it with its answer (RFC 1122, 4.2.3.2): where answers are slow now and then, that is in the mean, and in the mean
 * DEVIATION as well; where the way is long, all take about as long. So the deviation is not believed, down to the LEAST
 * round trip that there was. All in microseconds. */
double tcp_round_trip_ms(uint32_t smoothed, uint32_t deviation, uint32_t least);

/* The network's part of BUSY, in which there was data that was not acknowledged, LIMITED of it because the receiver had
 * no room. All in microseconds. */
double tcp_network_us(uint64_t busy, uint64_t limited, uint32_t smoothed, uint32_t deviation,
                      uint32_t least);

void tcp_look(enum tcp_callee callee, struct tcp_sum *ret_sum);

/* "logic", "store", "queue", "nfvi". */
const char *tcp_callee_name(enum tcp_callee callee);

#endif

/* What the kernel tells of connections over loopback, of which it always tells something. */
#include "test.h"
#include <arpa/inet.h>
#include <math.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/tcp.h"

static int listener, client, server;

static int connect_both(void **state)
{
    (void)state;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    listener = socket(AF_INET, SOCK_STREAM, 0);
    client = socket(AF_INET, SOCK_STREAM, 0);
    bool ready = bind(listener, (struct sockaddr *)&address, size) == 0 &&
                 listen(listener, 1) == 0 &&
                 getsockname(listener, (struct sockaddr *)&address, &size) == 0 &&
                 connect(client, (struct sockaddr *)&address, size) == 0;
    server = ready ? accept(listener, NULL, NULL) : -1;
    return server >= 0 ? 0 : -1;
}

static int close_all(void **state)
{
    (void)state;
    return close(listener) + close(client) + close(server);
}

static void connections_are_told_until_they_are_taken_out(void **state)
{
    (void)state;
    struct tcp_sum sum;
    char byte = 'x';
    tcp_look(TCP_STORE, &sum);
    assert_int_equal(sum.connections, 0);
    assert_true(isnan(sum.rtt_ms));
    tcp_add(TCP_STORE, client);
    assert_int_equal(send(client, &byte, 1, 0), 1);
    assert_int_equal(recv(server, &byte, 1, 0), 1);
    assert_int_equal(send(server, &byte, 1, 0), 1);
    assert_int_equal(recv(client, &byte, 1, 0), 1);
    tcp_look(TCP_STORE, &sum);
    assert_int_equal(sum.connections, 1);
    assert_true(sum.rtt_ms >= 0 && sum.rtt_ms < 60000);
    tcp_look(TCP_QUEUE, &sum);
    assert_int_equal(sum.connections, 0);
    tcp_remove(TCP_QUEUE, client);
    tcp_remove(TCP_STORE, client);
    tcp_remove(TCP_STORE, client);
    tcp_look(TCP_STORE, &sum);
    assert_int_equal(sum.connections, 0);
}

/* A way that is long is told as long; acknowledgements that were held back are not taken for it. */
static void acknowledgements_held_back_are_no_way(void **state)
{
    (void)state;
    assert_true(tcp_round_trip_ms(160000, 2000, 150000) == 158);
    assert_true(tcp_round_trip_ms(10000, 15000, 210) == 0.21);
    assert_true(tcp_round_trip_ms(300, 100, 90) == 0.2);
    assert_true(tcp_round_trip_ms(300, 150, UINT32_MAX) == 0.3);
    assert_true(tcp_round_trip_ms(0, 250000, 0) == 0);
}

/* Of 800 ms in which data was on its way, 300 of them since the receiver had no room, the network has what it has of the
 * round trip. */
static void what_is_on_its_way_is_the_networks(void **state)
{
    (void)state;
    assert_true(tcp_network_us(800000, 300000, 160000, 0, 150000) == 500000);
    assert_true(tcp_network_us(800000, 300000, 40000, 20000, 210) == 250000);
    assert_true(tcp_network_us(300000, 300000, 160000, 0, 150000) == 0);
    assert_true(tcp_network_us(800000, 0, 0, 250000, 0) == 0);
}

static void what_is_no_tcp_connection_is_left_out(void **state)
{
    (void)state;
    struct tcp_sum sum;
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    tcp_add(TCP_NFVI, pair[0]);
    tcp_add(TCP_NFVI, -1);
    tcp_look(TCP_NFVI, &sum);
    assert_int_equal(sum.connections, 0);
    assert_int_equal(sum.retransmits, 0);
    close(pair[0]);
    close(pair[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(connections_are_told_until_they_are_taken_out, connect_both,
                                        close_all),
        cmocka_unit_test(acknowledgements_held_back_are_no_way),
        cmocka_unit_test(what_is_on_its_way_is_the_networks),
        cmocka_unit_test(what_is_no_tcp_connection_is_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

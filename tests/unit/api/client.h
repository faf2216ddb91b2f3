/*
 * A client that can behave badly: raw bytes over a socket.
 */
#ifndef TEST_CLIENT_H
#define TEST_CLIENT_H

#include <stddef.h>
#include <stdint.h>

#define GOOD "Authorization: Bearer good\r\n"

int client_connect(uint16_t port);

/* Sends all, or as much as the server takes before it closes. Returns the bytes sent. */
size_t client_send(int fd, const char *text);
size_t client_send_bytes(int fd, const void *bytes, size_t size);

/* Reads until the server closes, or has been silent for 10 s (a failure). malloc'ed, terminated. */
char *client_read_all(int fd, size_t *ret_size);

/* Reads one answer with a Content-Length (HEAD: without the body). malloc'ed. */
char *client_read_answer(int fd);
char *client_read_head(int fd);

/* Connects, sends TEXT, reads one answer, closes. */
char *client_ask(uint16_t port, const char *text);

int client_status(const char *answer);

/* Closes so that the server sees a reset. */
void client_abort(int fd);

#endif

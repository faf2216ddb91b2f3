/*
 * api/listen.h - the listening socket.
 */
#ifndef VIMD_API_LISTEN_H
#define VIMD_API_LISTEN_H

#include <stdbool.h>
#include <stdint.h>
#include "model/store.h"

#define LISTEN_UNIX "unix:"

/* Takes "127.0.0.1:8780", "[::1]:8780" or "unix:/PATH" apart. VIM_E_INVALID. */
int listen_parse(const char *text, bool *ret_loopback, struct failure *failure);

/* A bound and listening non-blocking socket; SHARED: others may listen there too. A Unix socket's file
 * that nobody listens at is replaced. VIM_E_INVALID, VIM_E_UNAVAILABLE. */
int listen_open(const char *text, bool shared, int *ret_fd, uint16_t *ret_port,
                struct failure *failure);

/* How many threads serve it: as configured, or (0) as many as there are processors, up to eight. */
unsigned listen_threads(int64_t configured);

/* From here on nobody begins to connect: who tries is not answered, tries again after a second, and gets
 * to whoever listens there by then. Handshakes that have begun are finished. */
void listen_end(int fd);

/* Removes a Unix socket's file, while its listener is still open. */
void listen_remove(const char *text);

#endif

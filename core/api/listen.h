/*
 * api/listen.h - the listening socket.
 */
#ifndef VIMD_API_LISTEN_H
#define VIMD_API_LISTEN_H

#include <stdbool.h>
#include <stdint.h>
#include "model/store.h"

/* Takes "127.0.0.1:8780" or "[::1]:8780" apart. VIM_E_INVALID. */
int listen_parse(const char *text, bool *ret_loopback, struct failure *failure);

/* A bound and listening non-blocking socket. VIM_E_INVALID, VIM_E_UNAVAILABLE. */
int listen_open(const char *text, int *ret_fd, uint16_t *ret_port, struct failure *failure);

#endif

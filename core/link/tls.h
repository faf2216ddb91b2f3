/*
 * link/tls.h - TLS towards the logic: both ends show certificates of one CA. The one file with GnuTLS in
 * this floor.
 */
#ifndef VIMD_LINK_TLS_H
#define VIMD_LINK_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include "model/store.h"

struct link_tls; /* what all connections have in common */

/* Reads PEM files. NAME: that the other end's certificate has to have; NULL: any of the CA. */
int link_tls_open(const char *certificate, const char *key, const char *authority, const char *name,
                  struct link_tls **ret_tls, struct failure *failure);
void link_tls_close(struct link_tls *tls); /* NULL is fine; after all sessions */

/* A session over a connected non-blocking socket; NULL if there is no memory for it. */
void *link_tls_begin(struct link_tls *tls, int fd);
void link_tls_end(void *session); /* NULL is fine; closes nothing */

/* Goes on with the handshake: VIM_OK, VIM_AGAIN (*RET_OUT: when the socket takes more, else when it has
 * more), or VIM_E_CREDENTIAL and why, a static text. */
int link_tls_shake(void *session, bool *ret_out, const char **ret_why);

/* As send() and recv(). */
ssize_t link_tls_send(void *session, const void *data, size_t size);
ssize_t link_tls_receive(void *session, void *data, size_t size);

#endif

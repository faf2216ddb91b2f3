/*
 * api/tls.h - certificate and key for the listener, and their replacement while it serves. The one
 * file with GnuTLS in this block.
 */
#ifndef VIMD_API_TLS_H
#define VIMD_API_TLS_H

#include <stdbool.h>
#include "base/text.h"
#include "model/store.h"

struct tls;

/* TLS 1.2 and 1.3, in GnuTLS's notation. */
extern const char TLS_PRIORITIES[];

/* Reads both PEM files. VIM_E_INVALID, VIM_E_DENIED (a key file that others can read). */
int tls_open(const char *certificate, const char *key, struct tls **ret_tls,
             struct failure *failure);

/* Reads them again. On error what was there stays. Any thread. */
int tls_reload(struct tls *tls, struct failure *failure);

/* After the last handshake. NULL is fine. */
void tls_close(struct tls *tls);

/* GnuTLS's callback carries no argument of ours, so there are two: for the listener of clients, and for those of
 * peers, who all show the same certificate. */
enum tls_listener { TLS_CLIENTS, TLS_PEERS, TLS_LISTENERS };

/* Makes TLS the one that the callback of LISTENER answers from. */
void tls_use(struct tls *tls, enum tls_listener listener);
/* No callback answers from TLS any more. NULL is fine. */
void tls_unuse(const struct tls *tls);

/* The PEM file with the CA that peers' certificates have to be of. */
int tls_authority_read(const char *path, struct text *ret_authority, struct failure *failure);

/* Has the other end of a gnutls_session_t shown a certificate of the CA that it was asked for? */
bool tls_peer_is_known(void *session);

/* A gnutls_certificate_retrieve_function2, for MHD_OPTION_HTTPS_CERT_CALLBACK. */
void *tls_callback(enum tls_listener listener);

#endif

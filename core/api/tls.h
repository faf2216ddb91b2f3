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

/* Makes TLS the one that tls_callback() answers from; NULL when it is closed. There is one listener
 * per process, because GnuTLS's callback carries no argument of ours. */
void tls_use(struct tls *tls);

/* For a listener that peers have to show certificates to: contents of PEM files. */
struct tls_files {
    struct text certificate, key, authority;
};
int tls_files_read(const char *certificate, const char *key, const char *authority,
                   struct tls_files **ret_files, struct failure *failure);
void tls_files_free(struct tls_files *files); /* NULL is fine */

/* Has the other end of a gnutls_session_t shown a certificate of the CA that it was asked for? */
bool tls_peer_is_known(void *session);

/* A gnutls_certificate_retrieve_function2, for MHD_OPTION_HTTPS_CERT_CALLBACK. */
void *tls_callback(void);

#endif

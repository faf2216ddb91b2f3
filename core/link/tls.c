#include "link/tls.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <gnutls/gnutls.h>
#include "base/memory.h"
#include "base/text.h"

struct link_tls {
    gnutls_certificate_credentials_t credentials;
    gnutls_priority_t priorities;
    char *name;
};

static int link_tls_load(struct link_tls *tls, const char *certificate, const char *key,
                         const char *authority, struct failure *failure)
{
    struct stat info;
    if (stat(key, &info) == 0 && (info.st_mode & 077)) {
        return failure_set(
            failure, VIM_E_DENIED,
            "%s: group or others can read this private key (mode %04o); chmod 600 it", key,
            (unsigned)(info.st_mode & 07777));
    }
    int count =
        gnutls_certificate_set_x509_trust_file(tls->credentials, authority, GNUTLS_X509_FMT_PEM);
    if (count <= 0) {
        return failure_set(failure, VIM_E_INVALID, "%s: not a certificate: %s", authority,
                           gnutls_strerror(count));
    }
    int error = gnutls_certificate_set_x509_key_file(tls->credentials, certificate, key,
                                                     GNUTLS_X509_FMT_PEM);
    return error
               ? failure_set(failure, VIM_E_INVALID, "%s and %s: not a certificate and its key: %s",
                             certificate, key, gnutls_strerror(error))
               : VIM_OK;
}

int link_tls_open(const char *certificate, const char *key, const char *authority, const char *name,
                  struct link_tls **ret_tls, struct failure *failure)
{
    struct link_tls *tls = MEMORY_NEW(struct link_tls);
    if (gnutls_certificate_allocate_credentials(&tls->credentials) ||
        gnutls_priority_init(&tls->priorities, "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2",
                             NULL)) {
        link_tls_close(tls);
        return failure_set(failure, VIM_E_UNAVAILABLE, "TLS cannot be set up");
    }
    tls->name = text_duplicate(name);
    int code = link_tls_load(tls, certificate, key, authority, failure);
    if (code) {
        link_tls_close(tls);
        return code;
    }
    *ret_tls = tls;
    return VIM_OK;
}

void link_tls_close(struct link_tls *tls)
{
    if (!tls) {
        return;
    }
    if (tls->credentials) {
        gnutls_certificate_free_credentials(tls->credentials);
    }
    if (tls->priorities) {
        gnutls_priority_deinit(tls->priorities);
    }
    free(tls->name);
    free(tls);
}

void *link_tls_begin(struct link_tls *tls, int fd)
{
    gnutls_session_t session = NULL;
    /* No tickets: nothing is to arrive on a connection that is idle. */
    if (gnutls_init(&session,
                    GNUTLS_CLIENT | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL | GNUTLS_NO_TICKETS)) {
        return NULL;
    }
    if (gnutls_priority_set(session, tls->priorities) ||
        gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, tls->credentials)) {
        gnutls_deinit(session);
        return NULL;
    }
    gnutls_session_set_verify_cert(session, tls->name, 0);
    gnutls_transport_set_int(session, fd);
    return session;
}

void link_tls_end(void *session)
{
    if (session) {
        gnutls_deinit(session);
    }
}

int link_tls_shake(void *session, bool *ret_out, const char **ret_why)
{
    int code;
    do {
        code = gnutls_handshake(session);
    } while (code < 0 && code != GNUTLS_E_AGAIN && !gnutls_error_is_fatal(code));
    if (code == GNUTLS_E_AGAIN) {
        *ret_out = gnutls_record_get_direction(session) == 1;
        return VIM_AGAIN;
    }
    *ret_why = code ? gnutls_strerror(code) : NULL;
    return code ? VIM_E_CREDENTIAL : VIM_OK;
}

static ssize_t link_tls_result(ssize_t result)
{
    if (result >= 0) {
        return result;
    }
    errno = result == GNUTLS_E_AGAIN ? EAGAIN : result == GNUTLS_E_INTERRUPTED ? EINTR : ECONNRESET;
    return -1;
}

ssize_t link_tls_send(void *session, const void *data, size_t size)
{
    return link_tls_result(gnutls_record_send(session, data, size));
}

ssize_t link_tls_receive(void *session, void *data, size_t size)
{
    return link_tls_result(gnutls_record_recv(session, data, size));
}

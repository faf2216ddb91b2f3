/*
 * Locks: `tls_lock` guards the pairs in use; a leaf. Replaced pairs are kept until the listener
 * ends, because handshakes may still use them; they are small and replacements rare.
 */
#include "api/tls.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"

#define CHAIN_MAX 16
#define FILE_MAX ((size_t)1 << 20)

const char TLS_PRIORITIES[] = "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2";

struct tls_pair {
    struct tls_pair *older;
    gnutls_pcert_st chain[CHAIN_MAX];
    unsigned length;
    gnutls_privkey_t key;
};

struct tls {
    char *certificate, *key;
    struct tls_pair *pair;
};

static pthread_rwlock_t tls_lock = PTHREAD_RWLOCK_INITIALIZER;
static struct tls *tls_in_use[TLS_LISTENERS];

static void tls_pair_free(struct tls_pair *pair)
{
    for (unsigned i = 0; i < pair->length; i++) {
        gnutls_pcert_deinit(&pair->chain[i]);
    }
    if (pair->key) {
        gnutls_privkey_deinit(pair->key);
    }
    free(pair);
}

static int tls_read(const char *path, struct text *text, mode_t *mode, struct failure *failure)
{
    int code = file_read(path, FILE_MAX, text, mode);
    return code ? failure_set(failure, VIM_E_INVALID, "%s: %s", path,
                              errno ? strerror(errno) : "cannot be read")
                : VIM_OK;
}

/* Does the key belong to the first certificate? */
static bool tls_fits(struct tls_pair *pair)
{
    unsigned char ours[64], theirs[64];
    size_t ours_size = sizeof ours, theirs_size = sizeof theirs;
    gnutls_pubkey_t public_key = NULL;
    if (gnutls_pubkey_init(&public_key)) {
        return false;
    }
    bool fits =
        gnutls_pubkey_import_privkey(public_key, pair->key, 0, 0) == 0 &&
        gnutls_pubkey_get_key_id(public_key, GNUTLS_KEYID_USE_SHA256, ours, &ours_size) == 0 &&
        gnutls_pubkey_get_key_id(pair->chain[0].pubkey, GNUTLS_KEYID_USE_SHA256, theirs,
                                 &theirs_size) == 0 &&
        ours_size == theirs_size && memcmp(ours, theirs, ours_size) == 0;
    gnutls_pubkey_deinit(public_key);
    return fits;
}

static int tls_fill(const struct tls *tls, struct tls_pair *pair, struct failure *failure)
{
    CLEANUP_TEXT struct text certificate = {0};
    CLEANUP_TEXT struct text key = {0};
    mode_t mode = 0;
    int code = tls_read(tls->certificate, &certificate, &mode, failure);
    code = code ? code : tls_read(tls->key, &key, &mode, failure);
    if (code) {
        return code;
    }
    if (mode & 077) {
        return failure_set(failure, VIM_E_DENIED,
                           "%s: group or others can read this private key (mode %04o); "
                           "chmod 600 it",
                           tls->key, (unsigned)(mode & 07777));
    }
    gnutls_datum_t data = {(unsigned char *)certificate.data, (unsigned)certificate.length};
    pair->length = CHAIN_MAX;
    int error =
        gnutls_pcert_list_import_x509_raw(pair->chain, &pair->length, &data, GNUTLS_X509_FMT_PEM,
                                          GNUTLS_X509_CRT_LIST_FAIL_IF_UNSORTED);
    if (error || pair->length == 0) {
        pair->length = 0;
        return failure_set(failure, VIM_E_INVALID, "%s: not a certificate chain: %s",
                           tls->certificate, gnutls_strerror(error));
    }
    data = (gnutls_datum_t){(unsigned char *)key.data, (unsigned)key.length};
    error = gnutls_privkey_init(&pair->key);
    if (!error) {
        error = gnutls_privkey_import_x509_raw(pair->key, &data, GNUTLS_X509_FMT_PEM, NULL, 0);
    }
    explicit_bzero(key.data, key.length);
    if (error) {
        return failure_set(failure, VIM_E_INVALID, "%s: not a private key: %s", tls->key,
                           gnutls_strerror(error));
    }
    if (!tls_fits(pair)) {
        return failure_set(failure, VIM_E_INVALID, "%s is not the key of the certificate in %s",
                           tls->key, tls->certificate);
    }
    return VIM_OK;
}

int tls_reload(struct tls *tls, struct failure *failure)
{
    struct tls_pair *pair = MEMORY_NEW(struct tls_pair);
    int code = tls_fill(tls, pair, failure);
    if (code) {
        tls_pair_free(pair);
        return code;
    }
    pthread_rwlock_wrlock(&tls_lock);
    pair->older = tls->pair;
    tls->pair = pair;
    pthread_rwlock_unlock(&tls_lock);
    return VIM_OK;
}

int tls_open(const char *certificate, const char *key, struct tls **ret_tls,
             struct failure *failure)
{
    struct tls *tls = MEMORY_NEW(struct tls);
    tls->certificate = text_duplicate(certificate);
    tls->key = text_duplicate(key);
    int code = tls_reload(tls, failure);
    if (code) {
        tls_close(tls);
        return code;
    }
    *ret_tls = tls;
    return VIM_OK;
}

void tls_close(struct tls *tls)
{
    if (!tls) {
        return;
    }
    for (struct tls_pair *pair = tls->pair; pair;) {
        struct tls_pair *older = pair->older;
        tls_pair_free(pair);
        pair = older;
    }
    free(tls->certificate);
    free(tls->key);
    free(tls);
}

void tls_use(struct tls *tls, enum tls_listener listener)
{
    pthread_rwlock_wrlock(&tls_lock);
    tls_in_use[listener] = tls;
    pthread_rwlock_unlock(&tls_lock);
}

void tls_unuse(const struct tls *tls)
{
    pthread_rwlock_wrlock(&tls_lock);
    for (int i = 0; i < TLS_LISTENERS; i++) {
        tls_in_use[i] = tls_in_use[i] == tls ? NULL : tls_in_use[i];
    }
    pthread_rwlock_unlock(&tls_lock);
}

static int tls_retrieve(enum tls_listener listener, gnutls_pcert_st **ret_chain,
                        unsigned *ret_length, gnutls_privkey_t *ret_key)
{
    pthread_rwlock_rdlock(&tls_lock);
    struct tls_pair *pair = tls_in_use[listener] ? tls_in_use[listener]->pair : NULL;
    pthread_rwlock_unlock(&tls_lock);
    if (!pair) {
        return -1;
    }
    *ret_chain = pair->chain;
    *ret_length = pair->length;
    *ret_key = pair->key;
    return 0;
}

static int tls_retrieve_for_clients(gnutls_session_t session, const gnutls_datum_t *authorities,
                                    int count, const gnutls_pk_algorithm_t *algorithms,
                                    int algorithm_count, gnutls_pcert_st **ret_chain,
                                    unsigned *ret_length, gnutls_privkey_t *ret_key)
{
    (void)session, (void)authorities, (void)count, (void)algorithms, (void)algorithm_count;
    return tls_retrieve(TLS_CLIENTS, ret_chain, ret_length, ret_key);
}

static int tls_retrieve_for_peers(gnutls_session_t session, const gnutls_datum_t *authorities,
                                  int count, const gnutls_pk_algorithm_t *algorithms,
                                  int algorithm_count, gnutls_pcert_st **ret_chain,
                                  unsigned *ret_length, gnutls_privkey_t *ret_key)
{
    (void)session, (void)authorities, (void)count, (void)algorithms, (void)algorithm_count;
    return tls_retrieve(TLS_PEERS, ret_chain, ret_length, ret_key);
}

void *tls_callback(enum tls_listener listener)
{
    gnutls_certificate_retrieve_function2 *function =
        listener == TLS_PEERS ? tls_retrieve_for_peers : tls_retrieve_for_clients;
    void *pointer;
    memcpy(&pointer, &function, sizeof pointer);
    return pointer;
}

int tls_authority_read(const char *path, struct text *ret_authority, struct failure *failure)
{
    mode_t mode;
    return tls_read(path, ret_authority, &mode, failure);
}

bool tls_peer_is_known(void *session)
{
    unsigned status = 0, count = 0;
    return gnutls_certificate_get_peers(session, &count) && count > 0 &&
           gnutls_certificate_verify_peers2(session, &status) == 0 && status == 0;
}

#include "certificates.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include "base/file.h"
#include "base/text.h"

struct pair {
    gnutls_x509_privkey_t key;
    gnutls_x509_crt_t crt;
};

/* SIGNER NULL: by itself, and it may sign others. */
static void pair_make(struct pair *pair, const char *name, const struct pair *signer)
{
    unsigned char serial = signer ? 2 : 1;
    gnutls_x509_privkey_init(&pair->key);
    gnutls_x509_crt_init(&pair->crt);
    assert_int_equal(gnutls_x509_privkey_generate(pair->key, GNUTLS_PK_ECDSA,
                                                  GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1),
                                                  0),
                     0);
    gnutls_x509_crt_set_key(pair->crt, pair->key);
    gnutls_x509_crt_set_version(pair->crt, 3);
    gnutls_x509_crt_set_serial(pair->crt, &serial, 1);
    gnutls_x509_crt_set_activation_time(pair->crt, time(NULL) - 3600);
    gnutls_x509_crt_set_expiration_time(pair->crt, time(NULL) + 86400);
    gnutls_x509_crt_set_dn_by_oid(pair->crt, GNUTLS_OID_X520_COMMON_NAME, 0, name,
                                  (unsigned)strlen(name));
    gnutls_x509_crt_set_basic_constraints(pair->crt, signer == NULL, -1);
    if (signer) {
        gnutls_x509_crt_set_subject_alt_name(pair->crt, GNUTLS_SAN_DNSNAME, name,
                                             (unsigned)strlen(name), GNUTLS_FSAN_SET);
    } else {
        gnutls_x509_crt_set_key_usage(pair->crt, GNUTLS_KEY_KEY_CERT_SIGN);
    }
    assert_int_equal(gnutls_x509_crt_sign2(pair->crt, signer ? signer->crt : pair->crt,
                                           signer ? signer->key : pair->key, GNUTLS_DIG_SHA256, 0),
                     0);
}

static void pair_free(struct pair *pair)
{
    gnutls_x509_crt_deinit(pair->crt);
    gnutls_x509_privkey_deinit(pair->key);
}

static void write_certificate(const struct pair *pair, const char *path)
{
    gnutls_datum_t text;
    gnutls_x509_crt_export2(pair->crt, GNUTLS_X509_FMT_PEM, &text);
    assert_int_equal(file_write(path, text.data, text.size, 0644), 0);
    gnutls_free(text.data);
}

void certificates_make(struct certificates *certificates, const char *name)
{
    struct pair authority, pair;
    gnutls_datum_t text;
    strcpy(certificates->folder, "/tmp/test-link-XXXXXX");
    assert_non_null(mkdtemp(certificates->folder));
    certificates->authority = text_format("%s/ca.crt", certificates->folder);
    certificates->certificate = text_format("%s/one.crt", certificates->folder);
    certificates->key = text_format("%s/one.key", certificates->folder);
    pair_make(&authority, "a CA", NULL);
    pair_make(&pair, name, &authority);
    write_certificate(&authority, certificates->authority);
    write_certificate(&pair, certificates->certificate);
    gnutls_x509_privkey_export2(pair.key, GNUTLS_X509_FMT_PEM, &text);
    assert_int_equal(file_write(certificates->key, text.data, text.size, 0600), 0);
    gnutls_free(text.data);
    pair_free(&pair);
    pair_free(&authority);
}

void certificates_free(struct certificates *certificates)
{
    unlink(certificates->authority);
    unlink(certificates->certificate);
    unlink(certificates->key);
    rmdir(certificates->folder);
    free(certificates->authority);
    free(certificates->certificate);
    free(certificates->key);
}

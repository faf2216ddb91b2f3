/*
 * TLS: served, the certificate replaced while serving, bad files refused with the reason, old
 * versions of the protocol refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include "base/cleanup.h"
#include "base/file.h"
#include "base/text.h"
#include "client.h"
#include "fake_link.h"

static char folder[] = "/tmp/test-tls-XXXXXX";
static char *certificate, *key;

/* Writes a self-signed certificate for 127.0.0.1 with this serial number, and its key. */
static void make_pair(unsigned char serial)
{
    gnutls_x509_privkey_t private_key;
    gnutls_x509_crt_t crt;
    gnutls_x509_privkey_init(&private_key);
    gnutls_x509_crt_init(&crt);
    assert_int_equal(gnutls_x509_privkey_generate(private_key, GNUTLS_PK_ECDSA,
                                                  GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1),
                                                  0),
                     0);
    gnutls_x509_crt_set_key(crt, private_key);
    gnutls_x509_crt_set_version(crt, 3);
    gnutls_x509_crt_set_serial(crt, &serial, 1);
    gnutls_x509_crt_set_activation_time(crt, time(NULL) - 3600);
    gnutls_x509_crt_set_expiration_time(crt, time(NULL) + 86400);
    gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, "vimd", 4);
    assert_int_equal(gnutls_x509_crt_sign2(crt, crt, private_key, GNUTLS_DIG_SHA256, 0), 0);
    gnutls_datum_t text;
    gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &text);
    assert_int_equal(file_write(certificate, text.data, text.size, 0644), 0);
    gnutls_free(text.data);
    gnutls_x509_privkey_export2(private_key, GNUTLS_X509_FMT_PEM, &text);
    assert_int_equal(file_write(key, text.data, text.size, 0600), 0);
    gnutls_free(text.data);
    gnutls_x509_crt_deinit(crt);
    gnutls_x509_privkey_deinit(private_key);
}

static struct config_struct *tls_config(void)
{
    /* A handshake under valgrind takes longer; a client that does not begin one is waited for for 20 s. */
    const char *patience = getenv("VIMD_TEST_PATIENCE");
    int times = patience ? atoi(patience) : 1;
    CLEANUP_FREE char *yaml =
        text_format("tls_certificate: %s\ntls_key: %s\nheader_timeout: %ds\n", certificate, key,
                    2 * (times < 1   ? 1
                         : times > 8 ? 8
                                     : times));
    return fake_config(yaml);
}

/* Shakes hands and asks once. Returns the serial number of the certificate, or -1 if there was no
 * handshake. */
static int ask(uint16_t port, const char *priorities)
{
    gnutls_certificate_credentials_t credentials;
    gnutls_session_t session;
    gnutls_certificate_allocate_credentials(&credentials);
    gnutls_init(&session, GNUTLS_CLIENT);
    gnutls_priority_set_direct(session, priorities, NULL);
    gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, credentials);
    int fd = client_connect(port);
    gnutls_transport_set_int(session, fd);
    gnutls_handshake_set_timeout(session, 20000);
    int code;
    do {
        code = gnutls_handshake(session);
    } while (code < 0 && !gnutls_error_is_fatal(code));
    int serial = -1;
    if (code == 0) {
        unsigned count = 0;
        const gnutls_datum_t *peer = gnutls_certificate_get_peers(session, &count);
        assert_int_equal(count, 1);
        gnutls_x509_crt_t crt;
        gnutls_x509_crt_init(&crt);
        gnutls_x509_crt_import(crt, peer, GNUTLS_X509_FMT_DER);
        unsigned char bytes[32];
        size_t size = sizeof bytes;
        gnutls_x509_crt_get_serial(crt, bytes, &size);
        serial = bytes[size - 1];
        gnutls_x509_crt_deinit(crt);
        static const char request[] = "GET /thread HTTP/1.1\r\nHost: x\r\n" GOOD "\r\n";
        assert_int_equal(gnutls_record_send(session, request, sizeof request - 1),
                         sizeof request - 1);
        char answer[4096] = "";
        ssize_t got;
        do {
            got = gnutls_record_recv(session, answer, sizeof answer - 1);
        } while (got == GNUTLS_E_AGAIN || got == GNUTLS_E_INTERRUPTED);
        assert_true(got > 0);
        assert_int_equal(client_status(answer), 200);
        gnutls_bye(session, GNUTLS_SHUT_WR);
    }
    gnutls_deinit(session);
    gnutls_certificate_free_credentials(credentials);
    close(fd);
    return serial;
}

static void test_served_and_replaced(void **state)
{
    (void)state;
    make_pair(1);
    struct config_struct *config = tls_config();
    struct api *api = fake_start(config);
    assert_int_equal(ask(api_port(api), "NORMAL"), 1);
    assert_int_equal(ask(api_port(api), "NORMAL:-VERS-ALL:+VERS-TLS1.2"), 1);
    assert_int_equal(ask(api_port(api), "NORMAL:-VERS-ALL:+VERS-TLS1.1:%COMPAT"), -1);
    make_pair(2);
    assert_int_equal(ask(api_port(api), "NORMAL"), 1);
    struct failure failure = {0};
    assert_int_equal(api_reload_tls(api, &failure), VIM_OK);
    assert_int_equal(ask(api_port(api), "NORMAL"), 2);
    /* A bad file changes nothing. */
    assert_int_equal(file_write(certificate, "nonsense", 8, 0644), 0);
    assert_int_equal(api_reload_tls(api, &failure), VIM_E_INVALID);
    assert_int_equal(ask(api_port(api), "NORMAL"), 2);
    api_stop(api, 1000);
    config_struct_free(config);
}

static void test_plain_clients(void **state)
{
    (void)state;
    make_pair(1);
    struct config_struct *config = tls_config();
    struct api *api = fake_start(config);
    int fd = client_connect(api_port(api));
    client_send(fd, "GET /inline HTTP/1.1\r\nHost: x\r\n" GOOD "\r\n");
    CLEANUP_FREE char *answer = client_read_all(fd, NULL);
    assert_null(strstr(answer, "200"));
    close(fd);
    fd = client_connect(api_port(api)); /* a handshake that never begins */
    CLEANUP_FREE char *nothing = client_read_all(fd, NULL);
    assert_string_equal(nothing, "");
    close(fd);
    assert_int_equal(ask(api_port(api), "NORMAL"), 1);
    api_stop(api, 1000);
    config_struct_free(config);
}

static void expect_refused(int code, const char *word)
{
    struct config_struct *config = tls_config();
    struct failure failure = {0};
    assert_int_equal(api_check(config_data(config), &failure), code);
    if (!strstr(failure.text, word)) {
        fail_msg("'%s' does not tell '%s'", failure.text, word);
    }
    config_struct_free(config);
}

static void test_bad_files(void **state)
{
    (void)state;
    make_pair(1);
    chmod(key, 0640);
    expect_refused(VIM_E_DENIED, "chmod 600");
    chmod(key, 0600);
    CLEANUP_TEXT struct text old = {0};
    assert_int_equal(file_read(key, 100000, &old, NULL), 0);
    make_pair(2);
    assert_int_equal(file_write(key, old.data, old.length, 0600), 0);
    expect_refused(VIM_E_INVALID, "is not the key of the certificate");
    assert_int_equal(file_write(key, "nonsense", 8, 0600), 0);
    expect_refused(VIM_E_INVALID, "not a private key");
    assert_int_equal(file_write(certificate, "nonsense", 8, 0600), 0);
    expect_refused(VIM_E_INVALID, "not a certificate chain");
    unlink(certificate);
    expect_refused(VIM_E_INVALID, certificate);
}

static int begin(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(folder));
    certificate = text_format("%s/crt.pem", folder);
    key = text_format("%s/key.pem", folder);
    return 0;
}

static int end(void **state)
{
    (void)state;
    unlink(certificate);
    unlink(key);
    rmdir(folder);
    free(certificate);
    free(key);
    fake_end();
    return 0;
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_served_and_replaced),
        cmocka_unit_test(test_plain_clients),
        cmocka_unit_test(test_bad_files),
    };
    return cmocka_run_group_tests(tests, begin, end);
}

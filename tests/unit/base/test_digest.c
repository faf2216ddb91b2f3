#include "test.h"
#include <stdlib.h>
#include <vim/plugin.h>
#include "base/digest.h"

static void known_digests(void **state)
{
    (void)state;
    char hex[DIGEST_HEX_SIZE];
    assert_string_equal(digest_sha256_hex("abc", 3, hex),
                        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_string_equal(digest_sha256_hex(NULL, 0, hex),
                        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    /* RFC 4231, test case 2 */
    uint8_t mac[DIGEST_SIZE];
    digest_hmac_sha256("Jefe", 4, "what do ya want for nothing?", 28, mac);
    digest_hex(mac, sizeof(mac), hex);
    assert_string_equal(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

static void equality(void **state)
{
    (void)state;
    assert_true(digest_text_equal("secret", "secret"));
    assert_true(digest_text_equal("", ""));
    assert_false(digest_text_equal("secret", "secreT"));
    assert_false(digest_text_equal("secret", "secret2"));
    assert_false(digest_text_equal(NULL, NULL));
    assert_true(digest_equal("ab", "ab", 2));
    assert_false(digest_equal("ab", "ac", 2));
}

/* RFC 4648 section 10, lower case and without padding. */
static void encodings(void **state)
{
    (void)state;
    static const struct {
        const char *plain, *base32, *base64;
    } cases[] = {{"", "", ""},
                 {"f", "my", "Zg"},
                 {"fo", "mzxq", "Zm8"},
                 {"foo", "mzxw6", "Zm9v"},
                 {"foob", "mzxw6yq", "Zm9vYg"},
                 {"fooba", "mzxw6ytb", "Zm9vYmE"},
                 {"foobar", "mzxw6ytboi", "Zm9vYmFy"},
                 {"\xfb\xff", "7p7q", "-_8"}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        size_t length = strlen(cases[i].plain), size = 99;
        char *base32 = digest_base32(cases[i].plain, length);
        char *base64 = digest_base64url(cases[i].plain, length);
        assert_string_equal(base32, cases[i].base32);
        assert_string_equal(base64, cases[i].base64);
        uint8_t *back = NULL;
        assert_int_equal(digest_base64url_decode(base64, strlen(base64), &back, &size), VIM_OK);
        assert_int_equal(size, length);
        assert_memory_equal(back, cases[i].plain, length);
        free(back);
        free(base32);
        free(base64);
    }
}

static void refuses_bad_base64url(void **state)
{
    (void)state;
    static const char *const cases[] = {"Z", "Zg==", "Zh", "Zm9", "Z+9v", "Zm9vY", "Zm 9"};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint8_t *data;
        size_t size;
        assert_int_equal(digest_base64url_decode(cases[i], strlen(cases[i]), &data, &size),
                         VIM_E_INVALID);
    }
    uint8_t *data;
    size_t size;
    assert_int_equal(digest_base64url_decode("Zm\0v", 4, &data, &size), VIM_E_INVALID);
}

static void tells_base64(void **state)
{
    (void)state;
    assert_true(digest_is_base64("", 0));
    assert_true(digest_is_base64("Zm9v", 4));
    assert_true(digest_is_base64("Zg==", 4));
    assert_false(digest_is_base64("Zg", 2));
    assert_false(digest_is_base64("Z===", 4));
    assert_false(digest_is_base64("Zm\n9", 4));
}

static void random_differs(void **state)
{
    (void)state;
    uint8_t a[600] = {0}, b[600] = {0};
    digest_random(a, sizeof(a));
    digest_random(b, sizeof(b));
    assert_memory_not_equal(a, b, sizeof(a));
    assert_memory_not_equal(a + 550, b + 550, 50);
}

/* Wherever they differ, and only then. */
static void tells_equal_bytes(void **state)
{
    (void)state;
    uint8_t a[40], b[40];
    for (size_t size = 0; size <= sizeof(a); size++) {
        memset(a, 0x5A, sizeof(a));
        memset(b, 0x5A, sizeof(b));
        if (size < sizeof(b)) {
            b[size] = 0; /* is behind the end */
        }
        assert_true(digest_equal(a, b, size));
        for (size_t i = 0; i < size; i++) {
            b[i] ^= (uint8_t)(1u << i % 8);
            assert_false(digest_equal(a, b, size));
            b[i] = a[i];
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_equal_bytes),
        cmocka_unit_test(known_digests), cmocka_unit_test(equality),
        cmocka_unit_test(encodings),     cmocka_unit_test(refuses_bad_base64url),
        cmocka_unit_test(tells_base64),  cmocka_unit_test(random_differs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

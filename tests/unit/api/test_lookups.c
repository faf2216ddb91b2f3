/*
 * Whose token it is: asked once for all who want to know, and asked again before it is forgotten.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include "api/access.h"
#include "api/lookups.h"

#define CLIENTS 400

/* The look-ups that have come to the link, in order. */
static struct {
    link_principal_fn complete;
    void *argument;
    char token[16];
} asked[CLIENTS];
static unsigned asked_count;

static struct {
    unsigned count;
    int code; /* of the last */
} told;

void link_authenticate(struct link *link, const char *token, link_principal_fn complete,
                       void *argument)
{
    (void)link;
    asked[asked_count].complete = complete;
    asked[asked_count].argument = argument;
    (void)snprintf(asked[asked_count++].token, sizeof asked->token, "%s", token);
}

static void complete(unsigned at, int code)
{
    const struct principal principal = {.token_id = "t1", .project = "demo"};
    const struct failure failure = {.code = code, .text = "told so"};
    asked[at].complete(asked[at].argument, code, &principal, &failure);
}

static void learn(void *argument, int code, const struct principal *principal,
                  const struct failure *failure)
{
    (void)failure;
    assert_string_equal(principal->project, "demo");
    told.count++;
    told.code = code;
    *(unsigned *)argument += 1;
}

static void ask(struct lookups *lookups, const char *token, unsigned *told_times)
{
    uint8_t digest[DIGEST_SIZE];
    digest_sha256(token, strlen(token), digest);
    lookups_ask(lookups, NULL, token, digest, learn, told_times);
}

static struct lookups *begin(void)
{
    asked_count = told.count = 0;
    return lookups_new();
}

/* COUNT clients ask for the same token; TIMES counts how often each is told. */
static struct lookups *begin_asked(unsigned count, unsigned *times)
{
    struct lookups *lookups = begin();
    for (unsigned i = 0; i < count; i++) {
        ask(lookups, "one", &times[i]);
    }
    return lookups;
}

static void test_a_few_for_all(void **state)
{
    (void)state;
    unsigned times[CLIENTS] = {0};
    struct lookups *lookups = begin_asked(CLIENTS, times);
    assert_in_range(asked_count, 1, 8);
    complete(0, VIM_OK);
    assert_int_equal(told.count, CLIENTS);
    /* Who comes now does not wait for those that were under way: their answer may be older. */
    unsigned before = asked_count, late = 0;
    ask(lookups, "one", &late);
    assert_int_equal(asked_count, before + 1);
    for (unsigned i = 1; i < asked_count; i++) {
        complete(i, VIM_OK);
    }
    assert_int_equal(late, 1);
    for (unsigned i = 0; i < CLIENTS; i++) {
        assert_int_equal(times[i], 1);
    }
    lookups_drop(lookups);
}

static void test_only_the_last_failure_counts(void **state)
{
    (void)state;
    unsigned times[10] = {0};
    struct lookups *lookups = begin_asked(10, times);
    assert_true(asked_count > 1);
    for (unsigned i = 0; i + 1 < asked_count; i++) {
        complete(i, VIM_E_UNAVAILABLE);
        assert_int_equal(told.count, 0);
    }
    complete(asked_count - 1, VIM_E_UNAVAILABLE);
    assert_int_equal(told.count, 10);
    assert_int_equal(told.code, VIM_E_UNAVAILABLE);
    lookups_drop(lookups);
}

static void test_nobody_is_an_answer(void **state)
{
    (void)state;
    unsigned times[10] = {0};
    struct lookups *lookups = begin_asked(10, times);
    complete(1, VIM_E_CREDENTIAL);
    assert_int_equal(told.count, 10);
    assert_int_equal(told.code, VIM_E_CREDENTIAL);
    for (unsigned i = 0; i < asked_count; i++) {
        if (i != 1) {
            complete(i, VIM_OK);
        }
    }
    assert_int_equal(told.count, 10);
    lookups_drop(lookups);
}

static void test_tokens_apart(void **state)
{
    (void)state;
    struct lookups *lookups = begin();
    unsigned one = 0, other = 0;
    ask(lookups, "one", &one);
    ask(lookups, "other", &other);
    assert_int_equal(asked_count, 2);
    assert_string_equal(asked[1].token, "other");
    complete(1, VIM_E_CREDENTIAL);
    assert_int_equal(one, 0);
    assert_int_equal(other, 1);
    /* Those that are under way outlive who began them. */
    lookups_drop(lookups);
    complete(0, VIM_OK);
    assert_int_equal(one, 1);
}

/* --- What is remembered ---------------------------------------------------------------------------- */

static const uint8_t address[16] = {1};

static int principal_at(struct access *access, int64_t now_ms, struct access_key *ret_key)
{
    struct principal principal;
    uint32_t wait;
    return access_principal(access, "one", address, now_ms, ret_key, &principal, &wait);
}

static void test_renewed_by_one(void **state)
{
    (void)state;
    struct access *access = access_new();
    struct access_key key;
    struct principal principal = {.project = "demo"};
    assert_int_equal(principal_at(access, 1000, &key), VIM_AGAIN);
    access_learn(access, &key, VIM_OK, &principal, 1000);
    assert_int_equal(principal_at(access, 1001, &key), VIM_OK);
    /* One asks while the others go on, */
    int64_t now = 1000 + ACCESS_TTL_MS - 1000;
    unsigned asking = 0;
    for (int i = 0; i < 50; i++) {
        asking += principal_at(access, now, &key) == VIM_AGAIN;
    }
    assert_int_equal(asking, 1);
    /* and if it fails, it has what they have. */
    access_learn(access, &key, VIM_E_UNAVAILABLE, &principal, now + 1);
    assert_true(access_recall(access, &key, now + 1, &principal));
    access_learn(access, &key, VIM_OK, &principal, now + 1);
    assert_int_equal(principal_at(access, 1000 + ACCESS_TTL_MS + 1, &key), VIM_OK);
    /* Nothing is good for longer than it is said to be. */
    assert_int_equal(principal_at(access, now + 1 + ACCESS_TTL_MS, &key), VIM_AGAIN);
    assert_false(access_recall(access, &key, now + 1 + ACCESS_TTL_MS, &principal));
    access_free(access);
}

static void test_revoked_is_forgotten(void **state)
{
    (void)state;
    struct access *access = access_new();
    struct access_key key;
    struct principal principal = {.project = "demo"};
    assert_int_equal(principal_at(access, 1000, &key), VIM_AGAIN);
    access_learn(access, &key, VIM_OK, &principal, 1000);
    access_learn(access, &key, VIM_E_CREDENTIAL, &principal, 2000);
    assert_int_equal(principal_at(access, 2001, &key), VIM_AGAIN);
    access_free(access);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_few_for_all),
        cmocka_unit_test(test_only_the_last_failure_counts),
        cmocka_unit_test(test_nobody_is_an_answer),
        cmocka_unit_test(test_tokens_apart),
        cmocka_unit_test(test_renewed_by_one),
        cmocka_unit_test(test_revoked_is_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

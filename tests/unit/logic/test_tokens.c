/* Access tokens: made, used, expired, revoked; and /v1/tokens. */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/text.h"

static struct world world;

static int setup(void **state)
{
    (void)state;
    world_open(&world, false, "latency_mean: 10ms\n");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    world_close(&world);
    return 0;
}

static int authenticate(const char *token, struct principal *principal)
{
    struct failure failure = {0};
    return logic_authenticate(world.logic, token, principal, &failure);
}

static void lifecycle(void **state)
{
    (void)state;
    char token[128], other[128];
    struct principal principal;
    struct failure failure = {0};
    assert_int_equal(token_create(world.store, "ci", "blue", ROLE_MEMBER, 0, token, &failure),
                     VIM_OK);
    assert_int_equal(token_create(world.store, "x", "red", ROLE_ADMIN, 0, other, &failure), VIM_OK);
    assert_int_equal(authenticate(token, &principal), VIM_OK);
    assert_string_equal(principal.name, "ci");
    assert_string_equal(principal.project, "blue");
    assert_int_equal(principal.role, ROLE_MEMBER);
    assert_true(strncmp(token + 5, principal.token_id, 36) == 0);

    /* Another one's secret behind this one's id, a changed secret, cut, longer, not a token. */
    char mixed[128], wrong[160];
    snprintf(mixed, sizeof(mixed), "%.42s%s", token, other + 42);
    assert_int_equal(authenticate(mixed, &principal), VIM_E_CREDENTIAL);
    snprintf(wrong, sizeof(wrong), "%s", token);
    wrong[strlen(wrong) - 1] = wrong[strlen(wrong) - 1] == 'a' ? 'b' : 'a';
    assert_int_equal(authenticate(wrong, &principal), VIM_E_CREDENTIAL);
    snprintf(wrong, sizeof(wrong), "%.60s", token);
    assert_int_equal(authenticate(wrong, &principal), VIM_E_CREDENTIAL);
    snprintf(wrong, sizeof(wrong), "%s1", token);
    assert_int_equal(authenticate(wrong, &principal), VIM_E_CREDENTIAL);
    static const char *const none[] = {"",
                                       "vimd_",
                                       "vimd__",
                                       "bearer",
                                       "vimd_00000000-0000-4000-8000-000000000000_",
                                       "vimd_00000000-0000-4000-8000-000000000000_aaaa"};
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
        assert_int_equal(authenticate(none[i], &principal), VIM_E_CREDENTIAL);
    }

    char id[37];
    snprintf(id, sizeof(id), "%.36s", token + 5);
    assert_int_equal(token_revoke(world.store, id, &failure), VIM_OK);
    assert_int_equal(authenticate(token, &principal), VIM_E_CREDENTIAL);
    assert_int_equal(token_revoke(world.store, id, &failure), VIM_E_NOT_FOUND);
    assert_int_equal(authenticate(other, &principal), VIM_OK);
}

static void refused(void **state)
{
    (void)state;
    char token[128];
    struct failure failure = {0};
    assert_int_equal(token_create(world.store, "", "blue", ROLE_READER, 0, token, &failure),
                     VIM_E_INVALID);
    assert_int_equal(token_create(world.store, "a", "*", ROLE_READER, 0, token, &failure),
                     VIM_E_INVALID);
    assert_int_equal(token_create(world.store, "a", "b", ROLE_READER, 1, token, &failure),
                     VIM_E_INVALID);
}

static void expiry(void **state)
{
    (void)state;
    char token[128];
    struct principal principal;
    struct failure failure = {0};
    assert_int_equal(
        token_create(world.store, "a", "blue", ROLE_READER, clock_now_ms() + 50, token, &failure),
        VIM_OK);
    clock_sleep_ms(60);
    assert_int_equal(authenticate(token, &principal), VIM_E_CREDENTIAL);
}

static void routes(void **state)
{
    (void)state;
    struct reply made = ask(&world, "ops/admin", "POST", "/v1/tokens", NULL,
                            "{'name':'web','project':'blue','role':'reader'}");
    assert_int_equal(made.status, 201);
    const char *token = reply_text(&made, "token");
    struct principal principal;
    assert_int_equal(authenticate(token, &principal), VIM_OK);
    assert_int_equal(principal.role, ROLE_READER);
    char *path = text_format("/v1/tokens/%s", reply_text(&made, "id"));
    assert_string_equal(reply_header(&made, "Location"), path);

    struct reply shown = ask(&world, "ops/admin", "GET", path, NULL, NULL);
    assert_int_equal(shown.status, 200);
    assert_string_equal(reply_text(&shown, "project"), "blue");
    assert_null(strstr(shown.body, "digest"));
    reply_free(&shown);
    shown = ask(&world, "ops/admin", "GET", "/v1/tokens?role=reader&name=web", NULL, NULL);
    assert_int_equal(json_array_size(json_object_get(shown.json, "tokens")), 1);
    assert_null(strstr(shown.body, "digest"));
    assert_null(strstr(shown.body, strrchr(token, '_') + 1));
    reply_free(&shown);

    expect(&world, 403, "ops/operator", "GET", "/v1/tokens", NULL, NULL);
    expect(&world, 422, "ops/admin", "POST", "/v1/tokens", NULL,
           "{'name':'web','project':'a b','role':'king','expires':'2001-01-01T00:00:00Z','x':1}");
    expect(&world, 204, "ops/admin", "DELETE", path, NULL, NULL);
    expect(&world, 404, "ops/admin", "DELETE", path, NULL, NULL);
    assert_int_equal(authenticate(token, &principal), VIM_E_CREDENTIAL);
    free(path);
    reply_free(&made);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lifecycle),
        cmocka_unit_test(refused),
        cmocka_unit_test(expiry),
        cmocka_unit_test(routes),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

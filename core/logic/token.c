/*
 * logic/token.c - access tokens: "vimd_" + id + "_" + secret. The secret is 32 random bytes, of
 * which the store holds the SHA-256: with that much entropy a slow hash would add nothing.
 */
#include "logic/logic.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/ids.h"
#include "base/json.h"
#include "base/text.h"
#include "logic/access.h"
#include "logic/call.h"

#define TOKEN_PREFIX "vimd_"
#define TOKEN_PREFIX_LENGTH 5
#define TOKEN_SECRET_MAX 64

static const char *const role_names[] = {
    [ROLE_READER] = "reader",
    [ROLE_MEMBER] = "member",
    [ROLE_OPERATOR] = "operator",
    [ROLE_ADMIN] = "admin",
};

int role_by_name(const char *name, enum role *ret_role)
{
    for (int role = ROLE_READER; role <= ROLE_ADMIN; role++) {
        if (strcmp(role_names[role], name) == 0) {
            *ret_role = (enum role)role;
            return VIM_OK;
        }
    }
    return VIM_E_INVALID;
}

const char *role_name(enum role role)
{
    return role >= ROLE_READER && role <= ROLE_ADMIN ? role_names[role] : "none";
}

static int check_token(const char *name, const char *project, int64_t expires,
                       struct failure *failure)
{
    size_t length = strlen(name);
    if (length < 1 || length > 63 || !text_is_utf8(name, length)) {
        return failure_set(failure, VIM_E_INVALID, "a token's name has 1 to 63 bytes");
    }
    for (size_t i = 0; i < length; i++) {
        if ((unsigned char)name[i] < 0x20) {
            return failure_set(failure, VIM_E_INVALID, "a token's name has no control characters");
        }
    }
    if (!access_is_project(project)) {
        return failure_set(failure, VIM_E_INVALID,
                           "a project's name has 1 to 63 letters, digits, - and _");
    }
    if (expires != 0 && expires <= clock_now_ms()) {
        return failure_set(failure, VIM_E_INVALID, "the token would have expired already");
    }
    return VIM_OK;
}

int token_create(struct store *store, const char *name, const char *project, enum role role,
                 int64_t expires, char ret_token[128], struct failure *failure)
{
    int code = check_token(name, project, expires, failure);
    if (code != VIM_OK) {
        return code;
    }
    char id[ID_SIZE], digest[DIGEST_HEX_SIZE], time[CLOCK_TEXT_SIZE];
    uint8_t bytes[32];
    id_new(id);
    digest_random(bytes, sizeof(bytes));
    CLEANUP_FREE char *secret = digest_base32(bytes, sizeof(bytes));
    explicit_bzero(bytes, sizeof(bytes));
    digest_sha256_hex(secret, strlen(secret), digest);
    CLEANUP_JSON json_t *object = json_object();
    json_set_text(object, "id", id);
    json_set_text(object, "name", name);
    json_set_text(object, "project", project);
    json_set_text(object, "role", role_name(role));
    json_set_text(object, "created", clock_format_rfc3339(clock_now_ms(), time));
    if (expires != 0) {
        json_set_text(object, "expires", clock_format_rfc3339(expires, time));
    }
    json_set_text(object, "digest", digest);
    CLEANUP_FREE char *body = json_print(object);
    struct vim_write write = {.collection = COLLECTION_TOKEN,
                              .id = id,
                              .parent = project,
                              .body = body,
                              .expect = VIM_EXPECT_ABSENT,
                              .state = role};
    code = store_commit(store, &write, 1, failure);
    if (code == VIM_OK) {
        snprintf(ret_token, 128, TOKEN_PREFIX "%s_%s", id, secret);
    }
    explicit_bzero(secret, strlen(secret));
    return code;
}

int token_revoke(struct store *store, const char *token_id, struct failure *failure)
{
    struct row row = {0};
    if (!id_valid(token_id)) {
        return failure_set(failure, VIM_E_NOT_FOUND, "there is no such token");
    }
    int code = store_get(store, COLLECTION_TOKEN, token_id, &row, failure);
    row_free(&row);
    if (code != VIM_OK) {
        return code;
    }
    struct vim_write write = {
        .collection = COLLECTION_TOKEN, .id = token_id, .expect = VIM_EXPECT_ANY};
    return store_commit(store, &write, 1, failure);
}

/* Cuts a token into id and secret; false if it has not the form of one. */
static bool split(const char *token, char ret_id[ID_SIZE], const char **ret_secret)
{
    if (strncmp(token, TOKEN_PREFIX, TOKEN_PREFIX_LENGTH) != 0) {
        return false;
    }
    const char *id = token + TOKEN_PREFIX_LENGTH;
    if (strlen(id) < ID_SIZE || strlen(id) > ID_SIZE + TOKEN_SECRET_MAX || id[ID_SIZE - 1] != '_') {
        return false;
    }
    memcpy(ret_id, id, ID_SIZE - 1);
    ret_id[ID_SIZE - 1] = '\0';
    *ret_secret = id + ID_SIZE;
    return id_valid(ret_id);
}

static bool fill_principal(const struct row *row, struct principal *ret_principal,
                           char ret_digest[DIGEST_HEX_SIZE])
{
    CLEANUP_JSON json_t *object = NULL;
    struct principal principal = {0};
    char digest[DIGEST_HEX_SIZE];
    if (json_parse(row->body, row->body_length, NULL, &object, NULL) != VIM_OK ||
        role_by_name(json_get_text(object, "role", ""), &principal.role) != VIM_OK) {
        return false;
    }
    const char *expires = json_get_text(object, "expires", NULL);
    if (expires && clock_parse_rfc3339(expires, &principal.expires) != VIM_OK) {
        return false;
    }
    snprintf(principal.token_id, sizeof(principal.token_id), "%s", row->id);
    snprintf(principal.name, sizeof(principal.name), "%s", json_get_text(object, "name", ""));
    snprintf(principal.project, sizeof(principal.project), "%s",
             json_get_text(object, "project", ""));
    snprintf(digest, sizeof(digest), "%s", json_get_text(object, "digest", ""));
    if (strlen(digest) != DIGEST_HEX_SIZE - 1 || !access_is_project(principal.project)) {
        return false;
    }
    *ret_principal = principal;
    memcpy(ret_digest, digest, sizeof(digest));
    return true;
}

int logic_authenticate(struct logic *logic, const char *token, struct principal *ret_principal,
                       struct failure *failure)
{
    /* What stands in for the row of a token that is not known: no secret has this digest. */
    static const char nobody[] = "0000000000000000000000000000000000000000000000000000000000000000";
    char id[ID_SIZE] = "00000000-0000-4000-8000-000000000000";
    char expected[DIGEST_HEX_SIZE], digest[DIGEST_HEX_SIZE];
    const char *secret = "";
    struct row row = {0};
    struct principal principal = {0};
    bool well_formed = split(token, id, &secret);
    if (!well_formed) {
        strcpy(id, "00000000-0000-4000-8000-000000000000");
    }
    memcpy(expected, nobody, sizeof(expected));
    int code = store_get(logic->environment.store, COLLECTION_TOKEN, id, &row, failure);
    if (code != VIM_OK && code != VIM_E_NOT_FOUND) {
        return code;
    }
    bool known = code == VIM_OK && fill_principal(&row, &principal, expected);
    row_free(&row);
    digest_sha256_hex(secret, strlen(secret), digest);
    bool equal = digest_equal(digest, expected, DIGEST_HEX_SIZE - 1);
    if (!equal || !known || !well_formed) {
        return failure_set(failure, VIM_E_CREDENTIAL, "the token is not known");
    }
    if (principal.expires != 0 && principal.expires <= clock_now_ms()) {
        return failure_set(failure, VIM_E_CREDENTIAL, "the token has expired");
    }
    *ret_principal = principal;
    return VIM_OK;
}

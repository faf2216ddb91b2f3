/*
 * commit and get, sentence by sentence of store.h.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "store_client.h"
#include "store_groups.h"
#include "subject.h"

#define BODY_MAX (1024 * 1024)
#define WRITES_MAX 1000

/* Commits one write and requires CODE. */
static void require_put(struct run *run, const char *id, const char *body, uint64_t expect,
                        int code)
{
    int got = store_client_put(run->instance, run->unique, id, body, expect);

    if (got != code)
        check_fail(run, "%s of %s expecting %" PRId64 " gave %s instead of %s",
                   body ? "a write" : "a delete", id, (int64_t)expect, code_name(got),
                   code_name(code));
}

static void require_revision(struct run *run, const char *id, uint64_t revision)
{
    uint64_t got = store_client_revision(run->instance, run->unique, id);

    if (got != revision)
        check_fail(run, "%s has revision %" PRId64 " instead of %" PRId64 " (0: not there)", id,
                   (int64_t)got, (int64_t)revision);
}

static void check_revisions(struct run *run)
{
    require_put(run, "a", "{}", VIM_EXPECT_ABSENT, VIM_OK);
    require_revision(run, "a", 1);
    require_put(run, "a", "{}", 1, VIM_OK);
    require_revision(run, "a", 2);
    require_put(run, "a", "{}", VIM_EXPECT_ANY, VIM_OK);
    require_revision(run, "a", 3);
    require_put(run, "new", "{}", VIM_EXPECT_ANY, VIM_OK);
    require_revision(run, "new", 1);
}

static void check_expect_absent(struct run *run)
{
    require_put(run, "a", "{\"first\":1}", VIM_EXPECT_ABSENT, VIM_OK);
    require_put(run, "a", "{}", VIM_EXPECT_ABSENT, VIM_E_CONFLICT);
    require_revision(run, "a", 1);
    require_put(run, "b", NULL, VIM_EXPECT_ABSENT, VIM_OK);
    require_put(run, "a", NULL, VIM_EXPECT_ABSENT, VIM_E_CONFLICT);
    require_revision(run, "a", 1);
}

static void check_expect_revision(struct run *run)
{
    require_put(run, "a", "{}", 1, VIM_E_CONFLICT);
    require_put(run, "a", "{}", VIM_EXPECT_ABSENT, VIM_OK);
    require_put(run, "a", "{}", 2, VIM_E_CONFLICT);
    require_put(run, "a", "{}", UINT64_MAX - 1, VIM_E_CONFLICT);
    require_put(run, "a", "{}", 1, VIM_OK);
    require_put(run, "a", "{}", 1, VIM_E_CONFLICT);
    require_revision(run, "a", 2);
}

static void check_delete(struct run *run)
{
    require_put(run, "a", NULL, VIM_EXPECT_ANY, VIM_OK);
    require_put(run, "a", NULL, 1, VIM_E_CONFLICT);
    require_put(run, "a", "{}", VIM_EXPECT_ABSENT, VIM_OK);
    require_put(run, "a", NULL, 2, VIM_E_CONFLICT);
    require_revision(run, "a", 1);
    require_put(run, "a", NULL, 1, VIM_OK);
    require_revision(run, "a", 0);
    require_put(run, "a", "{}", VIM_EXPECT_ABSENT, VIM_OK);
    require_revision(run, "a", 1);
}

static void check_conflict_is_named(struct run *run)
{
    struct vim_write write = {.collection = run->unique, .id = "row-7", .body = "{}", .expect = 9};
    struct answer answer = {0};
    char name[64];

    REQUIRE(run, store_client_commit(run->instance, &write, 1, &answer) == VIM_E_CONFLICT,
            "no conflict");
    snprintf(name, sizeof name, "%s/row-7", run->unique);
    REQUIRE(run, strstr(answer.text, name), "\"%s\" does not name %s", answer.text, name);
}

static void check_all_or_nothing(struct run *run)
{
    const char *c = run->unique;
    char other[32];
    struct vim_write writes[] = {
        {.collection = c, .id = "kept", .body = "{\"changed\":true}", .expect = 1},
        {.collection = c, .id = "gone", .expect = VIM_EXPECT_ANY},
        {.collection = other, .id = "new", .body = "{}", .expect = VIM_EXPECT_ABSENT},
        {.collection = c, .id = "stale", .body = "{}", .expect = 5},
    };

    unique_name("other", other);
    require_put(run, "kept", "{}", VIM_EXPECT_ABSENT, VIM_OK);
    require_put(run, "gone", "{}", VIM_EXPECT_ABSENT, VIM_OK);
    require_put(run, "stale", "{}", VIM_EXPECT_ABSENT, VIM_OK);
    for (unsigned place = 0; place < 4; place++) {
        /* The one that conflicts stands first, in the middle, last. */
        struct vim_write last = writes[3];

        writes[3] = writes[place];
        writes[place] = last;
        REQUIRE(run, store_client_commit(run->instance, writes, 4, NULL) == VIM_E_CONFLICT,
                "no conflict");
        writes[place] = writes[3];
        writes[3] = last;
        require_revision(run, "kept", 1);
        require_revision(run, "gone", 1);
        REQUIRE(run, store_client_revision(run->instance, other, "new") == 0,
                "a row was made by a commit that failed");
    }
    writes[3].expect = 1;
    REQUIRE(run, store_client_commit(run->instance, writes, 4, NULL) == VIM_OK,
            "four good writes in one commit fail");
    require_revision(run, "kept", 2);
    require_revision(run, "gone", 0);
    require_revision(run, "stale", 2);
    REQUIRE(run, store_client_revision(run->instance, other, "new") == 1, "new row is not there");
}

static void check_columns(struct run *run)
{
    struct vim_write write = {.collection = run->unique,
                              .id = "a",
                              .parent = "p:1/x",
                              .body = "{}",
                              .due = 1800000000123,
                              .state = 31};
    struct answer answer = {0};
    const struct stored *row;

    store_client_commit(run->instance, &write, 1, NULL);
    REQUIRE(run, store_client_get(run->instance, run->unique, "a", &answer) == VIM_OK, "not found");
    REQUIRE(run, answer.count == 1, "%zu rows emitted", answer.count);
    row = &answer.rows[0];
    REQUIRE(run, row->collection && strcmp(row->collection, run->unique) == 0, "kind is wrong");
    REQUIRE(run, row->id && strcmp(row->id, "a") == 0, "id is wrong");
    REQUIRE(run, row->parent && strcmp(row->parent, "p:1/x") == 0, "parent is wrong");
    REQUIRE(run, row->state == 31 && row->due == 1800000000123 && row->revision == 1,
            "state %u, due %" PRId64 ", revision %" PRIu64, row->state, row->due, row->revision);
    answer_clear(&answer);
    /* A write replaces all of them. */
    write = (struct vim_write){.collection = run->unique, .id = "a", .body = "[]", .expect = 1};
    store_client_commit(run->instance, &write, 1, NULL);
    store_client_get(run->instance, run->unique, "a", &answer);
    REQUIRE(run,
            answer.count == 1 && answer.rows[0].state == 0 && answer.rows[0].due == 0 &&
                (!answer.rows[0].parent || !answer.rows[0].parent[0]) &&
                strcmp(answer.rows[0].body, "[]") == 0,
            "an update left old columns behind");
    answer_clear(&answer);
}

static void check_bodies(struct run *run)
{
    static const char *const bodies[] = {
        "{}",
        " { \"spaces\" :\t1 ,\n\"kept\": [ ] } ",
        "{\"unicode\":\"\xc3\xa9 \xe2\x82\xac \xf0\x9f\x8c\x8d \\u00e9 \\ud83c\\udf0d\"}",
        "{\"quotes\":\"' \\\" ; -- \\\\ % ? $1 :a\"}",
        "{\"number\":1.0000000000000000001e+400}",
        "null",
    };
    struct answer answer = {0};
    char *large = malloc(BODY_MAX + 1);

    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        require_put(run, "a", bodies[i], VIM_EXPECT_ANY, VIM_OK);
        store_client_get(run->instance, run->unique, "a", &answer);
        if (answer.count != 1 || strcmp(answer.rows[0].body, bodies[i]) != 0)
            check_fail(run, "%s comes back as %s", bodies[i],
                       answer.count ? answer.rows[0].body : "nothing");
        answer_clear(&answer);
    }
    for (size_t i = 0; i < BODY_MAX; i++)
        large[i] = (char)('a' + i % 26);
    large[0] = large[BODY_MAX - 1] = '"';
    large[BODY_MAX] = '\0';
    require_put(run, "large", large, VIM_EXPECT_ABSENT, VIM_OK);
    store_client_get(run->instance, run->unique, "large", &answer);
    if (answer.count != 1 || strcmp(answer.rows[0].body, large) != 0)
        check_fail(run, "a body of 1 MiB does not come back");
    answer_clear(&answer);
    free(large);
}

static void check_get_unknown(struct run *run)
{
    struct answer answer = {0};
    int code = store_client_get(run->instance, run->unique, "a", &answer);

    REQUIRE(run, code == VIM_E_NOT_FOUND && answer.count == 0, "in an unknown collection: %s",
            code_name(code));
    require_put(run, "a", "{}", VIM_EXPECT_ABSENT, VIM_OK);
    code = store_client_get(run->instance, run->unique, "A", &answer);
    REQUIRE(run, code == VIM_E_NOT_FOUND && answer.count == 0, "ids differ in case: %s",
            code_name(code));
}

static void require_invalid(struct run *run, struct vim_write write, const char *what)
{
    int code = store_client_commit(run->instance, &write, 1, NULL);

    if (code != VIM_E_INVALID)
        check_fail(run, "%s: %s", what, code_name(code));
}

static void check_limits(struct run *run)
{
    char long_id[202], long_collection[34], *body = malloc(BODY_MAX + 2);
    struct vim_write good = {
        .collection = run->unique, .id = "a", .body = "{}", .expect = VIM_EXPECT_ANY};
    struct vim_write bad;

    memset(long_id, 'i', sizeof long_id);
    long_id[201] = '\0';
    memset(long_collection, 'c', sizeof long_collection);
    long_collection[33] = '\0';
    memset(body, 'b', BODY_MAX + 1);
    body[BODY_MAX + 1] = '\0';
#define BAD(member, value, what) (bad = good, bad.member = (value), require_invalid(run, bad, what))
    BAD(collection, long_collection, "a collection of 33 characters");
    BAD(collection, "", "an empty collection");
    BAD(collection, "Upper", "a collection in upper case");
    BAD(collection, "a.b", "a collection with a dot");
    BAD(id, long_id, "an id of 201 bytes");
    BAD(id, "", "an empty id");
    BAD(id, "a b", "an id with a space");
    BAD(id, "a\xc3\xa9", "an id that is not ASCII");
    BAD(id, "a\n", "an id with a control character");
    BAD(parent, long_id, "a parent of 201 bytes");
    BAD(parent, "a b", "a parent with a space");
    BAD(state, 32, "state 32");
    BAD(body, body, "a body of 1 MiB and 1 byte");
    /* The largest that is allowed. */
    long_id[200] = long_collection[32] = '\0';
    bad = good;
    bad.id = bad.parent = long_id;
    memcpy(long_collection, run->unique, strlen(run->unique));
    bad.collection = long_collection;
    if (store_client_commit(run->instance, &bad, 1, NULL) != VIM_OK)
        check_fail(run, "names of the greatest length are refused");
    free(body);
}

static void check_write_count(struct run *run)
{
    struct vim_write *writes = calloc(WRITES_MAX + 1, sizeof *writes);
    char(*ids)[16] = calloc(WRITES_MAX + 1, sizeof *ids);
    int most, more, twice;

    for (unsigned i = 0; i <= WRITES_MAX; i++) {
        snprintf(ids[i], sizeof ids[i], "row-%04u", i);
        writes[i] = (struct vim_write){.collection = run->unique, .id = ids[i], .body = "{}"};
    }
    most = store_client_commit(run->instance, writes, WRITES_MAX, NULL);
    more = store_client_commit(run->instance, writes, WRITES_MAX + 1, NULL);
    for (unsigned i = 0; i < WRITES_MAX; i++)
        writes[i].expect = VIM_EXPECT_ANY;
    snprintf(ids[999], sizeof ids[999], "row-0500");
    twice = store_client_commit(run->instance, writes, WRITES_MAX, NULL);
    free(writes);
    free(ids);
    REQUIRE(run, most == VIM_OK, "1000 writes: %s", code_name(most));
    REQUIRE(run, more == VIM_E_INVALID, "1001 writes: %s", code_name(more));
    REQUIRE(run, twice == VIM_E_INVALID, "1000 writes, one row twice: %s", code_name(twice));
    require_revision(run, "row-0500", 1);
}

static void check_row_twice(struct run *run)
{
    struct vim_write writes[2] = {
        {.collection = run->unique, .id = "a", .body = "{}", .expect = VIM_EXPECT_ANY},
        {.collection = run->unique, .id = "a", .body = "[]", .expect = VIM_EXPECT_ANY}};
    int code = store_client_commit(run->instance, writes, 2, NULL);

    REQUIRE(run, code == VIM_E_INVALID, "%s", code_name(code));
    require_revision(run, "a", 0);
}

/* A newer host's struct vim_write is larger. */
static void check_stride(struct run *run)
{
    struct {
        struct vim_write write;
        char newer[40];
    } writes[2] = {{.write = {.collection = run->unique, .id = "a", .body = "{\"n\":1}"}},
                   {.write = {.collection = run->unique, .id = "b", .body = "{\"n\":2}"}}};
    int code;

    memset(writes[0].newer, 0x5a, sizeof writes[0].newer);
    memset(writes[1].newer, 0x5a, sizeof writes[1].newer);
    code = store_client_commit_within(run->instance, &writes[0].write, 2, sizeof writes[0],
                                      SUBJECT_CALL_MS, NULL);
    REQUIRE(run, code == VIM_OK, "%s", code_name(code));
    require_revision(run, "a", 1);
    require_revision(run, "b", 1);
}

static void check_reopen(struct run *run)
{
    require_put(run, "a", "{\"kept\":1}", VIM_EXPECT_ABSENT, VIM_OK);
    require_put(run, "a", "{\"kept\":2}", 1, VIM_OK);
    subject_close(run->instance);
    run->instance = subject_open(run, "checked");
    if (!run->instance)
        exit(1);
    require_revision(run, "a", 2);
}

/* The time that is left bounds the call; when it says that nothing happened, nothing has. */
static void check_no_time(struct run *run)
{
    struct vim_write write = {.collection = run->unique, .id = "a", .body = "{}"};
    int code = store_client_commit_within(run->instance, &write, 1, sizeof write, 0, NULL);
    uint64_t revision = store_client_revision(run->instance, run->unique, "a");

    REQUIRE(run, code == VIM_OK || VIM_IS_TRANSIENT(code) || VIM_IS_UNKNOWN(code), "%s",
            code_name(code));
    REQUIRE(run, code != VIM_OK || revision == 1, "VIM_OK, but the row is not there");
    REQUIRE(run, !VIM_IS_TRANSIENT(code) || revision == 0, "%s, but the row is there",
            code_name(code));
}

void store_group(struct run *run)
{
    static const struct check checks[] = {
        {"a row is born with revision 1, and every write adds one", check_revisions},
        {"VIM_EXPECT_ABSENT is a conflict when the row is there", check_expect_absent},
        {"a revision that is not the row's is a conflict", check_expect_revision},
        {"deletes expect like writes; of an absent row they are fine under ANY", check_delete},
        {"a conflict names collection/id", check_conflict_is_named},
        {"a commit with one row not as expected changes nothing", check_all_or_nothing},
        {"get gives every column of the row", check_columns},
        {"bodies come back byte for byte, up to 1 MiB", check_bodies},
        {"get of what is not there is VIM_E_NOT_FOUND", check_get_unknown},
        {"what exceeds the limits is VIM_E_INVALID", check_limits},
        {"a commit has up to 1000 writes", check_write_count},
        {"no row may be named twice in a commit", check_row_twice},
        {"writes are read with the stride given", check_stride},
        {"a call without time left is answered truly", check_no_time},
        {"data is there after closing and opening", check_reopen},
    };
    size_t count;
    const struct check *scans = store_scan_checks(&count);

    run_checks_on_instance(run, checks, sizeof checks / sizeof checks[0]);
    run_checks_on_instance(run, scans, count);
}

/* Lists over rows in a store: what is seen, in which order, page by page. */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/ids.h"
#include "base/text.h"
#include "model/resource.h"

#define READER "blue/reader"
#define ADMIN "ops/admin"
#define COUNT 60

static struct world world;
/* Ids in order; of every three the first is blue's, the second red's, the third shared. */
static char ids[COUNT][ID_SIZE];

/* Rows of a VIM that is not configured: nobody else touches them. */
static void add_row(unsigned number, char id[ID_SIZE])
{
    static const char *const parents[] = {"blue", "red", PROJECT_SHARED};
    struct failure failure = {0};
    const char *parent = parents[number % 3];
    CLEANUP_FREE char *body = text_format(
        "{\"id\":\"%s\",\"kind\":\"keypair\",\"name\":\"k%03u\",\"vim\":\"far\",\"project\":\"%s\","
        "\"shared\":%s,\"status\":\"%s\",\"pending\":false,\"labels\":{\"n\":\"%u\"},"
        "\"created\":\"2026-01-01T00:%02u:00Z\"}",
        id, (number * 37) % COUNT, number % 3 == 2 ? "infra" : parent,
        number % 3 == 2 ? "true" : "false", number % 2 ? "ACTIVE" : "ERROR", number % 6,
        number % 60);
    struct vim_write write = {.collection = "keypair",
                              .id = id,
                              .parent = parent,
                              .body = body,
                              .expect = VIM_EXPECT_ABSENT,
                              .state = number % 2 ? STATUS_ACTIVE : STATUS_ERROR};
    assert_int_equal(store_commit(world.store, &write, 1, &failure), VIM_OK);
}

static int setup(void **state)
{
    (void)state;
    world_open(&world, false, NULL);
    for (unsigned i = 0; i < COUNT; i++) {
        id_new(ids[i]);
        add_row(i, ids[i]);
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    world_close(&world);
    return 0;
}

/* Walks over all pages of LIMIT; gives MEMBER of all elements, separated by spaces. */
static char *walk(const char *who, const char *query, unsigned limit, const char *member,
                  unsigned *ret_pages)
{
    struct text all = {0};
    CLEANUP_FREE char *token = NULL;
    *ret_pages = 0;
    do {
        CLEANUP_FREE char *target =
            text_format("/v1/keypairs?limit=%u%s%s%s%s", limit, *query ? "&" : "", query,
                        token ? "&page_token=" : "", token ? token : "");
        struct reply reply = ask(&world, who, "GET", target, NULL, NULL);
        if (reply.status != 200) {
            fail_msg("%s: %s", target, reply.body);
        }
        size_t i;
        json_t *element;
        json_t *list = json_object_get(reply.json, "keypairs");
        assert_true(json_array_size(list) <= limit);
        json_array_foreach(list, i, element)
        {
            text_printf(&all, "%s ", json_string_value(json_object_get(element, member)));
        }
        free(token);
        token = text_duplicate(reply_text(&reply, "next"));
        const char *link = reply_header(&reply, "Link");
        assert_int_equal(link != NULL, token != NULL);
        if (token) {
            assert_non_null(strstr(link, token));
            assert_non_null(strstr(link, "rel=\"next\""));
            assert_non_null(strstr(link, "</v1/keypairs?limit="));
        }
        reply_free(&reply);
        ++*ret_pages;
        assert_true(*ret_pages < 1000);
    } while (token);
    return text_take(&all);
}

/* What a project sees: its own and what is shared, ids ascending (or descending). */
static char *expected_ids(bool own, bool shared, bool others, bool descending)
{
    struct text all = {0};
    for (unsigned n = 0; n < COUNT; n++) {
        unsigned i = descending ? COUNT - 1 - n : n;
        if ((i % 3 == 0 && own) || (i % 3 == 1 && others) || (i % 3 == 2 && shared)) {
            text_printf(&all, "%s ", ids[i]);
        }
    }
    return text_take(&all);
}

static void pages(void **state)
{
    (void)state;
    static const unsigned limits[] = {1, 2, 7, 39, 40, 41, 1000};
    unsigned count;
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        CLEANUP_FREE char *own = expected_ids(true, true, false, false);
        CLEANUP_FREE char *all = expected_ids(true, true, true, false);
        CLEANUP_FREE char *back = expected_ids(true, true, false, true);
        CLEANUP_FREE char *seen = walk(READER, "", limits[i], "id", &count);
        assert_string_equal(seen, own);
        assert_int_equal(count, (40 + limits[i] - 1) / limits[i]);
        CLEANUP_FREE char *seen_all = walk(ADMIN, "", limits[i], "id", &count);
        assert_string_equal(seen_all, all);
        CLEANUP_FREE char *seen_back = walk(READER, "sort=-id", limits[i], "id", &count);
        assert_string_equal(seen_back, back);
        CLEANUP_FREE char *fields = walk(READER, "fields=id", limits[i], "id", &count);
        assert_string_equal(fields, own);
    }
}

static void filtered_pages(void **state)
{
    (void)state;
    unsigned count;
    for (unsigned limit = 1; limit < 12; limit++) {
        CLEANUP_FREE char *red = expected_ids(false, false, true, false);
        CLEANUP_FREE char *seen = walk(ADMIN, "project=red", limit, "id", &count);
        assert_string_equal(seen, red);
        CLEANUP_FREE char *none = walk(READER, "project=red", limit, "id", &count);
        assert_string_equal(none, "");
        struct text active = {0};
        for (unsigned i = 1; i < COUNT; i += 2) {
            if (i % 3 != 1) {
                text_printf(&active, "%s ", ids[i]);
            }
        }
        CLEANUP_FREE char *seen_active = walk(READER, "status=ACTIVE", limit, "id", &count);
        assert_string_equal(seen_active, text_get(&active));
        text_free(&active);
        CLEANUP_FREE char *label =
            walk(READER, "label=n:3&filter=(neq,name,k051)", limit, "status", &count);
        assert_non_null(strstr(label, "ACTIVE"));
        assert_null(strstr(label, "ERROR"));
    }
}

static void sorted_pages(void **state)
{
    (void)state;
    unsigned count;
    CLEANUP_FREE char *all = walk(READER, "sort=name", 1000, "name", &count);
    for (const char *at = all; at[0] != '\0' && at[5] != '\0'; at += 5) {
        assert_true(strncmp(at, at + 5, 4) < 0);
    }
    assert_int_equal(strlen(all), 40 * 5);
    CLEANUP_FREE char *back_all = walk(READER, "sort=-name", 1000, "name", &count);
    CLEANUP_FREE char *status_all = walk(READER, "sort=status", 1000, "id", &count);
    for (unsigned limit = 1; limit < 45; limit += 3) {
        CLEANUP_FREE char *seen = walk(READER, "sort=name", limit, "name", &count);
        assert_string_equal(seen, all);
        CLEANUP_FREE char *back = walk(READER, "sort=-name", limit, "name", &count);
        assert_string_equal(back, back_all);
        CLEANUP_FREE char *status = walk(READER, "sort=status", limit, "id", &count);
        assert_string_equal(status, status_all);
    }
}

/* What comes in between two pages neither hides nor repeats what was there. */
static void stable_under_inserts(void **state)
{
    (void)state;
    struct reply first = ask(&world, READER, "GET", "/v1/keypairs?limit=20", NULL, NULL);
    CLEANUP_FREE char *target =
        text_format("/v1/keypairs?limit=1000&page_token=%s", reply_text(&first, "next"));
    char early[ID_SIZE] = "00000000-0000-7000-8000-000000000000";
    char late[ID_SIZE];
    add_row(60, early);
    add_row(60, id_new(late));
    struct reply second = ask(&world, READER, "GET", target, NULL, NULL);
    assert_int_equal(json_array_size(json_object_get(first.json, "keypairs")), 20);
    assert_int_equal(json_array_size(json_object_get(second.json, "keypairs")), 21);
    assert_null(strstr(second.body, early));
    assert_non_null(strstr(second.body, late));
    reply_free(&first);
    reply_free(&second);
    struct failure failure = {0};
    const char *const gone[] = {early, late};
    for (int i = 0; i < 2; i++) {
        struct vim_write write = {.collection = "keypair", .id = gone[i], .expect = VIM_EXPECT_ANY};
        assert_int_equal(store_commit(world.store, &write, 1, &failure), VIM_OK);
    }
}

static void refused(void **state)
{
    (void)state;
    struct reply first =
        ask(&world, READER, "GET", "/v1/keypairs?limit=2&status=ACTIVE", NULL, NULL);
    CLEANUP_FREE char *other =
        text_format("/v1/keypairs?status=ERROR&page_token=%s", reply_text(&first, "next"));
    CLEANUP_FREE char *kind =
        text_format("/v1/flavors?status=ACTIVE&page_token=%s", reply_text(&first, "next"));
    CLEANUP_FREE char *same =
        text_format("/v1/keypairs?status=ACTIVE&page_token=%s", reply_text(&first, "next"));
    expect(&world, 400, READER, "GET", other, NULL, NULL);
    expect(&world, 400, READER, "GET", kind, NULL, NULL);
    expect(&world, 200, READER, "GET", same, NULL, NULL);
    reply_free(&first);
    expect(&world, 400, READER, "GET", "/v1/keypairs?limit=1001", NULL, NULL);
    expect(&world, 400, READER, "GET", "/v1/keypairs?page_token=", NULL, NULL);
    expect(&world, 400, READER, "GET", "/v1/keypairs?filter=(eq,name)", NULL, NULL);
    struct reply reply = ask(&world, READER, "GET", "/v1/keypairs?nmae=x", NULL, NULL);
    assert_int_equal(reply.status, 400);
    assert_string_equal(reply_text(&reply, "code"), "invalid-query");
    assert_string_equal(reply_text(&reply, "errors.0.pointer"), "?nmae");
    assert_non_null(strstr(reply_text(&reply, "errors.0.detail"), "name"));
    reply_free(&reply);
}

static void one(void **state)
{
    (void)state;
    CLEANUP_FREE char *own = text_format("/v1/keypairs/%s", ids[0]);
    CLEANUP_FREE char *foreign = text_format("/v1/keypairs/%s", ids[1]);
    CLEANUP_FREE char *shared = text_format("/v1/keypairs/%s", ids[2]);
    CLEANUP_FREE char *chosen = text_format("/v1/keypairs/%s?fields=id,vim", ids[2]);
    expect(&world, 200, READER, "GET", own, NULL, NULL);
    expect(&world, 200, READER, "GET", shared, NULL, NULL);
    expect(&world, 200, ADMIN, "GET", foreign, NULL, NULL);
    expect(&world, 403, "blue/member", "PATCH", shared, NULL, "{'labels':{'a':'b'}}");
    expect(&world, 200, ADMIN, "PATCH", shared, NULL, "{'labels':{'a':'b'}}");
    /* Nothing tells what another project has from what does not exist. */
    struct reply hidden = ask(&world, READER, "GET", foreign, NULL, NULL);
    struct reply absent =
        ask(&world, READER, "GET", "/v1/keypairs/00000000-0000-4000-8000-000000000000", NULL, NULL);
    assert_int_equal(hidden.status, 404);
    assert_string_equal(hidden.body, absent.body);
    assert_string_equal(hidden.headers, absent.headers);
    reply_free(&hidden);
    reply_free(&absent);
    struct reply reply = ask(&world, READER, "GET", chosen, NULL, NULL);
    CLEANUP_FREE char *expected = text_format("{\"id\":\"%s\",\"vim\":\"far\"}", ids[2]);
    assert_string_equal(reply.body, expected);
    reply_free(&reply);
}

static void count_answer(void *argument, struct response *response)
{
    assert_int_equal(response->status, 200);
    ++*(int *)argument;
}

/* Average microseconds of answering PATH. */
static double time_of(const char *path, const struct header *query, size_t count)
{
    struct principal principal = {.project = "blue", .role = ROLE_READER};
    struct request request = {.method = "GET",
                              .path = path,
                              .query = query,
                              .query_count = count,
                              .request_id = "r",
                              .principal = &principal};
    const int times = 2000;
    int answers = 0;
    int64_t start = clock_mono_us();
    for (int i = 0; i < times; i++) {
        assert_true(logic_is_inline(world.logic, &request));
        logic_handle(world.logic, &request, count_answer, &answers);
    }
    assert_int_equal(answers, times);
    return (double)(clock_mono_us() - start) / times;
}

static int take_item(void *argument, const struct vim_item *item)
{
    *(size_t *)argument += strlen(item->body);
    return 0;
}

/* The cost beyond the store's own: printed, not judged. */
static void cost(void **state)
{
    (void)state;
    CLEANUP_FREE char *path = text_format("/v1/keypairs/%s", ids[0]);
    struct row row = {0};
    struct failure failure = {0};
    const int times = 2000;
    double get = time_of(path, NULL, 0);
    double list = time_of("/v1/keypairs", &(struct header){"limit", "40"}, 1);
    int64_t start = clock_mono_us();
    for (int i = 0; i < times; i++) {
        assert_int_equal(store_get(world.store, "keypair", ids[0], &row, &failure), VIM_OK);
        row_free(&row);
    }
    double store_one = (double)(clock_mono_us() - start) / times;
    start = clock_mono_us();
    size_t bytes = 0;
    for (int i = 0; i < times; i++) {
        static const char *const parents[] = {PROJECT_SHARED, "blue"};
        for (int parent = 0; parent < 2; parent++) {
            struct vim_scan scan = {.size = sizeof(scan),
                                    .collection = "keypair",
                                    .parent = parents[parent],
                                    .limit = 41};
            assert_int_equal(store_scan(world.store, &scan, take_item, &bytes, &failure), VIM_OK);
        }
    }
    double store_many = (double)(clock_mono_us() - start) / times;
    print_message("GET by id: %.1f us, of it the store %.1f us; list of 40: %.1f us, of it the "
                  "store %.1f us\n",
                  get, store_one, list, store_many);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages),        cmocka_unit_test(filtered_pages),
        cmocka_unit_test(sorted_pages), cmocka_unit_test(stable_under_inserts),
        cmocka_unit_test(refused),      cmocka_unit_test(one),
        cmocka_unit_test(cost),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

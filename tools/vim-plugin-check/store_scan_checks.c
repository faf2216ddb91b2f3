/*
 * scan, sentence by sentence of store.h.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "store_client.h"
#include "store_groups.h"

/* Writes a row of the check's collection. */
static void add(struct run *run, const char *id, const char *parent, uint32_t state, int64_t due)
{
    struct vim_write write = {.collection = run->unique,
                              .id = id,
                              .parent = parent,
                              .body = "{}",
                              .state = state,
                              .due = due,
                              .expect = VIM_EXPECT_ANY};

    if (store_client_commit(run->instance, &write, 1, NULL) != VIM_OK)
        check_fail(run, "the row %s cannot be written", id);
}

/* Scans and requires the ids EXPECTED, separated by spaces. */
static void require_ids(struct run *run, struct vim_scan scan, const char *expected)
{
    CLEANUP_TEXT struct text got = {0};
    struct answer answer = {0};
    int code;

    scan.size = sizeof scan;
    scan.collection = run->unique;
    code = store_client_scan(run->instance, &scan, &answer);
    for (size_t i = 0; i < answer.count; i++)
        text_printf(&got, "%s%s", i ? " " : "", answer.rows[i].id);
    answer_clear(&answer);
    if (code != VIM_OK)
        check_fail(run, "%s", code_name(code));
    else if (strcmp(text_get(&got), expected) != 0)
        check_fail(run, "got \"%s\" instead of \"%s\"", text_get(&got), expected);
}

#define SCAN(...) ((struct vim_scan){__VA_ARGS__})

static void check_order(struct run *run)
{
    static const char *const ids[] = {"b", "a", "C", "a-b", "aa", "10", "9", "~", "!"};

    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++)
        add(run, ids[i], "", 0, 0);
    require_ids(run, SCAN(.limit = 0), "! 10 9 C a a-b aa b ~");
    require_ids(run, SCAN(.flags = VIM_SCAN_DESCENDING), "~ b aa a-b a C 9 10 !");
}

static void check_after(struct run *run)
{
    add(run, "a", "", 0, 0);
    add(run, "c", "", 0, 0);
    add(run, "e", "", 0, 0);
    require_ids(run, SCAN(.after = "a"), "c e");
    require_ids(run, SCAN(.after = "b"), "c e");
    require_ids(run, SCAN(.after = "e"), "");
    require_ids(run, SCAN(.after = "0"), "a c e");
    require_ids(run, SCAN(.after = "c", .flags = VIM_SCAN_DESCENDING), "a");
    require_ids(run, SCAN(.after = "d", .flags = VIM_SCAN_DESCENDING), "c a");
}

static void check_limit(struct run *run)
{
    add(run, "a", "", 0, 0);
    add(run, "b", "", 0, 0);
    add(run, "c", "", 0, 0);
    require_ids(run, SCAN(.limit = 2), "a b");
    require_ids(run, SCAN(.limit = 2, .after = "b"), "c");
    require_ids(run, SCAN(.limit = 1, .flags = VIM_SCAN_DESCENDING), "c");
    require_ids(run, SCAN(.limit = 3), "a b c");
    require_ids(run, SCAN(.limit = 0), "a b c");
}

static void check_parent(struct run *run)
{
    add(run, "a", "p", 0, 0);
    add(run, "b", "q", 0, 0);
    add(run, "c", "p", 0, 0);
    add(run, "d", NULL, 0, 0);
    add(run, "e", "pp", 0, 0);
    require_ids(run, SCAN(.parent = "p"), "a c");
    require_ids(run, SCAN(.parent = "p", .after = "a", .limit = 5), "c");
    require_ids(run, SCAN(.parent = "none"), "");
    require_ids(run, SCAN(.parent = ""), "d");
    require_ids(run, SCAN(.parent = "p", .flags = VIM_SCAN_DESCENDING), "c a");
}

static void check_states(struct run *run)
{
    add(run, "a", "p", 0, 0);
    add(run, "b", "p", 1, 0);
    add(run, "c", "q", 5, 0);
    add(run, "d", "q", 31, 0);
    add(run, "e", "q", 5, 0);
    require_ids(run, SCAN(.states = 1u << 0), "a");
    require_ids(run, SCAN(.states = 1u << 5), "c e");
    require_ids(run, SCAN(.states = 1u << 5 | 1u << 0), "a c e");
    require_ids(run, SCAN(.states = 1u << 31), "d");
    require_ids(run, SCAN(.states = 1u << 31 | 1u << 5 | 1u << 1 | 1u << 0 | 1u << 7 | 1u << 8),
                "a b c d e");
    require_ids(run, SCAN(.states = 0), "a b c d e");
    require_ids(run, SCAN(.states = UINT32_MAX), "a b c d e");
    require_ids(run, SCAN(.states = 1u << 5, .parent = "q", .after = "c"), "e");
    require_ids(run, SCAN(.states = 1u << 5 | 1u, .limit = 2, .flags = VIM_SCAN_DESCENDING), "e c");
}

static void check_due(struct run *run)
{
    struct vim_scan scan = {
        .size = sizeof scan, .collection = run->unique, .flags = VIM_SCAN_BY_DUE, .due_until = 300};

    add(run, "a", "p", 1, 300);
    add(run, "b", "p", 1, 100);
    add(run, "c", "q", 2, 0);
    add(run, "d", "q", 2, 200);
    add(run, "e", "q", 2, 301);
    require_ids(run, scan, "b d a");
    scan.limit = 2;
    require_ids(run, scan, "b d");
    scan.limit = 0;
    scan.states = 1u << 2;
    require_ids(run, scan, "d");
    scan.states = 0;
    scan.parent = "p";
    require_ids(run, scan, "b a");
    scan.due_until = 99;
    require_ids(run, scan, "");
    /* Moving a row's due time moves the row. */
    scan = (struct vim_scan){.flags = VIM_SCAN_BY_DUE, .due_until = 300};
    add(run, "b", "p", 1, 0);
    add(run, "e", "q", 2, 50);
    require_ids(run, scan, "e d a");
}

static void check_items(struct run *run)
{
    struct vim_write write = {.collection = run->unique,
                              .id = "a",
                              .parent = "p",
                              .body = "{\"x\":1}",
                              .state = 7,
                              .due = 12};
    struct vim_scan scan = {.size = sizeof scan, .collection = run->unique};
    struct answer answer = {0};
    const struct stored *row;

    store_client_commit(run->instance, &write, 1, NULL);
    store_client_scan(run->instance, &scan, &answer);
    REQUIRE(run, answer.count == 1, "%zu rows", answer.count);
    row = &answer.rows[0];
    REQUIRE(run,
            row->collection && strcmp(row->collection, run->unique) == 0 &&
                strcmp(row->parent, "p") == 0 && row->state == 7 && row->due == 12 &&
                row->revision == 1 && row->body && strcmp(row->body, "{\"x\":1}") == 0,
            "a column of the item is wrong");
    answer_clear(&answer);
    scan.flags = VIM_SCAN_NO_BODY;
    store_client_scan(run->instance, &scan, &answer);
    REQUIRE(run, answer.count == 1 && answer.rows[0].revision == 1, "not so without bodies");
    answer_clear(&answer);
}

static void check_unknown(struct run *run)
{
    require_ids(run, SCAN(.limit = 1), "");
}

/* Rows move between indexes as they are updated and deleted. */
static void check_updated(struct run *run)
{
    add(run, "a", "p", 1, 0);
    add(run, "b", "p", 1, 0);
    add(run, "a", "q", 2, 0);
    require_ids(run, SCAN(.parent = "p"), "b");
    require_ids(run, SCAN(.parent = "q"), "a");
    require_ids(run, SCAN(.states = 1u << 1), "b");
    require_ids(run, SCAN(.states = 1u << 1, .flags = VIM_SCAN_FEW), "b");
    store_client_put(run->instance, run->unique, "b", NULL, VIM_EXPECT_ANY);
    require_ids(run, SCAN(.parent = "p"), "");
    require_ids(run, SCAN(.states = 1u << 1), "");
    require_ids(run, SCAN(.limit = 0), "a");
    require_ids(run, SCAN(.flags = VIM_SCAN_FEW), "a");
}

static void check_pages(struct run *run)
{
    struct vim_scan scan = {.size = sizeof scan, .collection = run->unique, .limit = 7};
    struct answer answer = {0};
    char id[32], after[64] = "";
    unsigned seen = 0;

    for (unsigned i = 0; i < 100; i++) {
        snprintf(id, sizeof id, "row-%03u", i * 37 % 100);
        add(run, id, "", 0, 0);
    }
    do {
        scan.after = after[0] ? after : NULL;
        answer_clear(&answer);
        if (store_client_scan(run->instance, &scan, &answer) != VIM_OK)
            break;
        for (size_t i = 0; i < answer.count; i++) {
            snprintf(id, sizeof id, "row-%03u", seen++);
            if (strcmp(answer.rows[i].id, id) != 0)
                check_fail(run, "%s stands where %s should", answer.rows[i].id, id);
            snprintf(after, sizeof after, "%s", answer.rows[i].id);
        }
    } while (answer.count == 7 && seen <= 100);
    answer_clear(&answer);
    REQUIRE(run, seen == 100, "%u of 100 rows in pages of 7", seen);
}

static void check_stops(struct run *run)
{
    struct vim_scan scan = {.size = sizeof scan, .collection = run->unique};
    struct answer answer = {.stop_after = 2};
    int code;

    add(run, "a", "", 0, 0);
    add(run, "b", "", 0, 0);
    add(run, "c", "", 0, 0);
    code = store_client_scan(run->instance, &scan, &answer);
    REQUIRE(run, code == VIM_OK && answer.count == 2, "%s after %zu rows", code_name(code),
            answer.count);
    answer_clear(&answer);
    require_ids(run, scan, "a b c");
}

const struct check *store_scan_checks(size_t *ret_count)
{
    static const struct check checks[] = {
        {"an unknown collection is an empty one", check_unknown},
        {"rows come in order of id, bytewise, both ways", check_order},
        {"`after` begins behind an id that need not exist", check_after},
        {"`limit` bounds the rows", check_limit},
        {"`parent` selects, also the empty one", check_parent},
        {"`states` selects by mask", check_states},
        {"VIM_SCAN_BY_DUE gives rows with 0 < due <= due_until, the earliest first", check_due},
        {"items carry every column", check_items},
        {"updates and deletes are seen in every kind of scan", check_updated},
        {"pages joined together are the whole", check_pages},
        {"a scan ends when no more rows are wanted", check_stops},
    };

    *ret_count = sizeof checks / sizeof checks[0];
    return checks;
}

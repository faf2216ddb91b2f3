/* Filters, order, page tokens and projection: everything of a list that needs no store. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "logic/query.h"
#include "logic/vocabularies.h"

static const char body[] =
    "{\"id\":\"1\",\"kind\":\"server\",\"name\":\"web, (one)\",\"vim\":\"edge1\",\"status\":\"ACTIVE\","
    "\"pending\":false,\"labels\":{\"app\":\"upf\",\"a/b\":\"c\"},\"created\":\"2026-03-01T10:00:00Z\","
    "\"security_groups\":[\"g1\",\"g2\"],\"addresses\":[{\"address\":\"10.0.0.1\",\"version\":4},"
    "{\"address\":\"fd00::1\",\"version\":6}],\"metadata\":{\"k\":\"it's\"}}";

static struct vocabulary servers(void)
{
    return vocabulary_of_kind(kind_by_name("server"));
}

/* 1: matches, 0: does not, -1: refused. */
static int filter(const char *expression)
{
    struct filter filter = {.count = 0};
    struct findings findings = {0};
    struct vocabulary vocabulary = servers();
    filter_parse(&vocabulary, expression, &filter, &findings);
    int result = findings.count > 0 ? -1 : filter_match(&filter, body, strlen(body));
    filter_free(&filter);
    findings_free(&findings);
    return result;
}

static void operators(void **state)
{
    (void)state;
    assert_int_equal(filter("(eq,status,ACTIVE)"), 1);
    assert_int_equal(filter("(eq,status,ERROR)"), 0);
    assert_int_equal(filter("(neq,status,ERROR)"), 1);
    assert_int_equal(filter("(neq,status,ACTIVE)"), 0);
    assert_int_equal(filter("(in,vim,edge2,edge1)"), 1);
    assert_int_equal(filter("(nin,vim,edge2,edge1)"), 0);
    assert_int_equal(filter("(nin,vim,edge2,edge3)"), 1);
    assert_int_equal(filter("(gt,created,2026-03-01T09:00:00Z)"), 1);
    assert_int_equal(filter("(gt,created,2026-03-01T10:00:00Z)"), 0);
    assert_int_equal(filter("(gte,created,2026-03-01T10:00:00Z)"), 1);
    assert_int_equal(filter("(lt,created,2026-03-01T12:00:00+01:00)"), 1);
    assert_int_equal(filter("(lte,created,2026-02-01T00:00:00Z)"), 0);
    assert_int_equal(filter("(cont,name,one)"), 1);
    assert_int_equal(filter("(cont,name,two,web)"), 1);
    assert_int_equal(filter("(ncont,name,two,web)"), 0);
    assert_int_equal(filter("(eq,pending,false)"), 1);
    assert_int_equal(filter("(eq,status,ACTIVE);(eq,vim,edge2)"), 0);
    assert_int_equal(filter("(eq,status,ACTIVE);(eq,vim,edge1)"), 1);
    assert_int_equal(filter("(eq,host,compute1)"), 0);
    assert_int_equal(filter("(neq,host,compute1)"), 1);
}

static void nested(void **state)
{
    (void)state;
    assert_int_equal(filter("(eq,labels/app,upf)"), 1);
    assert_int_equal(filter("(eq,labels/a~1b,c)"), 1);
    assert_int_equal(filter("(eq,security_groups,g2)"), 1);
    assert_int_equal(filter("(eq,security_groups,g3)"), 0);
    assert_int_equal(filter("(eq,addresses/address,fd00::1)"), 1);
    assert_int_equal(filter("(gt,addresses/version,5)"), 1);
    assert_int_equal(filter("(gt,addresses/version,6)"), 0);
}

static void quoting(void **state)
{
    (void)state;
    assert_int_equal(filter("(eq,name,'web, (one)')"), 1);
    assert_int_equal(filter("(eq,metadata/k,'it''s')"), 1);
    assert_int_equal(filter("(in,name,'a','web, (one)')"), 1);
    assert_int_equal(filter("(eq,name,web, (one))"), -1);
    assert_int_equal(filter("(eq,name,it's)"), -1);
    assert_int_equal(filter("(eq,name,'open)"), -1);
}

static void refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {"",
                                        "eq,status,ACTIVE",
                                        "(eq,status,ACTIVE",
                                        "(eq,status)",
                                        "(eq,status,A,B)",
                                        "(like,status,A)",
                                        "(eq,,A)",
                                        "(eq,status,ACTIVE)(eq,vim,a)",
                                        "(eq,status,ACTIVE);",
                                        "(eq,stauts,ACTIVE)",
                                        "(eq,status,RUNNING)",
                                        "(gt,created,yesterday)",
                                        "(eq,pending,maybe)",
                                        "(eq,a/b/c/d/e,x)",
                                        "(eq,na~9me,x)"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        if (filter(wrong[i]) != -1) {
            fail_msg("accepted: %s", wrong[i]);
        }
    }
    struct text many = {0};
    for (int i = 0; i < QUERY_CLAUSES_MAX; i++) {
        text_printf(&many, "%s(eq,status,ACTIVE)", i > 0 ? ";" : "");
    }
    assert_int_equal(filter(text_get(&many)), 1);
    text_add(&many, ";(eq,status,ACTIVE)");
    assert_int_equal(filter(text_get(&many)), -1);
    text_free(&many);
}

/* --- Parameters ------------------------------------------------------------------------------ */

static struct list_query parse(const struct header *query, size_t count, struct findings *findings)
{
    struct list_query result;
    struct vocabulary vocabulary = servers();
    list_query_parse(&vocabulary, "server", NULL, query, count, &result, findings);
    return result;
}

/* The detail of the only finding about one parameter; "" if it was accepted. */
static const char *complaint(const char *name, const char *value, char buffer[600])
{
    struct header query = {name, value};
    struct findings findings = {0};
    struct list_query result = parse(&query, 1, &findings);
    buffer[0] = '\0';
    if (findings.count > 0) {
        snprintf(buffer, 600, "%s %s", findings.items[0].pointer, findings.items[0].detail);
    }
    findings_free(&findings);
    list_query_free(&result);
    return buffer;
}

static void parameters(void **state)
{
    (void)state;
    char buffer[600];
    assert_string_equal(complaint("limit", "1000", buffer), "");
    assert_string_equal(complaint("limit", "1001", buffer), "?limit must be from 1 to 1000");
    assert_string_equal(complaint("limit", "0", buffer), "?limit must be from 1 to 1000");
    assert_string_equal(complaint("limit", "ten", buffer), "?limit must be from 1 to 1000");
    assert_string_equal(complaint("statsu", "ACTIVE", buffer),
                        "?statsu statsu is not known; the nearest is status");
    assert_string_equal(complaint("lable", "a", buffer),
                        "?lable lable is not known; the nearest is label");
    assert_non_null(strstr(complaint("status", "RUNNING", buffer), "?status status is one of:"));
    assert_string_equal(complaint("sort", "-created", buffer), "");
    assert_string_equal(complaint("sort", "labels", buffer), "?sort labels has no order");
    assert_non_null(strstr(complaint("sort", "nmae", buffer), "the nearest is name"));
    assert_non_null(strstr(complaint("fields", "id,nmae", buffer), "the nearest is name"));
    assert_non_null(strstr(complaint("changed_since", "now", buffer), "?changed_since must be"));
    assert_non_null(strstr(complaint("page_token", "xyz", buffer), "does not belong"));
    assert_string_equal(complaint("label", "app:upf", buffer), "");
    assert_non_null(strstr(complaint("label", ":upf", buffer), "?label must be"));
    assert_string_equal(complaint("labels", "app", buffer),
                        "?labels labels has members: use filter=(eq,labels/NAME,VALUE)");
    struct header label = {"label", "app"};
    struct findings of_tasks = {0};
    struct list_query tasks;
    list_query_parse(&vocabulary_tasks, "tasks", "created", &label, 1, &tasks, &of_tasks);
    assert_int_equal(of_tasks.count, 1);
    assert_null(strstr(of_tasks.items[0].detail, "nearest is label"));
    findings_free(&of_tasks);
    list_query_free(&tasks);
    struct header twice[] = {{"limit", "1"}, {"limit", "2"}};
    struct findings findings = {0};
    struct list_query result = parse(twice, 2, &findings);
    assert_int_equal(findings.count, 1);
    findings_free(&findings);
    list_query_free(&result);
}

static bool matches(const struct header *query, size_t count)
{
    struct findings findings = {0};
    struct list_query result = parse(query, count, &findings);
    assert_int_equal(findings.count, 0);
    bool match = filter_match(&result.filter, body, strlen(body));
    list_query_free(&result);
    return match;
}

static void plain_filters(void **state)
{
    (void)state;
    assert_true(matches((struct header[]){{"status", "ACTIVE"}, {"vim", "edge1"}}, 2));
    assert_false(matches((struct header[]){{"status", "ACTIVE"}, {"vim", "edge2"}}, 2));
    assert_true(matches((struct header[]){{"label", "app:upf"}, {"label", "a/b"}}, 2));
    assert_false(matches((struct header[]){{"label", "app:amf"}}, 1));
    assert_false(matches((struct header[]){{"label", "zone"}}, 1));
    assert_true(matches((struct header[]){{"name", "web, (one)"}}, 1));
    assert_true(matches((struct header[]){{"security_groups", "g1"}}, 1));
    /* Without `updated`, `created` counts. */
    assert_true(matches((struct header[]){{"changed_since", "2026-03-01T10:00:00Z"}}, 1));
    assert_false(matches((struct header[]){{"changed_since", "2026-03-01T10:00:01Z"}}, 1));
}

static const char *status_name(unsigned number)
{
    static const char *const names[] = {"UNKNOWN", "ACTIVE", "ERROR"};
    return number < 3 ? names[number] : NULL;
}

static void masks(void **state)
{
    (void)state;
    struct findings findings = {0};
    struct header one[] = {{"status", "ACTIVE"}};
    struct list_query result = parse(one, 1, &findings);
    assert_int_equal(filter_mask(&result.filter, "status", status_name), 1u << 1);
    assert_int_equal(filter_mask(&result.filter, "vim", status_name), 0);
    list_query_free(&result);
    struct header many[] = {{"filter", "(in,status,ACTIVE,ERROR)"}};
    result = parse(many, 1, &findings);
    assert_int_equal(filter_mask(&result.filter, "status", status_name), 6);
    list_query_free(&result);
    assert_int_equal(findings.count, 0);
}

/* --- Page tokens ----------------------------------------------------------------------------- */

static bool token_fits(const struct header *query, size_t count)
{
    struct findings findings = {0};
    struct list_query result = parse(query, count, &findings);
    bool fits = findings.count == 0 && result.has_after;
    findings_free(&findings);
    list_query_free(&result);
    return fits;
}

static void page_tokens(void **state)
{
    (void)state;
    struct findings findings = {0};
    struct header query[] = {{"vim", "edge1"}, {"sort", "-name"}};
    struct list_query first = parse(query, 2, &findings);
    struct sort_key key;
    sort_key_read("name", body, strlen(body), &key);
    char *token = page_token_make(&first, "0193-id", &key);
    struct header next[] = {
        {"vim", "edge1"}, {"sort", "-name"}, {"page_token", token}, {"limit", "5"}};
    struct list_query second = parse(next, 4, &findings);
    assert_int_equal(findings.count, 0);
    assert_true(second.has_after);
    assert_string_equal(second.after_id, "0193-id");
    assert_int_equal(sort_key_compare(&second.after_key, &key), 0);
    assert_string_equal(second.after_key.text, "web, (one)");

    assert_false(token_fits(
        (struct header[]){{"vim", "edge2"}, {"sort", "-name"}, {"page_token", token}}, 3));
    assert_false(token_fits(
        (struct header[]){{"vim", "edge1"}, {"sort", "name"}, {"page_token", token}}, 3));
    assert_false(token_fits((struct header[]){{"page_token", token}}, 1));
    char *broken = text_duplicate(token);
    broken[strlen(broken) / 2] ^= 1;
    assert_false(token_fits(
        (struct header[]){{"vim", "edge1"}, {"sort", "-name"}, {"page_token", broken}}, 3));
    free(broken);
    free(token);
    list_query_free(&first);
    list_query_free(&second);
}

static void sort_keys(void **state)
{
    (void)state;
    struct sort_key a, b, none;
    static const char numbers[] = "{\"vcpus\":2,\"ram\":10}";
    sort_key_read("vcpus", numbers, strlen(numbers), &a);
    sort_key_read("ram", numbers, strlen(numbers), &b);
    sort_key_read("disk", numbers, strlen(numbers), &none);
    assert_true(sort_key_compare(&a, &b) < 0);
    assert_true(sort_key_compare(&b, &none) < 0);
    assert_true(sort_key_compare(&none, &none) == 0);
}

static void projection(void **state)
{
    (void)state;
    struct text text = {0};
    fields_project((const char *const[]){"id", "labels"}, 2, body, strlen(body), &text);
    assert_string_equal(text_get(&text),
                        "{\"id\":\"1\",\"labels\":{\"app\":\"upf\",\"a/b\":\"c\"}}");
    text_clear(&text);
    fields_project((const char *const[]){"host"}, 1, body, strlen(body), &text);
    assert_string_equal(text_get(&text), "{}");
    text_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(operators),  cmocka_unit_test(nested),
        cmocka_unit_test(quoting),    cmocka_unit_test(refused),
        cmocka_unit_test(parameters), cmocka_unit_test(plain_filters),
        cmocka_unit_test(masks),      cmocka_unit_test(page_tokens),
        cmocka_unit_test(sort_keys),  cmocka_unit_test(projection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

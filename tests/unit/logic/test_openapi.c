/* The document hangs together, and docs/openapi.json is what the tables say. With --write it writes
 * that file anew. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/file.h"
#include "base/json.h"
#include "base/text.h"
#include "logic/openapi.h"
#include "logic/route.h"

#define COPY TEST_SOURCE_DIR "/docs/openapi.json"

static json_t *document(void)
{
    CLEANUP_FREE char *text = openapi_text(NULL, false);
    json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(json);
    return json;
}

static void copy_is_current(void **state)
{
    (void)state;
    CLEANUP_FREE char *text = openapi_text(NULL, true);
    CLEANUP_TEXT struct text copy = {0};
    assert_int_equal(file_read(COPY, 16 << 20, &copy, NULL), VIM_OK);
    if (strncmp(text_get(&copy), text, strlen(text)) != 0) {
        fail_msg("docs/openapi.json is not what the tables say: run test_openapi --write");
    }
}

/* Every $ref leads somewhere; nothing that json_pack could not make became null. */
static void check_references(const json_t *root, const json_t *value)
{
    const char *key;
    json_t *member;
    size_t i;
    assert_false(json_is_null(value));
    json_object_foreach((json_t *)value, key, member)
    {
        if (strcmp(key, "$ref") == 0) {
            const char *path = json_string_value(member);
            assert_true(strncmp(path, "#/components/", 13) == 0);
            CLEANUP_FREE char *section = text_duplicate(path + 13);
            char *name = strchr(section, '/');
            *name++ = '\0';
            const json_t *components = json_object_get(root, "components");
            if (!json_object_get(json_object_get(components, section), name)) {
                fail_msg("%s leads nowhere", path);
            }
        }
        check_references(root, member);
    }
    json_array_foreach(value, i, member)
    {
        check_references(root, member);
    }
}

static void references(void **state)
{
    (void)state;
    CLEANUP_JSON json_t *root = document();
    check_references(root, root);
}

static void every_route_is_told(void **state)
{
    (void)state;
    CLEANUP_JSON json_t *root = document();
    CLEANUP_JSON json_t *ids = json_object();
    struct route_table *table = routes_new();
    for (size_t i = 0; i < table->count; i++) {
        char method[16] = {0};
        for (size_t c = 0; table->entries[i].route->method[c] != '\0'; c++) {
            method[c] = (char)(table->entries[i].route->method[c] | 0x20);
        }
        json_t *operation = json_object_get(
            json_object_get(json_object_get(root, "paths"), table->entries[i].template), method);
        assert_non_null(operation);
        const char *id = json_get_text(operation, "operationId", NULL);
        assert_non_null(id);
        assert_null(strchr(id, '{'));
        assert_null(json_object_get(ids, id));
        json_object_set_new(ids, id, json_true());
        assert_true(json_object_size(json_object_get(operation, "responses")) > 2);
    }
    routes_free(table);
}

static void schemas(void **state)
{
    (void)state;
    CLEANUP_JSON json_t *all = openapi_schemas();
    const char *name;
    json_t *schema;
    json_object_foreach(all, name, schema)
    {
        if (!json_is_object(schema)) {
            fail_msg("%s is not a schema", name);
        }
    }
    json_t *create = json_object_get(all, "ServerCreate");
    json_t *properties = json_object_get(create, "properties");
    assert_non_null(json_object_get(properties, "user_data"));
    assert_non_null(json_object_get(properties, "labels"));
    assert_null(json_object_get(properties, "host"));
    properties = json_object_get(json_object_get(all, "Server"), "properties");
    assert_null(json_object_get(properties, "user_data"));
    assert_non_null(json_object_get(properties, "host"));
    properties = json_object_get(json_object_get(all, "KeypairUpdate"), "properties");
    assert_null(json_object_get(properties, "name"));
    assert_non_null(json_object_get(all, "SecurityGroupList"));
}

static void matching(void **state)
{
    (void)state;
    struct route_table *table = routes_new();
    char id[CALL_ID_SIZE];
    struct text allow = {0};
    const struct route_entry *entry = routes_match(table, "GET", "/v1/servers/abc", id, NULL);
    assert_string_equal(entry->template, "/v1/servers/{id}");
    assert_string_equal(id, "abc");
    assert_ptr_equal(entry->kind, kind_by_name("server"));
    assert_ptr_equal(routes_match(table, "HEAD", "/v1/servers/abc", id, NULL), entry);
    assert_non_null(routes_match(table, "PUT", "/v1/images/x/data", id, NULL));
    assert_null(routes_match(table, "PUT", "/v1/servers/x/data", id, &allow));
    assert_int_equal(allow.length, 0);
    assert_null(routes_match(table, "PUT", "/v1/servers/x", id, &allow));
    assert_string_equal(text_get(&allow), "GET, HEAD, PATCH, DELETE, OPTIONS");
    text_clear(&allow);
    static const char *const unknown[] = {"",
                                          "/",
                                          "/v1",
                                          "/v1/",
                                          "/v1/stones",
                                          "v1/servers",
                                          "/v1/servers/",
                                          "//v1/servers",
                                          "/v1/servers/a b",
                                          "/v1/servers/a/b/c/d/e/f/g",
                                          "/v1/servers/\xc3\xa4",
                                          "/v1/network-stones"};
    for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
        assert_null(routes_match(table, "GET", unknown[i], id, &allow));
        assert_int_equal(allow.length, 0);
    }
    routes_free(table);
    text_free(&allow);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--write") == 0) {
        CLEANUP_FREE char *text = openapi_text(NULL, true);
        CLEANUP_FREE char *line = text_format("%s\n", text);
        return file_write(COPY, line, strlen(line), 0644) == VIM_OK ? 0 : 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copy_is_current),
        cmocka_unit_test(references),
        cmocka_unit_test(every_route_is_told),
        cmocka_unit_test(schemas),
        cmocka_unit_test(matching),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Query parameters of lists: filters of ETSI SOL013, labels, times, order, pages and fields; what
 * was parsed is matched against a body. The input is parameters, one per line, as NAME=VALUE; what
 * is behind an empty line is the body. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "logic/query.h"
#include "logic/vocabularies.h"
#include "model/kinds.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PARAMETERS_MAX 40

static const char server[] =
    "{\"id\":\"5f\",\"kind\":\"server\",\"name\":\"a,b)\\\"c\",\"status\":\"ACTIVE\",\"pending\":false,"
    "\"labels\":{\"app\":\"upf\"},\"created\":\"2026-01-01T00:00:00Z\",\"addresses\":[{\"address\":"
    "\"10.0.0.1\",\"version\":4},{\"address\":\"2001:db8::1\",\"version\":6}],\"metadata\":{\"k\":\"v\"}}";

/* Cuts TEXT into parameters; returns how many, and where the body begins. */
static size_t cut(char *text, struct header *parameters, const char **ret_body)
{
    size_t count = 0;
    while (*text != '\0' && *text != '\n' && count < PARAMETERS_MAX) {
        char *end = text + strcspn(text, "\n");
        char *next = *end == '\0' ? end : end + 1;
        *end = '\0';
        char *equals = strchr(text, '=');
        parameters[count].name = text;
        parameters[count].value = equals == NULL ? "" : equals + 1;
        if (equals != NULL) {
            *equals = '\0';
        }
        count++;
        text = next;
    }
    *ret_body = *text == '\n' && text[1] != '\0' ? text + 1 : server;
    return count;
}

static void use(const struct list_query *query, const char *body)
{
    size_t length = strlen(body);
    struct text text = {0};
    struct sort_key key;
    (void)filter_match(&query->filter, body, length);
    sort_key_read(query->sort != NULL ? query->sort : "name", body, length, &key);
    if (sort_key_compare(&key, &key) != 0) {
        abort();
    }
    if (query->field_count > 0) {
        fields_project((const char *const *)query->fields, query->field_count, body, length, &text);
    }
    text_free(&text);
    free(page_token_make(query, "00000000-0000-4000-8000-000000000000",
                         query->sort != NULL ? &key : NULL));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = malloc(size + 1);
    if (copy == NULL) {
        return 0;
    }
    memcpy(copy, data, size);
    copy[size] = '\0';

    struct header parameters[PARAMETERS_MAX];
    const char *body;
    size_t count = cut(copy, parameters, &body);
    struct vocabulary vocabularies[] = {vocabulary_of_kind(kind_by_name("server")),
                                        vocabulary_of_kind(kind_by_name("security-group")),
                                        vocabulary_tasks};
    for (size_t i = 0; i < sizeof(vocabularies) / sizeof(vocabularies[0]); i++) {
        struct list_query query;
        struct findings findings = {0};
        list_query_parse(&vocabularies[i], "server", "created", parameters, count, &query,
                         &findings);
        if (findings.count == 0) {
            if (query.limit < 1 || query.limit > QUERY_LIMIT_MAX) {
                abort();
            }
            use(&query, body);
        }
        list_query_free(&query);
        findings_free(&findings);
    }
    free(copy);
    return 0;
}

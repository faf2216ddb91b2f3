/* What OpenStack's services answer: pages of every kind, single resources, ports of servers, tokens,
 * versions and the shapes of errors. The first byte chooses, the rest is the body. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "catalog.h"
#include "error.h"
#include "json.h"
#include "resource.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct os_found *found)
{
    if (found->kind == NULL || found->status == NULL || found->id[0] == '\0' ||
        !json_is_object(found->body)) {
        abort(); /* what was read is complete */
    }
    char *text = os_json_dump(found->body);
    free(text);
}

static int on_found(void *context, struct os_found *found)
{
    const json_t *index = context;
    check(found);
    if (strcmp(found->kind, "server") == 0) {
        os_join_ports(found, index);
    }
    return VIM_OK;
}

static void read_resources(const struct os_kind *kind, const char *text, size_t length)
{
    json_t *index = json_object();
    char *next = NULL;
    if (os_read_server_ports(text, length, index, &next) == VIM_OK) {
        free(next);
    }
    next = NULL;
    if (os_read_page(kind, text, length, on_found, index, &next) == VIM_OK) {
        free(next);
    }
    struct os_found found = {0};
    if (os_read_one(kind, text, length, &found) == VIM_OK) {
        check(&found);
    }
    os_found_clear(&found);
    json_decref(index);
}

static void read_errors(const char *text, size_t length)
{
    static const long statuses[] = {400, 401, 403, 404, 409, 413, 429, 500, 503};
    for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
        struct os_refusal refusal = {.service = (enum os_service)(i % OS_SERVICES),
                                     .write = (int)(i % 2),
                                     .status = statuses[i],
                                     .body = text,
                                     .length = length};
        struct os_error error;
        os_error_read(&error, &refusal);
        if (error.code >= 0 || memchr(error.message, '\0', sizeof(error.message)) == NULL) {
            abort();
        }
        (void)os_error_is_capacity(error.message);
    }
}

static void read_identity(const char *text, size_t length)
{
    struct os_catalog catalog;
    int lowest;
    int highest;
    (void)os_catalog_read(text, length, NULL, "public", &catalog);
    (void)os_catalog_read(text, length, "RegionOne", "internal", &catalog);
    (void)os_catalog_versions(text, length, &lowest, &highest);

    char *copy = malloc(length + 1);
    if (copy != NULL) {
        char url[512];
        memcpy(copy, text, length);
        copy[length] = '\0';
        (void)os_catalog_base(OS_COMPUTE, copy, url);
        (void)os_catalog_base(OS_IMAGE, copy, url);
        (void)os_microversion(copy);
        (void)os_time_parse(copy);
        (void)os_is_uuid(copy);
        free(os_escape(copy));
        free(copy);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    const char *text = (const char *)data + 1;
    size_t length = size - 1;
    unsigned choice = data[0] % (os_kind_count + 2);
    if (choice < os_kind_count) {
        read_resources(&os_kinds[choice], text, length);
    } else if (choice == os_kind_count) {
        read_errors(text, length);
    } else {
        read_identity(text, length);
    }
    return 0;
}

#include "catalog.h"
#include "json.h"

#include <stdio.h>
#include <string.h>
#include <vim/plugin.h>

static int ends_with(const char *text, const char *end)
{
    size_t length = strlen(text);
    size_t tail = strlen(end);

    return length >= tail && strcmp(text + length - tail, end) == 0;
}

int os_catalog_base(enum os_service service, const char *url, char ret_url[512])
{
    static const char *const versions[OS_SERVICES] = {"/v3", NULL, "/v2.0", "/v2", NULL};
    const char *version = versions[service];
    size_t length = strlen(url);

    while (length > 0 && url[length - 1] == '/') {
        length--;
    }
    if (length + 8 >= 512 ||
        (strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0)) {
        return VIM_E_INVALID;
    }
    memcpy(ret_url, url, length);
    ret_url[length] = '\0';
    if (version != NULL && !ends_with(ret_url, version)) {
        strcpy(ret_url + length, version);
    }
    return VIM_OK;
}

int os_catalog_version_url(const char *base, char ret_url[512])
{
    const char *host = strstr(base, "://");
    const char *version = strstr(host == NULL ? base : host + 3, "/v2");
    size_t length;

    if (version == NULL) {
        return VIM_E_INVALID;
    }
    /* Older clouds have the project behind the version. */
    length = (size_t)(version - base) + 1 + strcspn(version + 1, "/");
    if (length + 2 > 512) {
        return VIM_E_INVALID;
    }
    memcpy(ret_url, base, length);
    strcpy(ret_url + length, "/");
    return VIM_OK;
}

static void read_endpoints(const json_t *entry, enum os_service service, const char *region,
                           const char *interface, struct os_catalog *catalog)
{
    const json_t *endpoint;
    size_t at;

    json_array_foreach(json_object_get(entry, "endpoints"), at, endpoint)
    {
        const char *where = os_json_text(endpoint, "region_id");
        const char *side = os_json_text(endpoint, "interface");
        const char *url = os_json_text(endpoint, "url");
        if (where == NULL) {
            where = os_json_text(endpoint, "region");
        }
        if (url == NULL || side == NULL || strcmp(side, interface) != 0 ||
            (region != NULL && (where == NULL || strcmp(where, region) != 0))) {
            continue;
        }
        if (os_catalog_base(service, url, catalog->url[service]) == VIM_OK) {
            return;
        }
        catalog->url[service][0] = '\0';
    }
}

/* Block storage is in the catalog under its old name, its official one, or both. */
static int is_type(const char *type, enum os_service service)
{
    return strcmp(type, os_service_name(service)) == 0
               ? service != OS_VOLUME /* version 1, long gone */
               : service == OS_VOLUME &&
                     (strcmp(type, "volumev3") == 0 || strcmp(type, "block-storage") == 0);
}

int os_catalog_read(const char *body, size_t length, const char *region, const char *interface,
                    struct os_catalog *ret_catalog)
{
    OS_JSON root = os_json_parse(body, length);
    const json_t *token = json_object_get(root, "token");
    const char *expires = os_json_text(token, "expires_at");
    const char *issued = os_json_text(token, "issued_at");
    const char *project = os_json_text(json_object_get(token, "project"), "id");
    const json_t *entry;
    size_t at;

    if (expires == NULL || issued == NULL || os_time_parse(expires) == 0 ||
        os_time_parse(issued) == 0) {
        return VIM_E_INTERNAL;
    }
    memset(ret_catalog, 0, sizeof(*ret_catalog));
    ret_catalog->lifetime_ms = os_time_parse(expires) - os_time_parse(issued);
    if (project != NULL && strlen(project) < sizeof(ret_catalog->project)) {
        strcpy(ret_catalog->project, project);
    }
    json_array_foreach(json_object_get(token, "catalog"), at, entry)
    {
        const char *type = os_json_text(entry, "type");
        for (int service = 0; type != NULL && service < OS_SERVICES; service++) {
            if (is_type(type, (enum os_service)service)) {
                read_endpoints(entry, (enum os_service)service, region, interface, ret_catalog);
            }
        }
    }
    return VIM_OK;
}

int os_microversion(const char *text)
{
    int major;
    int minor;
    int used = 0;

    if (text == NULL || sscanf(text, "%3d.%3d%n", &major, &minor, &used) != 2 ||
        text[used] != '\0' || major < 0 || minor < 0) {
        return -1;
    }
    return major * 1000 + minor;
}

int os_catalog_versions(const char *body, size_t length, int *ret_lowest, int *ret_highest)
{
    OS_JSON root = os_json_parse(body, length);
    const json_t *version = json_object_get(root, "version");
    int lowest = os_microversion(os_json_text(version, "min_version"));
    int highest = os_microversion(os_json_text(version, "version"));

    if (lowest < 0 || highest < lowest) {
        return VIM_E_INTERNAL;
    }
    *ret_lowest = lowest;
    *ret_highest = highest;
    return VIM_OK;
}

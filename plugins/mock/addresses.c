/* Subnets: which addresses there are, and which of them are given out. */
#include "rules.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned __int128 number;

/* Reads an address of either version. Returns 4 or 6, or 0 if it is none. */
static int parse_address(const char *text, number *ret_value)
{
    unsigned char bytes[16];
    int version = 0;
    size_t size = 0;
    if (text != NULL && inet_pton(AF_INET, text, bytes) == 1) {
        version = 4;
        size = 4;
    } else if (text != NULL && inet_pton(AF_INET6, text, bytes) == 1) {
        version = 6;
        size = 16;
    }
    *ret_value = 0;
    for (size_t i = 0; i < size; i++) {
        *ret_value = (*ret_value << 8) | bytes[i];
    }
    return version;
}

static void format_address(int version, number value, char ret_text[INET6_ADDRSTRLEN])
{
    unsigned char bytes[16];
    size_t size = version == 4 ? 4 : 16;
    for (size_t i = size; i > 0; i--) {
        bytes[i - 1] = (unsigned char)value;
        value >>= 8;
    }
    inet_ntop(version == 4 ? AF_INET : AF_INET6, bytes, ret_text, INET6_ADDRSTRLEN);
}

/* Reads "10.0.0.0/24": first and last address. Returns the version, or 0. */
static int parse_cidr(const char *text, number *ret_first, number *ret_last)
{
    char address[INET6_ADDRSTRLEN];
    const char *slash = strchr(text, '/');
    char *end;
    if (slash == NULL || (size_t)(slash - text) >= sizeof(address) || slash[1] < '0' ||
        slash[1] > '9') {
        return 0;
    }
    memcpy(address, text, (size_t)(slash - text));
    address[slash - text] = '\0';
    int version = parse_address(address, ret_first);
    long prefix = strtol(slash + 1, &end, 10);
    int bits = version == 4 ? 32 : 128;
    if (version == 0 || *end != '\0' || prefix > bits) {
        return 0;
    }
    number hosts = prefix == 0 ? (version == 4 ? (number)UINT32_MAX : ~(number)0)
                               : (((number)1 << (bits - prefix)) - 1);
    *ret_last = *ret_first | hosts;
    return (*ret_first & hosts) == 0 ? version : 0;
}

static void add_pool(json_t *pools, int version, number start, number end)
{
    char first[INET6_ADDRSTRLEN];
    char last[INET6_ADDRSTRLEN];
    if (start <= end) {
        format_address(version, start, first);
        format_address(version, end, last);
        json_array_append_new(pools, json_pack("{s:s,s:s}", "start", first, "end", last));
    }
}

static int check_pools(struct scene *scene, json_t *pools, number first, number last, int version)
{
    size_t i;
    json_t *pool;
    json_array_foreach(pools, i, pool)
    {
        number start;
        number end;
        if (parse_address(json_string_value(json_object_get(pool, "start")), &start) != version ||
            parse_address(json_string_value(json_object_get(pool, "end")), &end) != version ||
            start > end || start < first || end > last) {
            return refuse(scene, 400, "invalid", "subnet: allocation pool %zu is outside", i);
        }
    }
    return 200;
}

int subnet_complete(struct scene *scene, json_t *fields)
{
    number first;
    number last;
    number gateway = 0;
    char text[INET6_ADDRSTRLEN];
    const char *cidr = json_string_value(json_object_get(fields, "cidr"));
    int version = parse_cidr(cidr, &first, &last);
    if (version == 0) {
        return refuse(scene, 400, "invalid", "subnet: '%.60s' is no network address", cidr);
    }
    json_object_set_new(fields, "ip_version", json_integer(version));
    json_t *given = json_object_get(fields, "gateway_ip");
    bool has_gateway = !json_is_null(given);
    if (given == NULL) {
        gateway = first == last ? first : first + 1;
        format_address(version, gateway, text);
        json_object_set_new(fields, "gateway_ip", json_string(text));
    } else if (has_gateway && (parse_address(json_string_value(given), &gateway) != version ||
                               gateway < first || gateway > last)) {
        return refuse(scene, 400, "invalid", "subnet: the gateway is outside");
    }
    if (json_object_get(fields, "enable_dhcp") == NULL) {
        json_object_set_new(fields, "enable_dhcp", json_true());
    }
    json_t *pools = json_object_get(fields, "allocation_pools");
    if (pools != NULL) {
        return check_pools(scene, pools, first, last, version);
    }
    pools = json_array();
    number low = last - first < 2 ? first : first + 1;
    number high = version == 4 && last - first >= 2 ? last - 1 : last;
    if (has_gateway && gateway >= low && gateway <= high) {
        if (gateway > low) {
            add_pool(pools, version, low, gateway - 1);
        }
        low = gateway + 1;
    }
    add_pool(pools, version, low, high);
    json_object_set_new(fields, "allocation_pools", pools);
    return 200;
}

static bool is_in(const json_t *list, const struct thing *subnet, const char *text)
{
    size_t i;
    json_t *entry;
    json_array_foreach(list, i, entry)
    {
        if (strcmp(json_string_value(json_object_get(entry, "ip_address")), text) == 0 &&
            strcmp(json_string_value(json_object_get(entry, "subnet")), subnet->id) == 0) {
            return true;
        }
    }
    return false;
}

/* Free: neither given out, nor in LIST, nor among what this transaction gives out. */
static bool is_free(struct scene *scene, const struct thing *subnet, const char *text,
                    const json_t *list)
{
    char key[96];
    struct address *address;
    size_t i;
    json_t *entry;
    if (is_in(list, subnet, text)) {
        return false;
    }
    json_array_foreach(scene->cloud->changes, i, entry)
    {
        if (is_in(json_object_get(json_object_get(entry, "fields"), "fixed_ips"), subnet, text)) {
            return false;
        }
    }
    snprintf(key, sizeof(key), "%s %s", subnet->id, text);
    HASH_FIND_STR(scene->cloud->addresses, key, address);
    return address == NULL;
}

/* Looks for a free address in the pools, from FROM on. Returns false if there is none. */
static bool find_free(struct scene *scene, struct thing *subnet, number from, const json_t *list,
                      char ret_text[INET6_ADDRSTRLEN])
{
    size_t i;
    json_t *pool;
    json_array_foreach(subnet->pools, i, pool)
    {
        number start;
        number end;
        int version = parse_address(json_string_value(json_object_get(pool, "start")), &start);
        (void)parse_address(json_string_value(json_object_get(pool, "end")), &end);
        start = start > from ? start : from;
        for (number value = start; value <= end && value >= start; value++) {
            format_address(version, value, ret_text);
            if (is_free(scene, subnet, ret_text, list)) {
                subnet->hint = value;
                return true;
            }
        }
    }
    return false;
}

int subnet_take(struct scene *scene, struct thing *subnet, const char *wanted, json_t *list)
{
    char text[INET6_ADDRSTRLEN];
    if (wanted != NULL) {
        number first;
        number last;
        number value;
        json_t *fields = thing_fields(subnet);
        int version = parse_cidr(json_string_value(json_object_get(fields, "cidr")), &first, &last);
        json_decref(fields);
        if (parse_address(wanted, &value) != version || value < first || value > last) {
            return refuse(scene, 400, "invalid", "port: %.60s is not in the subnet", wanted);
        }
        format_address(version, value, text);
        if (!is_free(scene, subnet, text, list)) {
            return refuse(scene, 409, "conflict", "port: %s is in use", text);
        }
    } else if (!find_free(scene, subnet, subnet->hint, list, text) &&
               !find_free(scene, subnet, 0, list, text)) {
        return refuse(scene, 409, "quota", "subnet %s has no address left", subnet->id);
    }
    json_array_append_new(list, json_pack("{s:s,s:s}", "subnet", subnet->id, "ip_address", text));
    return 200;
}

/*
 * Drives a real OpenStack through the built driver, in the small host of its unit tests. Started by
 * the script `driver` beside it:
 *     openstack_driver_check PLUGIN.so NAME=VALUE...      the options of the driver
 * Prints a line per check and, last, "N passed, N failed". Deletes only what it has made, by the ids
 * that it was told for it, and ends by comparing every list with what it was in the beginning.
 */
#include "driver_check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct driver *driver;
struct result result;
static int passed;
static int failed;

static const char *const kinds[] = {
    "server",  "port",   "subnet",      "network", "security-group", "image",         "flavor",
    "keypair", "router", "floating-ip", "volume",  "snapshot",       "affinity-group"};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int check(const char *what, int good)
{
    if (good) {
        passed++;
        printf("ok    %s\n", what);
    } else {
        failed++;
        printf("FAIL  %s: %d %s\n", what, result.failed_with, result.fail);
    }
    (void)fflush(stdout);
    return good;
}

const char *uuid(int number)
{
    static char text[4][37];
    static int turn;
    char *to = text[turn++ % 4];

    (void)snprintf(to, 37, "%08x-%04x-4222-8333-%012llx", (unsigned)getpid(),
                   (unsigned)number & 0xffff, (unsigned long long)time(NULL) / 1000000 + 77);
    return to;
}

const char *name(const char *what)
{
    static char text[4][64];
    static int turn;
    char *to = text[turn++ % 4];

    (void)snprintf(to, 64, "vimd-check-%d-%s", (int)getpid(), what);
    return to;
}

const char *field(const char *key)
{
    static char text[4][2048];
    static int turn;
    char *to = text[turn++ % 4];
    const char *body = result.count == 0 ? NULL : result.items[result.count - 1].body;
    json_t *root = body == NULL ? NULL : json_loads(body, 0, NULL);
    json_t *value = json_object_get(root, key);
    char *dumped = json_dumps(value == NULL ? json_null() : value, JSON_ENCODE_ANY | JSON_COMPACT);

    (void)snprintf(to, 2048, "%s",
                   json_is_string(value) ? json_string_value(value)
                   : dumped == NULL      ? ""
                                         : dumped);
    free(dumped);
    json_decref(root);
    return to;
}

const char *status(void)
{
    return result.count == 0 ? "" : result.items[result.count - 1].status;
}

int run(uint32_t verb, const char *kind, const char *id, const char *spec, int number)
{
    struct run one = {.verb = verb,
                      .kind = kind,
                      .id = id,
                      .spec = spec,
                      .request_id = uuid(number),
                      .use_list = 1};

    return driver_run(driver, &one, &result);
}

void make(const char *kind, json_t *wanted, int number, char ret_id[256])
{
    char *spec = json_dumps(wanted, 0);
    char what[128];
    struct run again = {.verb = VIM_VERB_CREATE,
                        .kind = kind,
                        .spec = spec,
                        .request_id = uuid(number),
                        .attempt = 1,
                        .use_list = 1};
    int rc = run(VIM_VERB_CREATE, kind, NULL, spec, number);

    ret_id[0] = '\0';
    if (rc != VIM_OK && strstr(result.fail, "went into error while") != NULL) {
        /* Cinder itself says that it failed, and the driver told and took back what there was. Once is the
         * cloud's doing, twice is not. */
        printf("note  create %s, once more: %s\n", kind, result.fail);
        again.request_id = uuid(number + 500);
        rc = run(VIM_VERB_CREATE, kind, NULL, spec, number + 500);
    }
    (void)snprintf(what, sizeof(what), "create %s", kind);
    if (check(what, rc == VIM_OK)) {
        (void)snprintf(ret_id, 256, "%s", result.items[result.count - 1].id);
        (void)snprintf(what, sizeof(what), "create %s again is the same one", kind);
        check(what, driver_run(driver, &again, &result) == VIM_OK &&
                        strcmp(result.items[result.count - 1].id, ret_id) == 0);
    }
    free(spec);
    json_decref(wanted);
}

void destroy(const char *kind, const char *id, int number)
{
    char what[128];

    if (*id == '\0') {
        return;
    }
    (void)snprintf(what, sizeof(what), "delete %s", kind);
    check(what, run(VIM_VERB_DELETE, kind, id, NULL, number) == VIM_OK);
    (void)snprintf(what, sizeof(what), "%s is gone", kind);
    result_clear(&result);
    check(what, driver_get(driver, kind, id, &result) == VIM_E_NOT_FOUND);
}

static int count(const char *kind, unsigned page_size)
{
    int rc;

    result_clear(&result);
    rc = driver_list(driver, kind, NULL, page_size, &result);
    return rc == VIM_OK ? (int)result.count : -1;
}

struct made {
    char key[256];
    char flavor[256];
    char network[256];
    char subnet[256];
    char group[256];
    char port[256];
    char image[256];
    char server[256];
};

static void make_parts(struct made *made)
{
    static char data[1 << 20];
    struct run upload = {.verb = VIM_VERB_UPLOAD,
                         .kind = "image",
                         .request_id = uuid(20),
                         .data = data,
                         .data_size = sizeof(data)};

    make("keypair",
         json_pack(
             "{s:s,s:s}", "name", name("key"), "public_key",
             "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMa8nEMLcjSH1lUQCOUPJWAtqA41DyfOErtm8gYYrJ8L me"),
         1, made->key);
    make("flavor",
         json_pack("{s:s,s:i,s:i,s:i,s:{s:s}}", "name", name("flavor"), "vcpus", 1, "ram", 64,
                   "disk", 1, "extra_specs", "hw:cpu_policy", "shared"),
         2, made->flavor);
    make("network", json_pack("{s:s,s:s}", "name", name("net"), "description", "a network"), 3,
         made->network);
    check("description is shown without the mark", strcmp(field("description"), "a network") == 0);
    make("subnet",
         json_pack("{s:s,s:s,s:s,s:n}", "name", name("subnet"), "network", made->network, "cidr",
                   "10.91.0.0/24", "gateway_ip"),
         4, made->subnet);
    make("security-group",
         json_pack("{s:s,s:[{s:s,s:s,s:i,s:i},{s:s,s:s,s:s}]}", "name", name("group"), "rules",
                   "direction", "ingress", "protocol", "tcp", "port_min", 22, "port_max", 22,
                   "direction", "egress", "ethertype", "IPv6", "remote_cidr", "::/0"),
         5, made->group);
    check("the group has its rules and no others",
          strstr(field("rules"), "\"port_min\":22") != NULL &&
              strstr(field("rules"), "\"remote_cidr\":\"::/0\"") != NULL &&
              strstr(field("rules"), "\"egress\",\"ethertype\":\"IPv4\"") == NULL);
    make("port",
         json_pack("{s:s,s:s,s:[{s:s,s:s}],s:[s]}", "name", name("port"), "network", made->network,
                   "fixed_ips", "subnet", made->subnet, "ip_address", "10.91.0.50",
                   "security_groups", made->group),
         6, made->port);
    make("image", json_pack("{s:s,s:s}", "name", name("image"), "disk_format", "raw"), 7,
         made->image);
    upload.id = made->image;
    check("upload image", driver_run(driver, &upload, &result) == VIM_OK);
    check("image is ACTIVE with all of its data",
          strcmp(status(), "ACTIVE") == 0 && strcmp(field("size"), "1048576") == 0);
}

static json_t *server_spec(const struct made *made, const char *flavor)
{
    return json_pack("{s:s,s:s,s:s,s:s,s:[{s:s},{s:s,s:s}],s:[s],s:{s:s},s:s}", "name",
                     name("server"), "image", made->image, "flavor", flavor, "key", made->key,
                     "networks", "port", made->port, "network", made->network, "fixed_ip",
                     "10.91.0.60", "security_groups", made->group, "metadata", "role", "check",
                     "user_data", "IyEvYmluL3NoCg==");
}

static void server_life(struct made *made)
{
    struct run action = {.verb = VIM_VERB_ACTION, .kind = "server", .spec = "{}", .use_list = 1};
    char *spec = json_dumps(server_spec(made, made->flavor), 0);
    unsigned requests = driver_requests();
    int64_t begun;
    char since[64] = "";

    result_clear(&result);
    begun = now_ms();
    if (!check("create server", run(VIM_VERB_CREATE, "server", NULL, spec, 8) == VIM_OK)) {
        free(spec);
        return;
    }
    printf(
        "      server: %lld ms from POST to ACTIVE; %u steps with %u requests, and %u requests of "
        "the lists meanwhile\n",
        (long long)(now_ms() - begun), result.steps, result.requests,
        driver_requests() - requests - result.requests);
    (void)snprintf(made->server, sizeof(made->server), "%s", result.items[0].id);
    free(spec);
    check("server names its flavor, image and key", strcmp(field("flavor"), made->flavor) == 0 &&
                                                        strcmp(field("image"), made->image) == 0 &&
                                                        strcmp(field("key"), made->key) == 0);
    check("server has both addresses", strstr(field("addresses"), "10.91.0.50") != NULL &&
                                           strstr(field("addresses"), "10.91.0.60") != NULL &&
                                           strstr(field("addresses"), made->port) != NULL);
    check("server names its security group", strstr(field("security_groups"), made->group) != NULL);
    check("metadata is shown without the tag",
          strcmp(field("metadata"), "{\"role\":\"check\"}") == 0);
    check("server carries the tag", strcmp(result.items[0].tag, uuid(8)) == 0);
    spec = json_dumps(server_spec(made, made->flavor), 0);
    struct run again = {.verb = VIM_VERB_CREATE,
                        .kind = "server",
                        .spec = spec,
                        .request_id = uuid(8),
                        .attempt = 1,
                        .use_list = 1};
    check("create server again is the same one", driver_run(driver, &again, &result) == VIM_OK &&
                                                     strcmp(result.items[0].id, made->server) == 0);
    free(spec);
    check("a list for changes", count("server", 0) >= 1 && result.kept != NULL);
    (void)snprintf(since, sizeof(since), "%s", result.kept == NULL ? "" : result.kept);
    action.id = made->server;
    action.request_id = uuid(9);
    action.action = "stop";
    check("stop",
          driver_run(driver, &action, &result) == VIM_OK && strcmp(status(), "SHUTOFF") == 0);
    result_clear(&result);
    check("the change is listed",
          driver_list(driver, "server", since, 0, &result) == VIM_OK &&
              result_find(&result, made->server) != NULL &&
              strcmp(result_find(&result, made->server)->status, "SHUTOFF") == 0);
    action.action = "start";
    check("start",
          driver_run(driver, &action, &result) == VIM_OK && strcmp(status(), "ACTIVE") == 0);
    action.action = "reboot";
    check("reboot",
          driver_run(driver, &action, &result) == VIM_OK && strcmp(status(), "ACTIVE") == 0);
    check("update server",
          run(VIM_VERB_UPDATE, "server", made->server,
              "{\"name\":\"vimd-check-renamed\",\"metadata\":{\"x\":\"y\"}}", 10) == VIM_OK);
    check("updated", strcmp(field("name"), "vimd-check-renamed") == 0 &&
                         strcmp(field("metadata"), "{\"x\":\"y\"}") == 0 &&
                         strcmp(result.items[0].tag, uuid(8)) == 0);
}

static void refusals(const struct made *made)
{
    struct run once = {.verb = VIM_VERB_DELETE,
                       .kind = "network",
                       .id = made->network,
                       .request_id = uuid(30),
                       .max_tries = 1};
    char *spec = json_dumps(server_spec(made, "no-such-flavor"), 0);
    char flavor[256];

    check("a network in use", driver_run(driver, &once, &result) == VIM_E_IN_USE);
    check("an unknown flavor", run(VIM_VERB_CREATE, "server", NULL, spec, 31) == VIM_E_INVALID);
    free(spec);
    make("flavor",
         json_pack("{s:s,s:i,s:i,s:i}", "name", name("huge"), "vcpus", 1, "ram", 64, "disk",
                   9000000),
         32, flavor);
    json_t *wanted =
        json_pack("{s:s,s:s,s:s}", "name", name("huge"), "image", made->image, "flavor", flavor);
    spec = json_dumps(wanted, 0);
    json_decref(wanted);
    check("no host is large enough", run(VIM_VERB_CREATE, "server", NULL, spec, 33) == VIM_E_QUOTA);
    printf("      %s\n", result.fail);
    free(spec);
    destroy("flavor", flavor, 34);
    check("a subnet that is none", run(VIM_VERB_CREATE, "subnet", NULL,
                                       "{\"network\":\"00000000-0000-0000-0000-000000000000\","
                                       "\"cidr\":\"10.0.0.0/24\"}",
                                       35) == VIM_E_INVALID);
}

static void updates(const struct made *made)
{
    check("update network", run(VIM_VERB_UPDATE, "network", made->network,
                                "{\"description\":\"other\"}", 40) == VIM_OK &&
                                strcmp(field("description"), "other") == 0 &&
                                strcmp(result.items[0].tag, uuid(3)) == 0);
    check("update port",
          run(VIM_VERB_UPDATE, "port", made->port, "{\"admin_state_up\":false}", 41) == VIM_OK &&
              strcmp(field("admin_state_up"), "false") == 0);
    check("update group",
          run(VIM_VERB_UPDATE, "security-group", made->group, "{\"rules\":[]}", 42) == VIM_OK &&
              strcmp(field("rules"), "[]") == 0);
    check("update image", run(VIM_VERB_UPDATE, "image", made->image,
                              "{\"min_ram\":32,\"name\":\"vimd-check-image\"}", 43) == VIM_OK &&
                              strcmp(field("min_ram"), "32") == 0);
}

static void destroy_all(const struct made *made)
{
    char since[64];

    (void)count("server", 0);
    (void)snprintf(since, sizeof(since), "%s", result.kept == NULL ? "" : result.kept);
    destroy("server", made->server, 50);
    result_clear(&result);
    check("the deletion is listed",
          driver_list(driver, "server", since, 0, &result) == VIM_OK &&
              result_find(&result, made->server) != NULL &&
              (result_find(&result, made->server)->flags & VIM_ITEM_GONE) != 0);
    destroy("port", made->port, 51);
    destroy("security-group", made->group, 52);
    destroy("subnet", made->subnet, 53);
    destroy("network", made->network, 54);
    destroy("image", made->image, 55);
    destroy("flavor", made->flavor, 56);
    destroy("keypair", made->key, 57);
}

int main(int argc, char **argv)
{
    const char *settings[65] = {NULL};
    struct made made = {.key = ""};
    int before[KINDS];
    char why[1024];
    int at;

    if (argc < 2) {
        fprintf(stderr, "usage: %s PLUGIN.so NAME=VALUE...\n", argv[0]);
        return 2;
    }
    for (at = 2; at < argc && at < 34; at++) {
        char *equals = strchr(argv[at], '=');
        if (equals == NULL) {
            fprintf(stderr, "%s is no NAME=VALUE\n", argv[at]);
            return 2;
        }
        *equals = '\0';
        settings[2 * (at - 2)] = argv[at];
        settings[2 * (at - 2) + 1] = equals + 1;
    }
    driver = driver_open(argv[1], settings, why);
    if (driver == NULL) {
        fprintf(stderr, "%s\n", why);
        return 2;
    }
    check("probe", driver_probe(driver, &result) == VIM_OK);
    printf("      %s\n", result.count > 0 ? result.items[0].body : "");
    if (failed == 0 && getenv("PROBE_ONLY") == NULL) {
        for (size_t kind = 0; kind < KINDS; kind++) {
            before[kind] = count(kinds[kind], 0);
            check(kinds[kind], before[kind] >= 0);
        }
        make_parts(&made);
        if (failed == 0) {
            server_life(&made);
        }
        for (size_t kind = 0; kind < KINDS; kind++) {
            int all = count(kinds[kind], 0);
            check("pages of one are the same list", all >= 0 && all == count(kinds[kind], 1));
        }
        if (*made.server != '\0') {
            refusals(&made);
            updates(&made);
            check_topology(made.server, made.image, made.flavor);
        }
        destroy_all(&made);
        for (size_t kind = 0; kind < KINDS; kind++) {
            check("nothing is left", count(kinds[kind], 0) == before[kind]);
        }
    }
    result_clear(&result);
    driver_close(driver);
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}

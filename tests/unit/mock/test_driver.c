/* The driver: each kind through its life, exactly once under lost replies and kills, undo at each
 * step, resumption by another instance, the fault script. */
#include "host.h"

#include <jansson.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* As plugins/mock/mock.h has it; filled by the option table's offsets in host_defaults(). */
struct settings {
    int64_t seed;
    const char *latency_distribution;
    int64_t latency_mean;
    int64_t network_latency_mean;
    int64_t builders;
    const char *server_ports;
    const char *polling;
    int64_t delete_latency_mean;
    int64_t call_latency;
    int64_t page_limit;
    int64_t hosts;
    int64_t host_vcpus;
    int64_t host_ram;
    struct vim_texts quotas;
    struct vim_texts faults;
    const char *folder;
};

struct fixture {
    char folder[128];
    const struct vim_plugin *plugin;
    struct vim_self *self; /* without faults */
    char image[256], flavor[256], network[256];
};

static int64_t build_ms = 3;

static struct vim_self *open_with(const struct fixture *fixture, uint32_t count,
                                  const char *const *faults)
{
    struct vim_self *self;
    char text[512];
    struct settings *settings = host_defaults(fixture->plugin);
    settings->latency_distribution = "fixed";
    settings->latency_mean = build_ms;
    settings->delete_latency_mean = 3;
    settings->faults = (struct vim_texts){.count = count, .items = faults};
    if (host_open(fixture->plugin, "m", fixture->folder, settings, &self, text) != VIM_OK) {
        fail_msg("%s", text);
    }
    return self;
}

static int run_plain(struct vim_self *self, uint32_t verb, const char *kind, const char *id,
                     const char *spec, char *ret_id)
{
    struct run run = {.self = self,
                      .verb = verb,
                      .kind = kind,
                      .id = id,
                      .spec = spec,
                      .request_id = "00000000-0000-4000-8000-000000000001"};
    int code = run_operation(&run);
    if (ret_id != NULL) {
        snprintf(ret_id, 256, "%s", run.learned);
    }
    run_end(&run);
    return code;
}

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    char spec[512];
    folder_make(fixture->folder);
    fixture->plugin = host_load("mock");
    assert_int_equal(fixture->plugin->config_size, sizeof(struct settings));
    fixture->self = open_with(fixture, 0, NULL);
    host_first(fixture->self, "image", fixture->image);
    host_first(fixture->self, "flavor", fixture->flavor);
    assert_int_equal(run_plain(fixture->self, VIM_VERB_CREATE, "network", NULL, "{\"name\":\"n\"}",
                               fixture->network),
                     VIM_OK);
    snprintf(spec, sizeof(spec), "{\"name\":\"s\",\"network\":\"%s\",\"cidr\":\"10.0.0.0/16\"}",
             fixture->network);
    assert_int_equal(run_plain(fixture->self, VIM_VERB_CREATE, "subnet", NULL, spec, NULL), VIM_OK);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    host_close(fixture->self);
    folder_remove(fixture->folder);
    free(fixture);
    return 0;
}

static void server_spec(const struct fixture *fixture, char ret_spec[2048])
{
    snprintf(ret_spec, 2048,
             "{\"name\":\"vm\",\"image\":\"%s\",\"flavor\":\"%s\",\"networks\":"
             "[{\"network\":\"%s\"},{\"network\":\"%s\"}]}",
             fixture->image, fixture->flavor, fixture->network, fixture->network);
}

static size_t count_of(struct vim_self *self, const char *kind)
{
    struct vim_call call;
    size_t count = host_list(self, kind, &call);
    call_end(&call);
    return count;
}

/* A request id that nobody else has. */
static void request_id(char ret_id[40], unsigned number)
{
    snprintf(ret_id, 40, "%08x-0000-4000-8000-000000000000", number + 0x100);
}

static void test_a_server_lives(void **state)
{
    struct fixture *fixture = *state;
    char spec[2048];
    char id[256];
    struct vim_call call;
    server_spec(fixture, spec);
    struct run run = {.self = fixture->self,
                      .verb = VIM_VERB_CREATE,
                      .kind = "server",
                      .spec = spec,
                      .request_id = "00000000-0000-4000-8000-0000000000aa"};
    assert_int_equal(run_operation(&run), VIM_OK);
    assert_true(run.steps >= 4); /* two ports, the server, the look afterwards */
    snprintf(id, sizeof(id), "%s", run.learned);
    run_end(&run);
    call_begin(&call);
    assert_int_equal(fixture->self->ops->get(&call, fixture->self->instance, "server", id), VIM_OK);
    assert_string_equal(call.items[0].status, "ACTIVE");
    assert_string_equal(call.items[0].tag, "00000000-0000-4000-8000-0000000000aa");
    call_end(&call);
    assert_int_equal(count_of(fixture->self, "port"), 2);
    const char *const actions[][2] = {
        {"stop", "SHUTOFF"}, {"start", "ACTIVE"}, {"reboot", "ACTIVE"}};
    for (unsigned i = 0; i < 3; i++) {
        char unique[40];
        request_id(unique, i);
        struct run act = {.self = fixture->self,
                          .verb = VIM_VERB_ACTION,
                          .kind = "server",
                          .id = id,
                          .action = actions[i][0],
                          .request_id = unique};
        assert_int_equal(run_operation(&act), VIM_OK);
        run_end(&act);
        call_begin(&call);
        assert_int_equal(fixture->self->ops->get(&call, fixture->self->instance, "server", id),
                         VIM_OK);
        assert_string_equal(call.items[0].status, actions[i][1]);
        call_end(&call);
    }
    assert_int_equal(
        run_plain(fixture->self, VIM_VERB_UPDATE, "server", id, "{\"name\":\"other\"}", NULL),
        VIM_OK);
    assert_int_equal(run_plain(fixture->self, VIM_VERB_DELETE, "server", id, NULL, NULL), VIM_OK);
    assert_int_equal(run_plain(fixture->self, VIM_VERB_DELETE, "server", id, NULL, NULL), VIM_OK);
    assert_int_equal(count_of(fixture->self, "server"), 0);
    assert_int_equal(count_of(fixture->self, "port"), 0);
}

static void test_an_image_takes_its_data(void **state)
{
    struct fixture *fixture = *state;
    char id[256];
    struct vim_call call;
    assert_int_equal(run_plain(fixture->self, VIM_VERB_CREATE, "image", NULL,
                               "{\"name\":\"i\",\"disk_format\":\"raw\"}", id),
                     VIM_OK);
    struct run run = {.self = fixture->self,
                      .verb = VIM_VERB_UPLOAD,
                      .kind = "image",
                      .id = id,
                      .request_id = "00000000-0000-4000-8000-0000000000ab",
                      .data = "abc",
                      .data_size = 3};
    assert_int_equal(run_operation(&run), VIM_OK);
    run.attempt = 1; /* repeated: it has arrived already */
    assert_int_equal(run_operation(&run), VIM_OK);
    run.attempt = 0;
    assert_int_equal(run_operation(&run), VIM_E_CONFLICT);
    run_end(&run);
    call_begin(&call);
    assert_int_equal(fixture->self->ops->get(&call, fixture->self->instance, "image", id), VIM_OK);
    assert_string_equal(call.items[0].status, "ACTIVE");
    assert_non_null(strstr(call.items[0].body, "900150983cd24fb0d6963f7d28e17f72"));
    assert_non_null(strstr(call.items[0].body, "\"size\":3"));
    call_end(&call);
}

static const char group_spec[] =
    "{\"name\":\"g\",\"rules\":[{\"direction\":\"ingress\",\"protocol\":\"tcp\",\"port_min\":22,"
    "\"port_max\":22},{\"direction\":\"egress\"},{\"direction\":\"egress\",\"ethertype\":\"IPv6\"}]"
    "}";

static void test_a_group_gets_its_rules_one_by_one(void **state)
{
    struct fixture *fixture = *state;
    char id[256];
    struct vim_call call;
    assert_int_equal(
        run_plain(fixture->self, VIM_VERB_CREATE, "security-group", NULL, group_spec, id), VIM_OK);
    call_begin(&call);
    assert_int_equal(fixture->self->ops->get(&call, fixture->self->instance, "security-group", id),
                     VIM_OK);
    json_t *body = json_loads(call.items[0].body, 0, NULL);
    assert_int_equal(json_array_size(json_object_get(body, "rules")), 3);
    json_decref(body);
    call_end(&call);
}

/* Each of the multi-step creates: stopped after every number of steps, then taken back. STALE: the
 * last step's cursor was not stored, as if it had been cut off. */
static void check_undo(struct fixture *fixture, const char *kind, const char *spec, bool stale)
{
    size_t things = count_of(fixture->self, kind);
    for (unsigned steps = 1; steps < 8; steps++) {
        char unique[40];
        request_id(unique, steps + (stale ? 50 : 0));
        struct run run = {.self = fixture->self,
                          .verb = VIM_VERB_CREATE,
                          .kind = kind,
                          .spec = spec,
                          .request_id = unique,
                          .max_steps = steps};
        char *before = NULL;
        int code = VIM_AGAIN;
        for (unsigned i = 1; i <= steps && code == VIM_AGAIN; i++) {
            free(before);
            before = run.kept ? strdup(run.kept) : NULL;
            run.max_steps = i;
            code = run_operation(&run);
        }
        if (stale) {
            run_end(&run);
            run.kept = before;
            before = NULL;
        }
        free(before);
        run.undo = true;
        run.max_steps = 0;
        assert_int_equal(run_operation(&run), VIM_OK);
        assert_int_equal(run_operation(&run), VIM_OK);
        run_end(&run);
        assert_int_equal(count_of(fixture->self, kind), things);
        assert_int_equal(count_of(fixture->self, "port"), 0);
    }
}

static void test_undo_leaves_nothing(void **state)
{
    struct fixture *fixture = *state;
    char spec[2048];
    server_spec(fixture, spec);
    for (int stale = 0; stale < 2; stale++) {
        check_undo(fixture, "server", spec, stale);
        check_undo(fixture, "security-group", group_spec, stale);
        check_undo(fixture, "network", "{\"name\":\"x\"}", stale);
    }
}

static void test_another_instance_goes_on(void **state)
{
    struct fixture *fixture = *state;
    char spec[2048];
    server_spec(fixture, spec);
    struct run run = {.verb = VIM_VERB_CREATE,
                      .kind = "server",
                      .spec = spec,
                      .request_id = "00000000-0000-4000-8000-0000000000ac"};
    int code = VIM_AGAIN;
    while (code == VIM_AGAIN) {
        char *kept = run.kept ? strdup(run.kept) : NULL;
        run.self = open_with(fixture, 0, NULL);
        run.max_steps = run.steps + 1;
        code = run_operation(&run);
        /* The same step once more, as after a crash that lost its outcome. */
        char *after = run.kept;
        run.kept = kept;
        run.attempt = 1;
        run.max_steps = run.steps + 1;
        int again = run_operation(&run);
        assert_true(again == code || (code == VIM_AGAIN && again == VIM_OK));
        code = again;
        run.attempt = 0;
        free(after);
        host_close(run.self);
    }
    assert_int_equal(code, VIM_OK);
    run_end(&run);
    assert_int_equal(count_of(fixture->self, "server"), 1);
    assert_int_equal(count_of(fixture->self, "port"), 2);
}

static void test_lost_replies_make_exactly_one(void **state)
{
    struct fixture *fixture = *state;
    static const char *const faults[] = {"create * lost 0.3",        "create * timeout 0.2",
                                         "create * lost-before 0.2", "list * unavailable 0.15",
                                         "* * expired 0.05",         "action server lost 0.4",
                                         "delete * lost 0.3",        "get * rate-limit 0.1 1"};
    struct vim_self *self = open_with(fixture, 8, faults);
    char spec[2048];
    server_spec(fixture, spec);
    for (unsigned i = 0; i < 40; i++) {
        char unique[40];
        char other[40];
        request_id(unique, 2 * i);
        request_id(other, 2 * i + 1);
        struct run run = {.self = self,
                          .verb = VIM_VERB_CREATE,
                          .kind = "server",
                          .spec = spec,
                          .request_id = unique};
        assert_int_equal(run_operation(&run), VIM_OK);
        assert_int_equal(count_of(fixture->self, "server"), 1);
        assert_int_equal(count_of(fixture->self, "port"), 2);
        run_end(&run);
        struct run act = {.self = self,
                          .verb = VIM_VERB_ACTION,
                          .kind = "server",
                          .id = run.learned,
                          .action = "reboot",
                          .request_id = other};
        assert_int_equal(run_operation(&act), VIM_OK);
        run_end(&act);
        struct run end = {.self = self,
                          .verb = VIM_VERB_DELETE,
                          .kind = "server",
                          .id = run.learned,
                          .request_id = other};
        assert_int_equal(run_operation(&end), VIM_OK);
        run_end(&end);
        struct run group = {.self = self,
                            .verb = VIM_VERB_CREATE,
                            .kind = "security-group",
                            .spec = group_spec,
                            .request_id = other};
        assert_int_equal(run_operation(&group), VIM_OK);
        run_end(&group);
        assert_int_equal(count_of(fixture->self, "security-group"), i + 1);
    }
    host_close(self);
}

/* The codes of N lists and creates under a script. */
static void codes_of(struct vim_self *self, int *codes, int count)
{
    for (int i = 0; i < count; i++) {
        struct run run = {.self = self,
                          .verb = VIM_VERB_CREATE,
                          .kind = "network",
                          .spec = "{\"name\":\"x\"}",
                          .request_id = "00000000-0000-4000-8000-0000000000ad",
                          .max_steps = 1};
        codes[i] = run_operation(&run);
        run_end(&run);
    }
}

static void test_faults_repeat_themselves(void **state)
{
    struct fixture *fixture = *state;
    static const char *const faults[] = {"create network refuse-409 0.2",
                                         "create network unavailable 0.2",
                                         "create network error-500 0.2"};
    int codes[2][60];
    for (int round = 0; round < 2; round++) {
        struct fixture fresh = *fixture;
        folder_make(fresh.folder);
        struct vim_self *self = open_with(&fresh, 3, faults);
        codes_of(self, codes[round], 30);
        host_close(self); /* the count of calls survives */
        self = open_with(&fresh, 3, faults);
        codes_of(self, codes[round] + 30, 30);
        host_close(self);
        folder_remove(fresh.folder);
    }
    assert_memory_equal(codes[0], codes[1], sizeof(codes[0]));
    assert_memory_not_equal(codes[0], codes[0] + 30, sizeof(codes[0]) / 2);
}

static int create_under(struct fixture *fixture, const char *fault, char text[512])
{
    const char *const faults[] = {fault};
    char spec[2048];
    char unique[40];
    static unsigned number = 1000;
    request_id(unique, number++);
    server_spec(fixture, spec);
    struct vim_self *self = open_with(fixture, 1, faults);
    struct run run = {.self = self,
                      .verb = VIM_VERB_CREATE,
                      .kind = "server",
                      .spec = spec,
                      .request_id = unique};
    int code = run_operation(&run);
    snprintf(text, 512, "%s", run.text);
    run.undo = true;
    assert_int_equal(run_operation(&run), VIM_OK);
    run_end(&run);
    host_close(self);
    assert_int_equal(count_of(fixture->self, "server"), 0);
    assert_int_equal(count_of(fixture->self, "port"), 0);
    return code;
}

static void test_each_fault(void **state)
{
    struct fixture *fixture = *state;
    char text[512];
    assert_int_equal(create_under(fixture, "create server refuse-400 1", text), VIM_E_INVALID);
    assert_int_equal(create_under(fixture, "create server refuse-403 1", text), VIM_E_DENIED);
    assert_int_equal(create_under(fixture, "create server refuse-404 1", text), VIM_E_NOT_FOUND);
    assert_int_equal(create_under(fixture, "create server refuse-409 1", text), VIM_E_CONFLICT);
    assert_int_equal(create_under(fixture, "create server error-500 1", text), VIM_E_INTERNAL);
    assert_int_equal(create_under(fixture, "create server error-build 1", text), VIM_E_FAILED);
    assert_non_null(strstr(text, "is in ERROR"));
    /* It waits for a server that is building, until that is gone. */
    const char *const vanishing[] = {"create server vanish 1 30"};
    build_ms = 60000;
    struct vim_self *self = open_with(fixture, 1, vanishing);
    build_ms = 3;
    char spec[2048];
    server_spec(fixture, spec);
    struct run run = {.self = self,
                      .verb = VIM_VERB_CREATE,
                      .kind = "server",
                      .spec = spec,
                      .request_id = "00000000-0000-4000-8000-0000000000ae",
                      .max_steps = 3};
    assert_int_equal(run_operation(&run), VIM_AGAIN);
    run.max_steps = 0;
    assert_int_equal(run_operation(&run), VIM_E_FAILED);
    run_end(&run);
    host_close(self);
    assert_int_equal(count_of(fixture->self, "port"), 0);
}

static void test_stuck_slow_truncated(void **state)
{
    struct fixture *fixture = *state;
    static const char *const faults[] = {"create server stuck 1", "list flavor truncate @2",
                                         "get image slow 1 10000"};
    struct vim_self *self = open_with(fixture, 3, faults);
    struct vim_call call;
    char spec[2048];
    server_spec(fixture, spec);
    struct run run = {.self = self,
                      .verb = VIM_VERB_CREATE,
                      .kind = "server",
                      .spec = spec,
                      .request_id = "00000000-0000-4000-8000-0000000000af",
                      .max_steps = 2};
    assert_int_equal(run_operation(&run), VIM_AGAIN);
    call_begin(&call);
    struct vim_op op = {.size = sizeof(op),
                        .verb = VIM_VERB_CREATE,
                        .kind = "server",
                        .spec = spec,
                        .kept = run.kept,
                        .request_id = run.request_id};
    assert_int_equal(self->ops->step(&call, self->instance, &op), VIM_AGAIN);
    assert_true(call.awaits);
    assert_true(call.items[0].flags & VIM_ITEM_PENDING);
    char id[256];
    snprintf(id, sizeof(id), "%s", call.items[0].id);
    call_end(&call);
    run_end(&run);
    assert_int_equal(run_plain(fixture->self, VIM_VERB_DELETE, "server", id, NULL, NULL), VIM_OK);

    struct vim_list_query query = {.size = sizeof(query), .kind = "flavor"};
    call_begin(&call);
    int code = self->ops->list(&call, self->instance, &query);
    assert_true(code < 0 && !call.kept_set);
    assert_true(call.count < 3);
    call_end(&call);

    call_begin(&call);
    call.left_ms = 0; /* cancelled: the slow call ends at once */
    assert_int_equal(self->ops->get(&call, self->instance, "image", fixture->image), VIM_E_TIMEOUT);
    call_end(&call);
    host_close(self);
}

static void test_pages_and_changes(void **state)
{
    struct fixture *fixture = *state;
    struct vim_call whole;
    struct vim_call paged;
    char id[256];
    struct vim_list_query query = {.size = sizeof(query), .kind = "flavor", .page_size = 1};
    usleep(2000); /* what changed in the very millisecond of the cursor comes again */
    size_t count = host_list(fixture->self, "flavor", &whole);
    call_begin(&paged);
    assert_int_equal(fixture->self->ops->list(&paged, fixture->self->instance, &query), VIM_OK);
    assert_int_equal(paged.count, count);
    for (size_t i = 0; i < count; i++) {
        assert_string_equal(paged.items[i].id, whole.items[i].id);
        assert_true(paged.items[i].flags & VIM_ITEM_SHARED);
    }
    call_end(&paged);
    char *cursor = strdup(whole.kept);
    call_end(&whole);
    usleep(2000);
    assert_int_equal(run_plain(fixture->self, VIM_VERB_CREATE, "flavor", NULL,
                               "{\"name\":\"f\",\"vcpus\":1,\"ram\":1}", id),
                     VIM_OK);
    query.since = cursor;
    call_begin(&paged);
    assert_int_equal(fixture->self->ops->list(&paged, fixture->self->instance, &query), VIM_OK);
    assert_int_equal(paged.count, 1);
    assert_string_equal(paged.items[0].id, id);
    call_end(&paged);
    assert_int_equal(run_plain(fixture->self, VIM_VERB_DELETE, "flavor", id, NULL, NULL), VIM_OK);
    call_begin(&paged);
    assert_int_equal(fixture->self->ops->list(&paged, fixture->self->instance, &query), VIM_OK);
    assert_int_equal(paged.count, 1);
    assert_true(paged.items[0].flags & VIM_ITEM_GONE);
    call_end(&paged);
    query.since = "nonsense";
    call_begin(&paged);
    assert_int_equal(fixture->self->ops->list(&paged, fixture->self->instance, &query),
                     VIM_E_INVALID);
    call_end(&paged);
    free(cursor);
}

static void test_what_is_in_use_may_be_free_later(void **state)
{
    struct fixture *fixture = *state;
    char spec[512];
    char port[256];
    snprintf(spec, sizeof(spec), "{\"name\":\"p\",\"network\":\"%s\"}", fixture->network);
    assert_int_equal(run_plain(fixture->self, VIM_VERB_CREATE, "port", NULL, spec, port), VIM_OK);
    struct run run = {.self = fixture->self,
                      .verb = VIM_VERB_DELETE,
                      .kind = "network",
                      .id = fixture->network,
                      .request_id = "00000000-0000-4000-8000-0000000000b0",
                      .max_steps = 1};
    assert_int_equal(run_operation(&run), VIM_E_IN_USE);
    assert_int_equal(run_plain(fixture->self, VIM_VERB_DELETE, "port", port, NULL, NULL), VIM_OK);
    run.steps = 0;
    assert_int_equal(run_operation(&run), VIM_OK);
    run_end(&run);
}

static void test_bad_options_are_told(void **state)
{
    struct fixture *fixture = *state;
    const char *const bad[] = {"create server lots 1"};
    const char *const quota[] = {"sever 10"};
    char text[512];
    struct vim_self *self;
    struct settings *settings = host_defaults(fixture->plugin);
    settings->faults = (struct vim_texts){1, bad};
    assert_int_equal(host_open(fixture->plugin, "m", fixture->folder, settings, &self, text),
                     VIM_E_INVALID);
    assert_non_null(strstr(text, "faults"));
    settings = host_defaults(fixture->plugin);
    settings->quotas = (struct vim_texts){1, quota};
    assert_int_equal(host_open(fixture->plugin, "m", fixture->folder, settings, &self, text),
                     VIM_E_INVALID);
    assert_non_null(strstr(text, "quotas"));
}

/* --- Killed at any instant --- */

/* What vimd's store would hold of an operation; shared with the child that works on it. */
struct stored {
    char kept[2][4096];
    int slot; /* which of the two holds; -1 for none */
    bool done;
};

static void work(struct fixture *fixture, const char *spec, const char *unique,
                 struct stored *stored, bool repeated)
{
    static const char *const faults[] = {"create * lost 0.1"};
    struct vim_self *self = open_with(fixture, 1, faults);
    struct run run = {.self = self,
                      .verb = VIM_VERB_CREATE,
                      .kind = "server",
                      .spec = spec,
                      .request_id = unique,
                      .attempt = repeated,
                      .kept = stored->slot >= 0 ? strdup(stored->kept[stored->slot]) : NULL};
    int code = VIM_AGAIN;
    while (code != VIM_OK) {
        run.max_steps = run.steps + 1;
        code = run_operation(&run);
        if (VIM_IS_PERMANENT(code)) {
            _exit(9);
        }
        if (run.kept != NULL) {
            int slot = stored->slot == 0;
            snprintf(stored->kept[slot], sizeof(stored->kept[slot]), "%s", run.kept);
            __atomic_store_n(&stored->slot, slot, __ATOMIC_SEQ_CST);
        }
    }
    __atomic_store_n(&stored->done, true, __ATOMIC_SEQ_CST);
    _exit(0);
}

static void test_killed_at_any_instant(void **state)
{
    struct fixture *fixture = *state;
    unsigned seed = 11;
    unsigned kills = 0;
    unsigned made = 0;
    char spec[2048];
    server_spec(fixture, spec);
    struct stored *shared =
        mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(shared, MAP_FAILED);
    host_close(fixture->self); /* the children are the only ones at work */
    while (kills < 120) {
        char unique[40];
        bool repeated = false;
        request_id(unique, 5000 + made);
        *shared = (struct stored){.slot = -1};
        while (!shared->done) {
            pid_t child = fork();
            if (child == 0) {
                work(fixture, spec, unique, shared, repeated);
            }
            usleep(rand_r(&seed) % 12000);
            (void)kill(child, SIGKILL);
            int status;
            assert_int_equal(waitpid(child, &status, 0), child);
            assert_false(WIFEXITED(status) && WEXITSTATUS(status) != 0);
            kills += WIFSIGNALED(status) ? 1 : 0;
            repeated = true;
        }
        made++;
    }
    munmap(shared, sizeof(*shared));
    fixture->self = open_with(fixture, 0, NULL);
    assert_int_equal(count_of(fixture->self, "server"), made);
    assert_int_equal(count_of(fixture->self, "port"), 2 * made);
}

/* --- Threads --- */
struct worker {
    struct fixture *fixture;
    unsigned number;
    unsigned failed;
};

static void *create_some(void *context)
{
    struct worker *worker = context;
    char spec[2048];
    server_spec(worker->fixture, spec);
    for (unsigned i = 0; i < 15; i++) {
        char unique[40];
        request_id(unique, worker->number * 100 + i);
        struct run run = {.self = worker->fixture->self,
                          .verb = VIM_VERB_CREATE,
                          .kind = "server",
                          .spec = spec,
                          .request_id = unique};
        worker->failed += run_operation(&run) != VIM_OK;
        run_end(&run);
    }
    return NULL;
}

static void test_threads(void **state)
{
    struct fixture *fixture = *state;
    struct worker workers[4];
    pthread_t threads[4];
    for (unsigned i = 0; i < 4; i++) {
        workers[i] = (struct worker){.fixture = fixture, .number = i};
        assert_int_equal(pthread_create(&threads[i], NULL, create_some, &workers[i]), 0);
    }
    for (unsigned i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(workers[i].failed, 0);
    }
    assert_int_equal(count_of(fixture->self, "server"), 60);
    assert_int_equal(count_of(fixture->self, "port"), 120);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_server_lives, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_an_image_takes_its_data, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_group_gets_its_rules_one_by_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_undo_leaves_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_another_instance_goes_on, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_lost_replies_make_exactly_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_faults_repeat_themselves, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_each_fault, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_stuck_slow_truncated, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_pages_and_changes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_is_in_use_may_be_free_later, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bad_options_are_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_killed_at_any_instant, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_threads, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

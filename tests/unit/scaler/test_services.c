/* The sections `platforms` and `services`: what is taken, and how every mistake is told. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/text.h"
#include "scaler/services.h"
#include "scaler/state.h"

static struct registry *registry;

static int open_registry(void **state)
{
    const char *folders[] = {TEST_PLUGIN_DIR};
    (void)state;
    registry = registry_new(folders, 1);
    return 0;
}

static int close_registry(void **state)
{
    (void)state;
    registry_free(registry);
    return 0;
}

static struct services *load(const char *yaml, struct config_errors *errors)
{
    struct config *config = NULL;
    assert_int_equal(config_parse_text(yaml, strlen(yaml), "x.yaml", &config, errors), VIM_OK);
    struct services *services = services_load(config_root(config), registry, true, errors);
    config_free(config); /* what was read does not need it */
    return services;
}

static const char good[] =
    "platforms:\n"
    "  - {name: here, driver: platform-process, options: {groups: [\"web true\"]}}\n"
    "services:\n"
    "  - name: shop\n"
    "    slo_p95: 300ms\n"
    "    budget_cores: 4\n"
    "    policy: {plugin: scaler-similarity, options: {mode: literal}}\n"
    "    shadow: [scaler-threshold]\n"
    "    source: {type: prometheus, endpoints: [\"http://h:1/metrics\"], token: sesame-open}\n"
    "    signals: {throughput: rate(a)}\n"
    "    blocks:\n"
    "      - {name: web, platform: here, min: 2, max: 5, signals: {cpu: rate(c) / ready / quota}}\n"
    "      - {name: db}\n"
    "    edges:\n"
    "      - {caller: web, callee: db, signals: {visits: rate(v)}}\n"
    "      - db -> web\n";

static void taken(void **state)
{
    struct config_errors errors = {0};
    struct services *services = load(good, &errors);
    (void)state;
    if (errors.count) {
        fail_msg("%s", errors.items[0]);
    }
    assert_int_equal(services->count, 1);
    const struct service *shop = &services->items[0];
    assert_string_equal(shop->project, "*");
    assert_int_equal(shop->mode, SERVICE_ADVISE);
    assert_int_equal(shop->interval_ms, 10000);
    assert_float_equal(shop->slo_p95_ms, 300, 0);
    assert_float_equal(shop->budget_cores, 4, 0);
    assert_string_equal(shop->policy.name, "scaler-similarity");
    assert_int_equal(shop->shadow_count, 1);
    assert_string_equal(shop->blocks[0].group, "web");
    assert_string_equal(shop->blocks[1].role, "db");
    assert_null(shop->blocks[1].platform);
    assert_int_equal(shop->edge_count, 2);
    assert_int_equal(shop->edges[1].caller, 1);
    assert_int_equal(shop->edges[0].signals.count, 1);
    struct text text = {0};
    services_dump(services, &text);
    assert_non_null(strstr(text.data, "rate(c) / ready / quota"));
    assert_non_null(strstr(text.data, "mode: literal"));
    assert_null(strstr(text.data, "sesame"));
    text_free(&text);
    services_free(services);
    config_errors_free(&errors);
}

/* GOOD with the first OLD replaced by NEW gives one error, which is WANTED. */
static void mistake(const char *old, const char *new, const char *wanted)
{
    struct config_errors errors = {0};
    const char *at = strstr(good, old);
    assert_non_null(at);
    char *yaml = text_format("%.*s%s%s", (int)(at - good), good, new, at + strlen(old));
    services_free(load(yaml, &errors));
    struct text all = {0};
    for (size_t i = 0; i < errors.count; i++) {
        text_printf(&all, "%s%s", i ? " | " : "", errors.items[i]);
    }
    if (!strstr(text_get(&all), wanted) || strstr(text_get(&all), "sesame-open")) {
        fail_msg("for %s\nexpected %s\ngot      %s", new, wanted, text_get(&all));
    }
    text_free(&all);
    free(yaml);
    config_errors_free(&errors);
}

/* A block with a mistake in it is a block: that there is none is not said as well. */
static void a_mistake_is_told_once(void **state)
{
    struct config_errors errors = {0};
    (void)state;
    services_free(load("services:\n"
                       "  - name: shop\n"
                       "    policy: scaler-similarity\n"
                       "    source: {type: prometheus, endpoints: [\"http://h:1/metrics\"]}\n"
                       "    blocks: [{name: web, maximum: 4}]\n",
                       &errors));
    assert_int_equal(errors.count, 1);
    assert_non_null(strstr(errors.items[0], "services[0].blocks[0].maximum: unknown key"));
    config_errors_free(&errors);
}

/* It says what is promised, and nothing that would tell of it. */
static void promises_that_nobody_sees(void **state)
{
    static const char *const wanted[] = {
        "x.yaml:3:14: services[0].slo_p95: nobody sees whether it is kept without the signal latency_p95",
        "x.yaml:4:17: services[0].slo_errors: nobody sees whether it is kept without the signals errors and offered"};
    struct config_errors errors = {0};
    (void)state;
    for (int whole = 0; whole < 2; whole++) {
        char *yaml =
            text_format("services:\n"
                        "  - name: shop\n"
                        "    slo_p95: 300ms\n"
                        "    slo_errors: 0.01\n"
                        "    policy: scaler-similarity\n"
                        "    source: {type: prometheus, endpoints: [\"http://h:1/metrics\"]}\n"
                        "    signals: {errors: rate(a)%s}\n"
                        "    blocks: [{name: web}]\n",
                        whole ? ", offered: rate(b), latency_p95: p95(c)" : "");
        services_free(load(yaml, &errors));
        free(yaml);
        assert_int_equal(errors.count, 0);
        assert_int_equal(errors.warning_count, whole ? 0 : 2);
        for (size_t i = 0; i < errors.warning_count; i++) {
            assert_non_null(strstr(errors.warnings[i], wanted[i]));
        }
        config_errors_free(&errors);
        errors = (struct config_errors){0};
    }
}

static void mistakes(void **state)
{
    (void)state;
    mistake("name: here", "name: Here", "x.yaml:2:12: platforms[0].name: 'Here' is not a name");
    mistake("platform-process", "platform-nothing", "x.yaml:2:26: platforms[0].driver: ");
    mistake("platform-process, options: {groups: [\"web true\"]}", "mock",
            "x.yaml:2:26: platforms[0].driver: the driver mock scales nothing");
    mistake("groups", "grups", "unknown key; did you mean groups?");
    mistake("slo_p95: 300ms", "slo_p95: soon", "x.yaml:5:14: services[0].slo_p95: ");
    mistake("slo_p95: 300ms", "slo_p59: 1", "unknown key; did you mean slo_p95?");
    mistake("slo_p95: 300ms", "mode: go", "x.yaml:5:11: services[0].mode: ");
    mistake("slo_p95: 300ms", "interval: 7s",
            "x.yaml:5:15: services[0].interval: interval (7000 ms)");
    mistake("slo_p95: 300ms", "project: \"*\"", "x.yaml:5:14: services[0].project: not a project");
    mistake("plugin: scaler-similarity, options: {mode: literal}", "plugin: scaler-nothing",
            "x.yaml:7:22: services[0].policy.plugin: ");
    mistake("mode: literal", "mode: poetic", "services[0].policy.options.mode: ");
    mistake("[scaler-threshold]", "scaler-threshold", "services[0].shadow: expected a list");
    mistake("[scaler-threshold]", "[store-sqlite]", "services[0].shadow[0]: ");
    mistake("type: prometheus, ", "", "required key type is missing");
    mistake("type: prometheus", "type: rumour", "services[0].source.type: ");
    mistake("endpoints: [\"http://h:1/metrics\"], ", "",
            "needs endpoints: [http://HOST:PORT/metrics");
    mistake("http://h:1/metrics", "h:1", "services[0].source.endpoints[0]: 'h:1' is not a URL");
    mistake("http://h:1/metrics", "http://", "endpoints[0]: 'http://' is not a URL");
    mistake("http://h:1/metrics", "http://:1/m", "endpoints[0]: 'http://:1/m' is not a URL");
    mistake("http://h:1/metrics", "http://h:70000/", "'http://h:70000/' is not a URL");
    mistake("http://h:1/metrics", "http://h:1x/", "'http://h:1x/' is not a URL");
    mistake("http://h:1/metrics", "http://h /m", "'http://h /m' is not a URL");
    mistake("http://h:1/metrics", "http://me:sesame-open@h:1/m",
            "endpoints[0]: a URL stands in logs");
    mistake("http://h:1/metrics", "me:sesame-open@h:1/m", "endpoints[0]: a URL stands in logs");
    mistake("token: sesame-open", "ca_file: /none/ca.pem",
            "source.ca_file: /none/ca.pem cannot be read: No such file");
    mistake("slo_p95: 300ms", "record: /none/t.csv",
            "services[0].record: there is no folder /none");
    mistake("slo_p95: 300ms", "record: /", "services[0].record: / is a folder");
    mistake("{name: db}", "{name: db, role: store}",
            "services[0].blocks[1].role: is for the source vimd");
    mistake("http://h:1/metrics\"", "http://h:1/m\", \"http://h:1/m\"",
            "endpoints[1]: it is there twice");
    mistake("token: sesame-open", "token: \"sesame\\r\\nX: y\"", "source.token: a token has no");
    mistake("token: sesame-open", "timeout: 6s", "timeout (6000 ms) has to be shorter than window");
    mistake("throughput: rate(a)", "thruput: rate(a)",
            "x.yaml:10:15: services[0].signals.thruput: unknown key; did you mean throughput?");
    mistake("throughput: rate(a)", "throughput: rate(a",
            "x.yaml:10:27: services[0].signals.throughput: at character 7: expected )");
    mistake("throughput: rate(a)", "throughput: rate(a)/ready", "only a block has ready and quota");
    mistake("platform: here", "platform: there", "there is no platform named 'there'");
    mistake("platform: here", "group: g", "key platform is missing");
    mistake("min: 2", "min: 6",
            "x.yaml:12:42: services[0].blocks[0].min: min 6 is more than max 5");
    mistake("{name: db}", "{name: web}", "there are two blocks named 'web'");
    mistake("{name: db}", "{name: db, platform: here, group: web}", "is another block's already");
    mistake("callee: db", "callee: dbb", "services[0].edges[0]: there is no block named 'dbb'");
    mistake("db -> web", "db -> cache", "services[0].edges[1]: there is no block named 'cache'");
    mistake("db -> web", "web -> db", "the edge web -> db is there twice");
    mistake("db -> web", "db to web", "expected CALLER -> CALLEE");
    mistake("name: shop\n",
            "name: shop\n    record: /tmp/t.csv\n  - name: other\n    record: /tmp/t.csv\n",
            "a trace is of one service");
}

static void mistakes_of_vimd(void **state)
{
    static const char head[] = "services:\n  - name: vimd\n    policy: scaler-similarity\n";
    static const struct {
        const char *rest, *wanted;
    } wrong[] = {
        {"    source: {type: vimd}\n    blocks: [{name: web}]\n",
         "services[0].blocks[0].name: vimd has no block 'web': role is one of api"},
        {"    source: {type: vimd}\n    blocks: [{name: api, min: -1}]\n",
         "services[0].blocks[0].min: expected 0 to 1000"},
        {"    source: {type: vimd}\n    blocks: []\n", "a service has at least one block"},
        {"    source: {type: vimd}\n    blocks: [{name: api, role: front}]\n",
         "services[0].blocks[0].role: vimd has no block 'front'"},
        {"    source: {type: vimd, token: x}\n    blocks: [{name: api}]\n",
         "services[0].source.token: is for the source prometheus"},
        {"    source: {type: vimd, endpoints: [\"http://h/\"]}\n    blocks: [{name: api}]\n",
         "services[0].source.endpoints: is for the source prometheus"}};
    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct config_errors errors = {0};
        char *yaml = text_format("%s%s", head, wrong[i].rest);
        services_free(load(yaml, &errors));
        assert_int_equal(errors.count, 1);
        if (!strstr(errors.items[0], wrong[i].wanted)) {
            fail_msg("expected %s\ngot      %s", wrong[i].wanted, errors.items[0]);
        }
        free(yaml);
        config_errors_free(&errors);
    }
}

static void nothing_to_scale(void **state)
{
    struct config_errors errors = {0};
    (void)state;
    services_free(load("state_dir: /x\n", &errors));
    assert_int_equal(errors.count, 1);
    assert_non_null(strstr(errors.items[0], "the role scaler needs services"));
    config_errors_free(&errors);
    errors = (struct config_errors){0};
    services_free(load("services: []\n", &errors));
    assert_int_equal(errors.count, 1);
    assert_non_null(
        strstr(errors.items[0], "x.yaml:1:11: services: the role scaler needs services"));
    config_errors_free(&errors);
    errors = (struct config_errors){0};
    services_free(load("services:\n"
                       "  - name: s\n"
                       "    policy: scaler-threshold\n"
                       "    source: {type: prometheus, endpoints: [\"http://h\"]}\n",
                       &errors));
    assert_int_equal(errors.count, 1);
    assert_non_null(strstr(errors.items[0], "x.yaml:2:5: services[0]: a service has at least one"));
    config_errors_free(&errors);
}

/* --- What is kept of a service -------------------------------------------------------------------- */

static void state_there_and_back(void **unused)
{
    struct config_errors errors = {0};
    struct services *services = load(good, &errors);
    const struct service *shop = &services->items[0];
    struct watch_state state, other;
    struct text text = {0};
    (void)unused;
    state_init(&state, shop);
    strcpy(state.owner, "somebody");
    state.fence = 7;
    state.mode = SERVICE_ACT;
    state.wish = 3;
    state_keep(&state.kept, "{\"x\":\"\\n\"}");
    state_keep(&state.shadow_kept[0], "memory");
    strcpy(state.intent.decision, "01a214e3-e7de-7246-a88f-6bf061addd92");
    strcpy(state.intent.block, "web");
    state.intent.delta = -1;
    state.intent.from = 4;
    state.intent.to = 3;
    state.intent.own = true;
    state.intent.at = 12345;
    state.waiting.until = 99;
    strcpy(state.waiting.decision, state.intent.decision);
    strcpy(state.effect_of, state.intent.decision);
    state_print(&state, &text);
    assert_int_equal(state_parse(&other, shop, text_get(&text)), VIM_OK);
    assert_string_equal(other.owner, "somebody");
    assert_int_equal(other.fence, 7);
    assert_int_equal(other.mode, SERVICE_ACT);
    assert_int_equal(other.wish, 3);
    assert_string_equal(other.kept, state.kept);
    assert_string_equal(other.shadow_kept[0], "memory");
    assert_memory_equal(&other.intent, &state.intent, sizeof(other.intent));
    assert_string_equal(other.waiting.decision, state.waiting.decision);
    assert_int_equal(other.waiting.until, 99);
    assert_string_equal(other.effect_of, state.effect_of);
    state_free(&other);

    /* Another policy has no memory, and another mode in the configuration is what counts. */
    struct service changed = *shop;
    changed.mode = SERVICE_OFF;
    changed.policy.name = (char *)(uintptr_t) "scaler-threshold";
    assert_int_equal(state_parse(&other, &changed, text_get(&text)), VIM_OK);
    assert_int_equal(other.mode, SERVICE_OFF);
    assert_null(other.kept);
    state_free(&other);

    static const char *const broken[] = {"", "[]", "nonsense", "{\"mode\":3,\"fence\":\"x\"}",
                                         "{\"intent\":{\"decision\":\"../x\"},\"guard\":4}"};
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        (void)state_parse(&other, shop, broken[i]);
        assert_int_equal(other.mode, shop->mode);
        assert_string_equal(other.intent.decision, "");
        state_free(&other);
    }
    text_free(&text);
    state_free(&state);
    services_free(services);
    config_errors_free(&errors);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(taken),
        cmocka_unit_test(promises_that_nobody_sees),
        cmocka_unit_test(mistakes),
        cmocka_unit_test(a_mistake_is_told_once),
        cmocka_unit_test(mistakes_of_vimd),
        cmocka_unit_test(nothing_to_scale),
        cmocka_unit_test(state_there_and_back),
    };
    return cmocka_run_group_tests(tests, open_registry, close_registry);
}

/*
 * What every plugin is held to, whatever its type: descriptor, options, opening and closing.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "check.h"
#include "config/config.h"
#include "config/fill.h"
#include "plugin/instance.h"
#include "plugin/loader.h"
#include "subject.h"

#define CYCLES 100

/* What the process keeps once and for all (a log, a timer) is made in the first few. */
#define WARM_UP_CYCLES 3

/* --- descriptor ------------------------------------------------------------------------------- */

static void check_descriptor(struct run *run)
{
    CLEANUP_TEXT struct text faults = {0};

    REQUIRE(run, plugin_lint(&run->plugin->descriptor, NULL, 0, &faults) == VIM_OK, "%s",
            text_get(&faults));
}

static void check_texts(struct run *run)
{
    const struct vim_plugin *descriptor = &run->plugin->descriptor;

    REQUIRE(run, descriptor->version && descriptor->version[0], "no version");
    REQUIRE(run, descriptor->summary && strlen(descriptor->summary) >= 10, "no summary");
    for (uint32_t i = 0; i < descriptor->option_count; i++) {
        const struct vim_option *option = &descriptor->options[i];

        REQUIRE(run, option->help && strlen(option->help) >= 10, "option %s: its help says nothing",
                option->name);
    }
}

static void check_secrets(struct run *run)
{
    static const char *const hints[] = {"password", "secret", "token", "passphrase"};
    const struct vim_plugin *descriptor = &run->plugin->descriptor;

    for (uint32_t i = 0; i < descriptor->option_count; i++)
        for (size_t j = 0; j < sizeof hints / sizeof hints[0]; j++) {
            const struct vim_option *option = &descriptor->options[i];
            size_t length = strlen(option->name), hint = strlen(hints[j]);
            bool text = option->type == VIM_TEXT;

            REQUIRE(run,
                    !text || length < hint || strcmp(option->name + length - hint, hints[j]) != 0 ||
                        (option->flags & VIM_SECRET),
                    "option %s looks like a secret and is not flagged VIM_SECRET", option->name);
        }
}

static void check_option_table(struct run *run)
{
    struct config_errors errors = {0};
    int code = config_lint(&run->plugin->table, &errors);

    if (code != VIM_OK)
        check_fail(run, "%s", errors.count ? errors.items[0] : "refused");
    config_errors_free(&errors);
}

void descriptor_group(struct run *run)
{
    static const struct check checks[] = {
        {"the descriptor is sound", check_descriptor},
        {"the option table is sound", check_option_table},
        {"version, summary and options are explained", check_texts},
        {"options that hold secrets are flagged", check_secrets},
    };

    run_checks(run, checks, sizeof checks / sizeof checks[0]);
}

/* --- config ----------------------------------------------------------------------------------- */

/* Opens with VALUE for NAME (NULL: left out), which has to be refused by name. */
static void require_refused(struct run *run, const char *name, const char *value)
{
    CLEANUP_TEXT struct text yaml = {0};
    CLEANUP_TEXT struct text reason = {0};
    struct instance *instance = NULL;
    int code;

    subject_write_options(run, name, value, &yaml);
    code = subject_open_text(run, text_get(&yaml), &instance, &reason);
    if (code == VIM_OK)
        subject_close(instance);
    REQUIRE(run, code != VIM_OK, "%s: %s is taken", name, value ? value : "nothing");
    REQUIRE(run, strstr(text_get(&reason), name), "%s: %s is refused without naming it: %s", name,
            value ? value : "nothing", text_get(&reason));
    check_note(run, "%s", text_get(&reason));
}

static void check_required(struct run *run)
{
    unsigned required = 0;

    for (size_t i = 0; i < run->plugin->table.count && !run->failed; i++) {
        const struct vim_option *option = &run->plugin->table.options[i];

        if (option->flags & VIM_REQUIRED) {
            required++;
            require_refused(run, option->name, NULL);
        }
    }
    if (!required)
        check_skip(run, "no option is required");
}

static void check_wrong_types(struct run *run)
{
    static const char *const wrong[] = {
        [VIM_TEXT] = "[a, b]",
        [VIM_INTEGER] = "many",
        [VIM_NUMBER] = "many",
        [VIM_BOOLEAN] = "perhaps",
        [VIM_DURATION] = "soon",
        [VIM_BYTES] = "large",
        [VIM_CHOICE] = "neither-of-them",
        [VIM_LIST] = "{a: b}",
        [VIM_PATH] = "[a, b]",
    };

    if (run->plugin->table.count == 0)
        check_skip(run, "no options");
    for (size_t i = 0; i < run->plugin->table.count && !run->failed; i++) {
        const struct vim_option *option = &run->plugin->table.options[i];

        require_refused(run, option->name, wrong[option->type]);
    }
}

static void check_bounds(struct run *run)
{
    unsigned bounded = 0;
    char value[48];

    for (size_t i = 0; i < run->plugin->table.count && !run->failed; i++) {
        const struct vim_option *option = &run->plugin->table.options[i];

        if (option->minimum == 0 && option->maximum == 0)
            continue;
        bounded++;
        snprintf(value, sizeof value, "%lld%s", (long long)option->maximum + 1,
                 option->type == VIM_DURATION ? "ms" : "");
        require_refused(run, option->name, value);
        if (option->minimum <= 0 || run->failed)
            continue;
        snprintf(value, sizeof value, "%lld%s", (long long)option->minimum - 1,
                 option->type == VIM_DURATION ? "ms" : "");
        require_refused(run, option->name, value);
    }
    if (!bounded)
        check_skip(run, "no option has bounds");
}

static void check_unknown(struct run *run)
{
    require_refused(run, "no_such_option", "1");
}

void config_group(struct run *run)
{
    static const struct check checks[] = {
        {"a required option that is missing is named", check_required},
        {"a value of the wrong type is refused by name", check_wrong_types},
        {"a value out of bounds is refused by name", check_bounds},
        {"an unknown option is refused by name", check_unknown},
    };

    run_checks(run, checks, sizeof checks / sizeof checks[0]);
}

/* --- lifecycle -------------------------------------------------------------------------------- */

static void check_cycles(struct run *run)
{
    unsigned descriptors = 0, threads = 0;

    for (int i = 0; i < CYCLES + WARM_UP_CYCLES; i++) {
        struct instance *instance;

        if (i == WARM_UP_CYCLES) {
            descriptors = count_descriptors();
            threads = count_threads();
        }
        instance = subject_open(run, "cycle");
        if (!instance)
            return;
        subject_close(instance);
    }
    /* A thread that was joined may still be seen for a moment. */
    for (int i = 0; i < 100 && count_threads() > threads; i++)
        clock_sleep_ms(10);
    REQUIRE(run, count_descriptors() <= descriptors,
            "%u file descriptors before, %u after %d times", descriptors, count_descriptors(),
            CYCLES);
    REQUIRE(run, count_threads() <= threads, "%u threads before, %u after %d times", threads,
            count_threads(), CYCLES);
}

static void check_two(struct run *run)
{
    struct instance *one = subject_open(run, "one"), *two = NULL;

    if (one)
        two = subject_open(run, "two");
    if (one)
        instance_release(one);
    if (two)
        instance_release(two);
    instance_wait_closed(10000);
}

static void check_probe(struct run *run)
{
    struct instance *instance = subject_open(run, "probe");
    struct vim_call call;
    int code;

    if (!instance)
        return;
    call_init(&call, clock_mono_ms() + SUBJECT_CALL_MS);
    code = instance_probe(instance, &call);
    if (code != VIM_OK)
        check_fail(run, "%s: %s", code_name(code), call_fail_text(&call));
    call_free(&call);
    subject_close(instance);
}

void lifecycle_group(struct run *run)
{
    static const struct check checks[] = {
        {"the far side is well", check_probe},
        {"100 times open and close leave no descriptor and no thread", check_cycles},
        {"two instances side by side", check_two},
    };

    run_checks(run, checks, sizeof checks / sizeof checks[0]);
}

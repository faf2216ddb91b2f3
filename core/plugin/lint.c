/*
 * What can be told about a descriptor by looking at it. Reads nothing behind a size or a count that
 * it has not checked; a wild pointer is the probing child's to find.
 */
#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/text.h"
#include "plugin/normalise.h"

#define ARRAY_MAX 10000u /* elements of a table: more is a broken count */

struct lint {
    struct text *faults;
    bool bad;
};

static void fault(struct lint *lint, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void fault(struct lint *lint, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    text_vprintf(lint->faults, format, arguments);
    va_end(arguments);
    text_add_char(lint->faults, '\n');
    lint->bad = true;
}

const char *plugin_type_name(uint32_t type)
{
    static const char *const names[] = {"unknown", "driver", "store", "queue", "policy"};
    return names[type >= VIM_DRIVER && type <= VIM_POLICY ? type : 0];
}

/* Lower case, digits and -, beginning with a letter. */
static bool is_word(const char *word, size_t limit)
{
    size_t length = word ? strlen(word) : 0;
    for (size_t i = 0; i < length; i++) {
        bool letter = word[i] >= 'a' && word[i] <= 'z';
        if (!letter && (i == 0 || (!isdigit((unsigned char)word[i]) && word[i] != '-'))) {
            return false;
        }
    }
    return length > 0 && length <= limit;
}

static void lint_options(struct lint *lint, const struct vim_plugin *descriptor)
{
    if (descriptor->option_count == 0) {
        return;
    }
    if (!descriptor->options) {
        fault(lint, "option_count is %u, but options is NULL", descriptor->option_count);
    } else if (descriptor->option_stride < OPTION_SIZE_MIN) {
        fault(lint, "option_stride is %u, less than the %zu bytes of struct vim_option",
              descriptor->option_stride, OPTION_SIZE_MIN);
    } else if (descriptor->option_count > ARRAY_MAX) {
        fault(lint, "option_count is %u, more than %u", descriptor->option_count, ARRAY_MAX);
    } else {
        struct config_table table = normalise_table(descriptor);
        struct config_errors errors = {0};
        config_lint(&table, &errors);
        for (size_t i = 0; i < errors.count; i++) {
            fault(lint, "%s", errors.items[i]);
        }
        config_errors_free(&errors);
        free((void *)table.options);
    }
}

static void lint_trait(struct lint *lint, const struct vim_driver_ops *ops,
                       const struct vim_trait *trait, size_t index)
{
    const uint32_t steps =
        VIM_VERB_CREATE | VIM_VERB_UPDATE | VIM_VERB_DELETE | VIM_VERB_ACTION | VIM_VERB_UPLOAD;
    if (!is_word(trait->kind, 32)) {
        fault(lint, "trait %zu: kind is not 1..32 characters of a-z 0-9 -", index);
        return;
    }
    const char *kind = trait->kind;
    if (trait->verbs == 0) {
        fault(lint, "trait %s: no verbs", kind);
    }
    if ((trait->verbs & VIM_VERB_LIST) && !ops->list) {
        fault(lint, "trait %s: has LIST, but list is NULL", kind);
    }
    if ((trait->verbs & VIM_VERB_LOOK) && !ops->list) {
        fault(lint, "trait %s: has LOOK, but list is NULL", kind);
    }
    if ((trait->verbs & VIM_VERB_GET) && !ops->get) {
        fault(lint, "trait %s: has GET, but get is NULL", kind);
    }
    if ((trait->verbs & steps) && !ops->step) {
        fault(lint, "trait %s: has verbs that change things, but step is NULL", kind);
    }
    if ((trait->verbs & VIM_VERB_SAMPLE) && !ops->sample) {
        fault(lint, "trait %s: has SAMPLE, but sample is NULL", kind);
    }
    if ((trait->verbs & VIM_VERB_CHANGES) && !(trait->verbs & VIM_VERB_LIST)) {
        fault(lint, "trait %s: has CHANGES without LIST", kind);
    }
    bool named = trait->actions && trait->actions[strspn(trait->actions, " ")];
    if ((trait->verbs & VIM_VERB_ACTION) && !named) {
        fault(lint, "trait %s: has ACTION, but names no actions", kind);
    }
    if (!(trait->verbs & VIM_VERB_ACTION) && named) {
        fault(lint, "trait %s: names actions without ACTION", kind);
    }
}

static void lint_driver(struct lint *lint, const struct vim_driver_ops *ops)
{
    if (ops->size < DRIVER_SIZE_MIN) {
        fault(lint, "ops: size is %u, less than the %zu bytes of struct vim_driver_ops", ops->size,
              DRIVER_SIZE_MIN);
        return;
    }
    if (ops->trait_count == 0 || !ops->traits) {
        fault(lint, "ops: a driver without traits can do nothing");
        return;
    }
    if (ops->trait_stride < TRAIT_SIZE_MIN || ops->trait_count > ARRAY_MAX) {
        fault(lint, "ops: trait_stride %u or trait_count %u is wrong", ops->trait_stride,
              ops->trait_count);
        return;
    }
    CLEANUP_FREE struct vim_trait *traits =
        normalise_array(ops->traits, ops->trait_count, ops->trait_stride, sizeof(struct vim_trait));
    for (size_t i = 0; i < ops->trait_count; i++) {
        lint_trait(lint, ops, &traits[i], i);
        for (size_t j = 0; j < i; j++) {
            if (text_equal(traits[i].kind, traits[j].kind)) {
                fault(lint, "trait %s: told twice", traits[i].kind ? traits[i].kind : "");
            }
        }
    }
}

static void lint_function(struct lint *lint, bool there, const char *name)
{
    if (!there) {
        fault(lint, "%s is NULL", name);
    }
}

static void lint_store(struct lint *lint, const struct vim_store_ops *ops)
{
    if (ops->size < STORE_SIZE_MIN) {
        fault(lint, "ops: size is %u, less than the %zu bytes of struct vim_store_ops", ops->size,
              STORE_SIZE_MIN);
        return;
    }
    lint_function(lint, ops->commit != NULL, "ops: commit");
    lint_function(lint, ops->get != NULL, "ops: get");
    lint_function(lint, ops->scan != NULL, "ops: scan");
}

static void lint_queue(struct lint *lint, const struct vim_queue_ops *ops)
{
    if (ops->size < QUEUE_SIZE_MIN) {
        fault(lint, "ops: size is %u, less than the %zu bytes of struct vim_queue_ops", ops->size,
              QUEUE_SIZE_MIN);
        return;
    }
    lint_function(lint, ops->push != NULL, "ops: push");
    lint_function(lint, ops->pull != NULL, "ops: pull");
    lint_function(lint, ops->renew != NULL, "ops: renew");
    lint_function(lint, ops->done != NULL, "ops: done");
    lint_function(lint, ops->depth != NULL, "ops: depth");
    lint_function(lint, ops->interrupt != NULL, "ops: interrupt");
}

static void lint_policy(struct lint *lint, const struct vim_policy_ops *ops)
{
    if (ops->size < POLICY_SIZE_MIN) {
        fault(lint, "ops: size is %u, less than the %zu bytes of struct vim_policy_ops", ops->size,
              POLICY_SIZE_MIN);
        return;
    }
    lint_function(lint, ops->decide != NULL, "ops: decide");
    if (ops->needs > VIM_TIER_IN_FLIGHT || ops->prefers > VIM_TIER_IN_FLIGHT ||
        ops->needs > ops->prefers) {
        fault(lint, "ops: needs tier %u and prefers tier %u: both are 0..%u, the second no less",
              ops->needs, ops->prefers, (unsigned)VIM_TIER_IN_FLIGHT);
    }
    if (ops->windows < 2 || ops->windows > 256) {
        fault(lint, "ops: windows is %u, not 2..256", ops->windows);
    }
}

static void lint_ops(struct lint *lint, const struct vim_plugin *descriptor)
{
    switch (descriptor->ops ? descriptor->type : 0) {
    case VIM_DRIVER:
        lint_driver(lint, descriptor->ops);
        break;
    case VIM_STORE:
        lint_store(lint, descriptor->ops);
        break;
    case VIM_QUEUE:
        lint_queue(lint, descriptor->ops);
        break;
    case VIM_POLICY:
        lint_policy(lint, descriptor->ops);
        break;
    default:
        lint_function(lint, descriptor->ops != NULL, "ops");
    }
}

int plugin_lint(const struct vim_plugin *descriptor, const char *name, uint32_t type,
                struct text *faults)
{
    struct lint lint = {.faults = faults};
    /* An old or future layout may differ behind `abi`, and in size: nothing else is looked at. */
    if (descriptor->size < 2 * sizeof(uint32_t)) {
        fault(&lint, "the descriptor's size is %u", descriptor->size);
        return VIM_E_INVALID;
    }
    if (descriptor->abi >> 16 != VIM_ABI_MAJOR) {
        fault(&lint, "made for plugin ABI %u.%u, this vimd has %u.%u", descriptor->abi >> 16,
              descriptor->abi & 0xFFFF, VIM_ABI_MAJOR, VIM_ABI_MINOR);
        return VIM_E_INVALID;
    }
    if (descriptor->size < PLUGIN_SIZE_MIN) {
        fault(&lint, "the descriptor's size is %u, less than the %zu bytes of struct vim_plugin",
              descriptor->size, PLUGIN_SIZE_MIN);
        return VIM_E_INVALID;
    }
    if (type && descriptor->type != type) {
        fault(&lint, "is a %s, not a %s", plugin_type_name(descriptor->type),
              plugin_type_name(type));
        return VIM_E_INVALID;
    }
    if (descriptor->type < VIM_DRIVER || descriptor->type > VIM_POLICY) {
        fault(&lint, "type %u is not supported by this vimd", descriptor->type);
        return VIM_E_INVALID;
    }
    if (!is_word(descriptor->name, 63)) {
        fault(&lint, "name is not 1..63 characters of a-z 0-9 -");
    } else if (name && strcmp(name, descriptor->name) != 0) {
        fault(&lint, "calls itself %s", descriptor->name);
    }
    lint_function(&lint, descriptor->version && *descriptor->version, "version");
    lint_function(&lint, descriptor->summary && *descriptor->summary, "summary");
    lint_function(&lint, descriptor->open != NULL, "open");
    lint_function(&lint, descriptor->close != NULL, "close");
    lint_function(&lint, descriptor->probe != NULL, "probe");
    lint_options(&lint, descriptor);
    lint_ops(&lint, descriptor);
    return lint.bad ? VIM_E_INVALID : VIM_OK;
}

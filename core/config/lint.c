/*
 * Is an option table fit for use?
 */
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/text.h"
#include "config/internal.h"

static void bad(struct config_errors *errors, const struct vim_option *option, const char *text)
{
    config_error(errors, NULL, "option %s: %s", option->name, text);
}

/* Lower case with underscores, beginning with a letter. */
static bool is_option_name(const char *name)
{
    size_t length = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_");
    return length > 0 && length <= 64 && !name[length] && name[0] >= 'a' && name[0] <= 'z';
}

static void lint_place(const struct config_table *table, size_t index, struct config_errors *errors)
{
    const struct vim_option *option = &table->options[index];
    size_t size = config_type_size(option->type);
    size_t alignment = option->type == VIM_BOOLEAN ? _Alignof(int32_t) : _Alignof(int64_t);
    if (option->offset > table->size || table->size - option->offset < size) {
        bad(errors, option, "offset lies outside of the configuration struct");
        return;
    }
    if (option->offset % alignment) {
        bad(errors, option, "offset is not aligned for its type");
    }
    for (size_t i = 0; i < index; i++) {
        const struct vim_option *other = &table->options[i];
        if (config_type_name(other->type) &&
            option->offset < other->offset + config_type_size(other->type) &&
            other->offset < option->offset + size) {
            config_error(errors, NULL, "option %s: offset overlaps that of %s", option->name,
                         other->name ? other->name : "another option");
        }
    }
}

static void lint_default(const struct vim_option *option, struct config_errors *errors)
{
    if (!option->default_value) {
        return;
    }
    if (option->flags & VIM_REQUIRED) {
        bad(errors, option, "is required and has a default");
    }
    if (option->type == VIM_LIST) {
        CLEANUP_FREE char *yaml = text_format("list: %s", option->default_value);
        struct config_errors inner = {0};
        struct config *config = NULL;
        int code = config_parse_text(yaml, strlen(yaml), "default", &config, &inner);
        const struct config_node *node =
            code == VIM_OK ? config_get(config_root(config), "list") : NULL;
        if (!node || config_type(node) != CONFIG_SEQUENCE) {
            bad(errors, option, "default: expected a list such as [a, b]");
        }
        config_free(config);
        config_errors_free(&inner);
        return;
    }
    struct config_value value;
    CLEANUP_FREE char *expected = NULL;
    if (config_value_parse(option, option->default_value, &value, &expected) != VIM_OK) {
        config_error(errors, NULL, "option %s: default: expected %s, got %s", option->name,
                     expected, option->default_value);
    }
}

static void lint_option(const struct config_table *table, size_t index,
                        struct config_errors *errors)
{
    const struct vim_option *option = &table->options[index];
    if (!option->name || !is_option_name(option->name)) {
        config_error(errors, NULL, "option %zu: name is not lower case with underscores", index);
        return;
    }
    for (size_t i = 0; i < index; i++) {
        if (text_equal(table->options[i].name, option->name)) {
            bad(errors, option, "is there twice");
        }
    }
    if (!config_type_name(option->type)) {
        config_error(errors, NULL, "option %s: type %u does not exist", option->name, option->type);
        return;
    }
    if (!option->help || !*option->help) {
        bad(errors, option, "has no help");
    }
    bool choices = option->choices && option->choices[strspn(option->choices, " ")];
    if ((option->type == VIM_CHOICE) != choices) {
        bad(errors, option, choices ? "has choices, but is not a choice" : "has no choices");
        return;
    }
    if (option->minimum > option->maximum) {
        bad(errors, option, "minimum is greater than maximum");
    }
    lint_place(table, index, errors);
    lint_default(option, errors);
}

int config_lint(const struct config_table *table, struct config_errors *errors)
{
    size_t before = errors->count;
    for (size_t i = 0; i < table->count; i++) {
        lint_option(table, i, errors);
    }
    return errors->count == before ? VIM_OK : VIM_E_INVALID;
}

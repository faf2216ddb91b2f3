/*
 * Tree and option table to struct.
 */
#include "config/fill.h"
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "config/internal.h"

struct filler {
    const struct config *config; /* NULL when there is no node at all */
    struct config_struct *filled;
    struct config_errors *errors;
};

static void *keep(struct config_struct *filled, void *memory)
{
    filled->memory =
        memory_resize(filled->memory, filled->memory_count + 1, sizeof(*filled->memory));
    filled->memory[filled->memory_count++] = memory;
    return memory;
}

/* Stores a scalar that has been checked. */
static void store_scalar(struct filler *filler, const struct vim_option *option, const char *text,
                         const struct config_value *value)
{
    struct config_struct *filled = filler->filled;
    switch (option->type) {
    case VIM_TEXT:
    case VIM_CHOICE:
        *CONFIG_FIELD(filled->data, option, const char *) = keep(filled, text_duplicate(text));
        break;
    case VIM_PATH:
        *CONFIG_FIELD(filled->data, option, const char *) =
            keep(filled, config_resolve_path(filler->config, text));
        break;
    case VIM_NUMBER:
        *CONFIG_FIELD(filled->data, option, double) = value->number;
        break;
    case VIM_BOOLEAN:
        *CONFIG_FIELD(filled->data, option, int32_t) = (int32_t)value->integer;
        break;
    default:
        *CONFIG_FIELD(filled->data, option, int64_t) = value->integer;
    }
}

/* A secret that everybody can read is one no more. */
static void check_secrecy(const struct config_node *node, struct config_errors *errors)
{
    const struct config *config = node->config;
    if (node->file_mode & 0004) {
        config_warning(errors, node, "the secret's file can be read by everybody; chmod 600 it");
    } else if (!node->referenced && (config->mode & 0004)) {
        config_warning(errors, node,
                       "a secret in a file that everybody can read; chmod 600 it, or use "
                       "${env:NAME} or ${file:PATH}");
    }
}

/* A URL that is no secret may hold one. */
static void check_url(const char *text, const struct config_node *node,
                      struct config_errors *errors)
{
    size_t length;
    const char *found = config_url_password(text, &length);
    if (found) {
        CLEANUP_FREE char *password = text_duplicate_bytes(found, length);
        log_redact_add(password);
        check_secrecy(node, errors);
    }
}

static void fill_scalar(struct filler *filler, const struct vim_option *option,
                        const struct config_node *node)
{
    const char *text = config_text(node);
    bool secret = option->flags & VIM_SECRET;
    CLEANUP_FREE char *expected = NULL;
    struct config_value value = {0};
    if (text && config_value_parse(option, text, &value, &expected) == VIM_OK) {
        if (secret) {
            log_redact_add(text);
            check_secrecy(node, filler->errors);
        } else {
            check_url(text, node, filler->errors);
        }
        store_scalar(filler, option, text, &value);
        return;
    }
    if (!expected) {
        expected = option->type == VIM_CHOICE
                       ? text_format("one of %s", option->choices)
                       : text_format("%s %s", option->type == VIM_INTEGER ? "an" : "a",
                                     config_type_name(option->type));
    }
    const char *got = text                            ? text
                      : node->type == CONFIG_MAPPING  ? "a mapping"
                      : node->type == CONFIG_SEQUENCE ? "a list"
                                                      : "nothing";
    CLEANUP_FREE char *near =
        text && option->type == VIM_CHOICE ? text_nearest_word(option->choices, text) : NULL;
    config_error(filler->errors, node, "expected %s, got %s%s%s%s", expected,
                 text && secret ? "something else" : got, near ? "; did you mean " : "",
                 near ? near : "", near ? "?" : "");
}

static void fill_list(struct filler *filler, const struct vim_option *option,
                      const struct config_node *node)
{
    if (node->type != CONFIG_SEQUENCE) {
        config_error(filler->errors, node, "expected a list of texts");
        return;
    }
    struct config_struct *filled = filler->filled;
    const char **items = keep(filled, memory_new_array(node->count, sizeof(*items)));
    for (size_t i = 0; i < node->count; i++) {
        const struct config_node *item = config_at(node, i);
        const char *text = config_text(item);
        if (!text) {
            config_error(filler->errors, item, "expected a text");
            return;
        }
        if (option->flags & VIM_SECRET) {
            log_redact_add(text);
            check_secrecy(item, filler->errors);
        } else {
            check_url(text, item, filler->errors);
        }
        items[i] = keep(filled, text_duplicate(text));
    }
    *CONFIG_FIELD(filled->data, option, struct vim_texts) =
        (struct vim_texts){.count = (uint32_t)node->count, .items = items};
}

/* A default is trusted as far as config_lint() has checked it. */
static void fill_default(struct filler *filler, const struct vim_option *option)
{
    CLEANUP_FREE char *expected = NULL;
    struct config_value value;
    if (option->type != VIM_LIST) {
        if (config_value_parse(option, option->default_value, &value, &expected) == VIM_OK) {
            store_scalar(filler, option, option->default_value, &value);
        } else {
            config_error(filler->errors, NULL, "option %s: default: expected %s", option->name,
                         expected);
        }
        return;
    }
    CLEANUP_FREE char *yaml = text_format("%s: %s", option->name, option->default_value);
    struct config *config = NULL;
    if (config_parse_text(yaml, strlen(yaml), "default", &config, filler->errors) == VIM_OK) {
        const struct config_node *node = config_get(config_root(config), option->name);
        if (node) {
            fill_list(filler, option, node);
        }
    }
    config_free(config);
}

/* SECTION is the node that was given, as far as there is one; MAPPING is it too, unless it is empty. */
static void fill_option(struct filler *filler, size_t index, const struct config_node *mapping,
                        const struct config_node *section, const struct config_node *parent)
{
    const struct config_table *table = filler->filled->table;
    const struct vim_option *option = &table->options[index];
    const struct config_node *node = config_get(mapping, option->name);
    if (node) {
        const char *reference = config_reference(node);
        filler->filled->set[index] = true;
        filler->filled->references[index] = text_duplicate(reference);
        if (option->type == VIM_LIST) {
            fill_list(filler, option, node);
        } else {
            fill_scalar(filler, option, node);
        }
    } else if (option->flags & VIM_REQUIRED) {
        if (section) {
            config_error(filler->errors, section, "required key %s is missing", option->name);
        } else {
            config_error(filler->errors, parent, "%s: required key %s is missing", table->name,
                         option->name);
        }
    } else if (option->default_value) {
        fill_default(filler, option);
    }
}

/* All keys that a mapping may have, separated by spaces; malloc'ed. */
static char *known_keys(const struct config_table *table)
{
    struct text known = {0};
    text_add(&known, table->nested);
    for (size_t i = 0; i < table->count; i++) {
        text_printf(&known, " %s", table->options[i].name);
    }
    return text_take(&known);
}

static struct config_struct *struct_new(const struct config_table *table)
{
    struct config_struct *filled = MEMORY_NEW(struct config_struct);
    filled->table = table;
    filled->data = memory_new(table->size);
    filled->references = memory_new_array(table->count, sizeof(*filled->references));
    filled->set = memory_new_array(table->count, sizeof(*filled->set));
    return filled;
}

int config_fill(const struct config_table *table, const struct config_node *node,
                const struct config_node *parent, struct config_errors *errors,
                struct config_struct **ret_filled)
{
    size_t before = errors->count;
    /* A section whose members are all commented out is an empty one. */
    const struct config_node *mapping =
        node && node->type == CONFIG_SCALAR && !config_text(node) ? NULL : node;
    CLEANUP_FREE char *known = known_keys(table);
    config_check_keys(mapping, known, errors);
    if (mapping && mapping->type != CONFIG_MAPPING) {
        return VIM_E_INVALID;
    }
    const struct config_node *place = node ? node : parent;
    struct filler filler = {
        .config = place ? place->config : NULL, .filled = struct_new(table), .errors = errors};
    for (size_t i = 0; i < table->count; i++) {
        fill_option(&filler, i, mapping, node, parent);
    }
    if (errors->count != before) {
        config_struct_free(filler.filled);
        return VIM_E_INVALID;
    }
    *ret_filled = filler.filled;
    return VIM_OK;
}

void config_struct_free(struct config_struct *filled)
{
    if (!filled) {
        return;
    }
    for (size_t i = 0; i < filled->table->count; i++) {
        free(filled->references[i]);
    }
    for (size_t i = 0; i < filled->memory_count; i++) {
        free(filled->memory[i]);
    }
    free(filled->references);
    free(filled->set);
    free(filled->memory);
    free(filled->data);
    free(filled);
}

const void *config_data(const struct config_struct *filled)
{
    return filled->data;
}

const struct config_table *config_struct_table(const struct config_struct *filled)
{
    return filled->table;
}

#include "config/config.h"
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <vim/plugin.h>
#include "base/cleanup.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include "config/internal.h"

#define ERRORS_MAX 1000u /* more do not help anybody */

/* --- Errors ------------------------------------------------------------------------------------ */

static void list_add(char ***items, size_t *count, char *item)
{
    if (*count == ERRORS_MAX) {
        free(item);
        return;
    }
    *items = memory_resize(*items, *count + 1, sizeof(**items));
    (*items)[(*count)++] = item;
}

static void list_free(char **items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(items[i]);
    }
    free(items);
}

void config_errors_free(struct config_errors *errors)
{
    list_free(errors->items, errors->count);
    list_free(errors->warnings, errors->warning_count);
    *errors = (struct config_errors){0};
}

/* One line: what came from the file must not break it. */
static char *one_line(struct text *text)
{
    for (size_t i = 0; i < text->length; i++) {
        if ((unsigned char)text->data[i] < 0x20 || text->data[i] == 0x7F) {
            text->data[i] = ' ';
        }
    }
    return text_take(text);
}

__attribute__((format(printf, 5, 0))) static char *message(const struct config *config, int line,
                                                           int column, const char *path,
                                                           const char *format, va_list arguments)
{
    struct text text = {0};
    if (config) {
        text_printf(&text, "%s:%d:%d: ", config->filename, line, column);
    }
    if (path && *path) {
        text_printf(&text, "%s: ", path);
    }
    text_vprintf(&text, format, arguments);
    return one_line(&text);
}

void config_error_at(struct config_errors *errors, const struct config *config, int line,
                     int column, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    list_add(&errors->items, &errors->count,
             message(config, line, column, NULL, format, arguments));
    va_end(arguments);
}

__attribute__((format(printf, 2, 0))) static char *
node_message(const struct config_node *node, const char *format, va_list arguments)
{
    CLEANUP_FREE char *path = node ? config_path(node) : NULL;
    return message(node ? node->config : NULL, node ? node->line : 0, node ? node->column : 0, path,
                   format, arguments);
}

void config_error(struct config_errors *errors, const struct config_node *node, const char *format,
                  ...)
{
    va_list arguments;
    va_start(arguments, format);
    list_add(&errors->items, &errors->count, node_message(node, format, arguments));
    va_end(arguments);
}

void config_warning(struct config_errors *errors, const struct config_node *node,
                    const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    list_add(&errors->warnings, &errors->warning_count, node_message(node, format, arguments));
    va_end(arguments);
}

void config_error_at_key(struct config_errors *errors, const struct config_node *mapping,
                         size_t index, const char *format, ...)
{
    const struct config_member *member = &mapping->members[index];
    CLEANUP_FREE char *path = config_path(member->value);
    va_list arguments;
    va_start(arguments, format);
    list_add(&errors->items, &errors->count,
             message(mapping->config, member->line, member->column, path, format, arguments));
    va_end(arguments);
}

void config_check_keys(const struct config_node *node, const char *known,
                       struct config_errors *errors)
{
    if (!node) {
        return;
    }
    if (node->type != CONFIG_MAPPING) {
        config_error(errors, node, "expected a mapping (key: value)");
        return;
    }
    for (size_t i = 0; i < node->count; i++) {
        const char *key = node->members[i].key;
        if (text_has_word(known, key)) {
            continue;
        }
        CLEANUP_FREE char *near = text_nearest_word(known, key);
        config_error_at_key(errors, node, i, "unknown key%s%s%s", near ? "; did you mean " : "",
                            near ? near : "", near ? "?" : "");
    }
}

/* --- Loading ----------------------------------------------------------------------------------- */

static struct config *config_new(const char *filename)
{
    struct config *config = MEMORY_NEW(struct config);
    const char *slash = strrchr(filename, '/');
    config->filename = text_duplicate(filename);
    config->folder = text_duplicate_bytes(filename, slash ? (size_t)(slash - filename) + 1 : 0);
    return config;
}

static int parse_into(struct config *config, const char *text, size_t length,
                      struct config_errors *errors)
{
    size_t before = errors->count;
    if (length > CONFIG_SIZE_MAX) {
        config_error_at(errors, config, 1, 1, "larger than %zu bytes", CONFIG_SIZE_MAX);
        return VIM_E_INVALID;
    }
    config_parse_yaml(config, text, length, errors);
    struct config_node *root = config->root;
    if (!root || (root->type == CONFIG_SCALAR && root->plain && !*root->raw)) {
        config_node_free(root);
        config->root = root = MEMORY_NEW(struct config_node);
        *root =
            (struct config_node){.config = config, .type = CONFIG_MAPPING, .line = 1, .column = 1};
    }
    if (root->type != CONFIG_MAPPING && errors->count == before) {
        config_error(errors, root, "expected a mapping (key: value)");
    }
    if (errors->count == before) {
        config_expand(root, errors);
    }
    return errors->count == before ? VIM_OK : VIM_E_INVALID;
}

static int finish(struct config *config, int code, struct config **ret_config)
{
    if (code == VIM_OK) {
        *ret_config = config;
    } else {
        config_free(config);
    }
    return code;
}

int config_parse_text(const char *text, size_t length, const char *filename,
                      struct config **ret_config, struct config_errors *errors)
{
    struct config *config = config_new(filename);
    return finish(config, parse_into(config, text, length, errors), ret_config);
}

int config_load(const char *path, struct config **ret_config, struct config_errors *errors)
{
    struct config *config = config_new(path);
    CLEANUP_TEXT struct text text = {0};
    int code = file_read(path, CONFIG_SIZE_MAX, &text, &config->mode);
    if (code != VIM_OK) {
        config_error(errors, NULL, "%s: cannot be read: %s", path, strerror(errno));
        return finish(config, VIM_E_INVALID, ret_config);
    }
    return finish(config, parse_into(config, text_get(&text), text.length, errors), ret_config);
}

void config_node_free(struct config_node *node)
{
    if (!node) {
        return;
    }
    for (size_t i = 0; i < node->count; i++) {
        free(node->members[i].key);
        config_node_free(node->members[i].value);
    }
    free(node->members);
    free(node->raw);
    free(node->text);
    free(node);
}

void config_free(struct config *config)
{
    if (config) {
        config_node_free(config->root);
        free(config->filename);
        free(config->folder);
        free(config);
    }
}

char *config_resolve_path(const struct config *config, const char *path)
{
    bool relative = config && path[0] != '/';
    return text_format("%s%s", relative ? config->folder : "", path);
}

/* --- Nodes ------------------------------------------------------------------------------------- */

const char *config_filename(const struct config *config)
{
    return config->filename;
}

const struct config_node *config_root(const struct config *config)
{
    return config->root;
}

enum config_type config_type(const struct config_node *node)
{
    return node->type;
}

size_t config_count(const struct config_node *node)
{
    return node->count;
}

const struct config_node *config_at(const struct config_node *node, size_t index)
{
    return index < node->count ? node->members[index].value : NULL;
}

const char *config_key_at(const struct config_node *mapping, size_t index)
{
    return index < mapping->count ? mapping->members[index].key : NULL;
}

const struct config_node *config_get(const struct config_node *node, const char *key)
{
    for (size_t i = 0; node && node->type == CONFIG_MAPPING && i < node->count; i++) {
        if (strcmp(node->members[i].key, key) == 0) {
            return node->members[i].value;
        }
    }
    return NULL;
}

const char *config_text(const struct config_node *node)
{
    if (!node || node->type != CONFIG_SCALAR) {
        return NULL;
    }
    bool nothing = node->plain && !node->referenced &&
                   (!*node->raw || text_equal(node->raw, "~") || text_equal(node->raw, "null"));
    return nothing ? NULL : node->text;
}

const char *config_reference(const struct config_node *node)
{
    return node->type == CONFIG_SCALAR && node->referenced ? node->raw : NULL;
}

char *config_path(const struct config_node *node)
{
    const struct config_node *parent = node->parent;
    if (!parent) {
        return text_duplicate("");
    }
    CLEANUP_FREE char *above = config_path(parent);
    if (parent->type == CONFIG_SEQUENCE) {
        return text_format("%s[%zu]", above, node->index);
    }
    return text_format("%s%s%s", above, *above ? "." : "", parent->members[node->index].key);
}

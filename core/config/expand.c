/*
 * ${env:NAME}, ${file:PATH} and $$ in scalars.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <vim/plugin.h>
#include "base/cleanup.h"
#include "base/file.h"
#include "base/text.h"
#include "config/internal.h"

/* Puts in the text of an environment variable; VIM_E_NOT_FOUND if it is not set. */
static int put_variable(const char *name, struct text *text)
{
    const char *value = getenv(name);
    text_add(text, value);
    return value ? VIM_OK : VIM_E_NOT_FOUND;
}

/* Puts in the content of a file without the newline at its end. */
static int put_file(struct config_node *node, const char *name, struct text *text)
{
    CLEANUP_FREE char *path = config_resolve_path(node->config, name);
    CLEANUP_TEXT struct text content = {0};
    mode_t mode;
    int code = file_read(path, CONFIG_REFERENCE_MAX, &content, &mode);
    if (code != VIM_OK) {
        return code;
    }
    if (content.length && content.data[content.length - 1] == '\n') {
        text_truncate(&content, content.length - 1);
    }
    if (strlen(text_get(&content)) != content.length ||
        !text_is_utf8(text_get(&content), content.length)) {
        errno = EILSEQ;
        return VIM_E_INVALID;
    }
    node->file_mode |= mode;
    text_add_bytes(text, text_get(&content), content.length);
    return VIM_OK;
}

/* Puts in what INSIDE, the text between ${ and }, stands for. */
static void put_reference(struct config_node *node, char *inside, struct text *text,
                          struct config_errors *errors)
{
    bool env = text_starts_with(inside, "env:"), file = text_starts_with(inside, "file:");
    if (!env && !file) {
        config_error(errors, node,
                     "unknown reference ${%s}; there are ${env:NAME} and ${file:PATH}, and $$ is a "
                     "dollar",
                     inside);
        return;
    }
    char *name = strchr(inside, ':') + 1;
    char *otherwise = strstr(name, ":-");
    if (otherwise) {
        *otherwise = '\0';
        otherwise += 2;
    }
    if (!*name) {
        config_error(errors, node, "a reference without a %s", env ? "name" : "path");
        return;
    }
    int code = env ? put_variable(name, text) : put_file(node, name, text);
    if (code == VIM_E_NOT_FOUND && otherwise) {
        text_add(text, otherwise);
    } else if (code != VIM_OK && env) {
        config_error(errors, node, "the environment variable %s is not set", name);
    } else if (code != VIM_OK) {
        config_error(errors, node, "the file %s cannot be read: %s", name, strerror(errno));
    }
}

static void expand_scalar(struct config_node *node, struct config_errors *errors)
{
    CLEANUP_TEXT struct text text = {0};
    for (const char *at = node->raw; *at;) {
        if (at[0] == '$' && at[1] == '$') {
            text_add_char(&text, '$');
            at += 2;
        } else if (at[0] == '$' && at[1] == '{') {
            const char *end = strchr(at, '}');
            if (!end) {
                config_error(errors, node, "a reference ${ without its }");
                break;
            }
            CLEANUP_FREE char *inside = text_duplicate_bytes(at + 2, (size_t)(end - at - 2));
            node->referenced = true;
            put_reference(node, inside, &text, errors);
            at = end + 1;
        } else {
            text_add_char(&text, *at++);
        }
    }
    node->text = text_take(&text);
}

void config_expand(struct config_node *node, struct config_errors *errors)
{
    if (node->type == CONFIG_SCALAR) {
        expand_scalar(node, errors);
    }
    for (size_t i = 0; i < node->count; i++) {
        config_expand(node->members[i].value, errors);
    }
}

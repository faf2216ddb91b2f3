/*
 * A struct as YAML, and a table as text.
 */
#include <ctype.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/text.h"
#include "config/internal.h"

/* Would the text be read back as itself without quotes? Rather too strict than too lax. */
static bool is_plain(const char *string)
{
    static const char *const words = "true false null yes no on off y n";
    bool other_than_digits = false;
    for (const char *at = string; *at; at++) {
        unsigned char c = (unsigned char)*at;
        if (!isalnum(c) && (at == string ? c != '/' && c != '_' : !strchr("/_-.+@", c))) {
            return false;
        }
        other_than_digits = other_than_digits || (isalpha(c) && !strchr("eExXoO", c)) || c == '/';
    }
    char lower[8];
    size_t length = strlen(string);
    for (size_t i = 0; i <= length && length < sizeof(lower); i++) {
        lower[i] = (char)tolower((unsigned char)string[i]);
    }
    return length > 0 && other_than_digits &&
           !(length < sizeof(lower) && text_has_word(words, lower));
}

void config_dump_scalar(const char *string, struct text *text)
{
    if (is_plain(string)) {
        text_add(text, string);
        return;
    }
    text_add_char(text, '"');
    for (const char *at = string; *at; at++) {
        unsigned char c = (unsigned char)*at;
        if (c == '"' || c == '\\') {
            text_printf(text, "\\%c", c);
        } else if (c == '$') {
            text_add(text, "$$"); /* it would be a reference when read back */
        } else if (c < 0x20 || c == 0x7F) {
            text_printf(text, "\\x%02x", c);
        } else {
            text_add_char(text, (char)c);
        }
    }
    text_add_char(text, '"');
}

/* A text of an option that is no secret; a password in a URL is one all the same. */
static void dump_text(const char *string, struct text *text)
{
    size_t length;
    const char *password = config_url_password(string, &length);
    if (!password) {
        config_dump_scalar(string, text);
        return;
    }
    CLEANUP_FREE char *shown =
        text_format("%.*s********%s", (int)(password - string), string, password + length);
    config_dump_scalar(shown, text);
}

static void dump_list(const struct vim_texts *list, struct text *text)
{
    text_add_char(text, '[');
    for (uint32_t i = 0; i < list->count; i++) {
        text_add(text, i ? ", " : "");
        dump_text(list->items[i], text);
    }
    text_add_char(text, ']');
}

static void dump_value(const struct vim_option *option, const void *data, struct text *text)
{
    const char *string;
    switch (option->type) {
    case VIM_TEXT:
    case VIM_CHOICE:
    case VIM_PATH:
        string = *CONFIG_CONST_FIELD(data, option, char *);
        if (string) {
            dump_text(string, text);
        }
        break;
    case VIM_LIST:
        dump_list(CONFIG_CONST_FIELD(data, option, struct vim_texts), text);
        break;
    case VIM_NUMBER:
        text_printf(text, "%.15g", *CONFIG_CONST_FIELD(data, option, double));
        break;
    case VIM_BOOLEAN:
        text_add(text, *CONFIG_CONST_FIELD(data, option, int32_t) ? "true" : "false");
        break;
    default:
        config_value_print(option->type, *CONFIG_CONST_FIELD(data, option, int64_t), text);
    }
}

/* Does the option have any value, set or by default? */
static bool has_value(const struct config_struct *filled, size_t index)
{
    return filled->set[index] || filled->table->options[index].default_value;
}

void config_dump(const struct config_struct *filled, unsigned indent, struct text *text)
{
    for (size_t i = 0; i < filled->table->count; i++) {
        const struct vim_option *option = &filled->table->options[i];
        text_printf(text, "%*s%s%s:", (int)indent, "", filled->set[i] ? "" : "# ", option->name);
        if (has_value(filled, i)) {
            text_add_char(text, ' ');
            if (option->flags & VIM_SECRET) {
                text_add(text, "\"********\"");
            } else {
                dump_value(option, filled->data, text);
            }
        }
        const char *reference = filled->references[i];
        if (reference && !strpbrk(reference, "\r\n")) {
            /* A reference may have a secret for its ":-" text. */
            bool show = !(option->flags & VIM_SECRET) || !strstr(reference, ":-");
            text_printf(text, "  # from %s", show ? reference : "a reference");
        }
        text_add_char(text, '\n');
    }
}

static void describe_bounds(const struct vim_option *option, struct text *text)
{
    if (option->minimum == 0 && option->maximum == 0) {
        return;
    }
    uint32_t type = option->type == VIM_NUMBER ? VIM_INTEGER : option->type;
    text_add(text, ", ");
    config_value_print(type, option->minimum, text);
    text_add(text, " to ");
    config_value_print(type, option->maximum, text);
}

void config_describe(const struct config_table *table, struct text *text)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct vim_option *option = &table->options[i];
        text_printf(text, "  %s\n      %s", option->name, config_type_name(option->type));
        if (option->type == VIM_CHOICE) {
            text_printf(text, " (%s)", option->choices);
        }
        describe_bounds(option, text);
        if (option->default_value) {
            text_printf(text, ", default %s",
                        *option->default_value ? option->default_value : "\"\"");
        }
        text_add(text, option->flags & VIM_REQUIRED ? ", required" : "");
        text_add(text, option->flags & VIM_SECRET ? ", secret" : "");
        text_add(text, option->flags & VIM_LIVE ? ", a reload applies it in place" : "");
        text_printf(text, "\n      %s\n", option->help);
    }
}

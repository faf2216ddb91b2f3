#include <stdio.h>
#include <string.h>
#include "base/text.h"
#include "config/internal.h"

static bool same_list(const struct vim_texts *a, const struct vim_texts *b)
{
    if (a->count != b->count) {
        return false;
    }
    for (uint32_t i = 0; i < a->count; i++) {
        if (!text_equal(a->items[i], b->items[i])) {
            return false;
        }
    }
    return true;
}

static bool same_option(const struct vim_option *option, const void *a, const void *b)
{
    switch (option->type) {
    case VIM_TEXT:
    case VIM_CHOICE:
    case VIM_PATH:
        return text_equal(*CONFIG_CONST_FIELD(a, option, char *),
                          *CONFIG_CONST_FIELD(b, option, char *));
    case VIM_LIST:
        return same_list(CONFIG_CONST_FIELD(a, option, struct vim_texts),
                         CONFIG_CONST_FIELD(b, option, struct vim_texts));
    default:
        return memcmp(CONFIG_CONST_FIELD(a, option, char), CONFIG_CONST_FIELD(b, option, char),
                      config_type_size(option->type)) == 0;
    }
}

struct config_changes config_compare(const struct config_struct *a, const struct config_struct *b)
{
    struct config_changes changes = {.live = true};
    size_t length = 0;
    for (size_t i = 0; i < a->table->count; i++) {
        const struct vim_option *option = &a->table->options[i];
        if (same_option(option, a->data, b->data)) {
            continue;
        }
        changes.live = changes.live && (option->flags & VIM_LIVE);
        if (length + strlen(option->name) + 6 < sizeof(changes.names)) {
            length += (size_t)snprintf(changes.names + length, sizeof(changes.names) - length,
                                       "%s%s", changes.count ? " " : "", option->name);
        } else if (length + 5 < sizeof(changes.names)) {
            strcpy(changes.names + length, " ...");
            length = sizeof(changes.names);
        }
        changes.count++;
    }
    return changes;
}

/* Configuration files: text to tree, tree to a struct by an option table, struct to a dump. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include "base/log.h"
#include "base/text.h"
#include "config/config.h"
#include "config/fill.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct everything {
    const char *text, *secret, *choice, *path;
    int64_t integer, duration, bytes;
    double number;
    int32_t boolean;
    struct vim_texts list;
};

#define OPTION(field_, type_, ...)                                 \
    {                                                              \
        .name = #field_, .type = (type_), .help = "A value.",      \
        .offset = offsetof(struct everything, field_), __VA_ARGS__ \
    }

static const struct vim_option options[] = {
    OPTION(text, VIM_TEXT, .default_value = "words"),
    OPTION(secret, VIM_TEXT, .flags = VIM_SECRET),
    OPTION(choice, VIM_CHOICE, .choices = "one two three", .default_value = "two"),
    OPTION(path, VIM_PATH),
    OPTION(integer, VIM_INTEGER, .minimum = -5, .maximum = 1000000),
    OPTION(duration, VIM_DURATION, .default_value = "30s", .minimum = 1, .maximum = 86400000),
    OPTION(bytes, VIM_BYTES, .default_value = "64KiB", .minimum = 1, .maximum = INT64_MAX),
    OPTION(number, VIM_NUMBER, .default_value = "0.5"),
    OPTION(boolean, VIM_BOOLEAN, .default_value = "true"),
    OPTION(list, VIM_LIST),
};

static const struct config_table table =
    CONFIG_TABLE("everything", options, struct everything, "One of each.");

/* Visits every node, as those who read a tree do. */
static void visit(const struct config_node *node, unsigned depth)
{
    if (depth > CONFIG_DEPTH_MAX) {
        abort();
    }
    (void)config_text(node);
    (void)config_reference(node);
    for (size_t i = 0; i < config_count(node); i++) {
        if (config_type(node) == CONFIG_MAPPING &&
            config_get(node, config_key_at(node, i)) != config_at(node, i)) {
            abort();
        }
        visit(config_at(node, i), depth + 1);
    }
    free(config_path(node));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config *config = NULL;
    struct config_errors errors = {0};
    log_init(VIM_ERROR, LOG_LOGFMT);
    int code = config_parse_text((const char *)data, size, "fuzz.yaml", &config, &errors);
    if (code == VIM_OK) {
        struct config_struct *filled = NULL;
        visit(config_root(config), 0);
        if (config_fill(&table, config_root(config), NULL, &errors, &filled) == VIM_OK) {
            struct text text = {0};
            config_dump(filled, 2, &text);
            text_free(&text);
            config_struct_free(filled);
        }
        config_free(config);
    } else if (errors.count == 0) {
        abort(); /* a refusal says why */
    }
    config_errors_free(&errors);
    return 0;
}

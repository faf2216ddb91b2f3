/*
 * config/fill.h - option tables (<vim/plugin.h>) turned into structs.
 *
 * One table serves to check, fill, dump, describe and compare. Plugins bring theirs; the daemon's
 * own sections (api, tasks, ...) are declared the same way by the floors that own them:
 *
 *     struct tasks_config { int64_t lease_ms; ... };
 *     static const struct vim_option tasks_options[] = {
 *         {.name = "lease", .type = VIM_DURATION, .default_value = "30s", .minimum = 1000,
 *          .help = "...", .offset = offsetof(struct tasks_config, lease_ms)}, ...};
 *     const struct config_table tasks_table = CONFIG_TABLE("tasks", tasks_options,
 *                                                           struct tasks_config, "...");
 *
 *     config_fill(&tasks_table, config_get(root, "tasks"), root, &errors, &filled);
 *     const struct tasks_config *tasks = config_data(filled);
 */
#ifndef CONFIG_FILL_H
#define CONFIG_FILL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <vim/plugin.h>
#include "config/config.h"

struct text;

/* A table and the struct it fills. Immutable; outlives what was filled by it. */
struct config_table {
    const char *name; /* of the section or plugin, for descriptions */
    const char *help; /* one sentence, or NULL */
    const struct vim_option *options;
    size_t count;
    size_t size; /* of the struct */
    const char *nested; /* keys of the mapping, separated by spaces, that somebody else fills; or
                           NULL */
};

#define CONFIG_TABLE(name_, options_, struct_, help_)                                              \
    {                                                                                              \
        .name = (name_), .help = (help_), .options = (options_),                                   \
        .count = sizeof(options_) / sizeof((options_)[0]), .size = sizeof(struct_), .nested = NULL \
    }

/* A table that is made from a mapping; owns its struct and all texts in it. */
struct config_struct;

/* Fills from NODE, a mapping (NULL: all defaults; then errors about required options are placed
 * at PARENT, which may be NULL as well). Records ALL errors in ERRORS. Returns VIM_OK, or
 * VIM_E_INVALID if this call recorded any error, and then there is no struct. Values of SECRET
 * options are given to log_redact_add(). */
int config_fill(const struct config_table *table, const struct config_node *node,
                const struct config_node *parent, struct config_errors *errors,
                struct config_struct **ret_filled);

void config_struct_free(struct config_struct *filled); /* NULL is fine */

/* The struct, as the table's offsets describe it. Valid until config_struct_free(). */
const void *config_data(const struct config_struct *filled);
const struct config_table *config_struct_table(const struct config_struct *filled);

/* --- What a table tells ------------------------------------------------------------------------ */

/* Checks a table: names (lower case, unique), types, offsets (inside, aligned, not overlapping),
 * defaults (of the type, inside the bounds), choices, bounds. Each fault is one error "option NAME:
 * ...". Returns VIM_OK or VIM_E_INVALID. Safe on any content whose pointers are valid. */
int config_lint(const struct config_table *table, struct config_errors *errors);

/* Adds the options as readable text: name, type, default, bounds, flags, help. */
void config_describe(const struct config_table *table, struct text *text);

/* Adds the effective values as YAML, INDENT spaces deep: secrets as "********" (with a comment that
 * tells the ${...} it came from), values that are defaults as comments ("# port: 8080"). */
void config_dump(const struct config_struct *filled, unsigned indent, struct text *text);

/* Adds STRING as a YAML scalar, quoted where needed. */
void config_dump_scalar(const char *string, struct text *text);

/* What differs between two structs of the same table. */
struct config_changes {
    size_t count; /* changed options */
    bool live; /* all of them are VIM_LIVE (also when count is 0) */
    char names[256]; /* separated by spaces, cut off with ... */
};
struct config_changes config_compare(const struct config_struct *a, const struct config_struct *b);

#endif

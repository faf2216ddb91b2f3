/*
 * config/internal.h - private to config/: the inside of a tree.
 */
#ifndef CONFIG_INTERNAL_H
#define CONFIG_INTERNAL_H

#include <sys/types.h>
#include "config/config.h"
#include "config/fill.h"

#define CONFIG_MEMBERS_MAX 1000u /* of one mapping */
#define CONFIG_REFERENCE_MAX ((size_t)65536) /* bytes of a file behind ${file:} */

struct config_member {
    char *key; /* NULL in a sequence */
    int line, column; /* of the key */
    struct config_node *value;
};

/* A node; owned by its parent, the root by the config. */
struct config_node {
    const struct config *config;
    const struct config_node *parent;
    size_t index; /* in the parent */
    enum config_type type;
    int line, column; /* from 1 */
    struct config_member *members;
    size_t count;
    char *raw; /* scalar: as written, without quotes */
    char *text; /* scalar: expanded */
    bool plain; /* scalar: without quotes */
    bool referenced; /* something was put in for ${...} */
    mode_t file_mode; /* of the files that were put in, or-ed */
};

struct config {
    char *filename;
    char *folder; /* of the file, with its slash; "" for the current one */
    mode_t mode; /* of the file; 0 if it was text */
    struct config_node *root;
    size_t nodes;
};

/* Parses YAML into CONFIG's root (any kind of node). Records errors. The one file with libyaml. */
void config_parse_yaml(struct config *config, const char *text, size_t length,
                       struct config_errors *errors);

/* Expands all scalars under NODE. */
void config_expand(struct config_node *node, struct config_errors *errors);

void config_node_free(struct config_node *node);

/* Records "file:line:column: text". */
void config_error_at(struct config_errors *errors, const struct config *config, int line,
                     int column, const char *format, ...) __attribute__((format(printf, 5, 6)));

/* PATH as seen from the configuration's folder, malloc'ed. */
char *config_resolve_path(const struct config *config, const char *path);

/* --- Values (value.c) ---------------------------------------------------------------------------- */

struct config_value {
    int64_t integer; /* also boolean, duration, bytes */
    double number;
};

/* Checks a scalar TEXT against an option of any type but VIM_LIST. On VIM_E_INVALID *RET_EXPECTED is
 * what would have been right, malloc'ed. */
int config_value_parse(const struct vim_option *option, const char *text,
                       struct config_value *ret_value, char **ret_expected);

/* The password in TEXT if that is a URL with one ("scheme://user:password@host"), and its length; else NULL. */
const char *config_url_password(const char *text, size_t *ret_length);

/* Adds a number as it would be written: 30000 of VIM_DURATION is 30s. */
void config_value_print(uint32_t type, int64_t value, struct text *text);

/* "text", "duration" ...; NULL for a type that does not exist. */
const char *config_type_name(uint32_t type);

/* Size of the field of an option. */
size_t config_type_size(uint32_t type);

/* --- Filled structs (fill.c) --------------------------------------------------------------------- */

struct config_struct {
    const struct config_table *table;
    void *data;
    char **references; /* per option: what it came from (${...}), or NULL */
    bool *set; /* per option: it is in the file */
    void **memory; /* what data points to */
    size_t memory_count;
};

/* The field of an option in a struct. */
#define CONFIG_FIELD(data, option, type) ((type *)((char *)(data) + (option)->offset))
#define CONFIG_CONST_FIELD(data, option, type) \
    ((const type *)((const char *)(data) + (option)->offset))

#endif

/*
 * config/config.h - a YAML file as a tree whose nodes know their line and column.
 *
 *     config_load("/etc/vimd.yaml", &config, &errors)        file -> tree
 *     config_fill(&table, config_root(config), ...)          tree -> struct (config/fill.h)
 *
 * What is refused, with file:line:column: bad syntax, duplicate keys, anchors and aliases, tags,
 * several documents, too large, too deep. Unknown keys are found when a table is filled.
 *
 * Scalars are expanded: ${env:NAME} and ${file:PATH} are replaced by the variable's or the file's
 * text (a file: up to 64 KiB, one newline at its end cut off; a relative path is taken from the
 * configuration file's folder), ${env:NAME:-TEXT} and ${file:PATH:-TEXT} by TEXT if there is no such
 * thing, $$ by a dollar. A lone $ stands for itself.
 *
 * A tree is immutable and may be read by several threads.
 */
#ifndef CONFIG_CONFIG_H
#define CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONFIG_SIZE_MAX ((size_t)1 << 20)
#define CONFIG_DEPTH_MAX 32u
#define CONFIG_NODES_MAX 100000u

struct config;
struct config_node;

enum config_type { CONFIG_SCALAR, CONFIG_MAPPING, CONFIG_SEQUENCE };

/* Everything that is wrong with a configuration, in the order it was found. All zero at first;
 * config_errors_free() when done. Each is one line without a newline:
 * "vimd.yaml:12:9: api.prot: unknown key; did you mean port?" */
struct config_errors {
    size_t count;
    char **items;
    size_t warning_count; /* what works but should not stay: a secret that everybody can read */
    char **warnings;
};

void config_errors_free(struct config_errors *errors);

/* Reads and parses a file. On VIM_E_INVALID the errors tell why and there is no tree. The tree's
 * values are expanded; an expansion that fails is an error as well. */
int config_load(const char *path, struct config **ret_config, struct config_errors *errors);

/* The same for text; FILENAME is for messages, and its folder for relative paths. */
int config_parse_text(const char *text, size_t length, const char *filename,
                      struct config **ret_config, struct config_errors *errors);

void config_free(struct config *config); /* NULL is fine */

const char *config_filename(const struct config *config);

/* The top-level mapping (an empty file gives an empty one). Never NULL. */
const struct config_node *config_root(const struct config *config);

/* --- Nodes: belong to the config ---------------------------------------------------------------- */

enum config_type config_type(const struct config_node *node);

/* Members of a mapping or elements of a sequence; 0 for a scalar. */
size_t config_count(const struct config_node *node);
const struct config_node *config_at(const struct config_node *node, size_t index);
const char *config_key_at(const struct config_node *mapping, size_t index);

/* The member KEY of a mapping, or NULL; also when NODE is NULL or not a mapping. */
const struct config_node *config_get(const struct config_node *node, const char *key);

/* A scalar's expanded text, or NULL for other nodes, for NULL, and for the plain scalars that mean nothing:
 * "", ~ and null. */
const char *config_text(const struct config_node *node);

/* Did any part of the scalar come from ${env:} or ${file:}? If so, as it was written, else NULL. */
const char *config_reference(const struct config_node *node);

/* Where the node is: "vims[2].options.auth_url", malloc'ed. */
char *config_path(const struct config_node *node);

/* Records "file:line:column: path: text". NODE gives the place; NULL: only the text. */
void config_error(struct config_errors *errors, const struct config_node *node, const char *format,
                  ...) __attribute__((format(printf, 3, 4)));
void config_warning(struct config_errors *errors, const struct config_node *node,
                    const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Records an error at the place of KEY itself in MAPPING: for keys that should not be there. */
void config_error_at_key(struct config_errors *errors, const struct config_node *mapping,
                         size_t index, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Checks that NODE is a mapping (else an error) and has no keys but KNOWN, separated by spaces;
 * records every other as unknown with the nearest known one. NODE NULL is fine. */
void config_check_keys(const struct config_node *node, const char *known,
                       struct config_errors *errors);

#endif

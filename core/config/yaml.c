/*
 * YAML text to a tree: what libyaml accepts, minus what a configuration has no use for.
 */
#include <stdlib.h>
#include <string.h>
#include <yaml.h>
#include "base/memory.h"
#include "base/text.h"
#include "config/internal.h"

struct reader {
    yaml_parser_t parser;
    struct config *config;
    struct config_errors *errors;
    bool broken; /* a syntax error or a limit: nothing behind it is looked at */
};

static void break_at(struct reader *reader, const yaml_mark_t *mark, const char *text)
{
    if (!reader->broken) {
        config_error_at(reader->errors, reader->config, (int)mark->line + 1, (int)mark->column + 1,
                        "%s", text);
    }
    reader->broken = true;
}

/* Next event; on error an event of type YAML_NO_EVENT. */
static yaml_event_t next_event(struct reader *reader)
{
    yaml_event_t event = {.type = YAML_NO_EVENT};
    if (reader->broken || yaml_parser_parse(&reader->parser, &event)) {
        return event;
    }
    const char *problem = reader->parser.problem ? reader->parser.problem : "unreadable";
    const char *context = reader->parser.context;
    char *text =
        text_format("not valid YAML: %s%s%s", problem, context ? " " : "", context ? context : "");
    break_at(reader, &reader->parser.problem_mark, text);
    free(text);
    return (yaml_event_t){.type = YAML_NO_EVENT};
}

static void check_decoration(struct reader *reader, const yaml_event_t *event,
                             const yaml_char_t *anchor, const yaml_char_t *tag)
{
    int line = (int)event->start_mark.line + 1, column = (int)event->start_mark.column + 1;
    if (anchor) {
        config_error_at(reader->errors, reader->config, line, column,
                        "anchors and aliases are not supported");
    }
    if (tag) {
        config_error_at(reader->errors, reader->config, line, column, "tags are not supported");
    }
}

static struct config_node *node_new(struct reader *reader, const yaml_event_t *event,
                                    const struct config_node *parent, enum config_type type)
{
    struct config_node *node = MEMORY_NEW(struct config_node);
    node->config = reader->config;
    node->parent = parent;
    node->type = type;
    node->line = (int)event->start_mark.line + 1;
    node->column = (int)event->start_mark.column + 1;
    if (++reader->config->nodes > CONFIG_NODES_MAX) {
        break_at(reader, &event->start_mark, "too many values");
    }
    return node;
}

static struct config_node *read_scalar(struct reader *reader, const yaml_event_t *event,
                                       const struct config_node *parent)
{
    struct config_node *node = node_new(reader, event, parent, CONFIG_SCALAR);
    const char *value = (const char *)event->data.scalar.value;
    check_decoration(reader, event, event->data.scalar.anchor, event->data.scalar.tag);
    if (strlen(value) != event->data.scalar.length) {
        config_error_at(reader->errors, reader->config, node->line, node->column,
                        "a NUL character is not supported");
    }
    node->raw = text_duplicate(value);
    node->plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    return node;
}

static void add_member(struct config_node *node, struct config_member member)
{
    if ((node->count & (node->count - 1)) == 0) { /* 0, 1, 2, 4, 8 ... */
        node->members =
            memory_resize(node->members, node->count ? 2 * node->count : 1, sizeof(*node->members));
    }
    member.value->index = node->count;
    node->members[node->count++] = member;
}

static struct config_node *read_node(struct reader *reader, const yaml_event_t *event,
                                     const struct config_node *parent, unsigned depth);

static struct config_node *read_sequence(struct reader *reader, const yaml_event_t *event,
                                         const struct config_node *parent, unsigned depth)
{
    struct config_node *node = node_new(reader, event, parent, CONFIG_SEQUENCE);
    check_decoration(reader, event, event->data.sequence_start.anchor,
                     event->data.sequence_start.tag);
    for (bool end = false; !end && !reader->broken;) {
        yaml_event_t item = next_event(reader);
        end = item.type == YAML_SEQUENCE_END_EVENT;
        struct config_node *value = end ? NULL : read_node(reader, &item, node, depth + 1);
        if (value) {
            add_member(node, (struct config_member){
                                 .line = value->line, .column = value->column, .value = value});
        }
        yaml_event_delete(&item);
    }
    return node;
}

/* The line of the first use of KEY, or 0. */
static int line_of_key(const struct config_node *mapping, const char *key)
{
    for (size_t i = 0; i < mapping->count; i++) {
        if (strcmp(mapping->members[i].key, key) == 0) {
            return mapping->members[i].line;
        }
    }
    return 0;
}

/* Reads key and value behind the event KEY of a key. */
static void read_member(struct reader *reader, struct config_node *node, const yaml_event_t *event,
                        unsigned depth)
{
    int line = (int)event->start_mark.line + 1, column = (int)event->start_mark.column + 1;
    if (event->type != YAML_SCALAR_EVENT) {
        break_at(reader, &event->start_mark, "expected a key, which is a single word");
        return;
    }
    const char *key = (const char *)event->data.scalar.value;
    check_decoration(reader, event, event->data.scalar.anchor, event->data.scalar.tag);
    int before = line_of_key(node, key);
    if (before) {
        config_error_at(reader->errors, reader->config, line, column,
                        "key %s is here twice, first in line %d", key, before);
    }
    if (node->count >= CONFIG_MEMBERS_MAX) {
        break_at(reader, &event->start_mark, "too many keys in one mapping");
        return;
    }
    char *copy = text_duplicate(key);
    yaml_event_t item = next_event(reader);
    struct config_node *value = read_node(reader, &item, node, depth + 1);
    yaml_event_delete(&item);
    if (!value || before) {
        config_node_free(value);
        free(copy);
        return;
    }
    add_member(node,
               (struct config_member){.key = copy, .line = line, .column = column, .value = value});
}

static struct config_node *read_mapping(struct reader *reader, const yaml_event_t *event,
                                        const struct config_node *parent, unsigned depth)
{
    struct config_node *node = node_new(reader, event, parent, CONFIG_MAPPING);
    check_decoration(reader, event, event->data.mapping_start.anchor,
                     event->data.mapping_start.tag);
    for (bool end = false; !end && !reader->broken;) {
        yaml_event_t item = next_event(reader);
        end = item.type == YAML_MAPPING_END_EVENT;
        if (!end && item.type != YAML_NO_EVENT) {
            read_member(reader, node, &item, depth);
        }
        yaml_event_delete(&item);
    }
    return node;
}

static struct config_node *read_node(struct reader *reader, const yaml_event_t *event,
                                     const struct config_node *parent, unsigned depth)
{
    if (depth > CONFIG_DEPTH_MAX) {
        break_at(reader, &event->start_mark, "nested too deep");
        return NULL;
    }
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return read_scalar(reader, event, parent);
    case YAML_SEQUENCE_START_EVENT:
        return read_sequence(reader, event, parent, depth);
    case YAML_MAPPING_START_EVENT:
        return read_mapping(reader, event, parent, depth);
    case YAML_ALIAS_EVENT:
        break_at(reader, &event->start_mark, "anchors and aliases are not supported");
        return NULL;
    default:
        return NULL;
    }
}

static void read_stream(struct reader *reader)
{
    bool content = false;
    for (bool end = false; !end && !reader->broken;) {
        yaml_event_t event = next_event(reader);
        switch (event.type) {
        case YAML_STREAM_END_EVENT:
        case YAML_NO_EVENT:
            end = true;
            break;
        case YAML_DOCUMENT_START_EVENT:
            if (content) {
                break_at(reader, &event.start_mark, "a second document is not supported");
            }
            break;
        case YAML_SCALAR_EVENT:
        case YAML_SEQUENCE_START_EVENT:
        case YAML_MAPPING_START_EVENT:
        case YAML_ALIAS_EVENT:
            content = true;
            reader->config->root = read_node(reader, &event, NULL, 1);
            break;
        default:
            break;
        }
        yaml_event_delete(&event);
    }
}

void config_parse_yaml(struct config *config, const char *text, size_t length,
                       struct config_errors *errors)
{
    struct reader reader = {.config = config, .errors = errors};
    if (!yaml_parser_initialize(&reader.parser)) {
        config_error_at(errors, config, 1, 1, "out of memory");
        return;
    }
    /* libyaml takes the mark of some editors at the beginning for a column of the first line. */
    if (length >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) {
        text += 3;
        length -= 3;
    }
    yaml_parser_set_encoding(&reader.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&reader.parser, (const unsigned char *)(length ? text : ""),
                                 length);
    read_stream(&reader);
    yaml_parser_delete(&reader.parser);
}

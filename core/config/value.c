/*
 * Scalars of the types of enum vim_option_type.
 */
#include <errno.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include "base/text.h"
#include "config/internal.h"

struct unit {
    const char *name;
    int64_t factor;
};

/* The largest last, for printing; the first is what stands for itself. */
static const struct unit duration_units[] = {
    {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
static const struct unit byte_units[] = {{"", 1},
                                         {"KiB", (int64_t)1 << 10},
                                         {"MiB", (int64_t)1 << 20},
                                         {"GiB", (int64_t)1 << 30},
                                         {"TiB", (int64_t)1 << 40}};
#define UNITS 5

static const struct {
    const char *name;
    size_t size;
    const char *expected;
} types[] = {
    [VIM_TEXT] = {"text", sizeof(const char *), "a text"},
    [VIM_INTEGER] = {"integer", sizeof(int64_t), "an integer"},
    [VIM_NUMBER] = {"number", sizeof(double), "a number"},
    [VIM_BOOLEAN] = {"boolean", sizeof(int32_t), "true or false"},
    [VIM_DURATION] = {"duration", sizeof(int64_t), "a duration (250ms, 30s, 5m, 2h, 1d)"},
    [VIM_BYTES] = {"bytes", sizeof(int64_t), "a number of bytes (512, 64KiB, 10MiB, 1GiB)"},
    [VIM_CHOICE] = {"choice", sizeof(const char *), "one of"},
    [VIM_LIST] = {"list", sizeof(struct vim_texts), "a list of texts"},
    [VIM_PATH] = {"path", sizeof(const char *), "a path"},
};
#define TYPES (sizeof(types) / sizeof(types[0]))

const char *config_type_name(uint32_t type)
{
    return type < TYPES ? types[type].name : NULL;
}

size_t config_type_size(uint32_t type)
{
    return types[type].size;
}

void config_value_print(uint32_t type, int64_t value, struct text *text)
{
    const struct unit *units = type == VIM_DURATION ? duration_units : byte_units;
    int best = 0;
    if (type == VIM_DURATION || type == VIM_BYTES) {
        for (int i = 1; i < UNITS && value; i++) {
            best = value % units[i].factor == 0 ? i : best;
        }
    }
    text_printf(text, "%lld%s", (long long)(value / units[best].factor),
                type == VIM_INTEGER ? "" : units[best].name);
}

/* Digits, then one of the units. A zero needs none. */
static int parse_with_unit(const char *text, const struct unit *units, int64_t *ret_value)
{
    size_t length = strspn(text, "0123456789");
    const char *name = text + length;
    if (length == 0 || length > 18) {
        return VIM_E_INVALID;
    }
    int64_t value = strtoll(text, NULL, 10);
    for (int i = 0; i < UNITS; i++) {
        if (strcmp(name, units[i].name) == 0 || (value == 0 && !*name)) {
            return __builtin_mul_overflow(value, units[i].factor, ret_value) ? VIM_E_INVALID
                                                                             : VIM_OK;
        }
    }
    return VIM_E_INVALID;
}

static int parse_number(const char *text, double *ret_value)
{
    /* strtod() knows more than is meant here: hexadecimal, nan, leading space. */
    if (!*text || text[strspn(text, "0123456789+-.eE")]) {
        return VIM_E_INVALID;
    }
    char *end;
    errno = 0;
    double value = strtod(text, &end);
    if (*end || (errno == ERANGE && (value > 1 || value < -1))) {
        return VIM_E_INVALID;
    }
    *ret_value = value;
    return VIM_OK;
}

static int parse_typed(const struct vim_option *option, const char *text,
                       struct config_value *ret_value)
{
    long long integer;
    switch (option->type) {
    case VIM_INTEGER:
        if (text_to_integer(text, &integer) != VIM_OK) {
            return VIM_E_INVALID;
        }
        ret_value->integer = integer;
        return VIM_OK;
    case VIM_NUMBER:
        return parse_number(text, &ret_value->number);
    case VIM_BOOLEAN:
        ret_value->integer = strcmp(text, "true") == 0;
        return ret_value->integer || strcmp(text, "false") == 0 ? VIM_OK : VIM_E_INVALID;
    case VIM_DURATION:
        return parse_with_unit(text, duration_units, &ret_value->integer);
    case VIM_BYTES:
        return parse_with_unit(text, byte_units, &ret_value->integer);
    case VIM_CHOICE:
        return text_has_word(option->choices, text) ? VIM_OK : VIM_E_INVALID;
    case VIM_PATH:
        return *text ? VIM_OK : VIM_E_INVALID;
    default:
        return VIM_OK;
    }
}

static bool in_bounds(const struct vim_option *option, const struct config_value *value)
{
    if (option->minimum == 0 && option->maximum == 0) {
        return true;
    }
    switch (option->type) {
    case VIM_INTEGER:
    case VIM_DURATION:
    case VIM_BYTES:
        return value->integer >= option->minimum && value->integer <= option->maximum;
    case VIM_NUMBER:
        return value->number >= (double)option->minimum && value->number <= (double)option->maximum;
    default:
        return true;
    }
}

int config_value_parse(const struct vim_option *option, const char *text,
                       struct config_value *ret_value, char **ret_expected)
{
    struct config_value value = {0};
    struct text expected = {0};
    if (parse_typed(option, text, &value) != VIM_OK) {
        text_add(&expected, types[option->type].expected);
        if (option->type == VIM_CHOICE) {
            text_printf(&expected, " %s", option->choices);
        }
    } else if (!in_bounds(option, &value)) {
        uint32_t type = option->type == VIM_NUMBER ? VIM_INTEGER : option->type;
        config_value_print(type, option->minimum, &expected);
        text_add(&expected, " to ");
        config_value_print(type, option->maximum, &expected);
    } else {
        *ret_value = value;
        return VIM_OK;
    }
    *ret_expected = text_take(&expected);
    return VIM_E_INVALID;
}

const char *config_url_password(const char *text, size_t *ret_length)
{
    const char *authority = strstr(text, "://");
    if (!authority) {
        return NULL;
    }
    authority += 3;
    size_t length = strcspn(authority, "/?#");
    const char *end = memrchr(authority, '@', length);
    const char *colon = end ? memchr(authority, ':', (size_t)(end - authority)) : NULL;
    if (!colon || colon + 1 == end) {
        return NULL;
    }
    *ret_length = (size_t)(end - colon - 1);
    return colon + 1;
}

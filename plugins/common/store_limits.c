#include "store_limits.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COLLECTION_MAX 32
#define ID_MAX 200
#define BODY_MAX (1024 * 1024)
#define WRITES_MAX 1000
#define STATE_MAX 31

/* Below this many writes comparing each with each is faster than sorting. */
#define PAIRWISE_MAX 8

int store_error_set(struct store_error *error, int code, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(error->text, sizeof error->text, format, arguments);
    va_end(arguments);
    error->code = code;
    return code;
}

void store_error_unquote(struct store_error *error)
{
    for (char *c = error->text; *c; c++)
        if (*c == '"')
            *c = '\'';
}

bool limits_collection(const char *text)
{
    size_t length = 0;

    if (!text)
        return false;
    for (; text[length]; length++) {
        char c = text[length];

        if (length == COLLECTION_MAX ||
            !((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_'))
            return false;
    }
    return length > 0;
}

/* Printable ASCII without spaces. */
static const bool id_letters[256] = {['!' ... '~'] = true};

bool limits_parent(const char *text)
{
    size_t length = 0;

    if (!text)
        return false;
    while (length <= ID_MAX && id_letters[(unsigned char)text[length]])
        length++;
    return length <= ID_MAX && text[length] == '\0';
}

bool limits_id(const char *text)
{
    return limits_parent(text) && text[0];
}

static int compare_rows(const void *left, const void *right)
{
    const struct vim_write *a = *(const struct vim_write *const *)left;
    const struct vim_write *b = *(const struct vim_write *const *)right;
    int order = strcmp(a->id, b->id);

    return order ? order : strcmp(a->collection, b->collection);
}

/* Finds a row that is named twice: *RET_TWICE is NULL if there is none. */
static int find_twice(const struct vim_write *writes, uint32_t count, uint32_t stride,
                      const struct vim_write **ret_twice)
{
    const struct vim_write *few[PAIRWISE_MAX], **all = few;

    *ret_twice = NULL;
    if (count > PAIRWISE_MAX && !(all = malloc(count * sizeof *all)))
        return -1;
    for (uint32_t i = 0; i < count; i++)
        all[i] = write_at(writes, stride, i);
    if (count > PAIRWISE_MAX)
        qsort(all, count, sizeof *all, compare_rows);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t end = count > PAIRWISE_MAX && i + 2 < count ? i + 2 : count;

        for (uint32_t j = i + 1; j < end; j++)
            if (compare_rows(&all[i], &all[j]) == 0)
                *ret_twice = all[i];
    }
    if (all != few)
        free(all);
    return 0;
}

static int check_write(const struct vim_write *write, uint32_t index, struct store_error *ret_error)
{
    if (!limits_collection(write->collection))
        return store_error_set(ret_error, VIM_E_INVALID,
                               "write %u: a collection is 1..32 characters of a-z 0-9 - _", index);
    if (!limits_id(write->id))
        return store_error_set(ret_error, VIM_E_INVALID,
                               "write %u: an id is 1..200 bytes of printable ASCII without spaces",
                               index);
    if (write->parent && !limits_parent(write->parent))
        return store_error_set(
            ret_error, VIM_E_INVALID,
            "write %u: a parent is up to 200 bytes of printable ASCII without spaces", index);
    if (write->state > STATE_MAX)
        return store_error_set(ret_error, VIM_E_INVALID, "write %u: state %u is not in 0..31",
                               index, write->state);
    if (write->due < 0)
        return store_error_set(ret_error, VIM_E_INVALID, "write %u: due is before 1970", index);
    if (write->body && strnlen(write->body, BODY_MAX + 1) > BODY_MAX)
        return store_error_set(ret_error, VIM_E_INVALID, "write %u: the body is longer than 1 MiB",
                               index);
    return VIM_OK;
}

int limits_writes(const struct vim_write *writes, uint32_t count, uint32_t stride,
                  struct store_error *ret_error)
{
    const struct vim_write *twice;

    if (count > WRITES_MAX)
        return store_error_set(ret_error, VIM_E_INVALID, "%u writes in one commit, of at most %d",
                               count, WRITES_MAX);
    if (count > 0 && (!writes || stride < sizeof *writes || stride % _Alignof(struct vim_write)))
        return store_error_set(ret_error, VIM_E_INVALID, "the writes have a stride of %u bytes",
                               stride);
    for (uint32_t i = 0; i < count; i++)
        if (check_write(write_at(writes, stride, i), i, ret_error) < 0)
            return ret_error->code;
    if (find_twice(writes, count, stride, &twice) < 0)
        return store_error_set(ret_error, VIM_E_UNAVAILABLE, "out of memory");
    if (twice)
        return store_error_set(ret_error, VIM_E_INVALID, "%s/%s is named twice in one commit",
                               twice->collection, twice->id);
    return VIM_OK;
}

int limits_scan(const struct vim_scan *scan, struct store_error *ret_error)
{
    if (!limits_collection(scan->collection))
        return store_error_set(ret_error, VIM_E_INVALID,
                               "a collection is 1..32 characters of a-z 0-9 - _");
    if (scan->parent && !limits_parent(scan->parent))
        return store_error_set(ret_error, VIM_E_INVALID,
                               "a parent is up to 200 bytes of printable ASCII without spaces");
    if ((scan->flags & VIM_SCAN_BY_DUE) && (scan->after || (scan->flags & VIM_SCAN_DESCENDING)))
        return store_error_set(ret_error, VIM_E_INVALID,
                               "a scan by due time has neither `after` nor a direction");
    return VIM_OK;
}

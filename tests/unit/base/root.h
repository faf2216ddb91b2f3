/* A tree of files that stands for "/" of a machine. */
#ifndef TEST_BASE_ROOT_H
#define TEST_BASE_ROOT_H

#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/text.h"

static char root[32];

static inline int make_root(void **state)
{
    (void)state;
    strcpy(root, "/tmp/vimd-usage-XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static inline int remove_root(void **state)
{
    (void)state;
    char *command = text_format("rm -rf %s", root);
    int code = system(command);
    free(command);
    return code;
}

static inline void put(const char *path, const char *text)
{
    char *command = text_format("mkdir -p %s$(dirname '%s')", root, path);
    assert_int_equal(system(command), 0);
    free(command);
    char *full = text_format("%s%s", root, path);
    FILE *file = fopen(full, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    free(full);
}

#endif

/*
 * Whole files: what is read, what is refused, and that a write is all or nothing.
 */
#include "test.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vim/plugin.h>
#include "base/file.h"
#include "base/text.h"

static char folder[] = "/tmp/test-file-XXXXXX";
static char *path;

static int setup(void **state)
{
    (void)state;
    if (!mkdtemp(folder)) {
        return -1;
    }
    path = text_format("%s/file", folder);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(path);
    free(path);
    return rmdir(folder); /* fails if a temporary file was left */
}

static void what_is_written_is_read(void **state)
{
    (void)state;
    struct text text = {0};
    mode_t mode = 0;
    static char large[100000];
    memset(large, 'x', sizeof(large));
    large[7] = '\0';
    text_add(&text, "what was there before");
    assert_int_equal(file_write(path, large, sizeof(large), 0640), VIM_OK);
    assert_int_equal(file_read(path, sizeof(large), &text, &mode), VIM_OK);
    assert_int_equal(text.length, sizeof(large));
    assert_memory_equal(text.data, large, sizeof(large));
    assert_int_equal(mode, 0640);
    assert_int_equal(file_write(path, "", 0, 0600), VIM_OK);
    assert_int_equal(file_read(path, 0, &text, NULL), VIM_OK);
    assert_string_equal(text_get(&text), "");
    text_free(&text);
}

static void failures_leave_everything_as_it_was(void **state)
{
    (void)state;
    struct text text = {0};
    text_add(&text, "kept");
    assert_int_equal(file_write(path, "0123456789", 10, 0600), VIM_OK);
    assert_int_equal(file_read(path, 9, &text, NULL), VIM_E_INVALID);
    assert_int_equal(errno, EFBIG);
    assert_int_equal(file_read(folder, 100, &text, NULL), VIM_E_INVALID);
    assert_int_equal(errno, EISDIR);
    assert_int_equal(file_read("/nonexistent/x", 100, &text, NULL), VIM_E_NOT_FOUND);
    assert_string_equal(text.data, "kept");
    assert_int_equal(file_write("/nonexistent/x", "a", 1, 0600), VIM_E_UNAVAILABLE);
    assert_int_equal(errno, ENOENT);
    /* A folder cannot be replaced by a file; the temporary one is gone then. */
    char *inner = text_format("%s/inner", folder);
    assert_int_equal(mkdir(inner, 0700), 0);
    assert_int_equal(file_write(inner, "a", 1, 0600), VIM_E_UNAVAILABLE);
    assert_int_equal(rmdir(inner), 0);
    free(inner);
    text_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(failures_leave_everything_as_it_was),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

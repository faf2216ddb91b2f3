/* The journal: torn tails, damage, sharing, compaction, and kills at any instant. */
#include "host.h"
#include "journal.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* The state: how many records, and their numbers in a row. */
struct tally {
    long count;
    bool in_order;
    unsigned resets;
};

static int take(void *context, const char *record, size_t length)
{
    struct tally *tally = context;
    char text[32] = {0};
    memcpy(text, record, length < 31 ? length : 31);
    tally->in_order = tally->in_order && atol(text) == tally->count + 1;
    tally->count++;
    return 0;
}

static void reset(void *context)
{
    struct tally *tally = context;
    tally->count = 0;
    tally->in_order = true;
    tally->resets++;
}

struct fixture {
    char folder[128];
    char path[160];
};

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    folder_make(fixture->folder);
    snprintf(fixture->path, sizeof(fixture->path), "%s/j", fixture->folder);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    folder_remove(fixture->folder);
    free(fixture);
    return 0;
}

static struct journal *open_journal(const char *path, struct tally *tally)
{
    struct journal *journal;
    struct journal_state state = {.context = tally, .apply = take, .reset = reset};
    assert_int_equal(journal_open(path, &state, &journal), 0);
    return journal;
}

static void append(struct journal *journal, struct tally *tally, int padding)
{
    char record[9000];
    int length = snprintf(record, sizeof(record), "%ld%*s", tally->count + 1, padding, "");
    assert_int_equal(journal_append(journal, record, (size_t)length), 0);
    tally->count++;
}

static void locked_append(struct journal *journal, struct tally *tally, int padding)
{
    assert_int_equal(journal_lock(journal), 0);
    append(journal, tally, padding);
    journal_unlock(journal);
}

static void test_checksum_is_crc32(void **state)
{
    struct fixture *fixture = *state;
    struct tally tally = {0};
    char line[32] = {0};
    struct journal *journal = open_journal(fixture->path, &tally);
    assert_int_equal(journal_lock(journal), 0);
    assert_int_equal(journal_append(journal, "123456789", 9), 0);
    journal_unlock(journal);
    journal_close(journal);
    int file = open(fixture->path, O_RDONLY);
    assert_int_equal(read(file, line, sizeof(line)), 19);
    close(file);
    assert_string_equal(line, "cbf43926 123456789\n");
}

static void test_torn_tail_at_every_byte(void **state)
{
    struct fixture *fixture = *state;
    struct tally tally = {0};
    struct journal *journal = open_journal(fixture->path, &tally);
    for (int i = 0; i < 3; i++) {
        locked_append(journal, &tally, i * 10);
    }
    uint64_t whole = journal_size(journal);
    locked_append(journal, &tally, 40);
    uint64_t size = journal_size(journal);
    journal_close(journal);
    char bytes[512];
    int file = open(fixture->path, O_RDONLY);
    assert_int_equal(read(file, bytes, sizeof(bytes)), (ssize_t)size);
    close(file);
    for (uint64_t cut = whole; cut < size; cut++) {
        struct tally again = {0};
        file = open(fixture->path, O_WRONLY | O_TRUNC);
        assert_int_equal(write(file, bytes, cut), (ssize_t)cut);
        close(file);
        journal = open_journal(fixture->path, &again);
        assert_int_equal(journal_lock(journal), 0);
        assert_int_equal(again.count, 3);
        append(journal, &again, 5);
        journal_unlock(journal);
        journal_close(journal);
        again = (struct tally){0};
        journal = open_journal(fixture->path, &again);
        assert_int_equal(journal_lock(journal), 0);
        assert_int_equal(again.count, 4);
        assert_true(again.in_order);
        journal_unlock(journal);
        journal_close(journal);
    }
}

static void test_damage_in_the_middle_is_told(void **state)
{
    struct fixture *fixture = *state;
    struct tally tally = {0};
    struct journal *journal = open_journal(fixture->path, &tally);
    for (int i = 0; i < 3; i++) {
        locked_append(journal, &tally, 10);
    }
    journal_close(journal);
    int file = open(fixture->path, O_WRONLY);
    assert_int_equal(pwrite(file, "X", 1, 12), 1);
    close(file);
    tally = (struct tally){0};
    journal = open_journal(fixture->path, &tally);
    assert_int_equal(journal_lock(journal), -1);
    assert_non_null(strstr(journal_error(journal), "byte 0 is damaged"));
    journal_close(journal);
}

static struct tally *produced;

static void produce(void *context, struct journal_writer *writer)
{
    produced = context;
    for (long i = 1; i <= produced->count; i++) {
        char record[32];
        int length = snprintf(record, sizeof(record), "%ld", i);
        journal_produce(writer, record, (size_t)length);
    }
}

static void test_two_see_each_other(void **state)
{
    struct fixture *fixture = *state;
    struct tally first = {0};
    struct tally second = {0};
    struct journal *one = open_journal(fixture->path, &first);
    struct journal *two = open_journal(fixture->path, &second);
    for (int i = 0; i < 5; i++) {
        locked_append(one, &first, 10);
        locked_append(two, &second, 10);
    }
    assert_int_equal(journal_lock(one), 0);
    assert_int_equal(first.count, 10);
    uint64_t before = journal_size(one);
    assert_int_equal(journal_replace(one, produce), 0);
    assert_true(journal_size(one) < before);
    journal_unlock(one);
    locked_append(two, &second, 0);
    assert_int_equal(second.resets, 2);
    assert_int_equal(second.count, 11);
    assert_int_equal(journal_lock(one), 0);
    assert_int_equal(first.count, 11);
    assert_true(first.in_order);
    /* Replaced, and grown beyond the old length before the other one looks. */
    before = journal_size(one);
    assert_int_equal(journal_replace(one, produce), 0);
    journal_unlock(one);
    while (journal_size(one) <= before) {
        locked_append(one, &first, 100);
    }
    assert_int_equal(journal_lock(two), 0);
    assert_int_equal(second.resets, 3);
    assert_int_equal(second.count, first.count);
    assert_true(second.in_order);
    journal_unlock(two);
    journal_close(one);
    journal_close(two);
}

/* Appends until it is killed; tells after each record how many there are. */
static void append_for_ever(const char *path, int out, unsigned seed)
{
    struct tally tally = {0};
    struct journal *journal;
    struct journal_state state = {.context = &tally, .apply = take, .reset = reset};
    if (journal_open(path, &state, &journal) != 0) {
        _exit(1);
    }
    for (;;) {
        char record[9000];
        if (journal_lock(journal) != 0) {
            _exit(2);
        }
        int padding = (int)(rand_r(&seed) % 8000);
        int length = snprintf(record, sizeof(record), "%ld%*s", tally.count + 1, padding, "");
        if (journal_append(journal, record, (size_t)length) != 0) {
            _exit(3);
        }
        tally.count++;
        if (tally.count % 64 == 0 && journal_replace(journal, produce) != 0) {
            _exit(4);
        }
        journal_unlock(journal);
        if (write(out, &tally.count, sizeof(tally.count)) != sizeof(tally.count)) {
            _exit(5);
        }
    }
}

static void test_kill_at_any_instant(void **state)
{
    struct fixture *fixture = *state;
    unsigned seed = 7;
    long told = 0;
    for (int round = 0; round < 150; round++) {
        int ends[2];
        long count;
        assert_int_equal(pipe(ends), 0);
        pid_t child = fork();
        if (child == 0) {
            append_for_ever(fixture->path, ends[1], (unsigned)round);
        }
        close(ends[1]);
        unsigned wanted = rand_r(&seed) % 20;
        for (unsigned i = 0; i <= wanted && read(ends[0], &count, sizeof(count)) > 0; i++) {
            told = count;
        }
        for (unsigned spin = rand_r(&seed) % 20000; spin > 0; spin--) {
            __asm__ volatile("" ::: "memory");
        }
        assert_int_equal(kill(child, SIGKILL), 0);
        while (read(ends[0], &count, sizeof(count)) == sizeof(count)) {
            told = count;
        }
        close(ends[0]);
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        struct tally tally = {0};
        struct journal *journal = open_journal(fixture->path, &tally);
        if (journal_lock(journal) != 0) {
            fail_msg("%s", journal_error(journal));
        }
        assert_true(tally.in_order);
        assert_in_range(tally.count, told, told + 1);
        journal_unlock(journal);
        journal_close(journal);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_checksum_is_crc32, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_torn_tail_at_every_byte, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_damage_in_the_middle_is_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_two_see_each_other, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_kill_at_any_instant, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * kill -9 in the middle of commits: what was acknowledged is there afterwards, and whole.
 *
 * This process opens no instance: each round has one child that writes from several threads, tells
 * every acknowledged commit through a pipe, and is killed; and another that looks.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "store_client.h"
#include "subject.h"

#define ROUNDS 30
#define WRITERS 4
#define ROUND_ACKS 20 /* the kill comes when that many were acknowledged, */
#define ROUND_EXTRA 40 /* and up to this many more */

struct writer {
    struct instance *store;
    const char *collection;
    int pipe;
    uint32_t round, number;
};

/* What the pipe carries: small enough to be written as a whole. */
struct acknowledged {
    uint32_t round, writer, serial;
};

static void name_row(char id[48], const struct acknowledged *commit, char which)
{
    snprintf(id, 48, "%03u-%u-%06u-%c", commit->round, commit->writer, commit->serial, which);
}

static void *write_on(void *argument)
{
    struct writer *writer = argument;
    struct acknowledged commit = {.round = writer->round, .writer = writer->number};
    char body[3000], a[48], b[48];

    memset(body, 'x', sizeof body);
    body[0] = body[sizeof body - 2] = '"';
    body[sizeof body - 1] = '\0';
    for (;; commit.serial++) {
        struct vim_write writes[2] = {{.collection = writer->collection, .id = a, .body = body},
                                      {.collection = writer->collection, .id = b, .body = body}};

        name_row(a, &commit, 'a');
        name_row(b, &commit, 'b');
        if (store_client_commit(writer->store, writes, 2, NULL) != VIM_OK ||
            write(writer->pipe, &commit, sizeof commit) != (ssize_t)sizeof commit)
            return NULL;
    }
}

static void writing_child(struct run *run, uint32_t round, int pipe)
{
    struct instance *store = subject_open(run, "crash");
    struct writer writers[WRITERS];
    pthread_t threads[WRITERS];

    if (!store) {
        printf("FAIL  %s: open after a kill: %s\n", run->group, run->reason);
        fflush(stdout);
        _exit(1);
    }
    for (uint32_t i = 0; i < WRITERS; i++) {
        writers[i] = (struct writer){store, run->unique, pipe, round, i};
        pthread_create(&threads[i], NULL, write_on, &writers[i]);
    }
    for (uint32_t i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
    _exit(1);
}

/* Reads what was acknowledged until the pipe ends; kills CHILD after KILL_AFTER of them. Returns how
 * many were added to ALL. */
static size_t follow(int pipe, pid_t child, size_t kill_after, struct acknowledged *all,
                     size_t room)
{
    size_t count = 0;

    while (count < room && read(pipe, &all[count], sizeof all[0]) == (ssize_t)sizeof all[0])
        if (++count == kill_after)
            kill(child, SIGKILL);
    kill(child, SIGKILL);
    return count;
}

/* In a child: 0 if all is as it should be; else the reason is printed into REASON's pipe. */
static void looking_child(struct run *run, const struct acknowledged *all, size_t count, int pipe)
{
    struct vim_scan scan = {
        .size = sizeof scan, .collection = run->unique, .flags = VIM_SCAN_NO_BODY};
    struct instance *store = subject_open(run, "crash");
    struct answer answer = {0};
    char id[48];

    if (store) {
        for (size_t i = 0; i < count && !run->failed; i++)
            for (char which = 'a'; which <= 'b'; which++) {
                name_row(id, &all[i], which);
                if (store_client_revision(store, run->unique, id) != 1)
                    check_fail(run, "%s was acknowledged and is not there", id);
            }
        store_client_scan(store, &scan, &answer);
        for (size_t i = 0; i + 1 < answer.count && !run->failed; i += 2)
            if (strncmp(answer.rows[i].id, answer.rows[i + 1].id, strlen(answer.rows[i].id) - 1) !=
                0)
                check_fail(run, "%s is there without the other row of its commit",
                           answer.rows[i].id);
        if (answer.count % 2)
            check_fail(run, "half of a commit is there");
        subject_close(store);
    }
    if (run->failed && write(pipe, run->reason, strlen(run->reason)) < 0)
        _exit(2);
    answer_clear(&answer);
    _exit(run->failed);
}

static void look(struct run *run, const struct acknowledged *all, size_t count)
{
    char reason[512] = "";
    int ends[2], status = 0;
    pid_t child;
    ssize_t length;

    if (pipe(ends) < 0 || (child = fork()) < 0) {
        check_fail(run, "no pipe, or no process");
        return;
    }
    if (child == 0) {
        close(ends[0]);
        looking_child(run, all, count, ends[1]);
    }
    close(ends[1]);
    length = read(ends[0], reason, sizeof reason - 1);
    reason[length > 0 ? length : 0] = '\0';
    close(ends[0]);
    waitpid(child, &status, 0);
    if (status != 0)
        check_fail(run, "%s", reason[0] ? reason : "the process that reads died");
}

static size_t crash_once(struct run *run, uint32_t round, struct acknowledged *all, size_t room,
                         unsigned *seed)
{
    size_t kill_after = ROUND_ACKS + (size_t)rand_r(seed) % ROUND_EXTRA, count;
    int ends[2];
    pid_t child;

    if (pipe(ends) < 0 || (child = fork()) < 0) {
        check_fail(run, "no pipe, or no process");
        return 0;
    }
    if (child == 0) {
        close(ends[0]);
        writing_child(run, round, ends[1]);
    }
    close(ends[1]);
    count = follow(ends[0], child, kill_after, all, room);
    close(ends[0]);
    waitpid(child, NULL, 0);
    if (count < kill_after)
        check_fail(run, "round %u: only %zu commits were acknowledged", round, count);
    return count;
}

static void check_kill(struct run *run)
{
    size_t room = ROUNDS * 4096, count = 0;
    struct acknowledged *all = calloc(room, sizeof *all);
    unsigned seed = 20;

    if (!all)
        abort();
    for (uint32_t round = 0; round < ROUNDS && !run->failed; round++) {
        count += crash_once(run, round, all + count, room - count, &seed);
        if (!run->failed)
            look(run, all, count);
    }
    check_note(run, "%zu commits acknowledged in %d rounds", count, ROUNDS);
    free(all);
}

void store_crash_group(struct run *run)
{
    static const struct check checks[] = {
        {"after kill -9, 30 times, every acknowledged commit is there and whole", check_kill},
    };

    run_checks(run, checks, sizeof checks / sizeof checks[0]);
}

#include "scaler/judge.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <fcntl.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/text.h"
#include "plugin/instance.h"

static int refuse(struct judgement *judgement, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static int refuse(struct judgement *judgement, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(judgement->why, sizeof judgement->why, format, arguments);
    va_end(arguments);
    judgement->code = VIM_E_INVALID;
    judgement->kept_set = false;
    return VIM_E_INVALID;
}

const char *judge_verdict_name(uint32_t verdict)
{
    static const char *const names[] = {"hold",     "scale_out",    "scale_in",
                                        "rollback", "not_scalable", "insufficient_data"};

    return verdict < sizeof names / sizeof names[0] ? names[verdict] : "unknown";
}

static bool is_acting(uint32_t verdict)
{
    return verdict == VIM_SCALE_OUT || verdict == VIM_SCALE_IN || verdict == VIM_ROLLBACK;
}

static const struct vim_policy_block *block_at(const struct vim_policy_snapshot *snapshot,
                                               uint32_t index)
{
    return (const void *)((const char *)snapshot->blocks + (size_t)index * snapshot->block_stride);
}

static int check_action(const struct vim_policy_snapshot *snapshot, struct judgement *judgement)
{
    const struct vim_policy_decision *decision = &judgement->decision;
    const char *verdict = judge_verdict_name(decision->verdict);
    const struct vim_policy_block *block;
    int64_t size = llabs((long long)decision->delta), most;

    if (decision->block >= snapshot->block_count)
        return refuse(judgement, "%s of block %u: there are %u", verdict, decision->block,
                      snapshot->block_count);
    block = block_at(snapshot, decision->block);
    most = block->maximum > JUDGE_DELTA_MAX ? block->maximum : JUDGE_DELTA_MAX;
    if (size == 0 || size > most)
        return refuse(judgement, "%s of %s by %d replicas: 1..%lld make sense", verdict,
                      block->name, decision->delta, (long long)most);
    if ((decision->verdict == VIM_SCALE_OUT) != (decision->delta > 0) &&
        decision->verdict != VIM_ROLLBACK)
        return refuse(judgement, "%s of %s by %+d replicas: the wrong sign", verdict, block->name,
                      decision->delta);
    if (isnan(judgement->scores[decision->block].score))
        return refuse(judgement, "%s of %s, whose score is not a number", verdict, block->name);
    if (decision->reason[0] == '\0')
        return refuse(judgement, "%s of %s without a reason", verdict, block->name);
    return VIM_OK;
}

/* One line of text: it stands in logs, and between tabs. */
static bool is_sentence(const char *text, size_t room)
{
    if (!memchr(text, '\0', room) || !text_is_utf8(text, strlen(text)))
        return false;
    for (const char *c = text; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7F)
            return false;
    return true;
}

int judge_check(const struct vim_policy_snapshot *snapshot, struct judgement *judgement)
{
    struct vim_policy_decision *decision = &judgement->decision;

    if (decision->verdict > VIM_INSUFFICIENT_DATA)
        return refuse(judgement, "verdict %u is unknown", decision->verdict);
    if (!(decision->confidence >= 0 && decision->confidence <= 1))
        return refuse(judgement, "confidence %g is not within 0..1", decision->confidence);
    if (decision->tier > VIM_TIER_IN_FLIGHT)
        return refuse(judgement, "tier %u is unknown", decision->tier);
    if (isinf(decision->throughput) || isinf(decision->latency_p95) || decision->throughput < 0 ||
        decision->latency_p95 < 0)
        return refuse(judgement, "predicts a throughput of %g and a p95 of %g",
                      decision->throughput, decision->latency_p95);
    if (!is_sentence(decision->reason, sizeof decision->reason))
        return refuse(judgement, "the reason is no text");
    if (decision->verdict == VIM_NOT_SCALABLE && decision->edge != VIM_NO_INDEX &&
        decision->edge >= snapshot->edge_count)
        return refuse(judgement, "edge %u: there are %u", decision->edge, snapshot->edge_count);
    for (uint32_t i = 0; i < judgement->block_count; i++)
        if (isinf(judgement->scores[i].score))
            return refuse(judgement, "the score of %s is infinite", block_at(snapshot, i)->name);
    if (judgement->kept_set && !text_is_utf8(judgement->kept, strlen(judgement->kept)))
        return refuse(judgement, "what it keeps is no text");
    if (is_acting(decision->verdict))
        return check_action(snapshot, judgement);
    return decision->delta ? refuse(judgement, "%s by %+d replicas: that changes nothing",
                                    judge_verdict_name(decision->verdict), decision->delta)
                           : VIM_OK;
}

static void take_kept(struct vim_call *call, struct judgement *judgement)
{
    const char *kept = NULL;

    judgement->kept_set = call_kept(call, &kept);
    snprintf(judgement->kept, sizeof judgement->kept, "%s", kept ? kept : "");
}

int judge(struct instance *policy, const struct snapshot *snapshot, int64_t timeout_ms,
          struct judgement *ret_judgement)
{
    struct judgement *judgement = ret_judgement;
    struct vim_policy_decision *decision = &judgement->decision;
    int64_t start = clock_mono_us();
    struct vim_call call;
    int code;

    memset(judgement, 0, offsetof(struct judgement, kept));
    judgement->kept[0] = '\0';
    judgement->block_count = snapshot->view.block_count;
    decision->size = sizeof *decision;
    decision->scores = judgement->scores;
    decision->score_count = snapshot->view.block_count;
    decision->score_stride = sizeof judgement->scores[0];
    call_init(&call, clock_mono_ms() + timeout_ms);
    code = instance_enter(policy, &call);
    if (code == VIM_OK) {
        code = instance_policy(policy)->decide(&call, instance_handle(policy), &snapshot->view,
                                               decision);
        code = instance_leave(policy, &call, code == VIM_AGAIN ? VIM_E_INTERNAL : code);
    }
    judgement->took_us = clock_mono_us() - start;
    judgement->code = code;
    judgement->block_count = snapshot->view.block_count; /* whatever it has written over */
    decision->scores = NULL;
    decision->reason[VIM_REASON_MAX - 1] = '\0';
    if (code == VIM_OK) {
        take_kept(&call, judgement);
        judge_check(&snapshot->view, judgement);
    } else {
        snprintf(judgement->why, sizeof judgement->why, "%s%s%.200s", error_name(code),
                 call_fail_text(&call)[0] ? ": " : "", call_fail_text(&call));
    }
    call_free(&call);
    return judgement->code;
}

/* --- Apart ----------------------------------------------------------------------------------- */

static void child_main(int fd, struct instance *policy, const struct snapshot *snapshot,
                       int64_t timeout_ms, struct judgement *judgement)
{
    static const int deadly[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGALRM};
    const struct rlimit no_core = {0, 0};
    const char *at = (const char *)judgement;
    size_t left = sizeof *judgement;

    for (size_t i = 0; i < sizeof deadly / sizeof deadly[0]; i++)
        signal(deadly[i], SIG_DFL);
    setrlimit(RLIMIT_CORE, &no_core);
    alarm((unsigned)(timeout_ms / 1000 + 2)); /* for the case that the parent dies */
    judge(policy, snapshot, timeout_ms, judgement);
    while (left) {
        ssize_t done = write(fd, at, left);

        if (done < 0 && errno != EINTR)
            break;
        at += done > 0 ? done : 0;
        left -= done > 0 ? (size_t)done : 0;
    }
    _exit(0);
}

/* Reads all of SIZE, until the child has closed its end; false if the time was over before. What is there
 * by then is read, even if we were the slow one: a large process takes long to fork. */
static bool read_all(int fd, void *to, size_t size, int64_t until, size_t *ret_had)
{
    size_t had = 0;
    bool in_time = true;

    while (had < size) {
        int64_t left = until - clock_mono_ms();
        struct pollfd readable = {.fd = fd, .events = POLLIN};
        int ready = poll(&readable, 1, left > 0 ? (int)left : 0);
        ssize_t got;

        if (ready < 0 && errno == EINTR)
            continue;
        if (ready <= 0) {
            in_time = false;
            break;
        }
        got = read(fd, (char *)to + had, size - had);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        had += (size_t)got;
    }
    *ret_had = had;
    return in_time;
}

static int give_up(struct judgement *judgement, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static int give_up(struct judgement *judgement, int code, const char *format, ...)
{
    va_list arguments;

    memset(judgement, 0, sizeof *judgement);
    va_start(arguments, format);
    vsnprintf(judgement->why, sizeof judgement->why, format, arguments);
    va_end(arguments);
    judgement->code = code;
    return code;
}

/* What came from the child, in which the policy may have written anywhere. */
static int take_answer(const struct snapshot *snapshot, struct judgement *judgement)
{
    judgement->block_count = snapshot->view.block_count;
    judgement->decision.scores = NULL;
    judgement->decision.reason[VIM_REASON_MAX - 1] = '\0';
    judgement->why[sizeof judgement->why - 1] = '\0';
    judgement->kept[VIM_KEPT_MAX] = '\0';
    return judgement->code == VIM_OK ? judge_check(&snapshot->view, judgement) : judgement->code;
}

int judge_apart(struct instance *policy, const struct snapshot *snapshot, int64_t timeout_ms,
                struct judgement *ret_judgement)
{
    int64_t until = clock_mono_ms() + timeout_ms;
    int ends[2], status = 0;
    size_t got = 0;
    bool in_time;
    pid_t child;

    memset(ret_judgement, 0, sizeof *ret_judgement);
    if (pipe2(ends, O_CLOEXEC) != 0)
        return give_up(ret_judgement, VIM_E_UNAVAILABLE, "no pipe: %s", strerror(errno));
    child = fork();
    if (child == 0) {
        close(ends[0]);
        child_main(ends[1], policy, snapshot, timeout_ms, ret_judgement);
    }
    close(ends[1]);
    if (child < 0) {
        close(ends[0]);
        return give_up(ret_judgement, VIM_E_UNAVAILABLE, "no process: %s", strerror(errno));
    }
    in_time = read_all(ends[0], ret_judgement, sizeof *ret_judgement, until, &got);
    if (!in_time)
        kill(child, SIGKILL);
    close(ends[0]);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    if (got == sizeof *ret_judgement)
        return take_answer(snapshot, ret_judgement);
    if (!in_time)
        return give_up(ret_judgement, VIM_E_TIMEOUT, "no decision within %lld ms",
                       (long long)timeout_ms);
    if (WIFSIGNALED(status))
        return give_up(ret_judgement, VIM_E_INTERNAL, "crashed (SIG%s)",
                       sigabbrev_np(WTERMSIG(status)));
    return give_up(ret_judgement, VIM_E_INTERNAL, "ended the process (exit status %d)",
                   WEXITSTATUS(status));
}

/* --- Identity -------------------------------------------------------------------------------- */

/* A NaN has a sign, which is nobody's decision. */
static double plain(double value)
{
    return isnan(value) ? NAN : value;
}

static void print_score(const struct vim_policy_block *block, const struct vim_policy_score *score,
                        struct text *text)
{
    text_printf(text, " %s=%a,%a,%a,%a,%a,%u,%u", block->name, plain(score->score),
                plain(score->similarity), plain(score->saturation), plain(score->level),
                plain(score->gain), score->replicas, score->gates);
}

static const char *name_of(const struct vim_policy_snapshot *snapshot, uint32_t block)
{
    return block < snapshot->block_count ? block_at(snapshot, block)->name : "-";
}

void judge_print(const struct vim_policy_snapshot *snapshot, const struct judgement *judgement,
                 struct text *text)
{
    const struct vim_policy_decision *decision = &judgement->decision;
    uint32_t order[HISTORY_BLOCKS_MAX], count = judgement->block_count;

    text_printf(text, "%lld code=%d", (long long)snapshot->end, judgement->code);
    if (judgement->code != VIM_OK) {
        text_printf(text, " %s\n", judgement->why);
        return;
    }
    text_printf(text, " %s %s %d", judge_verdict_name(decision->verdict),
                name_of(snapshot, decision->block), decision->delta);
    if (decision->verdict == VIM_NOT_SCALABLE && decision->edge < snapshot->edge_count) {
        const struct vim_policy_edge *edge =
            (const void *)((const char *)snapshot->edges +
                           (size_t)decision->edge * snapshot->edge_stride);

        text_printf(text, " %s>%s", name_of(snapshot, edge->caller),
                    name_of(snapshot, edge->callee));
    }
    text_printf(text, " %u %a %a %a", decision->tier, plain(decision->confidence),
                plain(decision->throughput), plain(decision->latency_p95));
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = i;

        for (; at > 0 && strcmp(name_of(snapshot, i), name_of(snapshot, order[at - 1])) < 0; at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
    for (uint32_t i = 0; i < count; i++)
        print_score(block_at(snapshot, order[i]), &judgement->scores[order[i]], text);
    text_printf(text, " \"%s\"\n", decision->reason);
}

void judge_digest_add(struct judge_digest *digest, const struct vim_policy_snapshot *snapshot,
                      const struct judgement *judgement)
{
    CLEANUP_TEXT struct text text = {0};

    text_add_bytes(&text, digest->state, sizeof digest->state);
    judge_print(snapshot, judgement, &text);
    digest_sha256(text.data, text.length, digest->state);
    digest->count++;
}

char *judge_digest_hex(const struct judge_digest *digest, char ret_hex[DIGEST_HEX_SIZE])
{
    digest_hex(digest->state, sizeof digest->state, ret_hex);
    return ret_hex;
}

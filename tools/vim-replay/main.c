/*
 * vim-replay - lets scaling policies decide over a recorded trace, and compares them.
 */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"
#include "plugin/instance.h"
#include "policy_spec.h"
#include "scaler/judge.h"
#include "scaler/trace.h"

#define POLICIES_MAX 8
#define PATIENCE_MS 5000

/* What was true from a time on. */
struct label {
    int64_t t;
    unsigned number; /* of its line */
    char truth[2 * HISTORY_NAME_MAX + 2]; /* a block, "none", or an edge "caller>callee" */
};

struct labels {
    struct label *items;
    size_t count;
};

struct player {
    struct policy policy;
    struct judgement judgement;
    char kept[VIM_KEPT_MAX + 1];
    bool has_kept;
    struct judge_digest digest;
    uint32_t decisions, refused, labelled, right;
    uint32_t agreed; /* with the first policy */
    uint32_t verdicts[VIM_INSUFFICIENT_DATA + 1];
    int64_t slowest_us;
};

struct replay {
    const char *trace, *labels, *directory;
    const char *specs[POLICIES_MAX];
    uint32_t policy_count;
    bool quiet, scores;
};

static void print_help(void)
{
    puts(
        "vim-replay [options] TRACE.csv --policy SPEC [--policy SPEC]...\n"
        "\n"
        "Lets scaling policies decide over a recorded trace (t_ms,scope,name,metric,value; vimd writes\n"
        "one with `record:` of a service, vim-sim with the experiment record), at the end of each window,\n"
        "or of the interval between decisions where the trace tells one (interval_ms). Prints\n"
        "every decision in columns between tabs: the end of its window (ms since 1970), policy,\n"
        "verdict, the block that is changed (of a slow network caller>callee, else none), by how many\n"
        "replicas, and why. Then for each policy how many of which kind, how often it agrees with the\n"
        "first one, how often it is right, and a digest of its decisions: the same trace, plugin and\n"
        "options give the same digest, on every machine of the same kind.\n"
        "\n"
        "  --policy SPEC   FILE.so or NAME, with options: scaler-similarity:mode=literal,gate=0.9\n"
        "  --plugins DIR   where a NAME is looked up\n"
        "  --labels FILE   t_ms,block: which block of the trace was short from that time on; `none`, or\n"
        "                  caller>callee, two blocks between which the network is slow\n"
        "  --quiet         only the summary\n"
        "  --scores        after each decision what the policy thinks of each block, in columns between\n"
        "                  tabs: end, policy, `score`, block; score, similarity, saturation, level,\n"
        "                  predicted gain, replicas that the load needs, gates (enum vim_policy_gate)\n"
        "\n"
        "Exit code 0; 1 when a policy gave nonsense, 2 when nothing could be replayed.");
}

static int load_labels(const char *path, struct labels *ret_labels)
{
    FILE *file = fopen(path, "re");
    unsigned number = 0, room = 0;
    char line[512];

    if (!file) {
        perror(path);
        return -1;
    }
    while (fgets(line, sizeof line, file)) {
        char *end, *comma = strchr(line, ',');
        struct label label = {.number = ++number};

        line[strcspn(line, "\r\n")] = '\0';
        if (line[0] == '\0' || line[0] == '#' || strcmp(line, "t_ms,block") == 0)
            continue;
        label.t = strtoll(line, &end, 10);
        if (!comma || end != comma || comma[1] == '\0' || strlen(comma + 1) >= sizeof label.truth ||
            (ret_labels->count && label.t < ret_labels->items[ret_labels->count - 1].t)) {
            fprintf(stderr, "%s:%u: not t_ms,block with a time no earlier than before\n", path,
                    number);
            fclose(file);
            return -1;
        }
        snprintf(label.truth, sizeof label.truth, "%s", comma + 1);
        if (ret_labels->count == room) {
            room = room ? 2 * room : 64;
            ret_labels->items = reallocarray(ret_labels->items, room, sizeof *ret_labels->items);
            if (!ret_labels->items)
                abort();
        }
        ret_labels->items[ret_labels->count++] = label;
    }
    if (ferror(file)) {
        perror(path);
        fclose(file);
        return -1;
    }
    fclose(file);
    return 0;
}

static bool is_known(struct history *history, const char *truth)
{
    const char *arrow = strchr(truth, '>');
    uint32_t count = history_block_count(history);
    bool known[2] = {false, arrow == NULL};

    for (uint32_t i = 0; i < count; i++) {
        const char *name = history_block_name(history, i);
        size_t length = arrow ? (size_t)(arrow - truth) : strlen(truth);

        known[0] = known[0] || (strlen(name) == length && strncmp(name, truth, length) == 0);
        known[1] = known[1] || (arrow && strcmp(name, arrow + 1) == 0);
    }
    return strcmp(truth, "none") == 0 || (known[0] && known[1]);
}

/* A label that names nothing in the trace would count as a wrong answer of every policy. */
static int check_labels(const struct replay *replay, const struct labels *labels,
                        struct history *history)
{
    for (size_t i = 0; i < labels->count; i++)
        if (!is_known(history, labels->items[i].truth)) {
            fprintf(stderr, "%s:%u: the trace has no %s\n", replay->labels, labels->items[i].number,
                    labels->items[i].truth);
            return -1;
        }
    return 0;
}

static const char *truth_at(const struct labels *labels, int64_t t)
{
    const char *truth = NULL;

    for (size_t i = 0; i < labels->count && labels->items[i].t <= t; i++)
        truth = labels->items[i].truth;
    return truth;
}

/* What a decision is about: the block that it changes, the edge that is slow, or none. */
static void print_object(const struct snapshot *snapshot, const struct judgement *judgement,
                         struct text *object)
{
    const struct vim_policy_decision *decision = &judgement->decision;

    text_clear(object);
    if (judgement->code == VIM_OK && decision->delta != 0 &&
        decision->block < snapshot->view.block_count)
        text_add(object, snapshot->blocks[decision->block].name);
    else if (judgement->code == VIM_OK && decision->verdict == VIM_NOT_SCALABLE &&
             decision->edge < snapshot->view.edge_count)
        text_printf(object, "%s>%s", snapshot->blocks[snapshot->edges[decision->edge].caller].name,
                    snapshot->blocks[snapshot->edges[decision->edge].callee].name);
    else
        text_add(object, "none");
}

/* What a decision says is short, in the words of the labels: nothing is where a block can do with less. */
static void print_claim(const struct judgement *judgement, const struct text *object,
                        struct text *claim)
{
    const struct vim_policy_decision *decision = &judgement->decision;

    text_clear(claim);
    text_add(claim, judgement->code == VIM_OK && (decision->verdict == VIM_SCALE_OUT ||
                                                  decision->verdict == VIM_NOT_SCALABLE)
                        ? text_get(object)
                        : "none");
}

static void print_scores(const struct snapshot *snapshot, const struct player *player)
{
    const struct judgement *judgement = &player->judgement;

    for (uint32_t i = 0; i < judgement->block_count && judgement->code == VIM_OK; i++) {
        const struct vim_policy_score *score = &judgement->scores[i];

        printf("%lld\t%s\tscore\t%s\t%.9g\t%.9g\t%.9g\t%.9g\t%.9g\t%u\t%#x\n",
               (long long)snapshot->view.end, player->policy.label, snapshot->blocks[i].name,
               score->score, score->similarity, score->saturation, score->level, score->gain,
               score->replicas, score->gates);
    }
}

static void play(struct player *player, const struct history *history, const char *truth,
                 const char *first, const struct replay *options, struct text *claim)
{
    static struct snapshot snapshot;
    CLEANUP_TEXT struct text object = {0};
    struct judgement *judgement = &player->judgement;
    const struct vim_policy_decision *decision = &judgement->decision;
    uint32_t windows = instance_policy(player->policy.instance)->windows;

    snapshot_build(history, windows, player->has_kept ? player->kept : NULL, &snapshot);
    judge_apart(player->policy.instance, &snapshot, PATIENCE_MS, judgement);
    if (judgement->kept_set) {
        memcpy(player->kept, judgement->kept, sizeof player->kept);
        player->has_kept = player->kept[0] != '\0';
    }
    judge_digest_add(&player->digest, &snapshot.view, judgement);
    print_object(&snapshot, judgement, &object);
    print_claim(judgement, &object, claim);
    player->decisions++;
    player->refused += judgement->code != VIM_OK;
    if (judgement->code == VIM_OK)
        player->verdicts[decision->verdict]++;
    if (judgement->took_us > player->slowest_us)
        player->slowest_us = judgement->took_us;
    if (first)
        player->agreed += strcmp(first, text_get(claim)) == 0;
    if (truth) {
        player->labelled++;
        player->right += strcmp(truth, text_get(claim)) == 0;
    }
    if (!options->quiet)
        printf("%lld\t%s\t%s\t%s\t%+d\t%s\n", (long long)snapshot.view.end, player->policy.label,
               judgement->code == VIM_OK ? judge_verdict_name(decision->verdict) : "refused",
               text_get(&object), judgement->code == VIM_OK ? decision->delta : 0,
               judgement->code == VIM_OK ? decision->reason : judgement->why);
    if (options->scores)
        print_scores(&snapshot, player);
}

static void print_summary(const struct player *player, bool first, bool has_labels)
{
    char hex[DIGEST_HEX_SIZE];

    printf("%s: %u decisions", player->policy.label, player->decisions);
    for (uint32_t i = 0; i <= VIM_INSUFFICIENT_DATA; i++)
        if (player->verdicts[i])
            printf(", %u %s", player->verdicts[i], judge_verdict_name(i));
    if (player->refused)
        printf(", %u refused", player->refused);
    if (!first && player->decisions)
        printf("; agrees with the first in %.1f %%", 100.0 * player->agreed / player->decisions);
    if (has_labels && player->labelled)
        printf("; right in %.1f %% of %u", 100.0 * player->right / player->labelled,
               player->labelled);
    printf("; digest %s\n", judge_digest_hex(&player->digest, hex));
}

/* Is a decision made at the end of this window, as the daemon makes them? */
static bool is_due(const struct trace *trace, int64_t end, int64_t *decided)
{
    int64_t interval = trace_interval_ms(trace);

    if (interval > 0 && end / interval <= *decided / interval)
        return false;
    *decided = end;
    return true;
}

static int replay(const struct replay *replay, struct player *players, const struct labels *labels)
{
    CLEANUP_TEXT struct text reason = {0}, claim = {0}, first = {0};
    struct trace *trace = NULL;
    int64_t decided = 0;
    bool refused = false;
    int code = trace_open(replay->trace, HISTORY_WINDOWS_MAX, &trace, &reason);

    while (code == VIM_OK && (code = trace_next(trace, &reason)) == VIM_OK) {
        const struct history *history = trace_history(trace);

        if (!is_due(trace, history_end(history), &decided))
            continue;
        for (uint32_t i = 0; i < replay->policy_count; i++) {
            play(&players[i], history, truth_at(labels, history_end(history)),
                 i ? text_get(&first) : NULL, replay, &claim);
            if (i == 0) {
                text_clear(&first);
                text_add(&first, text_get(&claim));
            }
        }
    }
    /* The end of the trace looks like a file that is not there; only one of them has a history. */
    if (code != VIM_E_NOT_FOUND || !trace) {
        fprintf(stderr, "%s\n", text_get(&reason));
        trace_close(trace);
        return 2;
    }
    if (!trace_history(trace))
        fprintf(stderr, "%s: no window is in it\n", replay->trace);
    if (!trace_history(trace) || check_labels(replay, labels, trace_history(trace)) != 0) {
        trace_close(trace);
        return 2;
    }
    trace_close(trace);
    for (uint32_t i = 0; i < replay->policy_count; i++) {
        print_summary(&players[i], i == 0, labels->count > 0);
        refused = refused || players[i].refused;
    }
    return refused ? 1 : 0;
}

/* 0: go on; else the exit code plus 1. */
static int parse_options(int argc, char **argv, struct replay *replay)
{
    static const struct option known[] = {{"policy", required_argument, NULL, 'p'},
                                          {"plugins", required_argument, NULL, 'd'},
                                          {"labels", required_argument, NULL, 'l'},
                                          {"quiet", no_argument, NULL, 'q'},
                                          {"scores", no_argument, NULL, 's'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    int option;

    while ((option = getopt_long(argc, argv, "p:d:l:qsh", known, NULL)) != -1) {
        if (option == 'p' && replay->policy_count < POLICIES_MAX) {
            replay->specs[replay->policy_count++] = optarg;
        } else if (option == 'd') {
            replay->directory = optarg;
        } else if (option == 'l') {
            replay->labels = optarg;
        } else if (option == 'q') {
            replay->quiet = true;
        } else if (option == 's') {
            replay->scores = true;
        } else if (option == 'h') {
            print_help();
            return 1;
        } else {
            if (option == 'p')
                fprintf(stderr, "vim-replay: at most %d policies\n", POLICIES_MAX);
            return 3;
        }
    }
    if (optind + 1 != argc || replay->policy_count == 0) {
        fprintf(stderr, "vim-replay: one trace and at least one --policy are needed; --help "
                        "explains\n");
        return 3;
    }
    replay->trace = argv[optind];
    return 0;
}

int main(int argc, char **argv)
{
    static struct player players[POLICIES_MAX];
    struct replay arguments = {.directory = policy_directory()};
    struct labels labels = {0};
    uint32_t opened = 0;
    int code = parse_options(argc, argv, &arguments);

    if (code)
        return code - 1;
    /* Policies decide in child processes, which must find nothing that is still to be written. */
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    log_init(VIM_WARNING, LOG_LOGFMT);
    if (arguments.labels && load_labels(arguments.labels, &labels) != 0)
        code = 2;
    while (code == 0 && opened < arguments.policy_count) {
        if (policy_open(arguments.specs[opened], arguments.directory, &players[opened].policy) != 0)
            code = 2;
        else
            opened++;
    }
    if (code == 0)
        code = replay(&arguments, players, &labels);
    while (opened)
        policy_close(&players[--opened].policy);
    free(labels.items);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        perror("vim-replay: standard output");
        code = 2;
    }
    return code;
}

/*
 * vim-sim - runs scaling policies against simulated services. One seed, one output, byte for byte.
 */
#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "sim.h"

static const struct {
    const char *name;
    int (*run)(struct sim *sim);
    uint32_t count; /* default */
    bool policies; /* needs some */
    const char *help;
} experiments[] = {
    {"testbed", run_testbed, 20, false, "the paper's Figs. 4 to 7 on its testbed (S2)"},
    {"eq3", run_eq3, 20, true, "equation 3 along the sweep of Fig. 4 (S1)"},
    {"climb", run_climb, 10, true, "from five configurations to the best one (S9)"},
    {"network", run_network, 600, true, "slow networks and overload told apart (S6)"},
    {"loop", run_loop, 240, true, "20 minutes of changing load, beside an oracle (S7, S8)"},
    {"record", run_record, 1, true, "writes one such course as a trace, for vim-replay (S13)"},
    {"speed", run_speed, 1, true, "how long a decision takes (S11); depends on the machine"},
    {"find", run_find, 2000, true, "which block holds a random service back (S3, S4, S5)"},
};
#define EXPERIMENT_COUNT (sizeof experiments / sizeof experiments[0])

void print_value(const char *metric, const char *policy, double value)
{
    printf("%s\t%s\t%.6g\n", metric, policy, value);
}

uint32_t top_block(const struct judgement *judgement)
{
    uint32_t best = VIM_NO_INDEX;

    for (uint32_t i = 0; i < judgement->block_count; i++)
        if (!isnan(judgement->scores[i].score) &&
            (best == VIM_NO_INDEX || judgement->scores[i].score > judgement->scores[best].score))
            best = i;
    return best;
}

FILE *open_csv(const char *path, const char *heading)
{
    FILE *file = path ? fopen(path, "we") : NULL;

    if (path && !file) {
        perror(path);
        exit(2);
    }
    if (file)
        fprintf(file, "%s\n", heading);
    return file;
}

void close_csv(FILE *file, const char *path)
{
    bool failed = file && ferror(file);

    if (file && (fclose(file) != 0 || failed)) {
        perror(path);
        exit(2);
    }
}

static void print_help(void)
{
    puts(
        "vim-sim EXPERIMENT [--policy SPEC]... [options]\n"
        "\n"
        "Runs scaling policies (the same .so files that vimd loads) against simulated services. The\n"
        "same seed gives the same output, byte for byte, whatever the number of jobs. Prints lines of\n"
        "metric, policy and value, separated by tabs.\n"
        "\n"
        "Experiments:");
    for (size_t i = 0; i < EXPERIMENT_COUNT; i++)
        printf("  %-10s %s\n", experiments[i].name, experiments[i].help);
    puts(
        "\n"
        "  --policy SPEC    FILE.so or NAME, with options: scaler-similarity:mode=literal,gate=0.9;\n"
        "                   may be given several times\n"
        "  --plugins DIR    where a NAME is looked up\n"
        "  --seed N         1 without it\n"
        "  --count N        how many scenarios or seeds\n"
        "  --jobs N         processes; as many as there are processors without it\n"
        "  --only-cpu       loop: nothing but processors is ever short\n"
        "  --csv FILE       writes the details\n"
        "  --labels FILE    record: writes which block was short when, for vim-replay");
}

static bool parse_count(const char *text, uint32_t least, uint32_t *ret_value)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);

    if (end == text || *end || value < least || value > 1000000)
        return false;
    *ret_value = (uint32_t)value;
    return true;
}

static int fail_usage(const char *what)
{
    fprintf(stderr, "vim-sim: %s; --help explains\n", what);
    return 2;
}

/* 0: go on; else the exit code plus 1. */
static int parse_options(int argc, char **argv, struct sim *sim, const char **specs,
                         const char **ret_directory)
{
    static const struct option known[] = {
        {"policy", required_argument, NULL, 'p'}, {"plugins", required_argument, NULL, 'd'},
        {"seed", required_argument, NULL, 's'},   {"count", required_argument, NULL, 'n'},
        {"jobs", required_argument, NULL, 'j'},   {"only-cpu", no_argument, NULL, 'c'},
        {"csv", required_argument, NULL, 'o'},    {"labels", required_argument, NULL, 'l'},
        {"help", no_argument, NULL, 'h'},         {0}};
    int option;

    while ((option = getopt_long(argc, argv, "p:d:s:n:j:co:l:h", known, NULL)) != -1) {
        char *end = NULL;

        switch (option) {
        case 'p':
            if (sim->policy_count == POLICIES_MAX)
                return 1 + fail_usage("too many policies");
            specs[sim->policy_count++] = optarg;
            break;
        case 'd':
            *ret_directory = optarg;
            break;
        case 's':
            sim->seed = strtoull(optarg, &end, 10);
            if (end == optarg || *end)
                return 1 + fail_usage("--seed takes a number");
            break;
        case 'n':
            if (!parse_count(optarg, 1, &sim->count))
                return 1 + fail_usage("--count takes 1..1000000");
            break;
        case 'j':
            if (!parse_count(optarg, 1, &sim->jobs) || sim->jobs > 64)
                return 1 + fail_usage("--jobs takes 1..64");
            break;
        case 'c':
            sim->only_cpu = true;
            break;
        case 'o':
            sim->csv = optarg;
            break;
        case 'l':
            sim->labels = optarg;
            break;
        case 'h':
            print_help();
            return 1;
        default:
            return 3;
        }
    }
    return 0;
}

static int run(struct sim *sim, size_t experiment, const char **specs, const char *directory)
{
    uint32_t wanted = sim->policy_count;
    int code = 0;

    sim->policy_count = 0;
    while (sim->policy_count < wanted && code == 0) {
        code = policy_open(specs[sim->policy_count], directory, &sim->policies[sim->policy_count]);
        sim->policy_count += code == 0;
    }
    code = code ? 2 : experiments[experiment].run(sim);
    while (sim->policy_count)
        policy_close(&sim->policies[--sim->policy_count]);
    return code;
}

int main(int argc, char **argv)
{
    static struct sim sim = {.seed = 1};
    const char *specs[POLICIES_MAX], *directory = policy_directory();
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    size_t experiment = EXPERIMENT_COUNT;
    int code;

    log_init(VIM_WARNING, LOG_LOGFMT);
    sim.jobs = processors > 64 ? 64 : processors < 1 ? 1 : (uint32_t)processors;
    code = parse_options(argc, argv, &sim, specs, &directory);
    if (code)
        return code - 1;
    if (optind + 1 != argc)
        return fail_usage("one experiment is needed");
    for (size_t i = 0; i < EXPERIMENT_COUNT; i++)
        if (strcmp(argv[optind], experiments[i].name) == 0)
            experiment = i;
    if (experiment == EXPERIMENT_COUNT)
        return fail_usage("there is no such experiment");
    if (sim.count == 0)
        sim.count = experiments[experiment].count;
    if (experiments[experiment].policies && sim.policy_count == 0)
        return fail_usage("at least one --policy is needed");
    code = run(&sim, experiment, specs, directory);
    if (fflush(stdout) != 0)
        return 2;
    return code;
}

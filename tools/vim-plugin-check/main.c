/*
 * vim-plugin-check - holds a plugin to what the headers in include/vim promise.
 */
#include <getopt.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/text.h"
#include "check.h"
#include "config/config.h"
#include "config/fill.h"
#include "model/kinds.h"
#include "plugin/loader.h"

static const struct group groups[] = {
    {"descriptor", 0, "what the plugin says about itself, and its option table", descriptor_group},
    {"config", 0, "options that are missing, wrong, out of bounds, unknown", config_group},
    {"lifecycle", 0, "probe, and 100 times open and close", lifecycle_group},
    {"store", VIM_STORE, "commit, get and scan, sentence by sentence of store.h", store_group},
    {"store-race", VIM_STORE, "commits from many threads", store_race_group},
    {"store-crash", VIM_STORE, "kill -9 in the middle of commits, 30 times", store_crash_group},
    {"queue", VIM_QUEUE, "push, pull, renew, done, sentence by sentence of queue.h", queue_group},
    {"queue-threads", VIM_QUEUE, "pulls from many threads, interrupt, idle pulls",
     queue_thread_group},
    {"driver", VIM_DRIVER, "kind by kind: create, get, list, update, actions, delete, changes",
     driver_group},
    {"driver-task", VIM_DRIVER, "kind by kind: repeated requests, resumption, undo, threads",
     driver_task_group},
    {"policy", VIM_POLICY, "decide: pure, quick, and at ease with what is missing", policy_group},
};
#define GROUP_COUNT (sizeof groups / sizeof groups[0])

static void print_help(void)
{
    puts(
        "vim-plugin-check [--config FILE.yaml] [--only GROUP] [--kind KIND] [--without KIND]\n"
        "                 [--verbose] PLUGIN.so\n"
        "\n"
        "Loads a vimd plugin, opens instances of it, and checks that it keeps what the headers\n"
        "in include/vim promise. Prints one line per check (ok, FAIL with the reason, skip with\n"
        "the reason) and at last `N passed, N failed, N skipped`. The exit code is 0 when nothing\n"
        "failed, 1 when something did, 2 when the plugin could not be checked at all.\n"
        "\n"
        "  --config FILE   options for the plugin, and samples for a driver (see below)\n"
        "  --only GROUP    this group of checks alone; may be given several times\n"
        "  --kind KIND     of a driver this kind of resource alone; may be given several times\n"
        "  --without KIND  all kinds but this one; may be given several times. So what has nothing\n"
        "                  to do with each other can be checked side by side; what is left behind\n"
        "                  is looked for among the kinds that are checked\n"
        "  --verbose       tell more: the messages of refusals, counts, times\n"
        "\n"
        "Groups; those of another plugin type are left out:");
    for (size_t i = 0; i < GROUP_COUNT; i++)
        printf("  %-15s %s\n", groups[i].name, groups[i].help);
    puts(
        "\n"
        "The configuration. `plugin` holds the options of the instance, as a vimd.yaml would.\n"
        "Files that an instance makes in its state directory go to a directory that is removed\n"
        "in the end. Collections, topics and names are unique per run, so a store or queue that\n"
        "is shared may be used; a driver needs a project in which things may be made and\n"
        "deleted.\n"
        "\n"
        "  plugin:\n"
        "    durability: power\n"
        "\n"
        "A driver is checked with those kinds of which there is a sample: the fields for a\n"
        "create, in the vocabulary of docs/resources.md. $KIND.id stands for a thing of that kind,\n"
        "made from its own sample first; $unique for a text that differs each time. `updates` has\n"
        "fields to change, `actions` a list of what is done to one, in this order (without it:\n"
        "each action without arguments); `timeout` bounds each operation, 60s without it.\n"
        "VIMD_TEST_PATIENCE=N in the environment makes all bounds N times as long.\n"
        "\n"
        "  timeout: 30s\n"
        "  samples:\n"
        "    network: {name: $unique}\n"
        "    subnet: {name: $unique, network: $network.id, cidr: 10.9.0.0/24}\n"
        "  updates:\n"
        "    network: {name: renamed}\n"
        "  actions:\n"
        "    server:\n"
        "      - {action: resize, flavor: $new-flavor.id}\n"
        "      - {action: confirm_resize}\n"
        "\n"
        "Each group runs in a process of its own: a plugin that crashes fails its group, and the\n"
        "next one begins anew. Try it with a plugin that is built with -fsanitize=address too.\n"
        "\n"
        "  vim-plugin-check store-sqlite.so\n"
        "  vim-plugin-check --config store.yaml --only store-crash --verbose ./mine.so");
}

struct arguments {
    const char *config;
    const char *only[GROUP_COUNT];
    size_t only_count;
    struct text kinds, without; /* words */
    bool verbose;
    const char *plugin;
};

static bool known_group(const char *name)
{
    for (size_t i = 0; i < GROUP_COUNT; i++)
        if (strcmp(groups[i].name, name) == 0)
            return true;
    fprintf(stderr, "vim-plugin-check: no group %s; --help lists them\n", name);
    return false;
}

static bool add_kind(struct text *kinds, const char *name)
{
    if (!kind_by_name(name) && !view_by_name(name)) {
        fprintf(stderr, "vim-plugin-check: no kind %s; docs/resources.md has them\n", name);
        return false;
    }
    text_printf(kinds, "%s%s", kinds->length > 0 ? " " : "", name);
    return true;
}

/* 0: go on; else the exit code plus 1. */
static int parse_arguments(int argc, char **argv, struct arguments *ret_arguments)
{
    static const struct option known[] = {{"config", required_argument, NULL, 'c'},
                                          {"only", required_argument, NULL, 'o'},
                                          {"kind", required_argument, NULL, 'k'},
                                          {"without", required_argument, NULL, 'w'},
                                          {"verbose", no_argument, NULL, 'v'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    int option;

    while ((option = getopt_long(argc, argv, "c:o:k:w:vh", known, NULL)) != -1) {
        if (option == 'h') {
            print_help();
            return 1;
        }
        if (option == 'c') {
            ret_arguments->config = optarg;
        } else if (option == 'v') {
            ret_arguments->verbose = true;
        } else if (option == 'o' && known_group(optarg) &&
                   ret_arguments->only_count < GROUP_COUNT) {
            ret_arguments->only[ret_arguments->only_count++] = optarg;
        } else if ((option == 'k' && add_kind(&ret_arguments->kinds, optarg)) ||
                   (option == 'w' && add_kind(&ret_arguments->without, optarg))) {
            continue;
        } else {
            return 3;
        }
    }
    if (optind + 1 != argc) {
        fprintf(stderr, "vim-plugin-check: one plugin is needed; --help explains\n");
        return 3;
    }
    ret_arguments->plugin = argv[optind];
    return 0;
}

struct settings {
    int64_t timeout_ms;
};

static const struct vim_option settings_options[] = {{
    .name = "timeout",
    .type = VIM_DURATION,
    .default_value = "60s",
    .help = "Time for one operation of a driver.",
    .minimum = 100,
    .maximum = 3600000,
    .offset = offsetof(struct settings, timeout_ms),
}};

static int load_config(const char *path, struct config **ret_config, int64_t *ret_timeout_ms)
{
    struct config_table table = CONFIG_TABLE("check", settings_options, struct settings, NULL);
    struct config_struct *filled = NULL;
    struct config_errors errors = {0};
    int code = path ? config_load(path, ret_config, &errors)
                    : config_parse_text("", 0, "(none)", ret_config, &errors);

    table.nested = "plugin samples updates actions";
    if (code == VIM_OK)
        code = config_fill(&table, config_root(*ret_config), NULL, &errors, &filled);
    if (code == VIM_OK)
        *ret_timeout_ms = ((const struct settings *)config_data(filled))->timeout_ms;
    for (size_t i = 0; i < errors.count; i++)
        fprintf(stderr, "%s\n", errors.items[i]);
    config_errors_free(&errors);
    config_struct_free(filled);
    return code;
}

static int load_plugin(const char *path, struct plugin **ret_plugin)
{
    char folder[PATH_MAX], file[PATH_MAX];
    const char *directory;
    CLEANUP_TEXT struct text reason = {0};
    char *name;
    int code;

    snprintf(folder, sizeof folder, "%s", path);
    snprintf(file, sizeof file, "%s", path);
    directory = dirname(folder);
    name = basename(file);
    if (strlen(name) > 3 && strcmp(name + strlen(name) - 3, ".so") == 0)
        name[strlen(name) - 3] = '\0';
    code = plugin_load(&directory, 1, name, 0, ret_plugin, &reason);
    if (code != VIM_OK)
        printf("FAIL  load: %s\n", text_get(&reason));
    return code;
}

static bool is_wanted(const struct arguments *arguments, const char *name)
{
    for (size_t i = 0; i < arguments->only_count; i++)
        if (strcmp(arguments->only[i], name) == 0)
            return true;
    return arguments->only_count == 0;
}

/* By a child process, so that this one has no code for it: rm -r. */
static void remove_directory(const char *directory)
{
    pid_t child = fork();

    if (child == 0) {
        execlp("rm", "rm", "-rf", "--", directory, (char *)NULL);
        _exit(127);
    }
    if (child > 0)
        waitpid(child, NULL, 0);
}

static void run_groups(const struct arguments *arguments, struct run *run)
{
    uint32_t type = run->plugin->descriptor.type;
    bool any = false;

    for (size_t i = 0; i < GROUP_COUNT; i++) {
        if (groups[i].type == type)
            any = true;
        if ((groups[i].type == 0 || groups[i].type == type) && is_wanted(arguments, groups[i].name))
            group_run(&groups[i], run);
    }
    if (!any) {
        printf("skip  %s: no checks for plugins of this type yet\n", plugin_type_name(type));
        run->tally->skipped++;
    }
}

int main(int argc, char **argv)
{
    char directory[] = "/tmp/vim-plugin-check-XXXXXX";
    struct arguments arguments = {0};
    struct plugin *plugin = NULL;
    struct config *config = NULL;
    struct tally *tally;
    int64_t timeout_ms = 0;
    int code = parse_arguments(argc, argv, &arguments);

    if (code)
        return code - 1;
    signal(SIGPIPE, SIG_IGN);
    log_init(arguments.verbose ? VIM_DEBUG : VIM_ERROR, LOG_LOGFMT);
    tally = mmap(NULL, sizeof *tally, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (tally == MAP_FAILED || !mkdtemp(directory)) {
        perror("vim-plugin-check");
        return 2;
    }
    code = load_config(arguments.config, &config, &timeout_ms);
    if (code == VIM_OK)
        code = load_plugin(arguments.plugin, &plugin);
    if (code == VIM_OK) {
        struct run run = {.plugin = plugin,
                          .config = config,
                          .directory = directory,
                          .verbose = arguments.verbose,
                          .timeout_ms = timeout_ms * check_patience(),
                          .kinds = arguments.kinds.length > 0 ? text_get(&arguments.kinds) : NULL,
                          .without = text_get(&arguments.without),
                          .tally = tally};

        run_groups(&arguments, &run);
        printf("%u passed, %u failed, %u skipped\n", tally->passed, tally->failed, tally->skipped);
    }
    remove_directory(directory);
    plugin_free(plugin);
    config_free(config);
    text_free(&arguments.kinds);
    text_free(&arguments.without);
    if (code != VIM_OK)
        return 2;
    return tally->failed ? 1 : 0;
}

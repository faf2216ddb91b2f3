#include "main/options.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include "main/roles.h"

enum {
    OPTION_CHECK = 256,
    OPTION_DUMP,
    OPTION_DESCRIBE,
    OPTION_PROJECT,
    OPTION_ROLE,
    OPTION_NAME,
    OPTION_EXPIRES
};

static const struct option options_long[] = {
    {"config", required_argument, NULL, 'c'},
    {"check-config", no_argument, NULL, OPTION_CHECK},
    {"dump-config", no_argument, NULL, OPTION_DUMP},
    {"describe", no_argument, NULL, OPTION_DESCRIBE},
    {"project", required_argument, NULL, OPTION_PROJECT},
    {"role", required_argument, NULL, OPTION_ROLE},
    {"name", required_argument, NULL, OPTION_NAME},
    {"expires", required_argument, NULL, OPTION_EXPIRES},
    {"version", no_argument, NULL, 'V'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static const char options_text[] =
    "vimd - a Virtualised Infrastructure Manager: one REST API over OpenStack and others\n"
    "\n"
    "  vimd [--config FILE] [--role R,...]  run, in the foreground; log on standard error\n"
    "  vimd [--config FILE] --check-config  tell every mistake in the file, and end\n"
    "  vimd [--config FILE] --dump-config   print what is in force, secrets hidden\n"
    "  vimd [--config FILE] --describe      list sections and plugins\n"
    "  vimd [--config FILE] --describe NAME explain the options of one of them\n"
    "  vimd [--config FILE] token create --project P --role R --name N [--expires 30d]\n"
    "  vimd [--config FILE] token list\n"
    "  vimd [--config FILE] token revoke ID\n"
    "  vimd [--config FILE] health          ask the vimd that runs with FILE whether it is well\n"
    "\n"
    "  -c, --config FILE   configuration; " VIMD_CONFIG_FILE " if left out\n"
    "      --role R,...    what the process does: api (takes the requests of clients), logic (knows\n"
    "                      what they mean; has the store), worker (carries tasks out), scaler (scales\n"
    "                      `services`); left out: `roles` in the configuration, or all in one process\n"
    "                      (scaler if there are `services`). Apart they find each other by the\n"
    "                      section `link`: vimd --describe link\n"
    "      --role R        with token create: reader, member, operator or admin\n"
    "      --expires T     30m, 12h, 30d, 8w from now; left out: never\n"
    "  -V, --version       version, and end\n"
    "  -h, --help          this text, and end\n"
    "\n"
    "Signals: TERM and INT finish what is in progress and end (a second one ends at once); HUP\n"
    "reads the configuration again.\n"
    "\n"
    "Examples\n"
    "  vimd --config etc/vimd.yaml --check-config\n"
    "  vimd --config etc/vimd.yaml &\n"
    "  TOKEN=$(vimd --config etc/vimd.yaml token create --project demo --role admin --name me)\n"
    "  curl -H \"Authorization: Bearer $TOKEN\" http://127.0.0.1:8780/v1/vims\n"
    "  vimd --describe openstack\n"
    "  vimd --config etc/vimd-apart.yaml --role worker\n";

void options_help(void)
{
    fputs(options_text, stdout);
}

static int options_wrong(const char *what, const char *word)
{
    fprintf(stderr, "vimd: %s%s\nTry 'vimd --help'.\n", what, word);
    return -1;
}

static int options_token(int count, char **words, struct options *options)
{
    const char *verb = count > 1 ? words[1] : "";
    if (strcmp(verb, "create") == 0 && count == 2) {
        options->command = COMMAND_TOKEN_CREATE;
        const char *missing = !options->project ? "--project"
                              : !options->role  ? "--role"
                              : !options->name  ? "--name"
                                                : NULL;
        return missing ? options_wrong("token create needs ", missing) : 0;
    }
    if (strcmp(verb, "list") == 0 && count == 2) {
        options->command = COMMAND_TOKEN_LIST;
        return 0;
    }
    if (strcmp(verb, "revoke") == 0 && count == 3) {
        options->command = COMMAND_TOKEN_REVOKE;
        options->token_id = words[2];
        return 0;
    }
    return options_wrong("say 'token create', 'token list' or 'token revoke ID'", "");
}

static int options_operands(int count, char **words, struct options *options)
{
    if (count == 0) {
        return 0;
    }
    if (options->command == COMMAND_DESCRIBE && count == 1) {
        options->describe = words[0];
        return 0;
    }
    if (options->command == COMMAND_RUN && strcmp(words[0], "token") == 0) {
        return options_token(count, words, options);
    }
    if (options->command == COMMAND_RUN && strcmp(words[0], "health") == 0 && count == 1) {
        options->command = COMMAND_HEALTH;
        return 0;
    }
    return options_wrong("unexpected word: ", words[0]);
}

/* What --role means where no token is made. */
static int options_roles(struct options *options)
{
    char wrong[96];
    if (!options->role || options->command == COMMAND_TOKEN_CREATE) {
        return 0;
    }
    if (options->command != COMMAND_RUN && options->command != COMMAND_CHECK_CONFIG &&
        options->command != COMMAND_DUMP_CONFIG) {
        return options_wrong("--role does not belong here", "");
    }
    return roles_parse(options->role, &options->roles, wrong, sizeof wrong)
               ? options_wrong("--role: ", wrong)
               : 0;
}

int options_parse(int argc, char **argv, struct options *ret_options)
{
    struct options options = {.config = VIMD_CONFIG_FILE};
    int letter;
    while ((letter = getopt_long(argc, argv, "c:Vh", options_long, NULL)) != -1) {
        switch (letter) {
        case 'c':
            options.config = optarg;
            options.config_given = true;
            break;
        case OPTION_CHECK:
            options.command = COMMAND_CHECK_CONFIG;
            break;
        case OPTION_DUMP:
            options.command = COMMAND_DUMP_CONFIG;
            break;
        case OPTION_DESCRIBE:
            options.command = COMMAND_DESCRIBE;
            break;
        case OPTION_PROJECT:
            options.project = optarg;
            break;
        case OPTION_ROLE:
            options.role = optarg;
            break;
        case OPTION_NAME:
            options.name = optarg;
            break;
        case OPTION_EXPIRES:
            options.expires = optarg;
            break;
        case 'V':
            options.command = COMMAND_VERSION;
            break;
        case 'h':
            options.command = COMMAND_HELP;
            break;
        default:
            fputs("Try 'vimd --help'.\n", stderr);
            return -1;
        }
    }
    if (options.command == COMMAND_HELP) {
        *ret_options = options; /* whatever else was said */
        return 0;
    }
    if (options_operands(argc - optind, argv + optind, &options)) {
        return -1;
    }
    if (options.command != COMMAND_TOKEN_CREATE &&
        (options.project || options.name || options.expires)) {
        return options_wrong("--project, --name and --expires belong to 'token create'", "");
    }
    if (options_roles(&options)) {
        return -1;
    }
    *ret_options = options;
    return 0;
}

/*
 * main/options.h - the command line.
 */
#ifndef VIMD_MAIN_OPTIONS_H
#define VIMD_MAIN_OPTIONS_H

#include <stdbool.h>

enum command {
    COMMAND_RUN,
    COMMAND_HELP,
    COMMAND_VERSION,
    COMMAND_CHECK_CONFIG,
    COMMAND_DUMP_CONFIG,
    COMMAND_DESCRIBE,
    COMMAND_HEALTH,
    COMMAND_TOKEN_CREATE,
    COMMAND_TOKEN_LIST,
    COMMAND_TOKEN_REVOKE
};

struct options {
    enum command command;
    const char *config; /* never NULL */
    bool config_given;
    const char *describe; /* what to describe; NULL: list */
    const char *project, *role, *name, *expires; /* token create */
    unsigned roles; /* of the process: enum process_role; 0: as the configuration says */
    const char *token_id; /* token revoke */
};

/* Returns 0, or -1 after having told what is wrong on standard error. */
int options_parse(int argc, char **argv, struct options *ret_options);

void options_help(void); /* on standard output */

#endif

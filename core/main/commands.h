/*
 * main/commands.h - what vimd does instead of running. Each returns the exit code.
 */
#ifndef VIMD_MAIN_COMMANDS_H
#define VIMD_MAIN_COMMANDS_H

#include "main/options.h"

int command_check_config(const struct options *options);
int command_dump_config(const struct options *options);
int command_describe(const struct options *options);
int command_token(const struct options *options);
int command_health(const struct options *options);

#endif

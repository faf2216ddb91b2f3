/*
 * options.h - the option table, and the checks that no single option can make.
 */
#ifndef OPENSTACK_OPTIONS_H
#define OPENSTACK_OPTIONS_H

#include <vim/plugin.h>

struct os_config;

extern const struct vim_option os_options[];
extern const unsigned os_option_count;

/* What is wrong with a configuration, naming the option, or NULL if nothing is. */
const char *os_config_problem(const struct os_config *config);

#endif

/*
 * policy_spec.h - policies as the command lines of vim-sim and vim-replay name them:
 *
 *     FILE.so                          or NAME, for NAME.so in the plugin directory
 *     FILE.so:mode=literal,gate=0.9    with options, as a configuration would set them
 */
#ifndef POLICY_SPEC_H
#define POLICY_SPEC_H

struct instance;
struct plugin;

struct policy {
    char label[96]; /* the name of the plugin, with its options */
    struct plugin *plugin;
    struct instance *instance;
};

/* Opens it; DIRECTORY is where names are looked up. On error tells stderr why, and returns -1. */
int policy_open(const char *spec, const char *directory, struct policy *ret_policy);
void policy_close(struct policy *policy); /* all zero is fine */

/* The plugin directory of this build or installation: beside the program, else where plugins are
 * installed. In a buffer that the next call overwrites. */
const char *policy_directory(void);

#endif

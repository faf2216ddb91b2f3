/*
 * control.h - for tests that run under `with`: what they do to their servers.
 */
#ifndef SERVERS_CONTROL_H
#define SERVERS_CONTROL_H

#include <stdio.h>
#include <stdlib.h>

/* Runs `SERVER VERB DIR REST` of this folder; DIR is of the server that `with` calls NAME (upper case).
 * Ends the test if it fails. */
static inline void server_control(const char *server, const char *verb, const char *name,
                                  const char *rest)
{
    char variable[64], command[1024];

    snprintf(variable, sizeof variable, "TEST_%s_DIR", name);
    snprintf(command, sizeof command, "'%s/%s' %s '%s' %s >/dev/null", getenv("TEST_SERVERS"),
             server, verb, getenv(variable), rest ? rest : "");
    if (system(command) != 0) {
        fprintf(stderr, "%s: failed\n", command);
        abort();
    }
}

#endif

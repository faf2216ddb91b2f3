/*
 * driver_check.h - what the files of the check of the driver against a real cloud share.
 */
#ifndef DRIVER_CHECK_H
#define DRIVER_CHECK_H

#include "driver_host.h"

#include <jansson.h>

extern struct driver *driver;
extern struct result result; /* of the last call */

/* Counts and prints; a failure with what the driver said. Returns GOOD. */
int check(const char *what, int good);

/* Request ids and names differ from run to run, and are the same within one. */
const char *uuid(int number);
const char *name(const char *what);

/* The field of the last item's body as text ("null" if it is not there), and its status. */
const char *field(const char *key);
const char *status(void);

int run(uint32_t verb, const char *kind, const char *id, const char *spec, int number);

/* Makes a thing twice under one request id: there must be one. RET_ID is "" if it failed. */
void make(const char *kind, json_t *wanted, int number, char ret_id[256]);
void destroy(const char *kind, const char *id, int number);

/* topology.c: with a server that is there, and what more can be made of. */
void check_topology(const char *server, const char *image, const char *flavor);

#endif

/*
 * uses.h - what a plugin asks the world for between two points, although it must not: clocks, chance, files, the
 * environment, threads. Of calls that this program makes itself (for the plugin's sake: keep, log, fail) none
 * counts. Under a sanitizer, which has such functions of its own, nothing is found.
 */
#ifndef USES_H
#define USES_H

#include <stdbool.h>

/* Whether anything can be found in this build. */
bool uses_can_watch(void);

/* Begins to look at the calling thread. */
void uses_watch(void);

/* Ends it: the name of the first function that was used, or NULL. */
const char *uses_watched(void);

#endif

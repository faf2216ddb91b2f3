/*
 * plugin/probe.h - private to plugin/: runs a check in a forked child, so that a crash or a hang of
 * foreign code does no harm here.
 */
#ifndef PLUGIN_PROBE_H
#define PLUGIN_PROBE_H

#include <stdint.h>
#include "base/text.h"

/* Calls CHECK in a child; what it adds to its text comes back in REASON. CHECK returns VIM_OK or
 * VIM_E_INVALID. A child that crashes, hangs longer than LIMIT_MS or ends by itself is VIM_E_INVALID
 * with the reason told; VIM_E_UNAVAILABLE if there can be no child. */
int probe_run(int (*check)(void *argument, struct text *reason), void *argument, int64_t limit_ms,
              struct text *reason);

#endif

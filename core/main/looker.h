/*
 * main/looker.h - how VIMs are, in a process that does not poll them.
 */
#ifndef VIMD_MAIN_LOOKER_H
#define VIMD_MAIN_LOOKER_H

#include "engine/vims.h"

struct looker;

int looker_start(struct vims *vims, struct looker **ret_looker);
void looker_stop(struct looker *looker); /* before vims_close(); NULL is fine */

#endif

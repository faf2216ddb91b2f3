/*
 * engine/owner.h - who holds a claim: a process, named so that others can tell when it is dead.
 *
 * The text is "BOOT:NAMESPACE:PID:START": the boot's id, the inode of the PID namespace, the process
 * and when it was started. Only a process of the same boot and namespace can be looked for; any
 * other is taken as living until its lease ends.
 */
#ifndef VIMD_ENGINE_OWNER_H
#define VIMD_ENGINE_OWNER_H

#include <stdbool.h>

/* This process. The text is static. */
const char *owner_self(void);

/* True if OWNER is known to be dead. NULL, malformed and far-away ones are not. */
bool owner_is_dead(const char *owner);

#endif

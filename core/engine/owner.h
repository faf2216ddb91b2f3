/*
 * engine/owner.h - who holds a claim: a process, named so that others can tell when it is dead.
 *
 * The text is "BOOT:NAMESPACE:PID:START": the boot's id, the inode of the PID namespace, the process
 * and when it was started. Only a process of the same boot and namespace can be looked for. Of any
 * other it is known only what its heartbeats tell (presence.h): it is taken as living until they have
 * stopped, or its lease ends.
 *
 * To be taken as dead while it lives costs a process its claims, and nothing else: their fencing
 * numbers keep it from writing, and whoever takes them over looks for what it may have made.
 */
#ifndef VIMD_ENGINE_OWNER_H
#define VIMD_ENGINE_OWNER_H

#include <stdbool.h>

/* This process. The text is static. */
const char *owner_self(void);

/* True if OWNER is known to be dead. NULL and malformed ones are not. */
bool owner_is_dead(const char *owner);

/* From now on a process that cannot be looked for from here is taken as dead, or as living again.
 * Those declared dead are remembered until they are declared living. */
void owner_declare(const char *owner, bool dead);

#endif

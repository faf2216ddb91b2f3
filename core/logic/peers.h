/*
 * logic/peers.h - routes for the other processes of the service; see request.peer.
 */
#ifndef VIMD_LOGIC_PEERS_H
#define VIMD_LOGIC_PEERS_H

#include "logic/route.h"

#define PEERS_STATE "/link/state"
#define PEERS_BEAT "/link/beat"
#define PEERS_AUTHENTICATE "/link/authenticate"

/* The route, or NULL. */
const struct route_entry *peers_match(const char *method, const char *path);

#endif

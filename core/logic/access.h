/*
 * logic/access.h - whose things somebody may see and change.
 *
 *   reader    sees what belongs to the project, and what is shared
 *   member    also changes what belongs to the project
 *   operator  sees everything, cancels and retries every task, checks VIMs; else as a member
 *   admin     everything
 */
#ifndef VIMD_LOGIC_ACCESS_H
#define VIMD_LOGIC_ACCESS_H

#include "logic/logic.h"

/* Sees what belongs to every project? */
bool access_sees_all(const struct principal *principal);
/* May see a row with this parent? */
bool access_sees(const struct principal *principal, const char *parent);
/* May change what belongs to this project? */
bool access_changes(const struct principal *principal, const char *project);

/* The name of a project: 1 to 63 letters, digits and -_. */
bool access_is_project(const char *text);

#endif

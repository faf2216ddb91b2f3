/*
 * main/roles.h - which blocks a process is made of.
 */
#ifndef VIMD_MAIN_ROLES_H
#define VIMD_MAIN_ROLES_H

#include <stdbool.h>
#include <stddef.h>

enum process_role { PROCESS_API = 1, PROCESS_LOGIC = 2, PROCESS_WORKER = 4, PROCESS_SCALER = 8 };
/* What a process is made of unless it is told otherwise; with `services` it is the scaler too. */
#define PROCESS_ALL (PROCESS_API | PROCESS_LOGIC | PROCESS_WORKER)
/* Those that have a connection to the store, the queue and the VIMs. */
#define PROCESS_ENGINE (PROCESS_LOGIC | PROCESS_WORKER)
/* Those that have one to the store. */
#define PROCESS_STORE (PROCESS_ENGINE | PROCESS_SCALER)

/* Adds the roles that TEXT names, separated by commas, to *ROLES. VIM_E_INVALID: RET_WRONG says why. */
int roles_parse(const char *text, unsigned *roles, char *ret_wrong, size_t size);

/* The names, separated by spaces; static. */
const char *roles_text(unsigned roles);

#endif

/*
 * logic/principal.h - a principal as one line of text, for those who ask from another process.
 *
 *   TOKEN-ID ROLE EXPIRES PROJECT NAME      with %XX for all but letters, digits and -_.
 */
#ifndef VIMD_LOGIC_PRINCIPAL_H
#define VIMD_LOGIC_PRINCIPAL_H

#include "logic/logic.h"

#define PRINCIPAL_TEXT_SIZE (3 * (40 + 64 + 64) + 48)

void principal_format(const struct principal *principal, char ret_text[PRINCIPAL_TEXT_SIZE]);

/* VIM_E_INVALID unless TEXT is what principal_format() makes. */
int principal_parse(const char *text, struct principal *ret_principal);

#endif

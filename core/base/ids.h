/*
 * base/ids.h - identifiers: UUIDs as lower-case text.
 */
#ifndef BASE_IDS_H
#define BASE_IDS_H

#include <stdbool.h>

#define ID_SIZE 37 /* 36 characters and the NUL */

/* A new UUIDv7: sorts by time of making, strictly increasing within the process, from any thread.
 * Returns RET_ID. */
char *id_new(char ret_id[ID_SIZE]);

/* From now on new ids carry a mark of NAME (24 bits of its digest, in place of random ones), so that it can be told
 * who made what carries one. NULL: none. To be called before there are threads. */
void id_set_origin(const char *name);
/* May the id ID have been made by who has this origin? Without one: it may. */
bool id_is_own(const char *id);

/* The UUIDv8 that follows from NAMESPACE and NAME (SHA-256 of both): always the same one. */
char *id_derive(const char *namespace_text, const char *name, char ret_id[ID_SIZE]);

/* Is TEXT a UUID in the canonical lower-case form? NULL is not. */
bool id_valid(const char *text);

#endif

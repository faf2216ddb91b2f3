/*
 * tag.h - the request id as a mark on what was made for it.
 *
 * Where a service lets a client neither choose the id nor filter by a property of its own, the
 * mark is a suffix of the description, written in the very request that makes the thing:
 *     "a description [vimd:0d9c3a50-...]"
 * It is taken off before anything is shown, and put on again when the description is changed.
 * A server carries it as the metadata key OS_TAG_KEY, an image as a property of that name.
 */
#ifndef OPENSTACK_TAG_H
#define OPENSTACK_TAG_H

#define OS_TAG_KEY "vimd_request_id"
#define OS_TAG_SIZE 37 /* a UUID and its NUL */

/* DESCRIPTION (NULL is "") with the mark of REQUEST_ID, to be freed; just the description when
 * REQUEST_ID is empty. NULL when memory is short. */
char *os_tag_write(const char *description, const char *request_id);

/* Splits a description. Stores the request id, or "", in RET_TAG. Returns the length of the part
 * that is for people. */
int os_tag_read(const char *description, char ret_tag[OS_TAG_SIZE]);

#endif

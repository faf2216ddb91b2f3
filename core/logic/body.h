/*
 * logic/body.h - bodies: a request's as JSON, and a stored one as an answer.
 */
#ifndef VIMD_LOGIC_BODY_H
#define VIMD_LOGIC_BODY_H

#include "logic/call.h"
#include "logic/query.h"

/* Parses the request's body, which has to be a JSON object sent as application/json (or, with PATCH,
 * application/merge-patch+json). Answers 400, 415 or 422 and returns false if it is not. */
bool body_parse(struct call *call, bool patch, json_t **ret_object);

/* Parses TEXT for body_parse, without a call: VIM_OK, or VIM_E_INVALID with RET_DETAIL saying where
 * and why. */
int body_read(const char *text, size_t length, json_t **ret_json, char ret_detail[256]);

/* Answers with a stored BODY (malloc'ed, taken over), or what ?fields= chooses of it, under its
 * revision's ETag; 304 where If-None-Match names that. */
void body_send(struct call *call, const struct vocabulary *vocabulary, int status,
               uint64_t revision, char *body, size_t length);

/* Checks If-Match against a revision; answers 412 and returns false if it does not hold. */
bool body_check_match(struct call *call, uint64_t revision);

#endif

/*
 * link/message.h - requests and answers of the link as HTTP/1.1 text.
 *
 * Both ends are vimd, so this is the part of HTTP that they use: an answer has a Content-Length or no
 * body. What is beyond that is refused, since it cannot have come from a peer.
 */
#ifndef VIMD_LINK_MESSAGE_H
#define VIMD_LINK_MESSAGE_H

#include <stdbool.h>
#include "base/text.h"
#include "logic/logic.h"

/* How a peer proves itself: "Authorization: " PEER_SCHEME SECRET. */
#define PEER_SCHEME "Vimd-Link "
/* Header of an answer to a peer: nothing was begun, the same request may be made elsewhere. */
#define PEER_REFUSED "Vimd-Refused"

#define MESSAGE_HEAD_MAX 65536
#define MESSAGE_HEADERS 16

/* Appends the head of REQUEST, whose answer may take LEFT_MS, and its body unless that is in a file. */
void message_request(const struct request *request, const char *secret, int64_t left_ms,
                     struct text *text);

/* The head of an answer. Texts point into what was parsed. */
struct message {
    int status;
    int64_t length; /* of the body */
    bool close; /* the connection ends with it */
    bool refused;
    const char *content_type; /* or NULL */
    struct header headers[MESSAGE_HEADERS]; /* that are for whoever asked */
    size_t header_count;
};

/* Takes the head at the beginning of BYTES apart, in place. VIM_AGAIN: it is not complete yet; VIM_E_INVALID:
 * it is none. *RET_SIZE is where the body begins. */
int message_parse(char *bytes, size_t size, struct message *ret_message, size_t *ret_size);

#endif

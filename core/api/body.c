/*
 * The body of a request as it arrives: into its spool, or, on trouble, refused and the rest discarded.
 */
#include "api/internal.h"

#include <errno.h>
#include <string.h>
#include "base/log.h"

bool body_begin(struct exchange *exchange)
{
    const struct api *api = exchange->api;
    exchange->phase = PHASE_BODY;
    exchange->spooled = exchange->has_body && exchange->route.spool;
    /* What does not fit is refused before it is sent: an answer in the middle of it would be lost. */
    if (exchange->has_body &&
        spool_begin(&exchange->body, exchange->route.body_max, exchange->content_length,
                    exchange->spooled ? api->spool_dir : NULL)) {
        log_event(VIM_ERROR, "an upload cannot be spooled", "dir=%s error=%s", api->spool_dir,
                  strerror(errno));
        exchange_refuse(exchange, 507, "no-space", "the upload cannot be stored", 0);
        return false;
    }
    return true;
}

void body_add(struct exchange *exchange, const char *data, size_t size)
{
    int code = spool_add(&exchange->body, data, size, exchange->api->body_memory);
    if (code == VIM_OK) {
        return;
    }
    int error = errno;
    exchange->phase = PHASE_DISCARD;
    exchange->discard_left = DISCARD_MAX;
    if (code == VIM_E_QUOTA) {
        exchange_refuse(exchange, 413, "too-large", "the body is larger than allowed here", 0);
    } else if (code == VIM_E_BUSY) {
        exchange_refuse(exchange, 503, "overloaded",
                        "the bodies in progress take all the memory they may", 1000);
    } else {
        log_event(VIM_ERROR, "an upload cannot be spooled", "request=%s error=%s",
                  exchange->request_id, strerror(error));
        exchange_refuse(exchange, 507, "no-space", "the upload cannot be stored", 0);
    }
}

void body_end(struct exchange *exchange)
{
    if (spool_end(&exchange->body)) {
        exchange_refuse(exchange, 507, "no-space", "the upload cannot be stored", 0);
    }
}

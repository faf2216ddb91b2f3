/* Heartbeats of other processes: each line is one, seen in a look of its own or, with a blank in front, in
 * that of the line before. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "base/ids.h"
#include "base/log.h"
#include "base/text.h"
#include "engine/presence_internal.h"
#include <vim/plugin.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INTERVAL_MS 1000

static void must(bool holds)
{
    if (!holds) {
        abort();
    }
}

/* What was taken is complete, and is told in order. */
static void look_at(const struct peers *peers)
{
    size_t count;
    struct peer_copy *copies = peers_copy(peers, &count);
    for (size_t i = 0; i < count; i++) {
        const struct beat *beat = &copies[i].beat;
        must(id_valid(beat->id) && beat->owner && beat->roles && beat->host && beat->address &&
             beat->version && beat->expires_ms > 0 && copies[i].body);
        must(i == 0 || strcmp(copies[i - 1].beat.id, beat->id) < 0);
        beat_free(&copies[i].beat);
        free(copies[i].body);
    }
    free(copies);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *at = (const char *)data, *end = at + size;
    struct peers *peers = peers_new();
    int64_t now = 1000000;
    uint64_t revision = 0;
    bool looking = false;
    log_init(VIM_ERROR, LOG_LOGFMT);
    while (at < end) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        line_end = line_end ? line_end : end;
        if (*at != ' ' || !looking) {
            if (looking) {
                peers_end(peers);
                look_at(peers);
            }
            peers_begin(peers, now += INTERVAL_MS, INTERVAL_MS);
            looking = true;
        }
        char *line = malloc((size_t)(line_end - at) + (line_end == at)); /* exactly as long */
        must(line != NULL);
        memcpy(line, at, (size_t)(line_end - at));
        struct failure failure = {0};
        bool expired = ++revision % 5 == 0;
        int code = peers_see(peers, line, (size_t)(line_end - at), revision, expired, &failure);
        must(code == VIM_OK || failure.text[0] != '\0');
        free(line);
        at = line_end < end ? line_end + 1 : end;
    }
    if (looking) {
        peers_end(peers);
        look_at(peers);
    }
    char id[ID_SIZE];
    while (peers_take_old(peers, id, &revision)) {
        must(id_valid(id));
    }
    peers_free(peers);
    return 0;
}

/* Looking at a thing: see cloud.h. */
#include "cloud.h"

#include <assert.h>
#include <string.h>
#include <time.h>

const char *thing_status(const struct thing *thing, int64_t now, bool *ret_pending)
{
    bool leaving = thing->leaving;
    bool waiting = !leaving && thing->ready > now;
    *ret_pending = leaving || waiting;
    return leaving ? "DELETING" : waiting ? thing->until : thing->status;
}

const char *thing_word(const struct thing *thing, int64_t now)
{
    bool pending;
    const char *status = thing_status(thing, now, &pending);
    const char *word = thing->leaving ? NULL : pending ? thing->doing : thing->word;
    return word ? word : status;
}

int64_t thing_changed(const struct thing *thing, int64_t now)
{
    return thing->ready <= now && thing->ready > thing->changed ? thing->ready : thing->changed;
}

json_t *thing_fields(const struct thing *thing)
{
    json_t *fields = json_loads(thing->fields, 0, NULL);
    assert(fields != NULL);
    return fields;
}

static void add_time(struct text *text, const char *key, int64_t at)
{
    char digits[40];
    time_t seconds = (time_t)(at / 1000);
    struct tm parts;
    gmtime_r(&seconds, &parts);
    strftime(digits, sizeof(digits), "%Y-%m-%dT%H:%M:%S", &parts);
    text_addf(text, "\"%s\":\"%s.%03dZ\"", key, digits, (int)(at % 1000));
}

static const char *power_state(const char *status)
{
    static const struct {
        const char *status;
        const char *power;
    } states[] = {{"ACTIVE", "running"},
                  {"UPDATING", "running"},
                  {"SHUTOFF", "shutdown"},
                  {"PAUSED", "paused"},
                  {"SUSPENDED", "suspended"}};
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        if (strcmp(status, states[i].status) == 0) {
            return states[i].power;
        }
    }
    return "none";
}

void thing_body(const struct thing *thing, int64_t now, struct text *text)
{
    bool pending;
    const char *status = thing_status(thing, now, &pending);
    size_t length = strlen(thing->fields);
    text_add(text, thing->fields, length - 1);
    if (length > 2) {
        text_add(text, ",", 1);
    }
    add_time(text, "created", thing->created);
    text_add(text, ",", 1);
    add_time(text, "updated", thing_changed(thing, now));
    text_addf(text, ",\"backend_status\":\"%s\"", thing_word(thing, now));
    if (thing->kind == KIND_SERVER) {
        text_addf(text, ",\"power_state\":\"%s\"", power_state(status));
        if (strcmp(status, "ERROR") == 0) {
            text_addf(text, ",\"fault\":{\"code\":500,\"message\":\"No valid host was found\"}");
        }
    } else if (thing->kind == KIND_PORT && thing->server != NULL) {
        text_addf(text, ",\"server\":\"%s\",\"device_owner\":\"compute:mock\"", thing->server);
    } else if (thing->kind == KIND_PORT && thing->router != NULL) {
        text_addf(text, ",\"device_owner\":\"network:router_interface\"");
    } else if (thing->kind == KIND_VOLUME && thing->server != NULL) {
        text_addf(text, ",\"server\":\"%s\"", thing->server);
    }
    text_add(text, "}", 1);
}

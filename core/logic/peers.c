/*
 * What processes of the service ask each other, over the link and nowhere else.
 */
#include "logic/peers.h"

#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/text.h"
#include "logic/principal.h"

/* Is it well, and who else is there? Answers at once. */
static void peers_state(struct call *call)
{
    const struct logic_environment *environment = &call->logic->environment;
    json_t *shown = json_object();
    json_t *replicas = environment->replicas ? environment->replicas(environment->argument) : NULL;
    bool draining = environment->draining && environment->draining(environment->argument);
    json_set_boolean(shown, "draining", draining);
    if (replicas) {
        json_object_set_new(shown, "replicas", replicas);
    }
    logic_send_json(call, shown);
}

/* Whose token is the body? */
static void peers_authenticate(struct call *call)
{
    struct principal principal;
    struct failure failure = {0};
    CLEANUP_FREE char *token =
        text_duplicate_bytes(call->request->body, call->request->body_length);
    int code = logic_authenticate(call->logic, token, &principal, &failure);
    explicit_bzero(token, strlen(token));
    if (code == VIM_E_CREDENTIAL) {
        logic_fail(call, 401, "unauthenticated", "The token is unknown, expired or revoked.");
        return;
    }
    if (code) {
        logic_failure(call, &failure, ORIGIN_OWN);
        return;
    }
    char *text = memory_new(PRINCIPAL_TEXT_SIZE);
    principal_format(&principal, text);
    struct answer answer;
    answer_init(&answer, 200);
    answer_body(&answer, "text/plain", text, strlen(text));
    logic_send(call, &answer);
}

/* The body is the heartbeat of a process without a store; see engine/presence.h. */
static void peers_beat(struct call *call)
{
    struct failure failure = {0};
    char *answer = NULL;
    int code = presence_take(call->logic->environment.presence, call->request->body,
                             call->request->body_length, &answer, &failure);
    if (code) {
        logic_failure(call, &failure, ORIGIN_OWN);
        return;
    }
    struct answer sent;
    answer_init(&sent, 200);
    answer_body(&sent, CONTENT_JSON, answer, strlen(answer));
    logic_send(call, &sent);
}

static const struct route peers_routes[] = {
    {.method = "GET", .template = PEERS_STATE, .handle = peers_state, .flags = ROUTE_CHEAP},
    {.method = "POST",
     .template = PEERS_AUTHENTICATE,
     .handle = peers_authenticate,
     .flags = ROUTE_BODY},
    {.method = "POST", .template = PEERS_BEAT, .handle = peers_beat, .flags = ROUTE_BODY},
};

static const struct route_entry peers_entries[] = {
    {.route = &peers_routes[0], .template = (char *)PEERS_STATE},
    {.route = &peers_routes[1], .template = (char *)PEERS_AUTHENTICATE},
    {.route = &peers_routes[2], .template = (char *)PEERS_BEAT},
};

const struct route_entry *peers_match(const char *method, const char *path)
{
    for (size_t i = 0; i < sizeof peers_entries / sizeof peers_entries[0]; i++) {
        const struct route *route = peers_entries[i].route;
        if (strcmp(route->method, method) == 0 && strcmp(route->template, path) == 0) {
            return &peers_entries[i];
        }
    }
    return NULL;
}

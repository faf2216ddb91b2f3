/*
 * Nova besides servers: microversions, flavors, keypairs. Lock order: os->lock, alone; never held
 * over a request.
 */
#include "once.h"

#include <stdio.h>
#include <string.h>

#define FLAVOR_VERSION "2.61"
#define KEYPAIR_VERSION "2.35"

/* --- Microversions --------------------------------------------------------------------------- */

static int64_t left_ms(void *context)
{
    const struct os_call *c = context;

    return c->os->host->left_ms(c->call);
}

static int ask_versions(struct os_call *c, const char *base, const struct os_token *token,
                        int *ret_lowest, int *ret_highest)
{
    char url[512];
    OS_TEXT auth = os_text("X-Auth-Token: %s", token->text);
    HTTP_REPLY reply = {0};
    struct http_request request = {.method = "GET",
                                   .url = url,
                                   .headers = {"Accept: application/json", auth},
                                   .left_ms = left_ms,
                                   .context = c};
    int rc;

    if (auth == NULL || os_catalog_version_url(base, url) != VIM_OK) {
        return os_fail(c, VIM_E_UNSUPPORTED, "%s is no endpoint of Nova's version 2", base);
    }
    rc = http_perform(c->os->pools[OS_COMPUTE], &request, &reply);
    if (rc != VIM_OK) {
        return os_fail(c, VIM_E_UNAVAILABLE, "compute at %s: %s", base, reply.problem);
    }
    if (reply.status != 200 ||
        os_catalog_versions(reply.body, reply.length, ret_lowest, ret_highest) != VIM_OK) {
        return os_fail(c, VIM_E_UNAVAILABLE, "compute at %s answered %ld without its versions",
                       base, reply.status);
    }
    return VIM_OK;
}

/* Under the lock: waits a moment for the thread that asks. */
static int wait_for_answer(struct os_call *c)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += 50000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_nsec -= 1000000000L;
        until.tv_sec++;
    }
    (void)pthread_cond_timedwait(&c->os->changed, &c->os->lock, &until);
    pthread_mutex_unlock(&c->os->lock);
    int64_t left = left_ms(c);
    pthread_mutex_lock(&c->os->lock);
    return left > 0 ? VIM_OK
                    : os_fail(c, VIM_E_UNAVAILABLE, "compute did not tell its versions in time");
}

static int learn_versions(struct os_call *c, const char *base, const struct os_token *token)
{
    struct openstack *os = c->os;
    int lowest = 0;
    int highest = 0;
    int rc;

    os->negotiating = 1;
    pthread_mutex_unlock(&os->lock);
    rc = ask_versions(c, base, token, &lowest, &highest);
    pthread_mutex_lock(&os->lock);
    os->negotiating = 0;
    if (rc == VIM_OK) {
        os->lowest = lowest;
        os->highest = highest;
        (void)snprintf(os->negotiated, sizeof(os->negotiated), "%s", base);
    }
    pthread_cond_broadcast(&os->changed);
    return rc;
}

int nova_negotiate(struct os_call *c, const char *base, const struct os_token *token,
                   const char *microversion)
{
    struct openstack *os = c->os;
    int wanted = os_microversion(microversion);
    int rc = VIM_OK;

    pthread_mutex_lock(&os->lock);
    while (rc == VIM_OK && strcmp(os->negotiated, base) != 0) {
        rc = os->negotiating ? wait_for_answer(c) : learn_versions(c, base, token);
    }
    if (rc == VIM_OK && (wanted < os->lowest || wanted > os->highest)) {
        rc = os_fail(c, VIM_E_UNSUPPORTED,
                     "compute at %s offers microversions %d.%d to %d.%d; %s is needed", base,
                     os->lowest / 1000, os->lowest % 1000, os->highest / 1000, os->highest % 1000,
                     microversion);
    }
    pthread_mutex_unlock(&os->lock);
    return rc;
}

/* --- Flavors: the client chooses the id, which is the request's ------------------------------- */

static json_t *flavor_body(const struct vim_op *op, const json_t *spec)
{
    OS_TEXT mark = os_tag_write(NULL, op->request_id);
    const json_t *public = json_object_get(spec, "public");

    return json_pack("{s:{s:s,s:s,s:O,s:O,s:I,s:I,s:I,s:b,s:s}}", "flavor", "id", op->request_id,
                     "name", os_json_text(spec, "name"), "vcpus", json_object_get(spec, "vcpus"),
                     "ram", json_object_get(spec, "ram"), "disk",
                     (json_int_t)os_json_integer(spec, "disk", 0), "OS-FLV-EXT-DATA:ephemeral",
                     (json_int_t)os_json_integer(spec, "ephemeral", 0), "swap",
                     (json_int_t)os_json_integer(spec, "swap", 0), "os-flavor-access:is_public",
                     public == NULL || json_is_true(public), "description", mark);
}

/* 409 is about the id or about the name: it is ours if the one with the id bears our mark. */
static int flavor_conflict(struct os_call *c, const struct vim_op *op)
{
    struct os_error error = c->error;
    OS_FOUND found = {0};
    int rc = os_fetch(c, os_kind_find("flavor"), op->request_id, &found);

    if (rc == VIM_OK && strcmp(found.tag, op->request_id) == 0) {
        return VIM_OK;
    }
    if (rc == VIM_OK || rc == VIM_E_NOT_FOUND) {
        c->error = error;
        return error.code;
    }
    return rc;
}

static int flavor_specs(struct os_call *c, const struct vim_op *op, const json_t *specs)
{
    HTTP_REPLY reply = {0};
    int rc;

    os_step_note(c, "set-extra-specs");
    rc = os_send(c, OS_COMPUTE, FLAVOR_VERSION, "POST",
                 json_pack("{s:O}", "extra_specs", (json_t *)specs), &reply,
                 "/flavors/%s/os-extra_specs", op->request_id);
    return rc == VIM_OK ? os_fetch_emit(c, os_kind_find("flavor"), op->request_id) : rc;
}

static int flavor_create(struct os_call *c, const struct vim_op *op)
{
    OS_JSON spec = os_spec_read(c, op);
    const json_t *specs = json_object_get(spec, "extra_specs");
    struct os_cursor cursor;
    HTTP_REPLY reply = {0};
    OS_FOUND found = {.kind = "flavor", .status = "BUILD", .flags = VIM_ITEM_PENDING};
    json_t *body;
    int rc;

    if (spec == NULL) {
        return c->error.code;
    }
    os_cursor_read(op->kept, &cursor);
    if (strcmp(cursor.phase, "specs") == 0) {
        return flavor_specs(c, op, specs);
    }
    body = flavor_body(op, spec);
    if (body == NULL) {
        return os_fail(c, VIM_E_INVALID, "a flavor needs a name, vcpus and ram");
    }
    os_step_note(c, "create-flavor");
    rc = os_send(c, OS_COMPUTE, FLAVOR_VERSION, "POST", body, &reply, "/flavors");
    if (rc == VIM_E_CONFLICT) {
        rc = flavor_conflict(c, op);
    }
    if (rc != VIM_OK) {
        return rc;
    }
    if (json_object_size(specs) == 0) {
        return os_fetch_emit(c, os_kind_find("flavor"), op->request_id);
    }
    (void)snprintf(found.id, sizeof(found.id), "%s", op->request_id);
    (void)snprintf(found.tag, sizeof(found.tag), "%s", op->request_id);
    os_cursor_keep(c, "specs", 0, op->request_id);
    (void)os_emit(c, &found);
    c->os->host->again(c->call, 0);
    return VIM_AGAIN;
}

static int flavor_delete(struct os_call *c, const char *id)
{
    OS_TEXT escaped = os_escape(id);
    int rc;

    os_step_note(c, "delete-flavor");
    rc = escaped == NULL ? os_fail(c, VIM_E_INTERNAL, "not enough memory")
                         : os_delete(c, OS_COMPUTE, FLAVOR_VERSION, "/flavors/%s", escaped);
    return rc == VIM_E_NOT_FOUND ? VIM_OK : rc;
}

/* Whatever has the request's id was made for it. */
static int flavor_undo(struct os_call *c, const struct vim_op *op)
{
    int rc = flavor_delete(c, op->request_id);

    return rc == VIM_OK ? os_once_undone(c, op) : rc;
}

int nova_flavor_step(struct os_call *c, const struct vim_op *op)
{
    switch (op->verb) {
    case VIM_VERB_CREATE:
        return op->undo ? flavor_undo(c, op) : flavor_create(c, op);
    case VIM_VERB_DELETE:
        return flavor_delete(c, op->id);
    default:
        return os_fail(c, VIM_E_UNSUPPORTED, "Nova cannot change a flavor");
    }
}

/* --- Keypairs: the name is the id, and nothing else can be said of one ------------------------ */

/* True if the keypair of that name has the wanted key. The comment at the end does not count. */
static int same_key(const char *one, const char *other)
{
    size_t type = strcspn(one, " ");
    size_t length = type + (one[type] == ' ' ? 1 + strcspn(one + type + 1, " \r\n") : 0);
    size_t other_type = strcspn(other, " ");
    size_t other_length =
        other_type + (other[other_type] == ' ' ? 1 + strcspn(other + other_type + 1, " \r\n") : 0);

    return length == other_length && memcmp(one, other, length) == 0;
}

/* VIM_OK and emitted: it is there with this key. VIM_E_CONFLICT: with another. */
static int keypair_find(struct os_call *c, const char *name, const char *key, int emit)
{
    OS_FOUND found = {0};
    int rc = os_fetch(c, os_kind_find("keypair"), name, &found);
    const char *there = os_json_text(found.body, "public_key");

    if (rc != VIM_OK) {
        return rc;
    }
    if (there == NULL || !same_key(there, key)) {
        return os_fail(c, VIM_E_CONFLICT, "a keypair named %s with another key exists", name);
    }
    rc = emit ? os_emit(c, &found) : VIM_OK;
    return rc < 0 ? rc : VIM_OK;
}

static int keypair_create(struct os_call *c, const struct vim_op *op, const json_t *spec,
                          const char *name, const char *key)
{
    const char *type = os_json_text(spec, "type");
    HTTP_REPLY reply = {0};
    int rc;

    if (op->attempt > 0) {
        os_step_note(c, "find-keypair");
        rc = keypair_find(c, name, key, 1);
        if (rc != VIM_E_NOT_FOUND) {
            return rc;
        }
    }
    os_step_note(c, "create-keypair");
    rc = os_send(c, OS_COMPUTE, KEYPAIR_VERSION, "POST",
                 json_pack("{s:{s:s,s:s,s:s}}", "keypair", "name", name, "public_key", key, "type",
                           type == NULL ? "ssh" : type),
                 &reply, "/os-keypairs");
    if (rc == VIM_E_CONFLICT && op->attempt == 0) {
        /* Somebody else's, maybe with the same key: an undo must not touch it. */
        os_cursor_keep(c, "foreign", 0, name);
    }
    return rc == VIM_OK ? os_fetch_emit(c, os_kind_find("keypair"), name) : rc;
}

static int keypair_delete(struct os_call *c, const char *name)
{
    OS_TEXT escaped = os_escape(name);
    int rc;

    os_step_note(c, "delete-keypair");
    rc = escaped == NULL ? os_fail(c, VIM_E_INTERNAL, "not enough memory")
                         : os_delete(c, OS_COMPUTE, KEYPAIR_VERSION, "/os-keypairs/%s", escaped);
    return rc == VIM_E_NOT_FOUND ? VIM_OK : rc;
}

static int keypair_undo(struct os_call *c, const struct vim_op *op, const char *name,
                        const char *key)
{
    struct os_cursor cursor;
    int rc;

    os_cursor_read(op->kept, &cursor);
    if (strcmp(cursor.phase, "foreign") == 0) {
        return VIM_OK;
    }
    rc = keypair_find(c, name, key, 0);
    if (rc == VIM_OK) {
        rc = keypair_delete(c, name);
    } else if (rc == VIM_E_CONFLICT) {
        return VIM_OK; /* the name is taken: no other can come under it */
    } else if (rc == VIM_E_NOT_FOUND) {
        rc = VIM_OK;
    }
    return rc == VIM_OK ? os_once_undone(c, op) : rc;
}

int nova_keypair_step(struct os_call *c, const struct vim_op *op)
{
    OS_JSON spec = os_spec_read(c, op);
    const char *name = os_json_text(spec, "name");
    const char *key = os_json_text(spec, "public_key");

    if (spec == NULL) {
        return c->error.code;
    }
    if (op->verb == VIM_VERB_DELETE) {
        return keypair_delete(c, op->id);
    }
    if (op->verb != VIM_VERB_CREATE) {
        return os_fail(c, VIM_E_UNSUPPORTED, "a keypair cannot be changed");
    }
    if (name == NULL || key == NULL) {
        return os_fail(c, VIM_E_INVALID, "a keypair needs a name and a public_key");
    }
    return op->undo ? keypair_undo(c, op, name, key) : keypair_create(c, op, spec, name, key);
}

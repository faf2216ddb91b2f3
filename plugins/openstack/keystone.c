/*
 * Tokens. Lock order: os->lock, alone; never held over a request.
 *
 *   none ----> renewing (one thread authenticates, the others wait) ----> good
 *   good ----> renewing near its end (one thread; the others go on with the old one) ----> good
 *   good ----> none, when a service refused it
 *
 * Refused credentials are not tried again for a while: a hundred tasks that need a token must not
 * lock the account.
 */
#include "session.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define RENEW_AHEAD_MS (5 * 60 * 1000) /* at most; a quarter of a shorter life */
#define RENEW_RETRY_MS 5000
#define REFUSED_PAUSE_MS 5000

static json_t *named(const char *name, const char *domain)
{
    return json_pack("{s:s,s:{s:s}}", "name", name, "domain", "name", domain);
}

/* The identity, and the scope or NULL. */
static json_t *credentials(const struct os_config *config)
{
    json_t *scope = NULL;
    json_t *identity;

    if (strcmp(config->auth_type, "application_credential") == 0) {
        json_t *credential = json_pack("{s:s}", "secret", config->application_credential_secret);
        if (config->application_credential_id != NULL) {
            json_object_set_new(credential, "id", json_string(config->application_credential_id));
        } else {
            json_object_set_new(credential, "name",
                                json_string(config->application_credential_name));
            json_object_set_new(credential, "user", named(config->username, config->user_domain));
        }
        /* It carries its own scope. */
        identity = json_pack("{s:[s],s:o}", "methods", "application_credential",
                             "application_credential", credential);
        return json_pack("{s:{s:o}}", "auth", "identity", identity);
    }
    if (config->project != NULL) {
        scope = json_pack("{s:o}", "project", named(config->project, config->project_domain));
    } else {
        scope = json_pack("{s:{s:s}}", "domain", "name", config->domain);
    }
    identity = json_pack("{s:[s],s:{s:{s:s,s:{s:s},s:s}}}", "methods", "password", "password",
                         "user", "name", config->username, "domain", "name", config->user_domain,
                         "password", config->password);
    return json_pack("{s:{s:o,s:o}}", "auth", "identity", identity, "scope", scope);
}

static int64_t left_ms(void *context)
{
    const struct os_call *c = context;

    return c->os->host->left_ms(c->call);
}

static int refused(struct os_call *c, const struct http_reply *reply)
{
    struct os_refusal refusal = {.service = OS_IDENTITY,
                                 .status = reply->status,
                                 .has_retry_after = reply->has_retry_after,
                                 .retry_after_ms = reply->retry_after_ms,
                                 .body = reply->body,
                                 .length = reply->length};
    struct os_error error;

    os_error_read(&error, &refusal);
    /* Asking for a token changes nothing, whatever went wrong; and who may not have one has the
     * wrong credentials or the wrong scope. */
    if (error.code == VIM_E_DENIED || error.code == VIM_E_NOT_FOUND) {
        error.code = VIM_E_CREDENTIAL;
    }
    (void)os_fail(c, error.code, "identity at %s answered %ld%s%s", c->os->identity, reply->status,
                  error.message[0] == '\0' ? "" : ": ", error.message);
    c->error.retry_after_ms = error.retry_after_ms;
    return error.code;
}

static void set_life(struct os_token *token, int64_t asked_ms)
{
    int64_t life = token->catalog.lifetime_ms;
    int64_t ahead = life / 4 < RENEW_AHEAD_MS ? life / 4 : RENEW_AHEAD_MS;

    /* Counted from before the request, and by Keystone's own clock: ours may differ. */
    token->expire_ms = asked_ms + life;
    token->renew_ms = token->expire_ms - ahead;
}

static int authenticate(struct os_call *c, struct os_token **ret_token)
{
    const struct os_config *config = c->os->config;
    OS_JSON auth = credentials(config);
    OS_TEXT body = auth == NULL ? NULL : os_json_dump(auth);
    OS_TEXT url = os_text("%s/auth/tokens", c->os->identity);
    HTTP_REPLY reply = {0};
    struct http_request request = {
        .method = "POST",
        .url = url,
        .headers = {"Accept: application/json", "Content-Type: application/json"},
        .body = body,
        .left_ms = left_ms,
        .context = c};
    int64_t asked_ms = os_now();
    struct os_token *token;
    int rc;

    if (body == NULL || url == NULL) {
        return os_fail(c, VIM_E_INTERNAL, "not enough memory, or a credential that is no UTF-8");
    }
    rc = http_perform(c->os->pools[OS_IDENTITY], &request, &reply);
    if (c->request_id != NULL && reply.request_id[0] != '\0') {
        c->os->host->note(c->call, "backend_request_id", reply.request_id);
    }
    if (rc != VIM_OK) {
        return os_fail(c, rc == VIM_E_INTERNAL ? rc : VIM_E_UNAVAILABLE, "identity at %s: %s",
                       c->os->identity, reply.problem);
    }
    c->os->host->count(c->os->self, "tokens_total",
                       reply.status == 201 ? "result=\"issued\"" : "result=\"refused\"", 1);
    if (reply.status != 201) {
        return refused(c, &reply);
    }
    token = calloc(1, sizeof(*token));
    if (token == NULL) {
        return os_fail(c, VIM_E_INTERNAL, "not enough memory");
    }
    if (reply.token[0] == '\0' ||
        os_catalog_read(reply.body, reply.length, config->region, config->interface,
                        &token->catalog) != VIM_OK ||
        token->catalog.lifetime_ms < 1000) {
        free(token);
        return os_fail(c, VIM_E_UNAVAILABLE,
                       "identity at %s answered with something that is no token", c->os->identity);
    }
    (void)snprintf(token->text, sizeof(token->text), "%s", reply.token);
    set_life(token, asked_ms);
    *ret_token = token;
    return VIM_OK;
}

/* Under the lock: lets go of a reference. */
static void release(struct os_token *token)
{
    if (token != NULL && --token->refs == 0) {
        explicit_bzero(token->text, sizeof(token->text));
        free(token);
    }
}

void keystone_release(struct openstack *os, struct os_token *token)
{
    pthread_mutex_lock(&os->lock);
    release(token);
    pthread_mutex_unlock(&os->lock);
}

void keystone_reject(struct openstack *os, const struct os_token *token)
{
    pthread_mutex_lock(&os->lock);
    /* Another thread may have replaced it already. */
    if (os->token == token) {
        release(os->token);
        os->token = NULL;
    }
    pthread_mutex_unlock(&os->lock);
}

/* Under the lock, as the only one that renews: gives the lock up for the time of the request. */
static int renew(struct os_call *c)
{
    struct openstack *os = c->os;
    struct os_token *token = NULL;
    int rc;

    os->renewing = 1;
    pthread_mutex_unlock(&os->lock);
    rc = authenticate(c, &token);
    pthread_mutex_lock(&os->lock);
    os->renewing = 0;
    if (rc == VIM_OK) {
        release(os->token);
        token->refs = 1;
        os->token = token;
        os->refused_until = 0;
    } else {
        if (os->token != NULL) {
            os->token->renew_ms = os_now() + RENEW_RETRY_MS;
        }
        if (rc == VIM_E_CREDENTIAL) {
            os->refused_until = os_now() + REFUSED_PAUSE_MS;
            os->refusal = c->error;
        }
    }
    pthread_cond_broadcast(&os->changed);
    return rc;
}

/* Under the lock: waits a moment for the thread that renews. */
static int wait_for_renewal(struct os_call *c)
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
    return left > 0 ? VIM_OK : os_fail(c, VIM_E_UNAVAILABLE, "no token came in time");
}

int keystone_token(struct os_call *c, struct os_token **ret_token)
{
    struct openstack *os = c->os;
    int rc = VIM_OK;

    pthread_mutex_lock(&os->lock);
    while (rc == VIM_OK) {
        int64_t now = os_now();
        int good = os->token != NULL && now < os->token->expire_ms;
        if (good && (now < os->token->renew_ms || os->renewing)) {
            break;
        }
        if (os->renewing) {
            rc = wait_for_renewal(c);
        } else if (!good && now < os->refused_until) {
            c->error = os->refusal;
            c->error.retry_after_ms = (uint32_t)(os->refused_until - now);
            rc = VIM_E_CREDENTIAL;
        } else {
            rc = renew(c);
            if (good && os->token != NULL && os_now() < os->token->expire_ms) {
                rc = VIM_OK; /* the old one still serves */
            }
        }
    }
    if (rc == VIM_OK) {
        os->token->refs++;
        *ret_token = os->token;
    }
    pthread_mutex_unlock(&os->lock);
    return rc;
}

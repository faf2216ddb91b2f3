#include "error.h"
#include "json.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <vim/plugin.h>

const char *os_service_name(enum os_service service)
{
    static const char *const names[OS_SERVICES] = {"identity", "compute", "network", "image",
                                                   "volume"};

    return service < OS_SERVICES ? names[service] : "unknown";
}

int os_error_is_capacity(const char *text)
{
    static const char *const words[] = {"quota",
                                        "no valid host",
                                        "available weighted backend", /* Cinder's schedulers */
                                        "exceeded maximum number of",
                                        "insufficient compute resources",
                                        "limit exceeded"};

    for (size_t at = 0; text != NULL && at < sizeof(words) / sizeof(words[0]); at++) {
        if (strcasestr(text, words[at]) != NULL) {
            return 1;
        }
    }
    return 0;
}

/* Copies text for people: control characters become spaces, so that it stays one line. */
static void copy_line(char *to, size_t size, const char *from)
{
    size_t at = 0;

    for (; *from != '\0' && at + 1 < size; from++) {
        int space = (unsigned char)*from <= ' ';
        if (!space || (at > 0 && to[at - 1] != ' ')) {
            to[at++] = space ? ' ' : *from;
        }
    }
    /* A cut must not leave half a character behind. */
    while (at > 0 && *from != '\0' && ((unsigned char)*from & 0xC0) == 0x80) {
        from--;
        at--;
    }
    while (at > 0 && to[at - 1] == ' ') {
        at--;
    }
    to[at] = '\0';
}

/* The words of an HTML page without its head, tags and anything that is not plain ASCII. */
static void copy_html(char *to, size_t size, const char *body, size_t length)
{
    size_t out = 0;
    size_t at = 0;
    int in_tag = 0;
    const char *start = memmem(body, length, "<body", 5);

    if (start != NULL) {
        at = (size_t)(start - body);
    }
    for (; at < length && out + 1 < size; at++) {
        char c = body[at];
        if (c == '<' || c == '>') {
            in_tag = c == '<';
            c = ' ';
        }
        if (c <= ' ' || c > '~') {
            c = ' ';
        }
        if (!in_tag && (c != ' ' || (out > 0 && to[out - 1] != ' '))) {
            to[out++] = c;
        }
    }
    while (out > 0 && to[out - 1] == ' ') {
        out--;
    }
    to[out] = '\0';
}

/* True for the name under which the service itself puts an error. The token filter in front of it
 * uses Keystone's, and Neutron says HTTPNotFound of a path that it does not know. */
static int is_own(enum os_service service, const char *key, const char *type)
{
    if (service == OS_NETWORK) {
        return strcmp(key, "NeutronError") == 0 && type != NULL &&
               strcmp(type, "HTTPNotFound") != 0;
    }
    return (strcmp(key, "error") == 0) == (service == OS_IDENTITY);
}

/* Finds the error in a JSON body. Returns 1 if its shape is one that the service itself uses. */
static int read_shape(struct os_error *error, enum os_service service, const json_t *root)
{
    const char *key;
    json_t *value;
    const json_t *found = NULL;
    const char *type = "";
    const char *message;
    int own = 0;

    json_object_foreach((json_t *)root, key, value)
    {
        if (strcmp(key, "errors") == 0 && json_is_array(value)) {
            found = json_array_get(value, 0);
            type = os_json_text(found, "title");
        } else if (json_is_object(value) && os_json_text(value, "message") != NULL) {
            found = value;
            type = strcmp(key, "NeutronError") == 0 ? os_json_text(value, "type") : key;
            own = is_own(service, key, type);
        } else if (strcmp(key, "NeutronError") == 0 && json_is_string(value)) {
            copy_line(error->message, sizeof(error->message), json_string_value(value));
            own = service == OS_NETWORK;
        } else if (strcmp(key, "message") == 0 && json_is_string(value)) {
            /* WebOb, for Glance and for unknown paths: a page's words as a text of JSON. */
            copy_html(error->message, sizeof(error->message), json_string_value(value),
                      json_string_length(value));
        }
        if (found != NULL) {
            break;
        }
    }
    copy_line(error->type, sizeof(error->type), type == NULL ? "" : type);
    message = os_json_text(found, "message");
    if (message == NULL) {
        message = os_json_text(found, "detail");
    }
    if (message != NULL) {
        copy_line(error->message, sizeof(error->message), message);
    }
    return own;
}

/* 403, 409 and 413 say several things; the service's own name for the error tells which. */
static int classify_conflict(const struct os_error *error)
{
    static const char *const full[] = {"OverQuota", "QuotaResourceUnknown",
                                       "IpAddressGenerationFailure", "NoNetworkAvailable",
                                       "MacAddressGenerationFailure"};
    static const char *const used[] = {"NetworkInUse",
                                       "SubnetInUse",
                                       "PortInUse",
                                       "SecurityGroupInUse",
                                       "PortInUseAsTrunkParent",
                                       "L3PortInUse",
                                       "RouterInUse",
                                       "RouterInterfaceInUseByFloatingIP",
                                       "RouterInterfaceInUseByRoute",
                                       "RouterExternalGatewayInUseByFloatingIp"};

    for (size_t at = 0; at < sizeof(full) / sizeof(full[0]); at++) {
        if (strcmp(error->type, full[at]) == 0) {
            return VIM_E_QUOTA;
        }
    }
    for (size_t at = 0; at < sizeof(used) / sizeof(used[0]); at++) {
        if (strcmp(error->type, used[at]) == 0) {
            return VIM_E_IN_USE;
        }
    }
    if (os_error_is_capacity(error->message)) {
        return VIM_E_QUOTA;
    }
    /* Glance has no types; it says so in words. */
    if (error->type[0] == '\0' && strcasestr(error->message, "in use") != NULL) {
        return VIM_E_IN_USE;
    }
    return VIM_E_CONFLICT;
}

static int classify_too_large(const struct os_error *error, const struct os_refusal *refusal)
{
    if (os_error_is_capacity(error->message)) {
        return VIM_E_QUOTA;
    }
    if (refusal->has_retry_after) {
        return VIM_E_BUSY;
    }
    return strcmp(error->type, "overLimit") == 0 ? VIM_E_QUOTA : VIM_E_INVALID;
}

/* A failing service or proxy. Whether a write was done before it failed nobody knows, except with
 * 503, which is given instead of an attempt. */
static int classify_failure(const struct os_refusal *refusal)
{
    if (refusal->status == 501) {
        return VIM_E_UNSUPPORTED;
    }
    if (refusal->status == 503 || !refusal->write) {
        return VIM_E_UNAVAILABLE;
    }
    return VIM_E_LOST;
}

static int classify(const struct os_error *error, const struct os_refusal *refusal, int own)
{
    /* These two are a 400 and a 404, though what was asked for makes sense and is there. */
    if (strcmp(error->type, "ExternalIpAddressExhausted") == 0) {
        return VIM_E_QUOTA;
    }
    if (strcmp(error->type, "ExternalGatewayForFloatingIPNotFound") == 0) {
        return VIM_E_CONFLICT;
    }
    switch (refusal->status) {
    case 401:
        return VIM_E_CREDENTIAL;
    case 403:
        return os_error_is_capacity(error->message) ? VIM_E_QUOTA : VIM_E_DENIED;
    case 404:
    case 410:
        return own ? VIM_E_NOT_FOUND : VIM_E_UNAVAILABLE;
    case 405:
    case 406:
        return VIM_E_UNSUPPORTED;
    case 408:
        return refusal->write ? VIM_E_LOST : VIM_E_UNAVAILABLE;
    case 409:
        return classify_conflict(error);
    case 412:
        return VIM_E_CONFLICT;
    case 413:
        return classify_too_large(error, refusal);
    case 423:
    case 429:
        return VIM_E_BUSY;
    default:
        return refusal->status >= 500 ? classify_failure(refusal) : VIM_E_INVALID;
    }
}

void os_error_read(struct os_error *error, const struct os_refusal *refusal)
{
    OS_JSON root = os_json_parse(refusal->body, refusal->length);
    int own = 0;

    memset(error, 0, sizeof(*error));
    if (json_is_object(root)) {
        own = read_shape(error, refusal->service, root);
    } else if (refusal->body != NULL) {
        copy_html(error->message, sizeof(error->message), refusal->body, refusal->length);
    }
    if (refusal->service == OS_IMAGE) {
        /* Glance has no shape of its own: what was not found it names in words. */
        own = strcasestr(error->message, "no image found") != NULL ||
              strcasestr(error->message, "failed to find image") != NULL ||
              (strcasestr(error->message, "image") != NULL &&
               strcasestr(error->message, "could not be found") != NULL);
    }
    error->code = classify(error, refusal, own);
    error->retry_after_ms = refusal->has_retry_after ? refusal->retry_after_ms : 0;
}

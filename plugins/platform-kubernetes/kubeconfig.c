/* A kubeconfig file is YAML: read into a JSON document, then looked up. */
#include "kubernetes.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yaml.h>
#include <vim/sdk.h>

#define DEPTH_MAX 32
#define FILE_MAX (1 << 20)
#define REASON_SIZE 512

VIM_PRINTF(2, 3)
static int say(char *reason, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    (void)vsnprintf(reason, REASON_SIZE, format, values);
    va_end(values);
    return VIM_E_INVALID;
}

/* --- YAML to JSON -------------------------------------------------------------------------------- */

/* The node that begins with EVENT, a new reference; every scalar is a text. NULL on any error, and for
 * anchors, which no kubeconfig has. */
static json_t *read_node(yaml_parser_t *parser, yaml_event_t *event, int depth)
{
    yaml_event_t next;
    json_t *node = NULL;
    if (event->type == YAML_SCALAR_EVENT) {
        return json_stringn((const char *)event->data.scalar.value, event->data.scalar.length);
    }
    int is_map = event->type == YAML_MAPPING_START_EVENT;
    if ((!is_map && event->type != YAML_SEQUENCE_START_EVENT) || depth > DEPTH_MAX) {
        return NULL;
    }
    node = is_map ? json_object() : json_array();
    while (node && yaml_parser_parse(parser, &next)) {
        json_t *key = NULL, *value = NULL;
        int ended = next.type == YAML_MAPPING_END_EVENT || next.type == YAML_SEQUENCE_END_EVENT;
        if (!ended && is_map) {
            key = read_node(parser, &next, depth + 1);
            yaml_event_delete(&next);
            if (!json_is_string(key) || !yaml_parser_parse(parser, &next)) {
                json_decref(key);
                break;
            }
        }
        value = ended ? NULL : read_node(parser, &next, depth + 1);
        yaml_event_delete(&next);
        if (ended) {
            return node;
        }
        int failed = !value || (is_map ? json_object_set(node, json_string_value(key), value)
                                       : json_array_append(node, value));
        json_decref(key);
        json_decref(value);
        if (failed) {
            break;
        }
    }
    json_decref(node);
    return NULL;
}

static json_t *read_document(const char *path, char *reason)
{
    yaml_parser_t parser;
    yaml_event_t event;
    json_t *document = NULL;
    struct stat info;
    FILE *file = fopen(path, "re");
    if (!file || fstat(fileno(file), &info) != 0 || info.st_size > FILE_MAX) {
        (void)say(reason, "kubeconfig %s: %s", path, file ? "it is too large" : strerror(errno));
        if (file) {
            (void)fclose(file);
        }
        return NULL;
    }
    if (yaml_parser_initialize(&parser)) {
        int more = 1;
        yaml_parser_set_input_file(&parser, file);
        while (more && !document && yaml_parser_parse(&parser, &event)) {
            document = read_node(&parser, &event, 0);
            more = event.type == YAML_STREAM_START_EVENT || event.type == YAML_DOCUMENT_START_EVENT;
            yaml_event_delete(&event);
        }
        if (!document) {
            (void)say(reason, "kubeconfig %s:%zu: this is no kubeconfig%s%s", path,
                      parser.mark.line + 1, parser.problem ? ": " : "",
                      parser.problem ? parser.problem : "");
        }
        yaml_parser_delete(&parser);
    }
    (void)fclose(file);
    return document;
}

/* --- Look-up ------------------------------------------------------------------------------------- */

/* The element of LIST called NAME, its member WHAT; NULL if there is none. */
static json_t *named(const json_t *document, const char *list, const char *name, const char *what)
{
    size_t at;
    json_t *element;
    json_array_foreach(json_object_get(document, list), at, element)
    {
        const char *its = json_text(element, "name");
        if (its && name && strcmp(its, name) == 0) {
            return json_object_get(element, what);
        }
    }
    return NULL;
}

/* Bytes of base64 TEXT, to be freed; NULL if it is none. */
static unsigned char *decode(const char *text, size_t *ret_length)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned char *bytes = malloc(strlen(text) / 4 * 3 + 3);
    unsigned bits = 0, count = 0;
    size_t length = 0;
    for (; bytes && *text && *text != '='; text++) {
        const char *digit = strchr(digits, *text);
        if (!digit) {
            if (strchr(" \r\n\t", *text)) {
                continue;
            }
            free(bytes);
            return NULL;
        }
        bits = bits << 6 | (unsigned)(digit - digits);
        count += 6;
        if (count >= 8) {
            count -= 8;
            bytes[length++] = (unsigned char)(bits >> count);
        }
    }
    *ret_length = length;
    return bytes;
}

/* Writes what DATA holds into a file of the access's own folder; its path is to be freed. */
static char *spill(struct access *access, const char *name, const char *data)
{
    size_t length = 0;
    unsigned char *bytes = decode(data, &length);
    char *path = NULL;
    if (!access->folder) {
        char folder[] = "/tmp/vimd-kubernetes-XXXXXX"; /* made with mode 0700 */
        access->folder = mkdtemp(folder) ? strdup(folder) : NULL;
    }
    if (bytes && access->folder && asprintf(&path, "%s/%s", access->folder, name) > 0) {
        FILE *file = fopen(path, "wxe");
        int failed =
            !file || fchmod(fileno(file), 0600) || fwrite(bytes, 1, length, file) != length;
        failed = (file && fclose(file)) || failed;
        if (failed) {
            free(path);
            path = NULL;
        }
    }
    if (bytes) {
        explicit_bzero(bytes, length);
    }
    free(bytes);
    return path;
}

/* FIELD names a file, relative to the kubeconfig's folder; FIELD-data holds its content. */
static int take_file(struct access *access, const json_t *object, const char *field,
                     const char *kubeconfig, char **ret_path, char *reason)
{
    char with_data[64];
    (void)snprintf(with_data, sizeof(with_data), "%s-data", field);
    const char *data = json_text(object, with_data), *path = json_text(object, field);
    const char *slash = strrchr(kubeconfig, '/');
    if (data) {
        *ret_path = spill(access, field, data);
        return *ret_path ? VIM_OK : say(reason, "kubeconfig: %s cannot be used", with_data);
    }
    if (path && *path != '/' && slash) {
        return asprintf(ret_path, "%.*s/%s", (int)(slash - kubeconfig), kubeconfig, path) > 0
                   ? VIM_OK
                   : say(reason, "out of memory");
    }
    *ret_path = path ? strdup(path) : NULL;
    return VIM_OK;
}

static char *copy(const char *text)
{
    return text ? strdup(text) : NULL;
}

/* What would be left out in silence, and is no small thing. */
static int check_understood(const json_t *cluster, const json_t *user, const char *path,
                            const char *context, char *reason)
{
    static const char *const of_user[] = {"exec", "auth-provider"};
    static const char *const of_cluster[] = {"tls-server-name", "proxy-url"};
    const char *insecure = json_text(cluster, "insecure-skip-tls-verify");
    for (size_t i = 0; i < VIM_COUNT(of_user); i++) {
        if (json_object_get(user, of_user[i])) {
            return say(reason,
                       "kubeconfig %s: the user of context %s logs in by a program, which is "
                       "not run; give a token or a certificate",
                       path, context);
        }
    }
    if (json_object_get(user, "username")) {
        return say(reason,
                   "kubeconfig %s: the user of context %s logs in with a password, which API "
                   "servers take no more; give a token or a certificate",
                   path, context);
    }
    if (insecure && strcmp(insecure, "true") == 0) {
        return say(reason,
                   "kubeconfig %s: the cluster of context %s has insecure-skip-tls-verify, and its "
                   "token would be anybody's; give certificate-authority",
                   path, context);
    }
    for (size_t i = 0; i < VIM_COUNT(of_cluster); i++) {
        if (json_object_get(cluster, of_cluster[i])) {
            return say(reason,
                       "kubeconfig %s: the cluster of context %s has %s, which is not known", path,
                       context, of_cluster[i]);
        }
    }
    return VIM_OK;
}

int kubeconfig_read(const char *path, const char *context, struct access *ret_access,
                    char ret_reason[512])
{
    KUBERNETES_JSON document = read_document(path, ret_reason);
    if (!document) {
        return VIM_E_INVALID;
    }
    const char *name = context ? context : json_text(document, "current-context");
    json_t *chosen = named(document, "contexts", name, "context");
    json_t *cluster = named(document, "clusters", json_text(chosen, "cluster"), "cluster");
    json_t *user = named(document, "users", json_text(chosen, "user"), "user");
    if (!chosen || !cluster || !json_text(cluster, "server")) {
        return say(ret_reason, "kubeconfig %s: the context %s, or its cluster, is not there", path,
                   name ? name : "(none is current)");
    }
    if (json_text(chosen, "user") && !user) {
        return say(ret_reason, "kubeconfig %s: the user %.200s of context %s is not there", path,
                   json_text(chosen, "user"), name);
    }
    int code = check_understood(cluster, user, path, name, ret_reason);
    if (code != VIM_OK) {
        return code;
    }
    ret_access->server = copy(json_text(cluster, "server"));
    ret_access->namespace_name = copy(json_text(chosen, "namespace"));
    /* Where there are both, the file is what is renewed. */
    code = take_file(ret_access, user, "tokenFile", path, &ret_access->token_file, ret_reason);
    ret_access->token = ret_access->token_file ? NULL : copy(json_text(user, "token"));
    code = code ? code
                : take_file(ret_access, cluster, "certificate-authority", path,
                            &ret_access->ca_file, ret_reason);
    code = code ? code
                : take_file(ret_access, user, "client-certificate", path, &ret_access->certificate,
                            ret_reason);
    return code ? code
                : take_file(ret_access, user, "client-key", path, &ret_access->key, ret_reason);
}

void access_free(struct access *access)
{
    static const char *const spilled[] = {"certificate-authority", "client-certificate",
                                          "client-key"};
    char path[128];
    for (size_t i = 0; access->folder && i < VIM_COUNT(spilled); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", access->folder, spilled[i]);
        (void)unlink(path);
    }
    if (access->folder) {
        (void)rmdir(access->folder);
    }
    if (access->token) {
        explicit_bzero(access->token, strlen(access->token));
    }
    free(access->server);
    free(access->ca_file);
    free(access->token);
    free(access->token_file);
    free(access->certificate);
    free(access->key);
    free(access->namespace_name);
    free(access->folder);
    memset(access, 0, sizeof(*access));
}

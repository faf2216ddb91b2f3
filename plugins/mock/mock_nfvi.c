/*
 * mock-nfvi: acts on a mock cloud from outside of vimd, as another user of the same cloud would,
 * while vimd may be running on it. It is not counted, not bound by quotas, and not struck by faults;
 * what it makes and deletes is ready and gone at once.
 */
#include "backend.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
    "usage: mock-nfvi STATE_FILE list [KIND]       things, one JSON object per line\n"
    "       mock-nfvi STATE_FILE create KIND JSON  makes a thing and prints it\n"
    "       mock-nfvi STATE_FILE delete KIND ID    deletes a thing at once\n"
    "       mock-nfvi STATE_FILE counters          calls and faults so far\n"
    "       mock-nfvi STATE_FILE orphans           things made twice, ports without their\n"
    "                                              server; exit code 1 if any\n"
    "STATE_FILE is INSTANCE.journal in the state directory of vimd.\n";

static const struct backend_caller outside_user = {.outside = true};

static int complain(const struct reply *reply)
{
    fprintf(stderr, "mock-nfvi: %d %s: %s\n", reply->status, reply->code, reply->message);
    return 1;
}

static void print_view(const char *kind, const struct view *view)
{
    struct text line = {0};
    text_addf(&line, "{\"kind\":\"%s\",\"id\":", kind);
    text_add_json(&line, view->id);
    text_addf(&line, ",\"status\":\"%s\",\"pending\":%s", view->status,
              view->pending ? "true" : "false");
    if (view->tag != NULL) {
        text_addf(&line, ",\"tag\":");
        text_add_json(&line, view->tag);
    }
    text_addf(&line, ",\"body\":%s}", view->body);
    puts(line.bytes);
    text_free(&line);
}

static int list(struct backend *backend, const char *kind)
{
    struct backend_query query = {.kind = kind};
    struct reply reply;
    do {
        struct page page = {0};
        if (backend_list(backend, &outside_user, &query, &page, &reply) != 200) {
            page_free(&page);
            return complain(&reply);
        }
        for (size_t i = 0; i < page.count; i++) {
            print_view(kind, &page.views[i]);
        }
        query.marker = page.more;
        page_free(&page);
    } while (query.marker != 0);
    return 0;
}

static int list_all(struct backend *backend)
{
    for (int kind = 0; kind < KIND_COUNT; kind++) {
        if (list(backend, kind_name((enum kind)kind)) != 0) {
            return 1;
        }
    }
    return 0;
}

static int create(struct backend *backend, const char *kind, const char *text)
{
    json_error_t error;
    json_t *spec = json_loads(text, 0, &error);
    struct page page = {0};
    struct reply reply;
    if (spec == NULL) {
        fprintf(stderr, "mock-nfvi: JSON: %s at byte %d\n", error.text, error.position);
        return 1;
    }
    int status = backend_create(backend, &outside_user, kind, spec, NULL, &page, &reply);
    if (status < 300) {
        print_view(kind, &page.views[0]);
    }
    page_free(&page);
    json_decref(spec);
    return status < 300 ? 0 : complain(&reply);
}

static int print_counters(const char *path)
{
    char bytes[4096];
    size_t got;
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        perror(path);
        return 1;
    }
    while ((got = fread(bytes, 1, sizeof(bytes), file)) > 0) {
        (void)fwrite(bytes, 1, got, stdout);
    }
    fclose(file);
    return 0;
}

static int print_orphans(struct backend *backend)
{
    struct text text = {0};
    size_t count = backend_orphans(backend, &text);
    if (count > 0) {
        fputs(text.bytes, stdout);
    }
    text_free(&text);
    return count > 0;
}

static int act(struct backend *backend, const char *counters, int count, char **words)
{
    if (strcmp(words[0], "list") == 0 && count == 1) {
        return list_all(backend);
    }
    if (strcmp(words[0], "list") == 0 && count == 2) {
        return list(backend, words[1]);
    }
    if (strcmp(words[0], "create") == 0 && count == 3) {
        return create(backend, words[1], words[2]);
    }
    if (strcmp(words[0], "delete") == 0 && count == 3) {
        struct reply reply;
        return backend_delete(backend, &outside_user, words[1], words[2], &reply) < 300
                   ? 0
                   : complain(&reply);
    }
    if (strcmp(words[0], "counters") == 0 && count == 1) {
        return print_counters(counters);
    }
    if (strcmp(words[0], "orphans") == 0 && count == 1) {
        return print_orphans(backend);
    }
    fputs(usage, stderr);
    return 2;
}

int main(int count, char **words)
{
    static const char ending[] = ".journal";
    char error[320];
    char *counters;
    struct backend *backend;
    size_t length = count > 1 ? strlen(words[1]) : 0;
    if (count == 2 && strcmp(words[1], "--help") == 0) {
        fputs(usage, stdout);
        return 0;
    }
    if (count < 3 || length < sizeof(ending) ||
        strcmp(words[1] + length - (sizeof(ending) - 1), ending) != 0) {
        fputs(usage, stderr);
        return 2;
    }
    if (access(words[1], F_OK) != 0) {
        perror(words[1]);
        return 1;
    }
    int stem = (int)(length - (sizeof(ending) - 1));
    const char *slash = strrchr(words[1], '/');
    const char *name = slash ? slash + 1 : words[1];
    struct backend_config config = {.seed = 1, .page_limit = 1000};
    for (int kind = 0; kind < KIND_COUNT; kind++) {
        config.quotas[kind] = -1;
    }
    if (asprintf(&counters, "%.*s.counters.json", stem, words[1]) < 0) {
        return 1;
    }
    char *instance = strndup(name, strlen(name) - (sizeof(ending) - 1));
    int result = 1;
    if (backend_open(words[1], counters, instance, &config, error, sizeof(error), &backend) != 0) {
        fprintf(stderr, "mock-nfvi: %s\n", error);
    } else {
        result = act(backend, counters, count - 2, words + 2);
        backend_close(backend);
    }
    free(instance);
    free(counters);
    return result;
}

#include "fake.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

struct fake {
    pid_t pid;
    int hold; /* its standard input: it ends when this is closed */
    int port;
    char auth_url[64];
};

static void check(int good, const char *what)
{
    if (!good) {
        fprintf(stderr, "fake cloud: %s\n", what);
        exit(99);
    }
}

static struct fake *start(const char *folder, const char *name)
{
    struct fake *fake = calloc(1, sizeof(*fake));
    int in[2];
    int out[2];
    char line[64] = "";
    size_t used = 0;

    check(fake != NULL && pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0, "pipes");
    fake->pid = fork();
    check(fake->pid >= 0, "fork");
    if (fake->pid == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        execlp("python3", "python3", "-B", TEST_SOURCE_DIR "/tests/scene/fakecloud",
               folder == NULL ? (char *)NULL : "--tls", folder, "--name", name, (char *)NULL);
        _exit(98);
    }
    close(in[0]);
    close(out[1]);
    fake->hold = in[1];
    while (used + 1 < sizeof(line) && read(out[0], line + used, 1) == 1 && line[used] != '\n') {
        used++;
    }
    close(out[0]);
    check(sscanf(line, "port %d", &fake->port) == 1, "it did not start");
    (void)snprintf(fake->auth_url, sizeof(fake->auth_url), "%s://127.0.0.1:%d/identity/v3",
                   folder == NULL ? "http" : "https", fake->port);
    return fake;
}

struct fake *fake_start(void)
{
    return start(NULL, NULL);
}

struct fake *fake_start_tls(const char *folder, const char *name)
{
    return start(folder, name);
}

void fake_stop(struct fake *fake)
{
    close(fake->hold);
    waitpid(fake->pid, NULL, 0);
    free(fake);
}

const char *fake_auth_url(const struct fake *fake)
{
    return fake->auth_url;
}

/* One request on a connection of its own. Returns the body, to be freed. */
static char *ask(const struct fake *fake, const char *method, const char *what, const char *body)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)fake->port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    size_t room = 65536;
    size_t used = 0;
    char *text = malloc(room);
    char *start;
    ssize_t got;

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    check(text != NULL && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0,
          "connect");
    check(dprintf(fd,
                  "%s /_fake/%s HTTP/1.1\r\nHost: fake\r\nConnection: close\r\nContent-Length: "
                  "%zu\r\n\r\n%s",
                  method, what, strlen(body), body) > 0,
          "send");
    while ((got = read(fd, text + used, room - used - 1)) > 0) {
        used += (size_t)got;
        if (used + 1 == room) {
            room *= 2;
            text = realloc(text, room);
            check(text != NULL, "memory");
        }
    }
    close(fd);
    text[used] = '\0';
    start = strstr(text, "\r\n\r\n");
    check(start != NULL, "no answer");
    memmove(text, start + 4, strlen(start + 4) + 1);
    return text;
}

void fake_tell(struct fake *fake, const char *what, const char *body, ...)
{
    char text[2048];
    va_list values;

    va_start(values, body);
    (void)vsnprintf(text, sizeof(text), body, values);
    va_end(values);
    free(ask(fake, "POST", what, text));
}

static json_t *ask_json(const struct fake *fake, const char *what)
{
    char *text = ask(fake, "GET", what, "");
    json_t *root = json_loads(text, 0, NULL);

    free(text);
    check(root != NULL, "no JSON");
    return root;
}

int fake_count(struct fake *fake, const char *name)
{
    json_t *root = ask_json(fake, "state");
    int count = (int)json_integer_value(json_object_get(root, name));

    json_decref(root);
    return count;
}

static int fits(const json_t *call, const char *method, const char *part)
{
    char text[4096];

    (void)snprintf(text, sizeof(text), "%s?%s", json_string_value(json_object_get(call, "path")),
                   json_string_value(json_object_get(call, "query")));
    return strstr(text, part) != NULL &&
           (method == NULL ||
            strcmp(method, json_string_value(json_object_get(call, "method"))) == 0);
}

int fake_calls(struct fake *fake, const char *method, const char *part)
{
    json_t *root = ask_json(fake, "calls");
    json_t *call;
    size_t at;
    int count = 0;

    json_array_foreach(root, at, call)
    {
        count += fits(call, method, part);
    }
    json_decref(root);
    return count;
}

int fake_connections(struct fake *fake, const char *part)
{
    json_t *root = ask_json(fake, "calls");
    json_t *ports = json_object();
    json_t *call;
    size_t at;
    int count;

    json_array_foreach(root, at, call)
    {
        char port[16];
        (void)snprintf(port, sizeof(port), "%d",
                       (int)json_integer_value(json_object_get(call, "port")));
        if (fits(call, NULL, part)) {
            json_object_set_new(ports, port, json_true());
        }
    }
    count = (int)json_object_size(ports);
    json_decref(ports);
    json_decref(root);
    return count;
}

int fake_unanswered(struct fake *fake, const char *part)
{
    json_t *root = ask_json(fake, "calls");
    json_t *call;
    size_t at;
    int count = 0;

    json_array_foreach(root, at, call)
    {
        count += fits(call, NULL, part) && json_integer_value(json_object_get(call, "status")) == 0;
    }
    json_decref(root);
    return count;
}

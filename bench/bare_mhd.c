/*
 * The reference for vimd's reads: libmicrohttpd with nothing behind it. Answers every GET with the
 * same headers and bytes, from memory.
 *
 *     bare_mhd PORT THREADS BODY_FILE HEADER_FILE      headers: lines "Name: value"
 *
 * Prints a line when it listens, and ends when its standard input does.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static enum MHD_Result on_request(void *argument, struct MHD_Connection *connection,
                                  const char *url, const char *method, const char *version,
                                  const char *upload, size_t *upload_size, void **state)
{
    static int seen;
    (void)url;
    (void)version;
    (void)upload;
    if (*state == NULL) {
        *state = &seen;
        return MHD_YES;
    }
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 || *upload_size != 0) {
        return MHD_NO;
    }
    return MHD_queue_response(connection, MHD_HTTP_OK, argument);
}

static char *read_file(const char *path, size_t *ret_size)
{
    FILE *file = fopen(path, "rbe");
    if (file == NULL) {
        fprintf(stderr, "bare_mhd: %s: %s\n", path, strerror(errno));
        exit(1);
    }
    char *data = NULL;
    FILE *memory = open_memstream(&data, ret_size);
    char block[65536];
    for (size_t got = 0; (got = fread(block, 1, sizeof(block), file)) > 0;) {
        if (memory == NULL || fwrite(block, 1, got, memory) != got) {
            exit(1);
        }
    }
    fclose(file);
    if (memory == NULL || fclose(memory) != 0) {
        exit(1);
    }
    return data;
}

static void add_headers(struct MHD_Response *response, char *text)
{
    char *rest = NULL;
    for (char *line = strtok_r(text, "\r\n", &rest); line != NULL;
         line = strtok_r(NULL, "\r\n", &rest)) {
        char *value = strstr(line, ": ");
        if (value == NULL) {
            fprintf(stderr, "bare_mhd: not a header: %s\n", line);
            exit(1);
        }
        *value = '\0';
        if (MHD_add_response_header(response, line, value + 2) != MHD_YES) {
            fprintf(stderr, "bare_mhd: refused header: %s\n", line);
            exit(1);
        }
    }
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fprintf(stderr, "usage: bare_mhd PORT THREADS BODY_FILE HEADER_FILE\n");
        return 2;
    }
    size_t size;
    size_t header_size;
    char *body = read_file(argv[3], &size);
    char *headers = read_file(argv[4], &header_size);
    struct MHD_Response *response =
        MHD_create_response_from_buffer(size, body, MHD_RESPMEM_PERSISTENT);
    if (response == NULL) {
        return 1;
    }
    add_headers(response, headers);

    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)atoi(argv[1])),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct MHD_Daemon *daemon = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_request, response,
        MHD_OPTION_SOCK_ADDR, &address, MHD_OPTION_THREAD_POOL_SIZE, (unsigned)atoi(argv[2]),
        MHD_OPTION_CONNECTION_LIMIT, 4096u, MHD_OPTION_END);
    if (daemon == NULL) {
        fprintf(stderr, "bare_mhd: cannot listen on port %s\n", argv[1]);
        return 1;
    }
    puts("listening");
    fflush(stdout);
    char byte;
    while (read(STDIN_FILENO, &byte, 1) > 0) {
    }
    MHD_stop_daemon(daemon);
    MHD_destroy_response(response);
    free(body);
    free(headers);
    return 0;
}

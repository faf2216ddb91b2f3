/*
 * logic/idempotency.c - the same key and request lead to the same task, however often they come.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/digest.h"
#include "base/text.h"
#include "logic/access.h"
#include "logic/resources.h"
#include "logic/route.h"
#include "logic/submit.h"

#define KEY_MAX 255

static bool key_is_fine(const char *key)
{
    size_t length = strlen(key);
    if (length < 1 || length > KEY_MAX) {
        return false;
    }
    for (size_t i = 0; i < length; i++) {
        if (key[i] < 0x20 || key[i] > 0x7e) {
            return false;
        }
    }
    return true;
}

/* SHA-256 of a spooled file, without reading it into memory. */
static bool digest_file(const char *path, char ret_hex[DIGEST_HEX_SIZE])
{
    CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat status;
    if (fd < 0 || fstat(fd, &status) != 0) {
        return false;
    }
    size_t size = (size_t)status.st_size;
    if (size == 0) {
        digest_sha256_hex("", 0, ret_hex);
        return true;
    }
    void *data = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED) {
        return false;
    }
    (void)madvise(data, size, MADV_SEQUENTIAL);
    digest_sha256_hex(data, size, ret_hex);
    munmap(data, size);
    return true;
}

static bool digest_request(const struct request *request, char ret_hex[DIGEST_HEX_SIZE])
{
    char body[DIGEST_HEX_SIZE];
    if (request->body_path) {
        if (!digest_file(request->body_path, body)) {
            return false;
        }
    } else {
        digest_sha256_hex(request->body ? request->body : "", request->body_length, body);
    }
    CLEANUP_FREE char *all = text_format("%s\n%s", request->path, body);
    digest_sha256_hex(all, strlen(all), ret_hex);
    return true;
}

/* An administrator's task for another project is in the administrator's scope, and not for everybody in it. */
static bool sees_task(const struct call *call, const char *task_id)
{
    struct task task = {0};
    /* What cannot be read is told by whoever answers with it. */
    bool sees = tasks_get(call->logic->environment.tasks, task_id, &task, NULL) != VIM_OK ||
                access_sees(call->principal, task.project);
    task_free(&task);
    return sees;
}

/* A write without a task was done in its commit: a row is gone, or labels are set. What is shown is the resource as
 * it is now. */
static void replay_without_task(struct call *call)
{
    if (strcmp(call->request->method, "DELETE") == 0) {
        struct answer answer;
        answer_init(&answer, 204);
        answer_header(&answer, "Idempotent-Replayed", "true");
        logic_send(call, &answer);
        return;
    }
    call->replayed = true;
    if (call->kind == kinds_service()) {
        services_get(call);
    } else {
        resources_get(call);
    }
}

void idempotency_replay(struct call *call, const struct idempotency *idempotency,
                        const char *task_id, const char *digest)
{
    if (strcmp(digest, idempotency->digest) != 0 || !sees_task(call, task_id)) {
        logic_fail(call, 422, "idempotency-mismatch",
                   "This Idempotency-Key came with another request before.");
        return;
    }
    if (call->request->body_path) {
        /* The first one's data is what the task has; this file is ours and of no use. */
        unlink(call->request->body_path);
    }
    if (task_id[0]) {
        answer_with_task(call, task_id, true);
    } else {
        replay_without_task(call);
    }
}

void idempotency_add(struct call *call, const struct idempotency *idempotency,
                     struct vim_write *writes, uint32_t *count, char **ret_body)
{
    *ret_body = NULL;
    if (idempotency->key) {
        writes[(*count)++] =
            tasks_idempotency_write(call->logic->environment.tasks, idempotency->id,
                                    idempotency->digest, call->principal->project, ret_body);
    }
}

bool idempotency_answer(struct call *call, const struct idempotency *idempotency)
{
    char task_id[37], digest[65];
    if (!idempotency->key || tasks_find_idempotent(call->logic->environment.tasks, idempotency->id,
                                                   task_id, digest, NULL) != VIM_OK) {
        return false;
    }
    idempotency_replay(call, idempotency, task_id, digest);
    return true;
}

bool idempotency_begin(struct call *call, struct idempotency *ret_idempotency)
{
    memset(ret_idempotency, 0, sizeof(*ret_idempotency));
    const char *key = logic_header(call, "idempotency-key");
    if (key == NULL) {
        return true;
    }
    if (!key_is_fine(key)) {
        logic_fail(call, 400, "malformed", "An Idempotency-Key has 1 to %d printable characters.",
                   KEY_MAX);
        return false;
    }
    CLEANUP_FREE char *scope = text_format("%s\n%s %s\n%s", call->principal->project,
                                           call->entry->route->method, call->entry->template, key);
    digest_sha256_hex(scope, strlen(scope), ret_idempotency->id);
    if (!digest_request(call->request, ret_idempotency->digest)) {
        logic_fail(call, 500, "internal", "The upload cannot be read.");
        return false;
    }
    ret_idempotency->key = key;
    char task_id[37], digest[65];
    struct failure failure = {0};
    int code = tasks_find_idempotent(call->logic->environment.tasks, ret_idempotency->id, task_id,
                                     digest, &failure);
    if (code == VIM_E_NOT_FOUND) {
        return true;
    }
    if (code != VIM_OK) {
        logic_failure(call, &failure, ORIGIN_OWN);
    } else {
        idempotency_replay(call, ret_idempotency, task_id, digest);
    }
    return false;
}

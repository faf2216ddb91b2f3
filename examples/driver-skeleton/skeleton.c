/*
 * A whole driver in one file: a far side that knows keypairs only. The far side is a folder; a
 * keypair is a file NAME.json in it, {"tag": request id, "body": the resource}.
 *
 * Read docs/plugin-authors.md next to it.
 */
#define _POSIX_C_SOURCE 200809L
#include <vim/driver.h>
#include <vim/sdk.h>

#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <unistd.h>

/* The options. vimd checks them with this table, fills the struct, and documents them. */
struct config {
    const char *folder;
};

static const struct vim_option options[] = {
    VIM_OPTION_PATH(struct config, folder, VIM_REQUIRED, NULL,
                    "folder that holds the keypairs; has to exist"),
};

/* An instance: nothing about operations in progress, that is vimd's. */
struct skeleton {
    const struct vim_host *host;
    const struct config *config; /* vimd's; stays valid until close() */
};

static int skeleton_open(struct vim_call *call, const struct vim_host *host, struct vim_self *self,
                         const void *config, void **ret_instance)
{
    struct skeleton *skeleton = malloc(sizeof(*skeleton));
    (void)self;
    if (skeleton == NULL) {
        return vim_fail(host, call, VIM_E_INTERNAL, 0, "out of memory");
    }
    skeleton->host = host;
    skeleton->config = (const struct config *)config;
    *ret_instance = skeleton; /* whether the folder is there is for probe() to tell */
    return VIM_OK;
}

static void skeleton_close(void *instance)
{
    free(instance);
}

static int skeleton_probe(struct vim_call *call, void *instance)
{
    const struct skeleton *skeleton = instance;
    if (access(skeleton->config->folder, R_OK | W_OK | X_OK) != 0) {
        return vim_fail(skeleton->host, call, VIM_E_UNAVAILABLE, 0, "%s: %s",
                        skeleton->config->folder, strerror(errno));
    }
    return VIM_OK;
}

/* NAME's file. A name is part of a path here: what could leave the folder is refused. */
static int path_of(const struct skeleton *skeleton, const char *name, char ret_path[4096])
{
    int length = snprintf(ret_path, 4096, "%s/%s.json", skeleton->config->folder, name);
    return name[0] != '\0' && name[0] != '.' && strchr(name, '/') == NULL && length < 4000 ? 0 : -1;
}

/* Emits the keypair NAME; with an EXPECTED_TAG, only if it carries that. */
static int emit_one(const struct skeleton *skeleton, struct vim_call *call, const char *name,
                    const char *expected_tag, int *ret_enough)
{
    char path[4096];
    json_t *file = path_of(skeleton, name, path) == 0 ? json_load_file(path, 0, NULL) : NULL;
    const char *tag = json_string_value(json_object_get(file, "tag"));
    char *body = json_dumps(json_object_get(file, "body"), JSON_COMPACT);
    int code = VIM_OK;
    if (tag == NULL || body == NULL) {
        code = vim_fail(skeleton->host, call, VIM_E_NOT_FOUND, 0, "there is no such keypair");
    } else if (expected_tag != NULL && strcmp(tag, expected_tag) != 0) {
        code = vim_fail(skeleton->host, call, VIM_E_CONFLICT, 0, "a keypair of that name exists");
    } else {
        int enough = vim_emit(skeleton->host, call, "keypair", name, "ACTIVE", 0, tag, body);
        if (ret_enough != NULL) {
            *ret_enough = enough;
        }
    }
    free(body);
    json_decref(file);
    return code;
}

static int skeleton_list(struct vim_call *call, void *instance, const struct vim_list_query *query)
{
    const struct skeleton *skeleton = instance;
    DIR *folder = opendir(skeleton->config->folder);
    struct dirent *entry;
    int enough = 0;
    (void)query; /* one kind, no pages, no changes: the traits say so */
    if (folder == NULL) {
        return vim_fail(skeleton->host, call, VIM_E_UNAVAILABLE, 0, "%s", strerror(errno));
    }
    while (!enough && (entry = readdir(folder)) != NULL) {
        char *end = strrchr(entry->d_name, '.');
        if (end != NULL && strcmp(end, ".json") == 0) {
            *end = '\0';
            (void)emit_one(skeleton, call, entry->d_name, NULL, &enough); /* may just have gone */
        }
    }
    closedir(folder);
    return VIM_OK;
}

static int skeleton_get(struct vim_call *call, void *instance, const char *kind, const char *id)
{
    (void)kind;
    return emit_one(instance, call, id, NULL, NULL);
}

/* Makes the file under another name, then links it to its own: it appears at once, with its tag,
 * or not at all. If the name is taken, the tag says whether by an earlier try of ours. */
static int create(const struct skeleton *skeleton, struct vim_call *call, const struct vim_op *op)
{
    json_t *spec = json_loads(op->spec, 0, NULL);
    const char *name = json_string_value(json_object_get(spec, "name"));
    char path[4096];
    char draft[4096];
    int code;
    if (name == NULL || path_of(skeleton, name, path) != 0) {
        code = vim_fail(skeleton->host, call, VIM_E_INVALID, 0, "this name cannot be used");
    } else {
        json_t *file = json_pack("{s:s,s:O}", "tag", op->request_id, "body", spec);
        (void)snprintf(draft, sizeof(draft), "%s/.%s", skeleton->config->folder, op->request_id);
        int made =
            json_dump_file(file, draft, 0) == 0 && (link(draft, path) == 0 || errno == EEXIST);
        code = made ? emit_one(skeleton, call, name, op->request_id, NULL)
                    : vim_fail(skeleton->host, call, VIM_E_UNAVAILABLE, 0, "%s", strerror(errno));
        (void)unlink(draft);
        json_decref(file);
    }
    json_decref(spec);
    return code;
}

/* Deletes keypair ID; with an EXPECTED_TAG, only if it carries that. What is not there is fine. */
static int delete_one(const struct skeleton *skeleton, struct vim_call *call, const char *id,
                      const char *expected_tag)
{
    char path[4096];
    json_t *file = path_of(skeleton, id, path) == 0 ? json_load_file(path, 0, NULL) : NULL;
    const char *tag = json_string_value(json_object_get(file, "tag"));
    int ours = tag != NULL && (expected_tag == NULL || strcmp(tag, expected_tag) == 0);
    json_decref(file);
    if (ours && unlink(path) != 0 && errno != ENOENT) {
        return vim_fail(skeleton->host, call, VIM_E_UNAVAILABLE, 0, "%s", strerror(errno));
    }
    return VIM_OK;
}

static const struct vim_driver_ops ops;

static int skeleton_step(struct vim_call *call, void *instance, const struct vim_op *op)
{
    const struct skeleton *skeleton = instance;
    if (!vim_can(&ops, op->kind, op->verb)) {
        return vim_fail(skeleton->host, call, VIM_E_UNSUPPORTED, 0, "%s: not this verb", op->kind);
    }
    if (op->verb == VIM_VERB_CREATE && op->undo) { /* the spec's name, if it was we who made it */
        json_t *spec = json_loads(op->spec, 0, NULL);
        const char *name = json_string_value(json_object_get(spec, "name"));
        int code = name ? delete_one(skeleton, call, name, op->request_id) : VIM_OK;
        json_decref(spec);
        return code;
    }
    if (op->verb == VIM_VERB_CREATE) {
        return create(skeleton, call, op);
    }
    return op->undo ? VIM_OK : delete_one(skeleton, call, op->id, NULL); /* what is left: DELETE */
}

/* What it can do; vimd answers 501 to everything else. */
static const struct vim_trait traits[] = {
    {"keypair", VIM_VERB_LIST | VIM_VERB_GET | VIM_VERB_CREATE | VIM_VERB_DELETE, 0, NULL},
};

static const struct vim_driver_ops ops = {
    .size = sizeof(ops),
    .trait_count = VIM_COUNT(traits),
    .trait_stride = sizeof(struct vim_trait),
    .traits = traits,
    .list = skeleton_list,
    .get = skeleton_get,
    .step = skeleton_step,
};

static const struct vim_plugin plugin = {
    .size = sizeof(plugin),
    .abi = VIM_ABI,
    .type = VIM_DRIVER,
    .name = "skeleton",
    .version = "1.0.0",
    .summary = "Keypairs in a folder: a driver to start from",
    .options = options,
    .option_count = VIM_COUNT(options),
    .option_stride = sizeof(struct vim_option),
    .config_size = sizeof(struct config),
    .open = skeleton_open,
    .close = skeleton_close,
    .probe = skeleton_probe,
    .ops = &ops,
};

VIM_PLUGIN_ENTRY(plugin)

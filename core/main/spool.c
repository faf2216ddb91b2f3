/*
 * Uploads are left in a folder by one process and taken from it by another, so it has to be the same folder, under the
 * same path. Whether it is shows otherwise with the first upload only. The folder has a name of its own, in a file; the
 * store knows which one was used last.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/file.h"
#include "base/ids.h"
#include "base/json.h"
#include "base/log.h"
#include "base/text.h"
#include "main/daemon.h"
#include "model/store.h"

#define COLLECTION_LEASE "lease"
#define ROW_ID "spool"
#define NAME_FILE ".vimd-spool"

static int name_read(const char *path, char ret_name[ID_SIZE])
{
    CLEANUP_TEXT struct text text = {0};
    int code = file_read(path, ID_SIZE, &text, NULL);
    if (code) {
        return code;
    }
    if (text.length > 0 && text.data[text.length - 1] == '\n') {
        text_truncate(&text, text.length - 1);
    }
    if (!id_valid(text_get(&text))) {
        return VIM_E_INVALID;
    }
    memcpy(ret_name, text.data, ID_SIZE);
    return VIM_OK;
}

/* The name of FOLDER, which gets one if it has none. Of several processes that give it one, one wins. */
static int name_of(const char *folder, char ret_name[ID_SIZE])
{
    CLEANUP_FREE char *path = text_format("%s/" NAME_FILE, folder);
    int code = name_read(path, ret_name);
    if (code != VIM_E_NOT_FOUND) {
        return code;
    }
    CLEANUP_FREE char *own = text_format("%s.%ld", path, (long)getpid());
    char id[ID_SIZE + 1];
    id_new(id);
    memcpy(id + ID_SIZE - 1, "\n", 2);
    if (file_write(own, id, ID_SIZE, 0600)) {
        return VIM_E_UNAVAILABLE;
    }
    bool linked = link(own, path) == 0 || errno == EEXIST; /* another was faster */
    (void)unlink(own);
    return linked ? name_read(path, ret_name) : VIM_E_UNAVAILABLE;
}

static void tell(const char *folder, const char *text)
{
    log_event(VIM_WARNING, "uploads may fail: this is not the folder that other processes use",
              "spool_dir=%s reason=%s", folder, text);
}

/* What differs between FOLDER with its NAME and what is KNOWN (NULL: nothing); malloc'ed, or NULL. */
static char *difference(const json_t *known, const char *folder, const char *name)
{
    const char *other = json_get_text(known, "folder", folder);
    if (!text_equal(json_get_text(known, "name", name), name)) {
        return text_format("another one is %s", other);
    }
    return text_equal(other, folder) ? NULL : text_format("the others have it as %s", other);
}

/* Notes which folder is in use, and tells if it was another one. VIM_E_CONFLICT: somebody else did so meanwhile. */
static int compare(struct store *store, const char *folder, const char *name)
{
    struct row row = {0};
    CLEANUP_JSON json_t *known = NULL;
    if (store_get(store, COLLECTION_LEASE, ROW_ID, &row, NULL) == VIM_OK) {
        (void)json_parse(row.body, row.body_length, NULL, &known, NULL);
    }
    CLEANUP_FREE char *why = difference(known, folder, name);
    CLEANUP_JSON json_t *body = json_object();
    json_set_text(body, "name", name);
    json_set_text(body, "folder", folder);
    CLEANUP_FREE char *text = json_print(body);
    struct vim_write write = {
        .collection = COLLECTION_LEASE, .id = ROW_ID, .body = text, .expect = row.revision};
    int code = why || !known ? store_commit(store, &write, 1, NULL) : VIM_OK;
    if (why && code != VIM_E_CONFLICT) {
        tell(folder, why);
    }
    row_free(&row);
    return code;
}

void daemon_check_spool(const struct daemon *daemon)
{
    char name[ID_SIZE];
    const struct store_config *store = settings_section(daemon->settings, SECTION_STORE);
    const struct daemon_config *config = settings_section(daemon->settings, SECTION_DAEMON);
    if (!(daemon->roles & PROCESS_ENGINE) || text_equal(store->plugin, VIMD_DEFAULT_STORE)) {
        return; /* nobody else has the tasks of such a store */
    }
    CLEANUP_FREE char *folder = config->spool_dir ? text_duplicate(config->spool_dir)
                                                  : text_format("%s/spool", config->state_dir);
    if (name_of(folder, name)) {
        tell(folder, "its " NAME_FILE " cannot be read or written");
        return;
    }
    for (int tries = 0; tries < 5 && compare(daemon->store, folder, name) == VIM_E_CONFLICT;) {
        tries++;
    }
}

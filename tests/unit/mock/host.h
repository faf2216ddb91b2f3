/*
 * A small host for driver plugins: loads one, opens instances, records what a call pushes, and runs
 * an operation's steps the way vimd would, only that nothing is stored.
 */
#ifndef TEST_HOST_H
#define TEST_HOST_H

#include <vim/driver.h>

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct seen_item {
    char *kind, *id, *status, *tag, *body;
    uint32_t flags;
};

/* What one call pushed. call_end() frees it. */
struct vim_call {
    struct seen_item *items;
    size_t count;
    size_t wanted; /* emit() says "enough" after so many; 0 for no end */
    char *kept;
    bool kept_set;
    char awaited_kind[32];
    char awaited_id[256];
    bool awaits;
    int code; /* that fail() was called with */
    char text[512];
    uint32_t retry_after_ms;
    int64_t left_ms;
    const char *data; /* for read() */
    size_t data_size;
};

/* An instance. */
struct vim_self {
    const struct vim_plugin *plugin;
    const struct vim_driver_ops *ops;
    char name[64];
    char folder[128];
    void *config;
    void *instance;
    atomic_int calls;
};

/* Loads plugin NAME from the build; asserts that it can. */
const struct vim_plugin *host_load(const char *name);

/* The option table's defaults, in memory of config_size bytes that the caller frees. */
void *host_defaults(const struct vim_plugin *plugin);

/* Opens an instance called NAME with its state in FOLDER. CONFIG is taken over. RET_SELF on VIM_OK;
 * TEXT, if not NULL, gets the explanation of an error. */
int host_open(const struct vim_plugin *plugin, const char *name, const char *folder, void *config,
              struct vim_self **ret_self, char text[512]);
void host_close(struct vim_self *self);

void call_begin(struct vim_call *call);
void call_end(struct vim_call *call);

/* A fresh folder, and its removal with the files in it. */
void folder_make(char ret_path[128]);
void folder_remove(const char *path);

/* Runs an operation until it has ended, retrying what may be retried and waiting for what it awaits.
 * KEPT, if not NULL, is the cursor to begin with, freed or replaced as the steps go on. The outcome
 * is the last code; RET_ID, if not NULL, the id that was learned. MAX_STEPS ends it early with the
 * last code. */
struct run {
    struct vim_self *self;
    const char *kind, *id, *action, *spec, *request_id;
    uint32_t verb;
    bool undo;
    uint32_t attempt; /* to begin with */
    char *kept;
    unsigned max_steps; /* 0 for no bound */
    unsigned steps; /* made */
    char learned[256];
    char text[512]; /* of the last error */
    const char *data;
    size_t data_size;
};
int run_operation(struct run *run);
void run_end(struct run *run);

/* All things of a kind. */
size_t host_list(struct vim_self *self, const char *kind, struct vim_call *call);

/* The first id of a kind. */
void host_first(struct vim_self *self, const char *kind, char ret_id[256]);

#endif

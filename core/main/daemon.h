/*
 * main/daemon.h - the running service: every block, made and ended in order.
 */
#ifndef VIMD_MAIN_DAEMON_H
#define VIMD_MAIN_DAEMON_H

#include <stdatomic.h>
#include "main/looker.h"
#include "main/settings.h"
#include "plugin/instance.h"
#include "worker/worker.h"

struct daemon {
    char *config_path;
    unsigned roles; /* enum process_role; what is not needed for them is NULL below */
    bool is_apart; /* `link` leads to other processes */
    struct registry *registry;
    struct settings *settings; /* in force */
    int lock_fd;
    struct instance *store_instance, *queue_instance;
    struct store *store;
    struct vims *vims;
    struct tasks *tasks;
    struct aliases *aliases;
    struct inventory *inventory;
    struct presence *presence;
    struct events *events;
    struct logic *logic;
    struct link *link;
    struct api *api; /* for clients; NULL without that role */
    struct api **peers; /* listeners of the link */
    size_t peer_count;
    struct api *probes; /* for health checks, or NULL */
    struct worker *worker;
    struct looker *looker; /* of a logic process that is no worker */
    struct outbound *outbound; /* where events may be sent */
    struct webhooks *webhooks;
    struct scaler *scaler;
    struct services *services; /* what it scales: as it was at the start, */
    char *services_text; /* and as the file says it */
    struct alarms *alarms;
    atomic_bool stopping;
};

/* Reads CONFIG_PATH and brings everything up that ROLES (0: as the file says) need. On error tells all
 * that is wrong on standard error, and nothing is left running. */
int daemon_start(const char *config_path, unsigned roles, struct daemon **ret_daemon);

/* Reads the file again and applies it; a file with errors changes nothing. */
void daemon_reload(struct daemon *daemon);

/* Lets what is in progress end for up to `drain_timeout`, ends everything, frees. */
void daemon_stop(struct daemon *daemon);

/* webhooks.c: what is needed to check subscriptions, and to deliver. */
int daemon_open_rules(struct daemon *daemon, struct failure *failure);
int daemon_open_webhooks(struct daemon *daemon, struct failure *failure);
void daemon_stop_webhooks(struct daemon *daemon);
void daemon_free_webhooks(struct daemon *daemon);
/* alarms.c */
int daemon_open_alarms(struct daemon *daemon, struct failure *failure);

/* --- For daemon.c, reload.c, token.c ------------------------------------------------------------- */

/* Prints warnings as log events and errors on standard error. */
void daemon_tell(const struct config_errors *errors);

/* Opens an instance of a plugin; NAME is the instance's. Takes USE's options over. */
int daemon_open_instance(const struct settings *settings, const char *name, struct plugin_use *use,
                         struct instance **ret_instance, struct text *ret_reason);

/* Opens a lane on a VIM's instance, or gives *RET_LANE the settings of USE if there is one; and puts the VIM
 * into the list, which takes over one reference on each. */
int daemon_put_vim(struct daemon *daemon, const struct vim_use *use, struct instance *instance,
                   struct lane *lane, struct failure *failure);
int daemon_open_lane(const struct vim_use *use, struct instance *instance, struct lane **ret_lane);

/* spool.c: tells if the folder for uploads is another one than that which other processes on the same store use. */
void daemon_check_spool(const struct daemon *daemon);

/* --- front.c ------------------------------------------------------------------------------------- */

/* Makes others see this process, unless they do already. Before its first claim: they have to know whose it is. */
int front_open_presence(struct daemon *daemon, struct failure *failure);
int front_open(struct daemon *daemon, struct config_errors *errors, struct failure *failure);
void front_configure(struct daemon *daemon, const struct settings *settings); /* what is live */
/* Lets what is in progress end until END (monotonic ms). Health checks go on. */
void front_stop(struct daemon *daemon, int64_t end);
void front_free(struct daemon *daemon);

/* Makes `state_dir` (0700), what is in it, and `spool_dir`. What does not work is told where the file names it. */
int daemon_make_folders(const struct settings *settings, struct config_errors *errors);

/* Records TEXT where KEY of SECTION (NULL: the top level) is, or where it is missing. */
void daemon_blame(const struct settings *settings, const char *section, const char *key,
                  const char *text, struct config_errors *errors);

#endif

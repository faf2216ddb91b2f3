/*
 * What stands between the engine and those who ask: logic, link and listeners, as the roles have them.
 *
 *   api and logic    clients -> API -> function call -> logic
 *   api              clients -> API -> link to other processes; the logic here knows this process alone
 *   logic            peers -> listener of the link -> function call -> logic
 *   any              health checks -> listener of its own -> logic, with or without an engine
 */
#include "main/daemon.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include "api/listen.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "base/text.h"
#include "logic/peers.h"

/* A logic process that ends takes requests for so long, until its peers have left it. */
#define LEAVE_MS 3000
/* Of a process that only answers what is about itself. */
#define OWN_THREADS 2
#define OWN_QUEUE 64
#define OWN_WAIT_MS 1000
#define BEAT_MS 3000
/* Who asks whether the process is ready does not wait for long. */
#define PROBE_MS 1000
/* Files that a process has open besides connections of clients, about. */
#define FILES_BESIDE 256

/* --- What the logic asks of the process ------------------------------------------------------------- */

static json_t *front_plugins(void *argument)
{
    struct daemon *daemon = argument;
    return registry_json(daemon->registry);
}

static char *front_metrics(void *argument)
{
    (void)argument;
    struct text text = {0};
    metrics_render(&text);
    return text_take(&text);
}

/* A queue that is away costs a delay: the sweep finds what is due. One that refuses this process will go on
 * refusing it, and somebody has to see to that. */
static bool front_queue_refuses(struct tasks *tasks, struct failure *failure)
{
    int code = tasks_queue_state(tasks, failure);
    return code == VIM_E_CREDENTIAL || VIM_IS_PERMANENT(code);
}

static int front_ready(void *argument, char **ret_detail)
{
    struct daemon *daemon = argument;
    struct failure failure = {0};
    const char *what = NULL;
    if (atomic_load(&daemon->stopping)) {
        what = "stopping";
    } else if (daemon->store && (store_probe(daemon->store, PROBE_MS, &failure) ||
                                 store_takes_writes(daemon->store, &failure))) {
        what = "store";
    } else if (daemon->is_apart && !link_is_ready(daemon->link)) {
        what = "logic";
        failure_set(&failure, VIM_E_UNAVAILABLE, "no logic process answers");
    } else if ((daemon->roles & PROCESS_WORKER) && !inventory_is_ready(daemon->inventory)) {
        what = "inventory";
        failure_set(&failure, VIM_E_BUSY, "not every VIM was looked at yet");
    } else if ((daemon->roles & PROCESS_WORKER) && front_queue_refuses(daemon->tasks, &failure)) {
        what = "queue";
    }
    if (!what) {
        return VIM_OK;
    }
    CLEANUP_JSON json_t *detail = json_object();
    json_set_text(detail, what, failure.text[0] ? failure.text : "the service is being stopped");
    *ret_detail = json_print(detail);
    return VIM_E_UNAVAILABLE;
}

static bool front_is_draining(void *argument)
{
    struct daemon *daemon = argument;
    return atomic_load(&daemon->stopping);
}

static void front_add_replica(void *argument, const struct presence_peer *peer)
{
    if (peer->address && peer->address[0] && !peer->draining) {
        json_array_append_new(argument, json_string(peer->address));
    }
}

static json_t *front_replicas(void *argument)
{
    struct daemon *daemon = argument;
    json_t *list = json_array();
    presence_each(daemon->presence, "logic", front_add_replica, list);
    return list;
}

/* --- Presence ----------------------------------------------------------------------------------- */

/* What others reach the listener of the link as; malloc'ed, or NULL. */
static char *front_address(const struct link_config *link)
{
    if (link->advertise) {
        return text_duplicate(link->advertise);
    }
    const char *first = link->listen.count ? link->listen.items[0] : NULL;
    static const char any[] = "0.0.0.0:";
    if (!first || !text_starts_with(first, any)) {
        return text_duplicate(first);
    }
    char host[256] = "";
    gethostname(host, sizeof host - 1);
    CLEANUP_FREE char *name = text_format("%s:%s", host, first + strlen(any));
    return link_resolve(name);
}

static int front_send_beat(void *argument, const char *beat, size_t length, char **ret_answer,
                           struct failure *failure)
{
    struct daemon *daemon = argument;
    return link_ask(daemon->link, "POST", PEERS_BEAT, beat, length, BEAT_MS, ret_answer, failure);
}

int front_open_presence(struct daemon *daemon, struct failure *failure)
{
    if (daemon->presence) {
        return VIM_OK; /* API and worker, without logic: it came with the store */
    }
    const struct daemon_config *config = settings_section(daemon->settings, SECTION_DAEMON);
    CLEANUP_FREE char *address =
        daemon->roles & PROCESS_LOGIC
            ? front_address(settings_section(daemon->settings, SECTION_LINK))
            : NULL;
    struct presence_settings settings = {.roles = roles_text(daemon->roles),
                                         .address = address,
                                         .vims = daemon->vims,
                                         .store = daemon->store,
                                         .send = front_send_beat,
                                         .argument = daemon,
                                         .interval_ms = config->heartbeat_ms};
    daemon->presence = presence_new(&settings);
    return presence_start(daemon->presence, failure);
}

/* --- Logic and link ------------------------------------------------------------------------------ */

static int front_open_logic(struct daemon *daemon, struct failure *failure)
{
    const struct api_config *api = settings_section(daemon->settings, SECTION_API);
    const struct link_config *link = settings_section(daemon->settings, SECTION_LINK);
    struct logic_environment environment = {
        .argument = daemon,
        .plugins = front_plugins,
        .ready = front_ready,
        .metrics = front_metrics,
        .draining = front_is_draining,
        .body_max = api->body_max,
        .upload_max = api->upload_max,
        .server_url = api->public_url,
    };
    if (daemon->roles & PROCESS_LOGIC) {
        environment.store = daemon->store;
        environment.vims = daemon->vims;
        environment.tasks = daemon->tasks;
        environment.inventory = daemon->inventory;
        environment.aliases = daemon->aliases;
        environment.presence = daemon->presence;
        environment.events = daemon->events;
        environment.outbound = daemon->outbound;
        environment.replicas = front_replicas;
    }
    int code = logic_new(&environment, &daemon->logic);
    if (code) {
        return failure_set(failure, code, "no more threads");
    }
    daemon->is_apart = (daemon->roles & (PROCESS_API | PROCESS_LOGIC)) == PROCESS_API;
    if (daemon->is_apart) {
        return link_new_remote(link, daemon->logic, &daemon->link, failure);
    }
    int64_t threads = OWN_THREADS, queue = OWN_QUEUE, wait = OWN_WAIT_MS;
    if (daemon->roles & PROCESS_LOGIC) {
        bool mine = daemon->roles & PROCESS_API;
        threads = mine ? api->blocking_threads : link->blocking_threads;
        queue = mine ? api->blocking_queue : link->blocking_queue;
        wait = mine ? api->blocking_wait_ms : link->blocking_wait_ms;
    }
    code = link_new_local(daemon->logic, (unsigned)threads, (unsigned)queue, wait, &daemon->link);
    return code ? failure_set(failure, code, "no more threads") : VIM_OK;
}

/* --- Listeners ----------------------------------------------------------------------------------- */

/* Where uploads are kept: for the workers, or until the logic has them. */
static char *front_spool_dir(const struct daemon *daemon)
{
    const struct daemon_config *config = settings_section(daemon->settings, SECTION_DAEMON);
    return config->spool_dir && (daemon->roles & PROCESS_LOGIC)
               ? text_duplicate(config->spool_dir)
               : text_format("%s/spool", config->state_dir);
}

/* The listener of the link is an API listener with other limits. */
static struct api_config front_peers_config(const struct settings *settings, const char *listen)
{
    const struct link_config *link = settings_section(settings, SECTION_LINK);
    struct api_config config = *(const struct api_config *)settings_section(settings, SECTION_API);
    config.side = API_PEERS;
    config.listen = listen;
    config.secret = link->secret;
    config.previous_secret = link->previous_secret;
    config.insecure = link->insecure;
    config.reuse_port = false;
    bool tls = !text_starts_with(listen, LISTEN_UNIX); /* which the file's mode protects */
    config.tls_certificate = tls ? link->tls_certificate : NULL;
    config.tls_key = tls ? link->tls_key : NULL;
    config.tls_peer_ca = tls ? link->tls_ca : NULL;
    config.spool_dir = NULL;
    config.threads = link->threads;
    config.connections = link->connections;
    config.connections_per_address = link->connections;
    config.in_flight = link->in_flight;
    /* What the API took, with what the link adds. */
    config.header_max += LINK_HEADERS_MAX;
    /* The API closes connections that are idle, so that they never end in the middle of a request. */
    config.idle_timeout_ms = LINK_IDLE_MS;
    config.rate = 0;
    config.access_log = "off";
    return config;
}

static struct api_config front_probes_config(const struct daemon *daemon)
{
    const struct health_config *health = settings_section(daemon->settings, SECTION_HEALTH);
    struct api_config config =
        *(const struct api_config *)settings_section(daemon->settings, SECTION_API);
    config.side = API_PROBES;
    config.listen = health->listen;
    config.show_metrics = health->metrics;
    config.reuse_port = false;
    config.tls_certificate = config.tls_key = NULL;
    config.threads = 1;
    config.connections = config.connections_per_address = 64;
    return config;
}

static int front_open_peers(struct daemon *daemon, const char *spool, struct config_errors *errors)
{
    struct failure failure = {0};
    const struct link_config *link = settings_section(daemon->settings, SECTION_LINK);
    daemon->peers = memory_new_array(link->listen.count + 1, sizeof *daemon->peers);
    for (uint32_t i = 0; i < link->listen.count && (daemon->roles & PROCESS_LOGIC); i++) {
        struct api_config config = front_peers_config(daemon->settings, link->listen.items[i]);
        int code = api_start(&config, spool, daemon->link, &daemon->peers[i], &failure);
        if (code) {
            daemon_blame(daemon->settings, "link", "listen", failure.text, errors);
            return code;
        }
        daemon->peer_count++;
    }
    return VIM_OK;
}

/* Connections that the process may not open wait in the kernel, and nothing tells why. */
static void front_check_files(const struct api_config *api)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 &&
        limit.rlim_cur < (rlim_t)(api->connections + FILES_BESIDE)) {
        log_event(VIM_WARNING,
                  "fewer files may be open than api.connections needs; raise ulimit -n",
                  "files=%llu connections=%lld", (unsigned long long)limit.rlim_cur,
                  (long long)api->connections);
    }
}

int front_open(struct daemon *daemon, struct config_errors *errors, struct failure *failure)
{
    const struct api_config *api = settings_section(daemon->settings, SECTION_API);
    const struct health_config *health = settings_section(daemon->settings, SECTION_HEALTH);
    CLEANUP_FREE char *spool = front_spool_dir(daemon);
    daemon_check_spool(daemon);
    int code = front_open_logic(daemon, failure);
    if (!code && (daemon->roles & PROCESS_ENGINE) == PROCESS_LOGIC &&
        (code = looker_start(daemon->vims, &daemon->looker))) {
        failure_set(failure, code, "no thread that looks at the VIMs");
    }
    if (!code && health->listen) {
        struct api_config config = front_probes_config(daemon);
        code = api_start(&config, spool, daemon->link, &daemon->probes, failure);
        if (code) {
            daemon_blame(daemon->settings, "health", "listen", failure->text, errors);
        }
    }
    code = code ? code : front_open_peers(daemon, spool, errors);
    if (!code && (daemon->roles & PROCESS_API)) {
        front_check_files(api);
        code = api_start(api, spool, daemon->link, &daemon->api, failure);
        if (code) {
            daemon_blame(daemon->settings, "api", "listen", failure->text, errors);
        }
    }
    /* It waits for a logic process to take the first beat; who asks how this one is does not. */
    return !code && daemon->is_apart ? front_open_presence(daemon, failure) : code;
}

void front_configure(struct daemon *daemon, const struct settings *settings)
{
    if (daemon->api) {
        api_configure(daemon->api, settings_section(settings, SECTION_API));
    }
    if (daemon->is_apart) {
        link_configure(daemon->link, settings_section(settings, SECTION_LINK));
    }
    for (size_t i = 0; i < daemon->peer_count; i++) {
        struct api_config config = front_peers_config(settings, ""); /* where it listens stays */
        api_configure(daemon->peers[i], &config);
        struct failure failure = {0};
        if (api_reload_tls(daemon->peers[i], &failure)) {
            log_event(VIM_ERROR, "the link keeps its old certificate", "error=%s", failure.text);
        }
    }
}

/* --- The end ------------------------------------------------------------------------------------- */

static unsigned front_peer_connections(const struct daemon *daemon)
{
    unsigned count = 0;
    for (size_t i = 0; i < daemon->peer_count; i++) {
        count += api_connections(daemon->peers[i]);
    }
    return count;
}

void front_stop(struct daemon *daemon, int64_t end)
{
    int64_t now = clock_mono_ms();
    for (size_t i = 0; i < daemon->peer_count; i++) {
        api_drain(daemon->peers[i]);
    }
    api_stop(TAKE(daemon->api), end - now);
    /* Peers close their connections themselves when they see that this process is about to end, so that
     * none is closed under a request. */
    int64_t left_by = now + LEAVE_MS < end ? now + LEAVE_MS : end;
    while (front_peer_connections(daemon) > 0 && clock_mono_ms() < left_by) {
        clock_sleep_ms(10);
    }
    for (size_t i = 0; i < daemon->peer_count; i++) {
        int64_t left = end - clock_mono_ms();
        api_stop(TAKE(daemon->peers[i]), left > 0 ? left : 0);
    }
    daemon->peer_count = 0;
    looker_stop(TAKE(daemon->looker));
}

void front_free(struct daemon *daemon)
{
    api_stop(daemon->probes, 0);
    link_free(daemon->link);
    logic_free(daemon->logic);
    free(daemon->peers);
}

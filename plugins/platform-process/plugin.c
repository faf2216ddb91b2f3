/*
 * platform-process: replicas of programs as processes of this machine, each in a control group of its own.
 */
#include "process.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vim/sdk.h>

#define C struct process_config
static const struct vim_option options[] = {
    VIM_OPTION_LIST(
        C, groups, VIM_REQUIRED,
        "the groups, each as NAME COMMAND [ARGUMENT]...; {replica} in an argument stands "
        "for the replica's number from 1, which is in its environment as VIMD_REPLICA too; "
        "what it writes on standard output and standard error goes where vimd's log goes"),
    VIM_OPTION_LIST(
        C, ready, 0,
        "GROUP ADDRESS:PORT or GROUP unix:/PATH, with {replica}: where a replica listens "
        "once it is ready; left out: it is ready when it runs"),
    VIM_OPTION_NUMBER(C, cpu, 0, "0", 0, 1024,
                      "processor cores that each replica may use; 0: no limit"),
    VIM_OPTION_DURATION(C, cpu_period, 0, "100ms", 1, 1000,
                        "over what time that share is reckoned: shorter is smoother"),
    VIM_OPTION_CHOICE(
        C, cgroup, 0, "auto", "auto required off",
        "control groups, for the share and for exact figures: auto does without where "
        "they cannot be made, unless `cpu` needs them"),
    VIM_OPTION_TEXT(C, cgroup_name, 0, "vimd",
                    "folder of the groups in the control group hierarchy"),
    VIM_OPTION_DURATION(C, stop_timeout, 0, "30s", 0, 3600000,
                        "how long a replica may take to end after SIGTERM before it is killed"),
    VIM_OPTION_DURATION(
        C, restart_delay, 0, "1s", 1, 60000,
        "pause before a replica that ended is started again; doubled each time it ends soon"),
};
#undef C

static int make_folder(struct process_platform *platform, const char *state_dir, const char *name)
{
    if (asprintf(&platform->folder, "%s/%s", state_dir, name) < 0) {
        platform->folder = NULL;
        return ENOMEM;
    }
    return mkdir(platform->folder, 0700) == 0 || errno == EEXIST ? 0 : errno;
}

/* Decides about control groups. */
static int find_cgroups(struct process_platform *platform, struct vim_call *call)
{
    const struct process_config *config = platform->config;
    char reason[256] = "they are switched off";
    size_t name = strspn(config->cgroup_name, "abcdefghijklmnopqrstuvwxyz0123456789-_.");
    if (name == 0 || config->cgroup_name[name] || config->cgroup_name[0] == '.') {
        return platform->host->fail(call, VIM_E_INVALID, 0,
                                    "cgroup_name has to be a name of a-z, 0-9, -, _ and .");
    }
    platform->has_cgroups = strcmp(config->cgroup, "off") != 0 && cgroup_usable(config, reason);
    if (!platform->has_cgroups && (config->cpu > 0 || strcmp(config->cgroup, "required") == 0)) {
        return vim_fail(platform->host, call, VIM_E_UNAVAILABLE, 0,
                        "%s needs control groups, and they cannot be used: %s",
                        config->cpu > 0 ? "cpu" : "cgroup: required", reason);
    }
    return VIM_OK;
}

static void platform_free(struct process_platform *platform)
{
    programs_free(platform->programs, platform->count);
    free(platform->members);
    free(platform->folder);
    free(platform);
}

static int platform_open(struct vim_call *call, const struct vim_host *host, struct vim_self *self,
                         const void *filled, void **ret_instance)
{
    char reason[512] = "out of memory";
    struct process_platform *platform = calloc(1, sizeof(*platform));
    if (!platform) {
        return host->fail(call, VIM_E_INTERNAL, 0, reason);
    }
    *platform = (struct process_platform){.host = host, .self = self, .config = filled};
    const char *state_dir = host->about(self, "state_dir"), *name = host->about(self, "instance");
    int code = programs_parse(platform->config, &platform->programs, &platform->count, reason);
    if (code != VIM_OK) {
        code = host->fail(call, code, 0, reason);
    } else {
        code = find_cgroups(platform, call);
    }
    int error = code == VIM_OK && state_dir && name ? make_folder(platform, state_dir, name) : 0;
    platform->members = calloc(platform->count + 1, sizeof(*platform->members));
    for (size_t i = 0; i < platform->count && platform->members && platform->folder; i++) {
        platform->members[i].program = &platform->programs[i];
        supervisor_read(platform, &platform->members[i]);
    }
    error = error                                                ? error
            : !platform->members || (!platform->folder && !code) ? ENOMEM
            : code == VIM_OK                                     ? supervisor_start(platform)
                                                                 : 0;
    if (code == VIM_OK && error) {
        code = vim_fail(host, call, VIM_E_UNAVAILABLE, 0, "%s: %s",
                        platform->folder ? platform->folder : "replicas", strerror(error));
    }
    if (code != VIM_OK) {
        platform_free(platform);
        return code;
    }
    *ret_instance = platform;
    return VIM_OK;
}

/* Replicas go on: the next vimd finds them. */
static void platform_close(void *instance)
{
    supervisor_stop(instance);
    platform_free(instance);
}

static int platform_probe(struct vim_call *call, void *instance)
{
    struct process_platform *platform = instance;
    return access(platform->folder, R_OK | W_OK | X_OK) == 0
               ? VIM_OK
               : vim_fail(platform->host, call, VIM_E_UNAVAILABLE, 0, "%s: %s", platform->folder,
                          strerror(errno));
}

static struct members *find(struct process_platform *platform, const char *id)
{
    for (size_t i = 0; id && i < platform->count; i++) {
        if (strcmp(platform->programs[i].name, id) == 0) {
            return &platform->members[i];
        }
    }
    return NULL;
}

static int unknown(struct process_platform *platform, struct vim_call *call, const char *id)
{
    return vim_fail(platform->host, call, VIM_E_NOT_FOUND, 0,
                    "%s is not among the `groups` of the configuration", id ? id : "(no name)");
}

/* --- Where a group stands ------------------------------------------------------------------------ */

struct counting {
    struct process_platform *platform;
    const struct program *program;
    struct group *group;
    bool ending[GROUP_REPLICAS_MAX + 1];
};

static void count_one(void *argument, uint32_t number)
{
    struct counting *counting = argument;
    if (!replica_pid(counting->platform, counting->program, number)) {
        return;
    }
    if (number > counting->group->wanted || counting->ending[number]) {
        counting->group->stopping++;
        return;
    }
    counting->group->current++;
    counting->group->ready += replica_is_ready(counting->platform, counting->program, number);
}

static int emit_group(struct process_platform *platform, struct vim_call *call,
                      struct members *members)
{
    char failed[sizeof(members->failed)];
    struct group group = {.id = members->program->name, .quota_cores = platform->config->cpu};
    struct counting counting = {.platform = platform, .program = members->program, .group = &group};
    pthread_mutex_lock(&platform->mutex);
    group.wanted = members->wanted;
    memcpy(failed, members->failed, sizeof(failed));
    memcpy(counting.ending, members->ending, sizeof(counting.ending));
    pthread_mutex_unlock(&platform->mutex);
    replicas_each(platform, members->program, count_one, &counting);
    group.starting = group.wanted > group.ready ? group.wanted - group.ready : 0;
    group.failed = *failed && group.starting ? failed : NULL;
    return group_emit(platform->host, call, &group);
}

static int platform_list(struct vim_call *call, void *instance, const struct vim_list_query *query)
{
    struct process_platform *platform = instance;
    (void)query; /* one kind, one page */
    for (size_t i = 0; i < platform->count; i++) {
        if (emit_group(platform, call, &platform->members[i])) {
            break;
        }
    }
    return VIM_OK;
}

static int platform_get(struct vim_call *call, void *instance, const char *kind, const char *id)
{
    struct members *members = find(instance, id);
    (void)kind;
    if (!members) {
        return unknown(instance, call, id);
    }
    (void)emit_group(instance, call, members);
    return VIM_OK;
}

static int platform_step(struct vim_call *call, void *instance, const struct vim_op *op)
{
    struct process_platform *platform = instance;
    uint32_t replicas = 0;
    if (strcmp(op->kind, GROUP_KIND) != 0 || op->verb != VIM_VERB_UPDATE) {
        return vim_fail(platform->host, call, VIM_E_UNSUPPORTED, 0,
                        "a group is made in the configuration; here only its size can be changed");
    }
    if (op->undo) {
        return VIM_OK;
    }
    vim_note(platform->host, call, "step", "scale");
    struct members *members = find(platform, op->id);
    int code =
        members ? group_wish(platform->host, call, op, &replicas) : unknown(platform, call, op->id);
    if (code != VIM_OK) {
        return code;
    }
    pthread_mutex_lock(&platform->mutex);
    bool is_so = members->wanted == replicas;
    pthread_mutex_unlock(&platform->mutex);
    int error = is_so ? 0 : supervisor_want(platform, members, replicas);
    if (error) {
        return vim_fail(platform->host, call, VIM_E_UNAVAILABLE, 0, "%s: %s", platform->folder,
                        strerror(error));
    }
    (void)emit_group(platform, call, members);
    return VIM_OK;
}

/* --- What its replicas have used ----------------------------------------------------------------- */

/* Without a control group: what the process itself has used, without what it started. */
static void sample_process(pid_t pid, struct group_sample *sample)
{
    char path[64], line[1024] = "";
    unsigned long user = 0, kernel = 0;
    long pages = 0;
    (void)snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
    FILE *file = fopen(path, "re");
    const char *behind = file && fgets(line, sizeof(line), file) ? strrchr(line, ')') : NULL;
    if (file) {
        (void)fclose(file);
    }
    /* Fields 14, 15 and 24 of proc(5), counted from behind the name. */
    if (behind &&
        sscanf(behind + 1,
               " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %*d %*d %*d %*d %*d %*d %*u "
               "%*u %ld",
               &user, &kernel, &pages) == 3) {
        if (isnan(sample->cpu_seconds)) {
            sample->cpu_seconds = (double)(user + kernel) / (double)sysconf(_SC_CLK_TCK);
        }
        if (isnan(sample->memory_bytes)) {
            sample->memory_bytes = (double)pages * (double)sysconf(_SC_PAGESIZE);
        }
    }
}

struct sampling {
    struct process_platform *platform;
    struct vim_call *call;
    struct members *members;
    int enough;
};

static void sample_one(void *argument, uint32_t number)
{
    struct sampling *sampling = argument;
    struct process_platform *platform = sampling->platform;
    const struct program *program = sampling->members->program;
    pid_t pid = replica_pid(platform, program, number);
    char name[64];
    if (!pid || sampling->enough) {
        return;
    }
    (void)snprintf(name, sizeof(name), "%s-%u", program->name, number);
    struct group_sample sample;
    group_sample_init(&sample, name, program->name);
    sample.ready = replica_is_ready(platform, program, number);
    char *address = program->ready ? program_expand(program->ready, number) : NULL;
    sample.address = address;
    if (platform->has_cgroups) {
        cgroup_sample(platform, name, &sample);
    }
    sample_process(pid, &sample);
    sampling->enough = group_sample_emit(platform->host, sampling->call, &sample);
    free(address);
}

static int platform_sample(struct vim_call *call, void *instance,
                           const struct vim_sample_query *query)
{
    struct members *members = find(instance, query->id);
    if (!members) {
        return unknown(instance, call, query->id);
    }
    struct sampling sampling = {instance, call, members, 0};
    replicas_each(instance, members->program, sample_one, &sampling);
    return VIM_OK;
}

static const struct vim_trait traits[] = {
    {GROUP_KIND, VIM_VERB_LIST | VIM_VERB_GET | VIM_VERB_UPDATE | VIM_VERB_SAMPLE, 0, NULL},
};

static const struct vim_driver_ops ops = {
    .size = sizeof(ops),
    .trait_count = VIM_COUNT(traits),
    .trait_stride = sizeof(struct vim_trait),
    .traits = traits,
    .list = platform_list,
    .get = platform_get,
    .step = platform_step,
    .sample = platform_sample,
};

static const struct vim_plugin plugin = {
    .size = sizeof(plugin),
    .abi = VIM_ABI,
    .type = VIM_DRIVER,
    .flags = VIM_SERIAL, /* looks at replicas take a moment each; nobody is in a hurry */
    .name = "platform-process",
    .version = VIMD_VERSION,
    .summary = "Scaling platform: processes of this machine as groups of replicas",
    .options = options,
    .option_count = VIM_COUNT(options),
    .option_stride = sizeof(struct vim_option),
    .config_size = sizeof(struct process_config),
    .open = platform_open,
    .close = platform_close,
    .probe = platform_probe,
    .ops = &ops,
};

VIM_PLUGIN_ENTRY(plugin)

/*
 * model/kinds_service.c - the table of a network service: a kind that no driver knows, for it is made
 * of the others. Its elements have names, and refer to one another by them: ${vl.n3.id}.
 */
#include "model/kinds.h"
#include "model/service.h"

#define COUNT(array) ((unsigned)(sizeof(array) / sizeof((array)[0])))

#define C FIELD_CREATE
#define U FIELD_UPDATE

#define MAP(NAME, FLAGS, MAX, KIND, WITHOUT, FIELDS, HELP)                     \
    {                                                                          \
        .name = (NAME), .type = FIELD_MAP, .flags = (FLAGS), .maximum = (MAX), \
        .reference = (KIND), .without = (WITHOUT), .fields = (FIELDS),         \
        .field_count = COUNT(FIELDS), .help = (HELP)                           \
    }
/* Whose elements are as the kind is. */
#define PLAIN_MAP(NAME, FLAGS, MAX, KIND, WITHOUT, HELP)                       \
    {                                                                          \
        .name = (NAME), .type = FIELD_MAP, .flags = (FLAGS), .maximum = (MAX), \
        .reference = (KIND), .without = (WITHOUT), .help = (HELP)              \
    }

/* --- Virtual links --------------------------------------------------------------------------- */
static const struct field link_router_fields[] = {
    {.name = "external_network",
     .type = FIELD_REFERENCE,
     .flags = FIELD_REQUIRED,
     .maximum = 255,
     .reference = "network",
     .help = "The external network that it leads to."},
    {.name = "enable_snat",
     .type = FIELD_BOOLEAN,
     .help = "Whether it translates addresses outwards; may need administrator's rights."},
};
static const struct field link_fields[] = {
    {.name = "router",
     .type = FIELD_OBJECT,
     .fields = link_router_fields,
     .field_count = COUNT(link_router_fields),
     .help = "A router of its own, between all its subnets and an external network."},
    PLAIN_MAP("subnets", 0, 16, "subnet", "network", "Its ranges of addresses, by name."),
};

/* --- VNFs ------------------------------------------------------------------------------------ */
static const struct field point_fields[] = {
    {.name = "port",
     .type = FIELD_BOOLEAN,
     .default_value = "false",
     .help = "Whether it has a port of its own even where the server could make it on the way."},
    {.name = "fixed_ip", .type = FIELD_ADDRESS, .help = "The address to take in its network."},
};
static const struct field vnf_address_fields[] = {
    {.name = "connection_point",
     .type = FIELD_TEXT,
     .flags = FIELD_REQUIRED,
     .minimum = 1,
     .maximum = 40,
     .help = "The name of the connection point that it leads to."},
};
static const struct field attach_fields[] = {
    {.name = "server",
     .type = FIELD_REFERENCE,
     .flags = FIELD_REQUIRED,
     .maximum = 255,
     .reference = "server",
     .help = "The server that it is attached to."},
    {.name = "device",
     .type = FIELD_TEXT,
     .minimum = 1,
     .maximum = 255,
     .help = "What the server shall see it as; it is a hint."},
};
static const struct field volume_more_fields[] = {
    {.name = "attach",
     .type = FIELD_OBJECT,
     .fields = attach_fields,
     .field_count = COUNT(attach_fields),
     .help = "Where it is plugged in."},
};
static const struct field vnf_volume_fields[] = {
    {.name = "device",
     .type = FIELD_TEXT,
     .minimum = 1,
     .maximum = 255,
     .help = "What the server shall see it as; it is a hint."},
};
static const struct field vnf_fields[] = {
    {.name = "count",
     .type = FIELD_INTEGER,
     .minimum = 0,
     .maximum = SERVICE_INSTANCES_MAX,
     .default_value = "1",
     .help = "How many instances of it there are."},
    MAP("connection_points", 0, 32, "port", "fixed_ips", point_fields,
        "Its network interfaces, by name, in this order."),
    MAP("volumes", 0, 16, "volume", NULL, vnf_volume_fields,
        "Volumes of its own, by name, each attached to it."),
    MAP("floating_ips", 0, 16, "floating-ip", "port fixed_ip", vnf_address_fields,
        "Floating IPs of its own, by name."),
};

/* --- Nodes, as they are shown ------------------------------------------------------------------ */
#define SHOWN(NAME, HELP)                                  \
    {                                                      \
        .name = (NAME), .type = FIELD_TEXT, .help = (HELP) \
    }
static const struct field need = SHOWN(NULL, "The name of a node.");
static const struct field node_fields[] = {
    SHOWN("name", "Its name in the service: vnf.upf.0."),
    SHOWN("kind", "The kind of its resource."),
    SHOWN("id", "The id of its resource."),
    {.name = "state",
     .type = FIELD_CHOICE,
     .choices = "waiting making changing removing ready failed",
     .help = "How it stands."},
    SHOWN("status", "The status of its resource; left out where there is none."),
    {.name = "needs",
     .type = FIELD_LIST,
     .fields = &need,
     .field_count = 1,
     .help = "What has to be ready before it."},
    SHOWN("task", "The task that worked on it last."),
    SHOWN("error", "Why it failed, or what stands in its way."),
};
static const struct field node = {.type = FIELD_OBJECT,
                                  .fields = node_fields,
                                  .field_count = COUNT(node_fields),
                                  .help = "A node: one resource of the service."};

static const char *const service_actions[] = {"heal", "scale", NULL};
static const struct field healed = {
    .type = FIELD_TEXT, .minimum = 1, .maximum = 160, .help = "The name of a node."};
static const struct field service_action_fields[] = {
    {.name = "nodes",
     .type = FIELD_LIST,
     .fields = &healed,
     .field_count = 1,
     .maximum = 1000,
     .actions = "heal",
     .help = "Nodes to make anew although they seem well."},
    {.name = "vnf",
     .type = FIELD_TEXT,
     .minimum = 1,
     .maximum = 40,
     .actions = "scale",
     .help = "The name of the VNF; required."},
    {.name = "count",
     .type = FIELD_INTEGER,
     .minimum = 0,
     .maximum = SERVICE_INSTANCES_MAX,
     .actions = "scale",
     .help = "How many instances of it there shall be; required."},
};

static const struct field service_fields[] = {
    {.name = "name",
     .type = FIELD_TEXT,
     .flags = C | FIELD_REQUIRED,
     .minimum = 1,
     .maximum = 63,
     .help = "Its name; what its elements are called begins with it."},
    {.name = "description",
     .type = FIELD_TEXT,
     .flags = C | U,
     .maximum = 200,
     .help = "For people."},
    {.name = "on_failure",
     .type = FIELD_CHOICE,
     .flags = C | U,
     .choices = "rollback keep pause",
     .default_value = "rollback",
     .help = "What becomes of the rest when an element fails for good: all of it is taken back, it "
             "stays, or the task waits for a decision."},
    MAP("virtual_links", C | U, 1000, "network", NULL, link_fields,
        "Its networks, by name: virtual links (VL)."),
    PLAIN_MAP("security_groups", C | U, 200, "security-group", NULL,
              "Its sets of packet filter rules, by name."),
    PLAIN_MAP("affinity_groups", C | U, 200, "affinity-group", NULL,
              "Constraints on where its servers run, by name."),
    PLAIN_MAP("routers", C | U, 200, "router", NULL, "Its routers, by name."),
    MAP("volumes", C | U, 1000, "volume", NULL, volume_more_fields, "Its volumes, by name."),
    PLAIN_MAP("floating_ips", C | U, 1000, "floating-ip", NULL, "Its floating IPs, by name."),
    MAP("vnfs", C | U, 1000, "server", "networks", vnf_fields, "Its servers, by name: VNFs."),
    {.name = "created", .type = FIELD_TIME, .help = "When it was asked for."},
    {.name = "updated", .type = FIELD_TIME, .help = "When a task last ended or began on it."},
    {.name = "node_count", .type = FIELD_INTEGER, .help = "Of how many resources it is made."},
    {.name = "nodes",
     .type = FIELD_LIST,
     .fields = &node,
     .field_count = 1,
     .help = "Its graph; not in lists of services."},
};

static const struct kind service = {
    .name = "network-service",
    .plural = "network-services",
    .etsi = "network service (NS)",
    .help = "VNFs, virtual links and what joins them, as one unit with one task and one undo.",
    .fields = service_fields,
    .field_count = COUNT(service_fields),
    .actions = service_actions,
    .action_fields = service_action_fields,
    .action_field_count = COUNT(service_action_fields),
};

const struct kind *kinds_service(void)
{
    return &service;
}

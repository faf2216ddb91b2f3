/*
 * model/kinds_tables.c - docs/resources.md as data. Says nothing that the document does not.
 */
#include "model/kinds.h"

#include <string.h>
#include "base/text.h"

#define COUNT(array) ((unsigned)(sizeof(array) / sizeof((array)[0])))

#define C FIELD_CREATE
#define U FIELD_UPDATE
#define R FIELD_REQUIRED

#define TEXT(NAME, FLAGS, MAX, HELP)                                                           \
    {                                                                                          \
        .name = (NAME), .type = FIELD_TEXT, .flags = (FLAGS), .maximum = (MAX), .help = (HELP) \
    }
#define TEXT_FROM(NAME, FLAGS, MIN, MAX, HELP)                                                    \
    {                                                                                             \
        .name = (NAME), .type = FIELD_TEXT, .flags = (FLAGS), .minimum = (MIN), .maximum = (MAX), \
        .help = (HELP)                                                                            \
    }
#define INTEGER(NAME, FLAGS, MIN, MAX, DEFAULT, HELP)                              \
    {                                                                              \
        .name = (NAME), .type = FIELD_INTEGER, .flags = (FLAGS), .minimum = (MIN), \
        .maximum = (MAX), .default_value = (DEFAULT), .help = (HELP)               \
    }
#define BOOLEAN(NAME, FLAGS, DEFAULT, HELP)                                                  \
    {                                                                                        \
        .name = (NAME), .type = FIELD_BOOLEAN, .flags = (FLAGS), .default_value = (DEFAULT), \
        .help = (HELP)                                                                       \
    }
#define CHOICE(NAME, FLAGS, CHOICES, DEFAULT, HELP)                                   \
    {                                                                                 \
        .name = (NAME), .type = FIELD_CHOICE, .flags = (FLAGS), .choices = (CHOICES), \
        .default_value = (DEFAULT), .help = (HELP)                                    \
    }
#define REFERENCE(NAME, FLAGS, KIND, HELP)                                         \
    {                                                                              \
        .name = (NAME), .type = FIELD_REFERENCE, .flags = (FLAGS), .maximum = 255, \
        .reference = (KIND), .help = (HELP)                                        \
    }
#define SIMPLE(NAME, TYPE, FLAGS, HELP)                                  \
    {                                                                    \
        .name = (NAME), .type = (TYPE), .flags = (FLAGS), .help = (HELP) \
    }
#define TEXTS(NAME, FLAGS, MAX, HELP)                                                           \
    {                                                                                           \
        .name = (NAME), .type = FIELD_TEXTS, .flags = (FLAGS), .maximum = (MAX), .help = (HELP) \
    }
#define LIST(NAME, FLAGS, MAX, ELEMENT, HELP)                                   \
    {                                                                           \
        .name = (NAME), .type = FIELD_LIST, .flags = (FLAGS), .maximum = (MAX), \
        .fields = (ELEMENT), .field_count = 1, .help = (HELP)                   \
    }
#define OBJECT(NAME, FLAGS, FIELDS, HELP)                                           \
    {                                                                               \
        .name = (NAME), .type = FIELD_OBJECT, .flags = (FLAGS), .fields = (FIELDS), \
        .field_count = COUNT(FIELDS), .help = (HELP)                                \
    }

#define INT32_LARGEST 2147483647LL

/* Of every kind; NAME_FLAGS differ, because a keypair's name cannot be changed. */
#define EVERY_KIND(NAME_FLAGS)                                                            \
    TEXT_FROM("name", NAME_FLAGS, 1, 255,                                                 \
              "Need not be unique; of keypairs and flavors it is unique per VIM."),       \
        SIMPLE("created", FIELD_TIME, 0, "When it was made, as the far side tells."),     \
        SIMPLE("updated", FIELD_TIME, 0, "When it last changed, as the far side tells."), \
        TEXT("backend_status", 0, 0, "The far side's own word for the status.")

#define DESCRIPTION TEXT("description", C | U, 200, "For people.")

/* --- server ---------------------------------------------------------------------------------- */
static const struct field server_network_fields[] = {
    REFERENCE("network", 0, "network", "The network to make a port on; either this or port."),
    REFERENCE("port", 0, "port", "An existing port; either this or network."),
    SIMPLE("fixed_ip", FIELD_ADDRESS, 0, "The address to take; only together with network."),
};
static const struct field server_network =
    OBJECT(NULL, 0, server_network_fields, "One network interface.");
static const struct field reference_security_group =
    REFERENCE(NULL, 0, "security-group", "A security group.");
static const struct field reference_subnet = REFERENCE(NULL, 0, "subnet", "A subnet.");
static const struct field reference_server = REFERENCE(NULL, 0, "server", "A server.");
static const struct field reference_volume = REFERENCE(NULL, 0, "volume", "A volume.");
static const struct field address_fields[] = {
    REFERENCE("network", 0, "network", "The network that the address lies in."),
    REFERENCE("port", 0, "port", "The port that carries it."),
    SIMPLE("address", FIELD_ADDRESS, 0, "The address."),
    SIMPLE("mac", FIELD_MAC, 0, "The MAC address of the interface."),
    INTEGER("version", 0, 4, 6, NULL, "4 or 6."),
};
static const struct field server_address = OBJECT(NULL, 0, address_fields, "One address.");
static const struct field fault_fields[] = {
    INTEGER("code", 0, 0, INT32_LARGEST, NULL, "The far side's number for it."),
    TEXT("message", 0, 0, "The far side's words for it."),
};
static const struct field boot_volume_fields[] = {
    REFERENCE("volume", 0, "volume", "A volume to boot from, which stays when the server goes."),
    INTEGER("size", 0, 1, INT32_LARGEST, NULL,
            "GiB of a volume that is made of image on the way, and goes with the server."),
    TEXT_FROM("type", 0, 1, 255,
              "Kind of storage of a volume made on the way, as the far side names it."),
};
static const struct field server_fields[] = {
    EVERY_KIND(C | U | R),
    {.name = "image",
     .type = FIELD_REFERENCE,
     .flags = C | R,
     .maximum = 255,
     .reference = "image",
     .unless = "boot_volume",
     .help = "What it boots from; left out where it boots from a volume that there is."},
    REFERENCE("flavor", C | R, "flavor", "Its size."),
    LIST("networks", C, 32, &server_network, "Its network interfaces; left out or empty: none."),
    LIST("security_groups", C, 32, &reference_security_group,
         "For ports made on the way; when read, all that apply."),
    REFERENCE("key", C, "keypair", "The public key to put into it."),
    {.name = "user_data",
     .type = FIELD_BASE64,
     .flags = C | FIELD_HIDDEN,
     .maximum = 65535,
     .help = "Data for cloud-init; never shown again."},
    TEXT_FROM("zone", C, 1, 255, "The availability zone."),
    REFERENCE("affinity_group", C | FIELD_HIDDEN, "affinity-group",
              "The group it shall belong to; the group shows its members."),
    OBJECT("boot_volume", C | FIELD_HIDDEN, boot_volume_fields,
           "The volume that is its disk; volumes shows it."),
    TEXTS("metadata", C | U, 128, "Texts that the server can read about itself."),
    LIST("addresses", 0, 0, &server_address, "The addresses it has."),
    LIST("volumes", 0, 0, &reference_volume, "The volumes that are attached to it."),
    TEXT("host", 0, 0, "The compute host, where the credentials may see it."),
    CHOICE("power_state", 0, "running paused shutdown crashed suspended none", NULL,
           "What the hypervisor says."),
    OBJECT("fault", 0, fault_fields, "Why it is in ERROR."),
};
static const char *const server_actions[] = {
    "start",   "stop",   "reboot",         "pause",         "unpause", "suspend",  "resume",
    "rebuild", "resize", "confirm_resize", "revert_resize", "migrate", "snapshot", NULL};
static const struct field server_action_fields[] = {
    {.name = "type",
     .type = FIELD_CHOICE,
     .choices = "soft hard",
     .default_value = "soft",
     .actions = "reboot",
     .help = "soft asks the guest, hard cuts its power."},
    {.name = "image",
     .type = FIELD_REFERENCE,
     .maximum = 255,
     .reference = "image",
     .actions = "rebuild",
     .help = "What it boots from from then on; left out: the same as before."},
    {.name = "flavor",
     .type = FIELD_REFERENCE,
     .flags = R,
     .maximum = 255,
     .reference = "flavor",
     .actions = "resize",
     .help = "Its size from then on; then confirm_resize or revert_resize has to follow."},
    {.name = "host",
     .type = FIELD_TEXT,
     .minimum = 1,
     .maximum = 255,
     .actions = "migrate",
     .help = "The compute host to move to; left out: any other. May need administrator's rights."},
    {.name = "live",
     .type = FIELD_BOOLEAN,
     .actions = "migrate",
     .help = "Without stopping it; default: if it runs. Else confirm_resize or revert_resize has "
             "to follow."},
    {.name = "name",
     .type = FIELD_TEXT,
     .flags = R,
     .minimum = 1,
     .maximum = 255,
     .actions = "snapshot",
     .help = "The name of the image to be made."},
};

/* --- network, subnet, port ------------------------------------------------------------------- */
static const struct field network_fields[] = {
    EVERY_KIND(C | U | R),
    DESCRIPTION,
    INTEGER("mtu", C | U, 68, 65535, NULL, "Largest packet, in bytes."),
    BOOLEAN("admin_state_up", C | U, "true", "Whether it forwards packets."),
    BOOLEAN("external", C, "false", "Leads outside; may need administrator's rights."),
    BOOLEAN("shared_network", C, "false",
            "Every project of the far side may use it; may need administrator's rights."),
    TEXT_FROM("network_type", C, 1, 255, "Provider attribute: flat, vlan, vxlan and so on."),
    TEXT_FROM("physical_network", C, 1, 255, "Provider attribute: the physical network."),
    INTEGER("segmentation_id", C, 0, 4294967295LL, NULL, "Provider attribute: VLAN id or VNI."),
    LIST("subnets", 0, 0, &reference_subnet, "Its subnets."),
};

static const struct field dns_nameserver = SIMPLE(NULL, FIELD_ADDRESS, 0, "An address.");
static const struct field pool_fields[] = {
    SIMPLE("start", FIELD_ADDRESS, R, "The first address."),
    SIMPLE("end", FIELD_ADDRESS, R, "The last address."),
};
static const struct field allocation_pool = OBJECT(NULL, 0, pool_fields, "A range of addresses.");
static const struct field host_route_fields[] = {
    SIMPLE("destination", FIELD_CIDR, R, "Where to."),
    SIMPLE("nexthop", FIELD_ADDRESS, R, "By way of."),
};
static const struct field host_route = OBJECT(NULL, 0, host_route_fields, "A route.");
static const struct field subnet_fields[] = {
    EVERY_KIND(C | U | R),
    DESCRIPTION,
    REFERENCE("network", C | R, "network", "The network it lies in."),
    SIMPLE("cidr", FIELD_CIDR, C | R, "Its addresses; the host bits are zero."),
    INTEGER("ip_version", 0, 4, 6, NULL, "4 or 6, as follows from cidr."),
    SIMPLE("gateway_ip", FIELD_ADDRESS, C | U | FIELD_NULLABLE,
           "null: no gateway; left out: the first address."),
    BOOLEAN("enable_dhcp", C | U, "true", "Whether addresses are given out by DHCP."),
    LIST("dns_nameservers", C | U, 16, &dns_nameserver, "Name servers given out by DHCP."),
    LIST("allocation_pools", C | U, 32, &allocation_pool, "Ranges that ports get addresses from."),
    LIST("host_routes", C | U, 32, &host_route, "Routes given out by DHCP."),
};

static const struct field fixed_ip_fields[] = {
    REFERENCE("subnet", 0, "subnet", "The subnet to take an address of."),
    SIMPLE("ip_address", FIELD_ADDRESS, 0, "The address to take."),
};
static const struct field fixed_ip = OBJECT(NULL, 0, fixed_ip_fields, "One address.");
static const struct field address_pair_fields[] = {
    /* The far side takes single addresses and networks alike. */
    TEXT_FROM("ip_address", R, 1, 64, "The address, or a CIDR."),
    SIMPLE("mac_address", FIELD_MAC, 0, "Left out: the port's own."),
};
static const struct field address_pair = OBJECT(NULL, 0, address_pair_fields, "One pair.");
static const struct field port_fields[] = {
    EVERY_KIND(C | U | R),
    DESCRIPTION,
    REFERENCE("network", C | R, "network", "The network it lies in."),
    LIST("fixed_ips", C | U, 32, &fixed_ip, "Its addresses."),
    SIMPLE("mac_address", FIELD_MAC, C, "Its MAC address; left out: any."),
    BOOLEAN("admin_state_up", C | U, "true", "Whether it forwards packets."),
    LIST("security_groups", C | U, 32, &reference_security_group, "What applies to it."),
    LIST("allowed_address_pairs", C | U, 32, &address_pair,
         "Further addresses that it may send from."),
    CHOICE("vnic_type", C, "normal direct macvtap", "normal", "How it reaches the guest."),
    REFERENCE("server", 0, "server", "What it is plugged into; left out: nothing."),
    TEXT("device_owner", 0, 0, "The far side's word for what uses it."),
};

/* --- image, flavor, keypair, security-group -------------------------------------------------- */
static const struct field image_fields[] = {
    EVERY_KIND(C | U | R),
    CHOICE("disk_format", C, "raw qcow2 iso vmdk vdi vhd vhdx ami ari aki", NULL,
           "Format of the data; required unless the image is made of a server."),
    REFERENCE("server", C | FIELD_HIDDEN, "server",
              "The server whose disk it is to hold; its data comes from there then."),
    CHOICE("container_format", C, "bare ovf ova docker ami ari aki", "bare",
           "Format of what is around the data."),
    CHOICE("visibility", C | U, "private shared community public", "private", "Who may use it."),
    INTEGER("min_disk", C | U, 0, INT32_LARGEST, "0", "GiB of disk that it needs."),
    INTEGER("min_ram", C | U, 0, INT32_LARGEST, "0", "MiB of memory that it needs."),
    BOOLEAN("protected", C | U, "false", "Whether it is safe from being deleted."),
    TEXTS("properties", C, 128, "Further properties, as the far side knows them."),
    INTEGER("size", 0, 0, INT64_MAX, NULL, "Bytes of data."),
    TEXT("checksum", 0, 0, "MD5 of the data."),
};
static const struct field flavor_fields[] = {
    EVERY_KIND(C | U | R),
    INTEGER("vcpus", C | R, 1, 4096, NULL, "Virtual processors."),
    INTEGER("ram", C | R, 1, INT32_LARGEST, NULL, "MiB of memory."),
    INTEGER("disk", C, 0, INT32_LARGEST, "0", "GiB of root disk."),
    INTEGER("ephemeral", C, 0, INT32_LARGEST, "0", "GiB of ephemeral disk."),
    INTEGER("swap", C, 0, INT32_LARGEST, "0", "MiB of swap."),
    BOOLEAN("public", C, "true", "Whether every project may use it."),
    TEXTS("extra_specs", C, 128, "Further properties, as the far side knows them."),
};
static const struct field keypair_fields[] = {
    EVERY_KIND(C | R),
    TEXT_FROM("public_key", C | R, 1, 16384, "The public key in OpenSSH's format."),
    CHOICE("type", C, "ssh x509", "ssh", "What kind of key."),
    TEXT("fingerprint", 0, 0, "Fingerprint of the key."),
};
static const struct field rule_fields[] = {
    CHOICE("direction", R, "ingress egress", NULL, "Into the guest, or out of it."),
    CHOICE("ethertype", 0, "IPv4 IPv6", "IPv4", "Version of IP."),
    TEXT_FROM("protocol", 0, 1, 32, "Name or number of the protocol; left out: any."),
    INTEGER("port_min", 0, 0, 65535, NULL, "First port, or ICMP type."),
    INTEGER("port_max", 0, 0, 65535, NULL, "Last port, or ICMP code."),
    SIMPLE("remote_cidr", FIELD_CIDR, 0, "Only to or from these addresses."),
    REFERENCE("remote_group", 0, "security-group", "Only to or from members of this group."),
};
static const struct field rule =
    OBJECT(NULL, 0, rule_fields, "What is let through; left out matches everything.");
static const struct field security_group_fields[] = {
    EVERY_KIND(C | U | R),
    DESCRIPTION,
    BOOLEAN("stateful", C, "true", "Whether answers to what was let through are let through."),
    LIST("rules", C | U, 200, &rule, "The whole set; left out at create: the far side's defaults."),
};

/* --- affinity-group --------------------------------------------------------------------------- */
static const struct field affinity_group_fields[] = {
    /* A far side that can mark such a group only by its name needs room there. */
    TEXT_FROM("name", C | R, 1, 200, "Need not be unique."),
    SIMPLE("created", FIELD_TIME, 0, "When it was made, as the far side tells."),
    SIMPLE("updated", FIELD_TIME, 0, "When it last changed, as the far side tells."),
    TEXT("backend_status", 0, 0, "The far side's own word for the status."),
    CHOICE("policy", C | R, "affinity anti-affinity soft-affinity soft-anti-affinity", NULL,
           "Its members on one host, or each on another; soft: as far as possible."),
    INTEGER("max_per_host", C, 1, INT32_LARGEST, NULL,
            "How many members a host may have; only with anti-affinity."),
    LIST("members", 0, 0, &reference_server, "The servers in it."),
};

/* --- router, floating-ip ---------------------------------------------------------------------- */
static const struct field router_interface_fields[] = {
    REFERENCE("subnet", 0, "subnet", "The subnet to lead to; either this or port."),
    REFERENCE("port", 0, "port",
              "The port to use, which goes with the interface; either this or subnet."),
    SIMPLE("ip_address", FIELD_ADDRESS, 0, "The router's address there; can only be read."),
};
static const struct field router_interface =
    OBJECT(NULL, 0, router_interface_fields, "One interface.");
static const struct field router_fields[] = {
    EVERY_KIND(C | U | R),
    DESCRIPTION,
    BOOLEAN("admin_state_up", C | U, "true", "Whether it forwards packets."),
    REFERENCE("external_network", C | U | FIELD_NULLABLE, "network",
              "The external network that it leads to; null or left out: none."),
    BOOLEAN("enable_snat", C | U, NULL,
            "Whether it translates addresses outwards; only together with external_network; may "
            "need administrator's rights."),
    LIST("external_ips", 0, 0, &fixed_ip, "Its addresses in the external network."),
    LIST("interfaces", C, 32, &router_interface, "Where it leads to inside."),
};
static const char *const router_actions[] = {"add_interface", "remove_interface", NULL};
static const struct field router_action_fields[] = {
    REFERENCE("subnet", 0, "subnet", "The subnet; either this or port."),
    REFERENCE("port", 0, "port", "The port; either this or subnet."),
};
static const struct field floating_ip_fields[] = {
    EVERY_KIND(C),
    DESCRIPTION,
    REFERENCE("network", C | R, "network", "The external network that it is taken from."),
    REFERENCE("subnet", C, "subnet", "The subnet of it to take an address of."),
    SIMPLE("address", FIELD_ADDRESS, C,
           "The address; left out at create: any. Asking for one may need administrator's rights."),
    REFERENCE("port", C | U | FIELD_NULLABLE, "port",
              "The port that it leads to; null or left out: none."),
    SIMPLE("fixed_ip", FIELD_ADDRESS, C | U,
           "Which address of the port; only together with port. Left out: the first."),
    REFERENCE("router", 0, "router", "The router that translates it."),
};

/* --- volume, snapshot ------------------------------------------------------------------------- */
static const struct field volume_fields[] = {
    EVERY_KIND(C | U | R),
    DESCRIPTION,
    INTEGER("size", C, 1, INT32_LARGEST, NULL, "GiB; may be left out with snapshot."),
    REFERENCE("image", C, "image", "The image whose data it holds at first."),
    REFERENCE("snapshot", C, "snapshot", "The snapshot whose data it holds at first."),
    TEXT_FROM("type", C, 1, 255, "Kind of storage, as the far side names it."),
    TEXT_FROM("zone", C, 1, 255, "The availability zone."),
    TEXTS("metadata", C | U, 128, "Further texts."),
    BOOLEAN("bootable", 0, NULL, "Whether a server can boot from it."),
    REFERENCE("server", 0, "server", "What it is attached to; left out: nothing."),
    TEXT("device", 0, 0, "The name of the device in that server."),
};
static const char *const volume_actions[] = {"attach", "detach", "extend", NULL};
static const struct field volume_action_fields[] = {
    {.name = "server",
     .type = FIELD_REFERENCE,
     .flags = R,
     .maximum = 255,
     .reference = "server",
     .actions = "attach",
     .help = "The server to attach it to."},
    {.name = "device",
     .type = FIELD_TEXT,
     .minimum = 1,
     .maximum = 255,
     .actions = "attach",
     .help = "The name of the device there, as /dev/vdb; left out: any."},
    {.name = "size",
     .type = FIELD_INTEGER,
     .flags = R,
     .minimum = 1,
     .maximum = INT32_LARGEST,
     .actions = "extend",
     .help = "The new size in GiB, larger than before."},
};
static const struct field snapshot_fields[] = {
    EVERY_KIND(C | U | R),
    DESCRIPTION,
    REFERENCE("volume", C | R, "volume", "The volume that it is of; may be attached."),
    TEXTS("metadata", C | U, 128, "Further texts."),
    INTEGER("size", 0, 0, INT32_LARGEST, NULL, "GiB of the volume."),
};

#define KIND(NAME, PLURAL, ETSI, FIELDS, HELP)                              \
    .name = (NAME), .plural = (PLURAL), .etsi = (ETSI), .fields = (FIELDS), \
    .field_count = COUNT(FIELDS), .help = (HELP)

static const struct kind kinds[] = {
    {KIND("image", "images", "software image", image_fields,
          "What servers boot from. QUEUED until its data was uploaded, then ACTIVE.")},
    {KIND("flavor", "flavors", "virtualised compute flavour", flavor_fields, "A size of servers.")},
    {KIND("keypair", "keypairs", NULL, keypair_fields, "A public key to log in with.")},
    {KIND("affinity-group", "affinity-groups", "affinity or anti-affinity constraint group",
          affinity_group_fields, "Servers that are to share a host, or not to.")},
    {KIND("network", "networks", "virtualised network resource", network_fields,
          "A layer-2 network.")},
    {KIND("subnet", "subnets", "virtualised network resource: network subnet", subnet_fields,
          "A range of addresses in a network.")},
    {KIND("security-group", "security-groups", "virtualised network resource: security group",
          security_group_fields, "A set of packet filter rules for ports.")},
    {KIND("port", "ports", "virtual network interface", port_fields,
          "A network interface, in a network and perhaps in a server.")},
    {KIND("server", "servers", "virtualised compute resource", server_fields, "A virtual machine."),
     .actions = server_actions, .action_fields = server_action_fields,
     .action_field_count = COUNT(server_action_fields)},
    {KIND("router", "routers", "virtualised network resource: router", router_fields,
          "Leads from subnets to one another and outside."),
     .actions = router_actions, .action_fields = router_action_fields,
     .action_field_count = COUNT(router_action_fields)},
    {KIND("floating-ip", "floating-ips", NULL, floating_ip_fields,
          "An address of an external network that leads to a port. ACTIVE while it does.")},
    {KIND("volume", "volumes", "virtualised storage resource", volume_fields,
          "A disk that lives longer than the server that it is attached to."),
     .actions = volume_actions, .action_fields = volume_action_fields,
     .action_field_count = COUNT(volume_action_fields)},
    {KIND("snapshot", "snapshots", "virtualised storage resource: snapshot", snapshot_fields,
          "What a volume held at a moment.")},
};

/* --- What a VIM tells of itself --------------------------------------------------------------- */
static const struct field quota_fields[] = {
    TEXT("name", 0, 0,
         "What is limited: servers, vcpus, ram, volumes, storage, networks and so on."),
    INTEGER("limit", 0, 0, INT64_MAX, NULL, "How much there may be; left out: no limit."),
    INTEGER("used", 0, 0, INT64_MAX, NULL, "How much there is; left out: not told."),
    TEXT("unit", 0, 0, "MiB, GiB; left out: a number of things."),
};
static const struct field zone_fields[] = {
    TEXT("name", 0, 0, "Its name, as a create takes it."),
    CHOICE("service", 0, "compute storage network", NULL, "Of what it is a zone."),
    BOOLEAN("available", 0, NULL, "Whether anything can be made there now."),
};
static const struct field host_fields[] = {
    TEXT("name", 0, 0, "Its name, as servers show it."),
    TEXT("zone", 0, 0, "Its availability zone."),
    TEXT("type", 0, 0, "Its hypervisor."),
    CHOICE("state", 0, "up down", NULL, "Whether it is heard of."),
    BOOLEAN("enabled", 0, NULL, "Whether new servers may be put there."),
    INTEGER("servers", 0, 0, INT64_MAX, NULL, "How many servers are there."),
    INTEGER("vcpus", 0, 0, INT64_MAX, NULL, "Processors that it has room for."),
    INTEGER("vcpus_used", 0, 0, INT64_MAX, NULL, "Processors that are taken."),
    INTEGER("vcpus_free", 0, 0, INT64_MAX, NULL, "Processors that may yet be promised."),
    INTEGER("ram", 0, 0, INT64_MAX, NULL, "MiB of memory."),
    INTEGER("ram_used", 0, 0, INT64_MAX, NULL, "MiB of memory that are taken."),
    INTEGER("ram_free", 0, 0, INT64_MAX, NULL, "MiB of memory that may yet be promised."),
    INTEGER("disk", 0, 0, INT64_MAX, NULL, "GiB of disk."),
    INTEGER("disk_used", 0, 0, INT64_MAX, NULL, "GiB of disk that are taken."),
};
static const struct field console_fields[] = {
    CHOICE("type", 0, "novnc spice serial log", NULL, "What it is."),
    TEXT("url", 0, 0, "Where a browser finds it; a secret that ends by itself."),
    TEXT("output", 0, 0, "Of a log: what the server has written lately."),
};
static const struct kind views[] = {
    {KIND("quota", "quotas", NULL, quota_fields, "A limit, and what is used of it.")},
    {KIND("zone", "zones", "resource zone", zone_fields, "An availability zone.")},
    {KIND("host", "hosts", "NFVI node", host_fields, "A compute host.")},
    {KIND("console", "consoles", NULL, console_fields, "A way to see a server's console.")},
};

const struct kind *views_all(size_t *ret_count)
{
    *ret_count = COUNT(views);
    return views;
}

const struct kind *view_by_name(const char *name)
{
    for (unsigned i = 0; i < COUNT(views); i++) {
        if (strcmp(views[i].name, name) == 0) {
            return &views[i];
        }
    }
    return NULL;
}

static const struct field drift_fields[] = {
    {.name = "since", .type = FIELD_TIME, .help = "When the first difference was seen."},
    {.name = "fields",
     .type = FIELD_OBJECT,
     .help = "By field: desired and seen, its values as they are wanted and as they are."},
};

/* What vimd itself knows of every resource. */
static const struct field added_fields[] = {
    TEXT("id", 0, 0, "vimd's id."),
    TEXT("kind", 0, 0, "The kind of resource."),
    TEXT_FROM("vim", C, 1, 63, "The VIM it lives at. May be left out where there is only one."),
    TEXT_FROM("project", C, 1, 63,
              "Whom it belongs to. In a request only administrators may name another than theirs."),
    BOOLEAN("shared", 0, NULL, "Whether every project may see and use it."),
    CHOICE("status", 0,
           "UNKNOWN QUEUED BUILD UPDATING DELETING UPLOADING ACTIVE SHUTOFF PAUSED SUSPENDED DOWN "
           "ERROR",
           NULL, "Normalised status."),
    BOOLEAN("pending", 0, NULL, "Whether the status will change by itself."),
    TEXT("status_reason", 0, 0, "Why it is in that status."),
    TEXT("backend_id", 0, 0, "The far side's id, once it is known."),
    TEXT("task", 0, 0, "The task that works on it now."),
    TEXT("tag", 0, 0,
         "Of what was found and carries a tag of vimd's: the id that it was made under."),
    BOOLEAN("adopted", 0, NULL, "Whether it was found, and adopted."),
    OBJECT("drift", 0, drift_fields, "What was changed outside."),
    TEXTS("labels", C | U, 64, "Texts to find it by; they never leave vimd."),
};

const struct kind *kinds_all(size_t *ret_count)
{
    *ret_count = COUNT(kinds);
    return kinds;
}

const struct kind *kind_by_name(const char *name)
{
    for (unsigned i = 0; i < COUNT(kinds); i++) {
        if (strcmp(kinds[i].name, name) == 0) {
            return &kinds[i];
        }
    }
    return strcmp(kinds_service()->name, name) == 0 ? kinds_service() : NULL;
}

const struct kind *kind_by_plural(const char *plural)
{
    for (unsigned i = 0; i < COUNT(kinds); i++) {
        if (strcmp(kinds[i].plural, plural) == 0) {
            return &kinds[i];
        }
    }
    return strcmp(kinds_service()->plural, plural) == 0 ? kinds_service() : NULL;
}

const struct field *kinds_added_fields(unsigned *ret_count)
{
    *ret_count = COUNT(added_fields);
    return added_fields;
}

const struct field *field_by_name(const struct field *fields, unsigned count, const char *name)
{
    for (unsigned i = 0; i < count; i++) {
        if (fields[i].name && strcmp(fields[i].name, name) == 0) {
            return &fields[i];
        }
    }
    return NULL;
}

bool field_is_missing(const struct field *field, const json_t *members)
{
    return (field->flags & FIELD_REQUIRED) && !json_object_get(members, field->name) &&
           !(field->unless && json_object_get(members, field->unless));
}

bool field_is_secret(const struct field *field)
{
    return (field->flags & FIELD_HIDDEN) && field->type != FIELD_REFERENCE &&
           field->type != FIELD_OBJECT;
}

char *field_names(const struct field *fields, unsigned count, unsigned flags)
{
    struct text names = {0};
    for (unsigned i = 0; i < count; i++) {
        if (fields[i].name && (flags == 0 || (fields[i].flags & flags) != 0)) {
            if (names.length > 0) {
                text_add_char(&names, ' ');
            }
            text_add(&names, fields[i].name);
        }
    }
    return text_take(&names);
}

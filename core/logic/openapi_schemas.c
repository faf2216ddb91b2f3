/*
 * logic/openapi_schemas.c - schemas of bodies, made of the tables of fields.
 */
#include "logic/openapi.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/json.h"
#include "base/text.h"
#include "logic/logic.h"
#include "logic/vocabularies.h"

char *openapi_type_name(const char *name)
{
    struct text text = {0};
    bool upper = true;
    for (; *name != '\0'; name++) {
        if (*name == '-') {
            upper = true;
        } else {
            text_add_char(&text, upper ? (char)toupper((unsigned char)*name) : *name);
            upper = false;
        }
    }
    return text_take(&text);
}

static json_t *words_json(const char *words)
{
    json_t *list = json_array();
    while (*words != '\0') {
        size_t length = strcspn(words, " ");
        json_array_append_new(list, json_stringn(words, length));
        words += length + (words[length] == ' ');
    }
    return list;
}

static json_t *reference(const char *schema)
{
    CLEANUP_FREE char *path = text_format("#/components/schemas/%s", schema);
    return json_pack("{s:s}", "$ref", path);
}

/* --- One field ------------------------------------------------------------------------------- */

static void set_type(json_t *schema, const char *type, const struct field *field)
{
    json_object_set_new(schema, "type",
                        field->flags & FIELD_NULLABLE ? json_pack("[s,s]", type, "null")
                                                      : json_string(type));
}

static void set_help(json_t *schema, const struct field *field)
{
    if (field->type != FIELD_REFERENCE || field->reference == NULL) {
        json_set_text(schema, "description", field->help);
        return;
    }
    CLEANUP_FREE char *help =
        text_format("%s Id of a %s; in a request also its name.", field->help, field->reference);
    json_set_text(schema, "description", help);
}

static void set_default(json_t *schema, const struct field *field)
{
    if (field->default_value == NULL) {
        return;
    }
    json_t *value = field->type == FIELD_INTEGER || field->type == FIELD_BOOLEAN
                        ? json_loads(field->default_value, JSON_DECODE_ANY, NULL)
                        : json_string(field->default_value);
    json_object_set_new(schema, "default", value);
}

static void set_length(json_t *schema, const struct field *field)
{
    if (field->minimum > 0) {
        json_set_integer(schema, "minLength", field->minimum);
    }
    if (field->maximum > 0) {
        json_set_integer(schema, "maxLength", field->maximum);
    }
}

/* Of what is required unless something else is there, the description tells. */
static bool is_always_required(const struct field *field)
{
    return (field->flags & FIELD_REQUIRED) && !field->unless;
}

static json_t *object_schema(const struct field *fields, unsigned count, bool shown)
{
    json_t *schema = json_pack("{s:s}", "type", "object");
    json_t *properties = json_object();
    json_t *required = json_array();
    for (unsigned i = 0; i < count; i++) {
        json_object_set_new(properties, fields[i].name, openapi_field(&fields[i], shown));
        if (is_always_required(&fields[i])) {
            json_array_append_new(required, json_string(fields[i].name));
        }
    }
    json_object_set_new(schema, "properties", properties);
    if (json_array_size(required) > 0 && !shown) {
        json_object_set(schema, "required", required);
    }
    json_decref(required);
    /* An object of no fields has whatever there is. */
    json_object_set_new(schema, "additionalProperties", json_boolean(count == 0));
    return schema;
}

static json_t *text_schema(const struct field *field, bool shown)
{
    json_t *schema = json_object();
    set_type(schema, "string", field);
    switch (field->type) {
    case FIELD_TIME:
        json_set_text(schema, "format", "date-time");
        break;
    case FIELD_CHOICE:
        json_object_set_new(schema, "enum", words_json(field->choices));
        break;
    case FIELD_ADDRESS:
        if (!(field->flags & FIELD_NULLABLE)) {
            json_object_set_new(schema, "anyOf",
                                json_pack("[{s:s},{s:s}]", "format", "ipv4", "format", "ipv6"));
        }
        break;
    case FIELD_CIDR:
        json_set_text(schema, "pattern", "^[0-9A-Fa-f.:]+/[0-9]{1,3}$");
        break;
    case FIELD_MAC:
        json_set_text(schema, "pattern", "^([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}$");
        break;
    case FIELD_BASE64:
        json_set_text(schema, "contentEncoding", "base64");
        break;
    default:
        break;
    }
    if (!shown) {
        set_length(schema, field);
    }
    return schema;
}

static json_t *integer_schema(const struct field *field, bool shown)
{
    json_t *schema = json_object();
    set_type(schema, "integer", field);
    if (!shown && (field->minimum != 0 || field->maximum != 0)) {
        json_set_integer(schema, "minimum", field->minimum);
        json_set_integer(schema, "maximum", field->maximum);
    }
    return schema;
}

/* What labels_check() asks for. */
static void set_label_rules(json_t *schema)
{
    json_object_set_new(schema, "propertyNames",
                        json_pack("{s:s}", "pattern", "^[A-Za-z0-9_./-]{1,63}$"));
    json_set_integer(json_object_get(schema, "additionalProperties"), "maxLength", 255);
}

/* An object of named elements, each with the fields of a kind and some besides. */
static json_t *map_schema(const struct field *map, bool shown)
{
    const struct kind *kind = kind_by_name(map->reference);
    json_t *element = object_schema(map->fields, map->field_count, shown);
    json_t *properties = json_object_get(element, "properties");
    json_t *required = json_array();
    for (unsigned i = 0; i < kind->field_count; i++) {
        const struct field *field = &kind->fields[i];
        if (!field_map_takes(map, field) || (shown && field_is_secret(field)) ||
            json_object_get(properties, field->name)) {
            continue;
        }
        json_object_set_new(properties, field->name, openapi_field(field, shown));
        if (is_always_required(field) && strcmp(field->name, "name") != 0) {
            json_array_append_new(required, json_string(field->name));
        }
    }
    if (json_object_get(element, "required")) {
        json_array_extend(required, json_object_get(element, "required"));
    }
    if (json_array_size(required) > 0 && !shown) {
        json_object_set(element, "required", required);
    }
    json_decref(required);
    json_t *schema = json_pack("{s:s, s:{s:s}, s:o}", "type", "object", "propertyNames", "pattern",
                               "^[A-Za-z0-9][A-Za-z0-9_-]{0,39}$", "additionalProperties", element);
    if (!shown && map->maximum > 0) {
        json_set_integer(schema, "maxProperties", map->maximum);
    }
    return schema;
}

json_t *openapi_field(const struct field *field, bool shown)
{
    json_t *schema;
    switch (field->type) {
    case FIELD_INTEGER:
        schema = integer_schema(field, shown);
        break;
    case FIELD_BOOLEAN:
        schema = json_pack("{s:s}", "type", "boolean");
        break;
    case FIELD_TEXTS:
        schema =
            json_pack("{s:s, s:{s:s}}", "type", "object", "additionalProperties", "type", "string");
        if (!shown && field->maximum > 0) {
            json_set_integer(schema, "maxProperties", field->maximum);
        }
        if (!shown && field->name && strcmp(field->name, "labels") == 0) {
            set_label_rules(schema);
        }
        break;
    case FIELD_LIST:
        schema =
            json_pack("{s:s, s:o}", "type", "array", "items", openapi_field(field->fields, shown));
        if (!shown && field->maximum > 0) {
            json_set_integer(schema, "maxItems", field->maximum);
        }
        break;
    case FIELD_OBJECT:
        schema = object_schema(field->fields, field->field_count, shown);
        break;
    case FIELD_MAP:
        schema = map_schema(field, shown);
        break;
    default:
        schema = text_schema(field, shown);
        break;
    }
    set_help(schema, field);
    if (!shown) {
        set_default(schema, field);
    }
    return schema;
}

/* --- Kinds ----------------------------------------------------------------------------------- */

/* A merge patch takes a member away with null, and labels as a whole. */
static void set_merge_rules(json_t *schema, bool labels)
{
    json_object_set_new(json_object_get(schema, "additionalProperties"), "type",
                        json_pack("[s,s]", "string", "null"));
    if (labels) {
        json_object_set_new(schema, "type", json_pack("[s,s]", "object", "null"));
    }
}

static void add_properties(json_t *properties, const struct field *fields, unsigned count,
                           unsigned flags, bool shown)
{
    for (unsigned i = 0; i < count; i++) {
        bool belongs = shown ? !(fields[i].flags & FIELD_HIDDEN) : (fields[i].flags & flags) != 0;
        if (belongs) {
            json_t *schema = openapi_field(&fields[i], shown);
            if (flags & FIELD_UPDATE && fields[i].type == FIELD_TEXTS) {
                set_merge_rules(schema, strcmp(fields[i].name, "labels") == 0);
            }
            json_object_set_new(properties, fields[i].name, schema);
        }
    }
}

static json_t *kind_schema(const struct kind *kind, unsigned flags, bool shown)
{
    unsigned count;
    const struct field *added = kinds_added_fields(&count);
    json_t *properties = json_object();
    add_properties(properties, added, count, flags, shown);
    add_properties(properties, kind->fields, kind->field_count, flags, shown);
    json_t *schema = json_pack("{s:s, s:o}", "type", "object", "properties", properties);
    if (shown) {
        json_object_set_new(schema, "required",
                            words_json("id kind name vim project shared status pending"));
    } else if (flags == FIELD_CREATE) {
        json_t *required = json_array();
        for (unsigned i = 0; i < kind->field_count; i++) {
            if (is_always_required(&kind->fields[i])) {
                json_array_append_new(required, json_string(kind->fields[i].name));
            }
        }
        json_object_set_new(schema, "required", required);
    }
    json_object_set_new(schema, "additionalProperties", json_false());
    return schema;
}

/* A merge patch: null takes a member of an object of texts away; nothing has a default. */
static json_t *patch_schema(const struct kind *kind)
{
    json_t *schema = kind_schema(kind, FIELD_UPDATE, false);
    const char *name;
    json_t *property;
    json_object_foreach(json_object_get(schema, "properties"), name, property)
    {
        json_object_del(property, "default");
        if (json_is_object(json_object_get(property, "additionalProperties"))) {
            json_object_set_new(property, "additionalProperties",
                                json_pack("{s:[s,s]}", "type", "string", "null"));
        }
    }
    return schema;
}

static json_t *action_schema(const struct kind *kind)
{
    json_t *names = json_array();
    for (const char *const *name = kind->actions; *name; name++) {
        json_array_append_new(names, json_string(*name));
    }
    json_t *properties = json_pack("{s:{s:s, s:o, s:s}}", "action", "type", "string", "enum", names,
                                   "description", "What to do.");
    for (unsigned i = 0; i < kind->action_field_count; i++) {
        const struct field *field = &kind->action_fields[i];
        json_t *argument = openapi_field(field, false);
        if (field->actions) {
            CLEANUP_FREE char *help = text_format("Of %s: %s", field->actions, field->help);
            json_set_text(argument, "description", help);
        }
        json_object_set_new(properties, field->name, argument);
    }
    return json_pack("{s:s, s:o, s:[s], s:b}", "type", "object", "properties", properties,
                     "required", "action", "additionalProperties", 0);
}

static json_t *list_schema(const char *member, const char *element)
{
    return json_pack("{s:s, s:{s:{s:s, s:o}, s:{s:s, s:s}}, s:[s], s:b}", "type", "object",
                     "properties", member, "type", "array", "items", reference(element), "next",
                     "type", "string", "description",
                     "page_token of the next page; left out on the last.", "required", member,
                     "additionalProperties", 0);
}

static void set_schema(json_t *schemas, const char *format, const char *name, json_t *schema)
{
    CLEANUP_FREE char *full = text_format("%s%s", name, format);
    json_object_set_new(schemas, full, schema);
}

static void add_kind(json_t *schemas, const struct kind *kind)
{
    CLEANUP_FREE char *name = openapi_type_name(kind->name);
    json_t *shown = kind_schema(kind, 0, true);
    CLEANUP_FREE char *help = kind->etsi ? text_format("%s ETSI NFV: %s.", kind->help, kind->etsi)
                                         : text_duplicate(kind->help);
    json_set_text(shown, "description", help);
    set_schema(schemas, "", name, shown);
    set_schema(schemas, "List", name, list_schema(kind->plural, name));
    set_schema(schemas, "Create", name, kind_schema(kind, FIELD_CREATE, false));
    set_schema(schemas, "Update", name, patch_schema(kind));
    if (kind->actions) {
        set_schema(schemas, "Action", name, action_schema(kind));
    }
}

/* --- Everything else ------------------------------------------------------------------------- */

static json_t *vocabulary_schema(const struct vocabulary *vocabulary, const char *required)
{
    json_t *schema = object_schema(vocabulary->parts[0].fields, vocabulary->parts[0].count, true);
    json_object_set_new(schema, "required", words_json(required));
    return schema;
}

/* Of a dry run: quota and capacity. */
#define ROOM_TOLD                                                                                     \
    "'not_checked':{'type':'array','items':{'type':'string'},"                                        \
    "'description':'What the VIM did not tell.'},"                                                    \
    "'not_checked_because':{'type':'object','additionalProperties':{'type':'string'},"                \
    "'description':'Why, of each.'},"                                                                 \
    "'amounts':{'type':'array','description':'What it takes more than there is.','items':{"           \
    "'type':'object','properties':{'resource':{'type':'string','description':'As in the capacity of " \
    "a VIM.'},'needed':{'type':'integer'},'left':{'type':['integer','null'],'description':"           \
    "'null: there is no limit; left out: the VIM does not tell.'}},"                                  \
    "'required':['resource','needed'],'additionalProperties':false}},"

/* Schemas that no table knows, as text. */
static const struct schema_text others[] = {
    {"Problem",
     "{'type':'object','description':'RFC 9457.','properties':{"
     "'type':{'type':'string','format':'uri','description':'urn:vimd:problem: and the code.'},"
     "'title':{'type':'string'},'status':{'type':'integer'},'detail':{'type':'string'},"
     "'instance':{'type':'string','description':'The id of the request.'},"
     "'code':{'type':'string','description':'What kind of problem, for programs.'},"
     "'retryable':{'type':'boolean','description':'Whether the same may succeed later.'},"
     "'retry_after':{'type':'integer','description':'Seconds after which to try again.'},"
     "'task':{'type':'string','description':'The task that it is about.'},"
     "'vim':{'type':'string','description':'The VIM that it is about.'},"
     "'capabilities':{'type':'string','description':'Where to see what the VIM can do.'},"
     "'backend':{'type':'object','description':'What the VIM said.','properties':{"
     "'service':{'type':'string'},'status':{'type':'string'},'request_id':{'type':'string'},"
     "'message':{'type':'string'}},'additionalProperties':false},"
     "'errors':{'type':'array','items':{'type':'object','properties':{"
     "'pointer':{'type':'string','description':'JSON pointer into the body, or ? and the name of a "
     "query parameter.'},'detail':{'type':'string'},"
     "'resource':{'type':'string','description':'Of a quota or a capacity that does not suffice: "
     "which.'},'needed':{'type':'integer'},'left':{'type':'integer'}},"
     "'required':['pointer','detail'],"
     "'additionalProperties':false}}},"
     "'required':['type','title','status','code','retryable'],'additionalProperties':false}"},
    {"Health", "{'type':'object','properties':{'status':{'type':'string','enum':['ok']}},"
               "'required':['status'],'additionalProperties':false}"},
    {"Ready",
     "{'type':'object','properties':{'status':{'type':'string','enum':['ready','not ready']},"
     "'detail':{'type':'object','description':'What is not ready.'}},'required':['status'],"
     "'additionalProperties':false}"},
    {"Version",
     "{'type':'object','properties':{'name':{'type':'string'},'version':{'type':'string'},"
     "'api':{'type':'string'},'plugin_abi':{'type':'string'}},"
     "'required':['name','version','api','plugin_abi'],'additionalProperties':false}"},
    {"Principal",
     "{'type':'object','properties':{'token':{'type':'string','description':'Id of the token.'},"
     "'name':{'type':'string'},'project':{'type':'string'},"
     "'role':{'type':'string','enum':['reader','member','operator','admin']},"
     "'expires':{'type':'string','format':'date-time'}},"
     "'required':['token','name','project','role'],'additionalProperties':false}"},
    {"PluginList",
     "{'type':'object','properties':{'plugins':{'type':'array','items':{'type':'object',"
     "'properties':{'name':{'type':'string'},'version':{'type':'string'},"
     "'type':{'type':'string'},'summary':{'type':'string'}},'required':['name','type']}}},"
     "'required':['plugins'],'additionalProperties':false}"},
    {"Latency",
     "{'type':'object','description':'Of calls that ended in the last seconds; null if there "
     "were none.','properties':{'mean_ms':{'type':['number','null']},"
     "'p95_ms':{'type':['number','null']}},'required':['mean_ms','p95_ms'],"
     "'additionalProperties':false}"},
    {"Replica",
     "{'type':'object','description':'A process that has the block, as its last heartbeat told.',"
     "'properties':{'id':{'type':'string'},'host':{'type':'string'},'pid':{'type':'integer'},"
     "'address':{'type':'string','description':'Where it takes requests of other blocks.'},"
     "'version':{'type':'string'},'state':{'type':'string','enum':['up','draining']},"
     "'roles':{'type':'array','items':{'type':'string'}},"
     "'started':{'type':'string','format':'date-time'},"
     "'cpu':{'type':'number','description':'Processors in use, by all blocks of the process.'},"
     "'cpu_limit':{'type':'number','description':'Processors that it may use.'},"
     "'load':{'type':'number','description':'cpu / cpu_limit.'},"
     "'memory':{'type':'integer','description':'Bytes resident.'},"
     "'rate':{'type':'number','description':'Calls per second.'},"
     "'latency':{'$ref':'#/components/schemas/Latency'},'in_flight':{'type':'integer'}},"
     "'required':['id','host','pid','version','state','roles','started','cpu','cpu_limit','load',"
     "'memory','rate','latency','in_flight'],'additionalProperties':false}"},
    {"Block",
     "{'type':'object','properties':{"
     "'block':{'type':'string','enum':['api','logic','worker','store','queue']},"
     "'rate':{'type':'number','description':'Calls per second: requests, steps, calls of the "
     "store or the queue.'},'latency':{'$ref':'#/components/schemas/Latency'},"
     "'in_flight':{'type':'integer'},"
     "'operations':{'type':'object','additionalProperties':{'type':'object','properties':{"
     "'rate':{'type':'number'},'latency':{'$ref':'#/components/schemas/Latency'}},"
     "'required':['rate','latency'],'additionalProperties':false}},"
     "'ready':{'type':'integer','description':'Replicas that are up.'},"
     "'replicas':{'type':'array','items':{'$ref':'#/components/schemas/Replica'}},"
     "'plugin':{'type':'string','description':'Of the store and the queue.'},"
     "'reachable':{'type':'boolean'},"
     "'probe_ms':{'type':'number','description':'How long it took to answer now.'},"
     "'detail':{'type':'string','description':'Why it is not reachable.'},"
     "'depth':{'type':'object','description':'Entries of the queue.','properties':{"
     "'waiting':{'type':'integer'},'delayed':{'type':'integer'},'delivered':{'type':'integer'},"
     "'oldest_ms':{'type':'integer'}},"
     "'required':['waiting','delayed','delivered','oldest_ms'],'additionalProperties':false}},"
     "'required':['block','rate','latency','in_flight','operations'],"
     "'additionalProperties':false}"},
    {"BlockList", "{'type':'object','properties':{'blocks':{'type':'array','items':{"
                  "'$ref':'#/components/schemas/Block'}}},'required':['blocks'],"
                  "'additionalProperties':false}"},
    {"VimCheck",
     "{'type':'object','properties':{'vim':{'type':'string'},'ok':{'type':'boolean'},"
     "'checked':{'type':'string','format':'date-time'},'took_ms':{'type':'integer'},"
     "'facts':{'type':'object','description':'What the driver tells: versions, endpoints.'},"
     "'error':{'type':'object','properties':{'code':{'type':'string'},"
     "'detail':{'type':'string'},'retryable':{'type':'boolean'}},"
     "'required':['code','detail','retryable'],'additionalProperties':false}},"
     "'required':['vim','ok','checked','took_ms'],'additionalProperties':false}"},
    {"Capabilities",
     "{'type':'object','properties':{'vim':{'type':'string'},'plugin':{'type':'string'},"
     "'kinds':{'type':'array','items':{'type':'object','properties':{"
     "'kind':{'type':'string'},'verbs':{'type':'array','items':{'type':'string','enum':["
     "'list','get','create','update','delete','action','upload','sample','changes','look']}},"
     "'actions':{'type':'array','items':{'type':'string'}}},"
     "'required':['kind','verbs','actions'],'additionalProperties':false}}},"
     "'required':['vim','plugin','kinds'],'additionalProperties':false}"},
    {"Verdict",
     "{'type':'object','description':'What a create would do; nothing was stored.','properties':{"
     "'valid':{'type':'boolean'},'kind':{'type':'string'},'vim':{'type':'string'},"
     "'project':{'type':'string'},"
     "'checked':{'type':'array','items':{'type':'string'}}," ROOM_TOLD
     "'spec':{'type':'object','description':'The fields, with ids for names.'}},"
     "'required':['valid','kind','vim','project','checked','not_checked','amounts','spec'],"
     "'additionalProperties':false}"},
    {"SubscriptionCreate",
     "{'type':'object','properties':{'name':{'type':'string','maxLength':255},"
     "'url':{'type':'string','format':'uri','maxLength':2048},"
     "'secrets':{'type':'array','minItems':1,'maxItems':2,'items':{'type':'string',"
     "'minLength':16,'maxLength':128},'description':'What is sent is signed with each: two while one "
     "takes the place of the other. Never shown.'},"
     "'enabled':{'type':'boolean'},'all_projects':{'type':'boolean',"
     "'description':'For operators and administrators.'},"
     "'types':{'type':'array','items':{'type':'string'}},"
     "'kinds':{'type':'array','items':{'type':'string'}},"
     "'resources':{'type':'array','items':{'type':'string'}},"
     "'vims':{'type':'array','items':{'type':'string'}}},"
     "'required':['url','secrets'],'additionalProperties':false}"},
    {"SubscriptionUpdate",
     "{'type':'object','properties':{'name':{'type':'string','maxLength':255},"
     "'url':{'type':'string','format':'uri','maxLength':2048},"
     "'secrets':{'type':'array','minItems':1,'maxItems':2,'items':{'type':'string',"
     "'minLength':16,'maxLength':128},'description':'What is sent is signed with each: two while one "
     "takes the place of the other. Never shown.'},"
     "'enabled':{'type':'boolean'},'all_projects':{'type':'boolean',"
     "'description':'For operators and administrators.'},"
     "'types':{'type':['array','null'],'items':{'type':'string'}},"
     "'kinds':{'type':['array','null'],'items':{'type':'string'}},"
     "'resources':{'type':['array','null'],'items':{'type':'string'}},"
     "'vims':{'type':['array','null'],'items':{'type':'string'}}},"
     "'additionalProperties':false}"},
    {"NetworkServiceVerdict",
     "{'type':'object','description':'What a create or an update would do; nothing was "
     "stored.','properties':{"
     "'valid':{'type':'boolean'},'kind':{'type':'string'},'vim':{'type':'string'},"
     "'project':{'type':'string'},"
     "'checked':{'type':'array','items':{'type':'string'}}," ROOM_TOLD
     "'spec':{'type':'object','description':'The description, with ids for names.'},"
     "'plan':{'type':'object','properties':{"
     "'node_count':{'type':'integer'},"
     "'levels':{'type':'integer','description':'The longest chain of nodes that need each other.'},"
     "'creates':{'type':'object','additionalProperties':{'type':'integer'},"
     "'description':'How many calls that make something it takes, by kind.'},"
     "'nodes':{'type':'array','description':'In an order in which they can be made.','items':{"
     "'type':'object','properties':{'name':{'type':'string'},'kind':{'type':'string'},"
     "'level':{'type':'integer'},'needs':{'type':'array','items':{'type':'string'}}},"
     "'required':['name','kind','level','needs'],'additionalProperties':false}}},"
     "'required':['node_count','levels','creates','nodes'],'additionalProperties':false}},"
     "'required':['valid','kind','vim','project','checked','not_checked','amounts','spec','plan'],"
     "'additionalProperties':false}"},
    {"TokenCreate",
     "{'type':'object','properties':{'name':{'type':'string','minLength':1,'maxLength':63},"
     "'project':{'type':'string','pattern':'^[A-Za-z0-9_-]{1,63}$'},"
     "'role':{'type':'string','enum':['reader','member','operator','admin']},"
     "'expires':{'type':'string','format':'date-time'}},"
     "'required':['name','project','role'],'additionalProperties':false}"},
    {"TokenCreated",
     "{'type':'object','properties':{'id':{'type':'string'},'name':{'type':'string'},"
     "'project':{'type':'string'},'role':{'type':'string'},"
     "'expires':{'type':'string','format':'date-time'},"
     "'token':{'type':'string','description':'The secret: shown this once.'}},"
     "'required':['id','name','project','role','token'],'additionalProperties':false}"},
    {"OpenApi", "{'type':'object','required':['openapi','info','paths']}"},
};

/* What is asked of a VIM and not stored: lists of views by the member's name. */
static void add_views(json_t *schemas)
{
    static const struct {
        const char *name, *view, *member;
    } lists[] = {
        {"Capacity", "quota", "quotas"}, {"Zones", "zone", "zones"}, {"Hosts", "host", "hosts"}};
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        const struct kind *view = view_by_name(lists[i].view);
        json_t *element = object_schema(view->fields, view->field_count, true);
        json_set_text(element, "description", view->help);
        json_object_set_new(
            schemas, lists[i].name,
            json_pack("{s:s, s:{s:{s:s}, s:{s:s, s:s, s:s}, s:{s:s, s:o}}, s:[s,s,s], s:b}", "type",
                      "object", "properties", "vim", "type", "string", "checked", "type", "string",
                      "format", "date-time", "description", "When it was asked.", lists[i].member,
                      "type", "array", "items", element, "required", "vim", "checked",
                      lists[i].member, "additionalProperties", 0));
    }
    const struct kind *console = view_by_name("console");
    json_t *schema = object_schema(console->fields, console->field_count, true);
    json_object_set_new(schema, "required", words_json("type"));
    json_object_set_new(schemas, "Console", schema);
}

json_t *openapi_parse_schema(const char *schema)
{
    CLEANUP_FREE char *copy = text_duplicate(schema);
    for (char *c = copy; *c != '\0'; c++) {
        *c = *c == '\'' ? '"' : *c;
    }
    return json_loads(copy, 0, NULL);
}

json_t *openapi_schemas(void)
{
    size_t count;
    const struct kind *kinds = kinds_all(&count);
    json_t *schemas = json_object();
    for (size_t i = 0; i < count; i++) {
        add_kind(schemas, &kinds[i]);
    }
    add_kind(schemas, kinds_service());
    json_object_set_new(schemas, "Task",
                        vocabulary_schema(&vocabulary_tasks,
                                          "id kind state progress target project vim created "
                                          "updated attempt max_attempts steps"));
    json_object_set_new(schemas, "TaskList", list_schema("tasks", "Task"));
    json_object_set_new(schemas, "Event",
                        vocabulary_schema(&vocabulary_events, "id type time project data"));
    json_object_set_new(schemas, "Subscription",
                        vocabulary_schema(&vocabulary_subscriptions,
                                          "id name project url enabled secret_count delivery"));
    json_object_set_new(schemas, "SubscriptionList", list_schema("subscriptions", "Subscription"));
    json_object_set_new(schemas, "DeadLetter",
                        vocabulary_schema(&vocabulary_dead_letters,
                                          "id subscription event attempts time error data"));
    json_object_set_new(schemas, "DeadLetterList", list_schema("dead_letters", "DeadLetter"));
    json_object_set_new(schemas, "Alarm",
                        vocabulary_schema(&vocabulary_alarms, "id type severity raised"));
    json_object_set_new(schemas, "AlarmList", list_schema("alarms", "Alarm"));
    json_object_set_new(
        schemas, "Orphan",
        vocabulary_schema(&vocabulary_orphans, "id kind name vim project status backend_id tag"));
    json_object_set_new(schemas, "OrphanList", list_schema("orphans", "Orphan"));
    json_object_set_new(
        schemas, "Drift",
        vocabulary_schema(&vocabulary_drift, "id kind name vim project status backend_id drift"));
    json_object_set_new(schemas, "DriftList", list_schema("drift", "Drift"));
    json_object_set_new(schemas, "EventList", list_schema("events", "Event"));
    json_object_set_new(schemas, "Vim",
                        vocabulary_schema(&vocabulary_vims, "id name plugin health kinds"));
    json_object_set_new(schemas, "VimList", list_schema("vims", "Vim"));
    json_object_set_new(schemas, "Token",
                        vocabulary_schema(&vocabulary_tokens, "id name project role created"));
    json_object_set_new(schemas, "TokenList", list_schema("tokens", "Token"));
    add_views(schemas);
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        json_object_set_new(schemas, others[i].name, openapi_parse_schema(others[i].schema));
    }
    openapi_add_scaling(schemas);
    return schemas;
}

/*
 * logic/openapi.h - /openapi.json, made of the tables of routes, kinds and errors.
 */
#ifndef VIMD_LOGIC_OPENAPI_H
#define VIMD_LOGIC_OPENAPI_H

#include <stdbool.h>
#include <jansson.h>
#include "model/kinds.h"

/* The document as text, malloc'ed; PRETTY as docs/openapi.json has it. SERVER_URL may be NULL: "/". */
char *openapi_text(const char *server_url, bool pretty);

/* components/schemas: a new reference. */
json_t *openapi_schemas(void);

/* A schema as text, with ' for ", to be readable. */
struct schema_text {
    const char *name, *schema;
};
json_t *openapi_parse_schema(const char *schema);
/* openapi_scaling.c: those of services that are scaled. */
void openapi_add_scaling(json_t *schemas);

/* "SecurityGroup" for security-group, "SecurityGroups" for security-groups; malloc'ed. */
char *openapi_type_name(const char *name);

/* The schema of a field: as it is sent in a request, or as it is shown, when what the far side tells
 * is not held to the bounds of requests. A new reference. */
json_t *openapi_field(const struct field *field, bool shown);

#endif

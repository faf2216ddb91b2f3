/* Bodies of requests: parsed with limits, then checked against the table of every kind, for a
 * create, an update, an action and as something that a driver emitted. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "base/json.h"
#include "model/kinds.h"
#include "vim/plugin.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int on_reference(void *argument, const char *referenced, const char *pointer,
                        const char *value, char **ret_value)
{
    unsigned *count = argument;
    if (kind_by_name(referenced) == NULL || pointer[0] != '/') {
        abort();
    }
    /* Every other one is replaced, as translating does. */
    if ((*count)++ % 2 == 0) {
        *ret_value = strdup(value[0] == '\0' ? "x" : "00000000-0000-4000-8000-000000000000");
    }
    return 0;
}

static void check(const struct kind *kind, json_t *json)
{
    struct findings create = {0};
    struct findings other = {0};
    kind_check_create(kind, json, &create);
    kind_check_update(kind, json, &other);
    kind_check_body(kind, json, &other);
    for (size_t i = 0; kind->actions != NULL && kind->actions[i] != NULL; i++) {
        kind_check_action(kind, kind->actions[i], json, &other);
    }
    if (create.count == 0) {
        /* What passed may be translated; references stand where the table says. */
        unsigned count = 0;
        json_t *copy = json_deep_copy(json);
        (void)kind_each_reference(kind, copy, on_reference, &count);
        json_decref(copy);
    }
    findings_free(&create);
    findings_free(&other);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *json = NULL;
    struct json_fault fault;
    if (json_parse((const char *)data, size, NULL, &json, &fault) != VIM_OK) {
        if (memchr(fault.text, '\0', sizeof(fault.text)) == NULL || fault.text[0] == '\0') {
            abort(); /* a refusal says why */
        }
        return 0;
    }
    size_t count;
    const struct kind *kinds = kinds_all(&count);
    for (size_t i = 0; i < count; i++) {
        check(&kinds[i], json);
    }
    json_decref(json);
    return 0;
}

#include "main/roles.h"

#include <stdio.h>
#include <string.h>
#include <vim/plugin.h>

static const char *const role_names[] = {"api", "logic", "worker", "scaler"};

static int role_parse(const char *name, size_t length, unsigned *roles, char *ret_wrong,
                      size_t size)
{
    for (size_t i = 0; i < sizeof role_names / sizeof role_names[0]; i++) {
        if (strlen(role_names[i]) == length && memcmp(role_names[i], name, length) == 0) {
            *roles |= 1u << i;
            return VIM_OK;
        }
    }
    (void)snprintf(ret_wrong, size, "'%.*s' is not a role; api, logic, worker and scaler are",
                   (int)(length < 40 ? length : 40), name);
    return VIM_E_INVALID;
}

int roles_parse(const char *text, unsigned *roles, char *ret_wrong, size_t size)
{
    for (;;) {
        size_t length = strcspn(text, ",");
        int code = role_parse(text, length, roles, ret_wrong, size);
        if (code || !text[length]) {
            return code;
        }
        text += length + 1;
    }
}

const char *roles_text(unsigned roles)
{
    static const char *const texts[] = {
        "",
        "api",
        "logic",
        "api logic",
        "worker",
        "api worker",
        "logic worker",
        "api logic worker",
        "scaler",
        "api scaler",
        "logic scaler",
        "api logic scaler",
        "worker scaler",
        "api worker scaler",
        "logic worker scaler",
        "api logic worker scaler",
    };
    return texts[roles & (PROCESS_ALL | PROCESS_SCALER)];
}

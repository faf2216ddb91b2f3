#include "logic/access.h"

#include <string.h>
#include "model/resource.h"

bool access_sees_all(const struct principal *principal)
{
    return principal->role >= ROLE_OPERATOR;
}

bool access_sees(const struct principal *principal, const char *parent)
{
    return access_sees_all(principal) || strcmp(parent, principal->project) == 0 ||
           strcmp(parent, PROJECT_SHARED) == 0;
}

bool access_changes(const struct principal *principal, const char *project)
{
    return principal->role == ROLE_ADMIN ||
           (principal->role >= ROLE_MEMBER && strcmp(project, principal->project) == 0);
}

bool access_is_project(const char *text)
{
    size_t length = strlen(text);
    return length >= 1 && length <= 63 &&
           strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") ==
               length;
}

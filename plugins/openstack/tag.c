#include "tag.h"
#include "json.h"

#include <string.h>

#define TAG_OPEN "[vimd:"
#define TAG_LENGTH (sizeof(TAG_OPEN) - 1 + OS_TAG_SIZE - 1 + 1)

char *os_tag_write(const char *description, const char *request_id)
{
    const char *text = description == NULL ? "" : description;

    if (request_id == NULL || *request_id == '\0') {
        return os_text("%s", text);
    }
    return os_text("%s%s" TAG_OPEN "%s]", text, *text == '\0' ? "" : " ", request_id);
}

int os_tag_read(const char *description, char ret_tag[OS_TAG_SIZE])
{
    size_t length = description == NULL ? 0 : strlen(description);
    char id[OS_TAG_SIZE];
    const char *mark;

    ret_tag[0] = '\0';
    if (length < TAG_LENGTH) {
        return (int)length;
    }
    mark = description + length - TAG_LENGTH;
    if (strncmp(mark, TAG_OPEN, sizeof(TAG_OPEN) - 1) != 0 || mark[TAG_LENGTH - 1] != ']') {
        return (int)length;
    }
    memcpy(id, mark + sizeof(TAG_OPEN) - 1, OS_TAG_SIZE - 1);
    id[OS_TAG_SIZE - 1] = '\0';
    if (!os_is_uuid(id)) {
        return (int)length;
    }
    memcpy(ret_tag, id, OS_TAG_SIZE);
    length -= TAG_LENGTH;
    if (length > 0 && description[length - 1] == ' ') {
        length--;
    }
    return (int)length;
}

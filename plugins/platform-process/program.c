#include "process.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORDS_MAX 128
#define NAME_SIZE_MAX 48
#define MARK "{replica}"

static bool is_name(const char *text)
{
    size_t length = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-");
    return length > 0 && length <= NAME_SIZE_MAX && text[length] == '\0';
}

/* Splits TEXT at blanks; "..." keeps them together. No shell is asked, so nothing else is special. */
static char **split(const char *text)
{
    char **words = calloc(WORDS_MAX + 1, sizeof(*words));
    size_t count = 0;
    while (words && count < WORDS_MAX) {
        text += strspn(text, " \t");
        if (!*text) {
            break;
        }
        const char *stops = *text == '"' ? "\"" : " \t";
        text += *text == '"';
        size_t length = strcspn(text, stops);
        words[count++] = strndup(text, length);
        text += length + (text[length] == '"');
    }
    return words;
}

static void words_free(char **words)
{
    for (char **word = words; word && *word; word++) {
        free(*word);
    }
    free(words);
}

void programs_free(struct program *programs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(programs[i].name);
        free(programs[i].ready);
        words_free(programs[i].words);
    }
    free(programs);
}

static struct program *find(struct program *programs, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(programs[i].name, name) == 0) {
            return &programs[i];
        }
    }
    return NULL;
}

static int parse_group(struct program *programs, size_t count, const char *entry, char *reason)
{
    char **words = split(entry);
    struct program *program = &programs[count];
    const char *wrong = !words || !words[0] || !words[1] ? "has to be NAME COMMAND [ARGUMENT]..."
                        : !is_name(words[0]) ? "the name has to be 1 to 48 of a-z, 0-9 and -"
                        : words[1][0] != '/' ? "the command has to begin with /"
                        : find(programs, count, words[0]) ? "this group was there already"
                                                          : NULL;
    if (wrong) {
        (void)snprintf(reason, 512, "groups: \"%.200s\": %s", entry, wrong);
        words_free(words);
        return VIM_E_INVALID;
    }
    program->name = words[0];
    memmove(words, words + 1, WORDS_MAX * sizeof(*words));
    program->words = words;
    return VIM_OK;
}

static int parse_ready(struct program *programs, size_t count, const char *entry, char *reason)
{
    char **words = split(entry);
    struct program *program = words && words[0] ? find(programs, count, words[0]) : NULL;
    bool is_pair = words && words[0] && words[1] && !words[2];
    bool good = is_pair && program && !program->ready &&
                (strncmp(words[1], "unix:/", 6) == 0 || strrchr(words[1], ':'));
    if (good) {
        program->ready = words[1];
        free(words[0]);
        free(words);
        return VIM_OK;
    }
    (void)snprintf(reason, 512, "ready: \"%.200s\": %s", entry,
                   !is_pair   ? "has to be GROUP ADDRESS:PORT or GROUP unix:/PATH"
                   : !program ? "there is no such group"
                              : "has to be one ADDRESS:PORT or unix:/PATH per group");
    words_free(words);
    return VIM_E_INVALID;
}

int programs_parse(const struct process_config *config, struct program **ret_programs,
                   size_t *ret_count, char ret_reason[512])
{
    struct program *programs = calloc(config->groups.count + 1, sizeof(*programs));
    size_t count = 0;
    int code = programs ? VIM_OK : VIM_E_INTERNAL;
    for (uint32_t i = 0; i < config->groups.count && code == VIM_OK; i++) {
        code = parse_group(programs, count, config->groups.items[i], ret_reason);
        count += code == VIM_OK;
    }
    for (uint32_t i = 0; i < config->ready.count && code == VIM_OK; i++) {
        code = parse_ready(programs, count, config->ready.items[i], ret_reason);
    }
    if (code == VIM_OK && count == 0) {
        (void)snprintf(ret_reason, 512, "groups: name at least one");
        code = VIM_E_INVALID;
    }
    if (code != VIM_OK) {
        programs_free(programs, count);
        return code;
    }
    *ret_programs = programs;
    *ret_count = count;
    return VIM_OK;
}

char *program_expand(const char *text, uint32_t number)
{
    char *whole = strdup(text);
    for (char *mark; whole && (mark = strstr(whole, MARK)) != NULL;) {
        char *longer = NULL;
        *mark = '\0';
        if (asprintf(&longer, "%s%u%s", whole, number, mark + strlen(MARK)) < 0) {
            longer = NULL;
        }
        free(whole);
        whole = longer;
    }
    return whole;
}

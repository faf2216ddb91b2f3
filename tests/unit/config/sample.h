/* An option table with every type and flag. */
#ifndef UNIT_CONFIG_SAMPLE_H
#define UNIT_CONFIG_SAMPLE_H

#include <vim/plugin.h>
#include "config/fill.h"

struct sample {
    const char *url;
    const char *password;
    int64_t port;
    double ratio;
    int32_t verify;
    int64_t timeout;
    int64_t buffer;
    const char *mode;
    struct vim_texts zones;
    const char *ca_file;
    const char *note;
};

static const struct vim_option sample_options[] = {
    {.name = "url",
     .type = VIM_TEXT,
     .flags = VIM_REQUIRED,
     .help = "Where it is.",
     .offset = offsetof(struct sample, url)},
    {.name = "password",
     .type = VIM_TEXT,
     .flags = VIM_SECRET | VIM_LIVE,
     .help = "Secret.",
     .offset = offsetof(struct sample, password)},
    {.name = "port",
     .type = VIM_INTEGER,
     .default_value = "80",
     .minimum = 1,
     .maximum = 65535,
     .help = "TCP port.",
     .offset = offsetof(struct sample, port)},
    {.name = "ratio",
     .type = VIM_NUMBER,
     .default_value = "0.5",
     .minimum = 0,
     .maximum = 1,
     .help = "A part.",
     .offset = offsetof(struct sample, ratio)},
    {.name = "verify",
     .type = VIM_BOOLEAN,
     .default_value = "true",
     .help = "Check it.",
     .offset = offsetof(struct sample, verify)},
    {.name = "timeout",
     .type = VIM_DURATION,
     .flags = VIM_LIVE,
     .default_value = "30s",
     .minimum = 100,
     .maximum = 3600000,
     .help = "How long to wait.",
     .offset = offsetof(struct sample, timeout)},
    {.name = "buffer",
     .type = VIM_BYTES,
     .default_value = "64KiB",
     .help = "Memory.",
     .offset = offsetof(struct sample, buffer)},
    {.name = "mode",
     .type = VIM_CHOICE,
     .default_value = "fast",
     .choices = "fast safe",
     .help = "How.",
     .offset = offsetof(struct sample, mode)},
    {.name = "zones",
     .type = VIM_LIST,
     .default_value = "[a, 'b c']",
     .help = "Where.",
     .offset = offsetof(struct sample, zones)},
    {.name = "ca_file",
     .type = VIM_PATH,
     .help = "PEM.",
     .offset = offsetof(struct sample, ca_file)},
    {.name = "note",
     .type = VIM_TEXT,
     .help = "Anything.",
     .offset = offsetof(struct sample, note)},
};

static const struct config_table sample_table =
    CONFIG_TABLE("sample", sample_options, struct sample, "For tests.");

#endif

/* The section `alarms`: when something is not well. */
#include "main/daemon.h"

#include <stddef.h>
#include "engine/alarms.h"

#define AT(field) offsetof(struct alarms_config, field)
static const struct vim_option alarms_options[] = {
    {.name = "vim_after",
     .type = VIM_DURATION,
     .default_value = "30s",
     .minimum = 0,
     .maximum = 86400000,
     .offset = AT(vim_after_ms),
     .help = "A VIM that does not answer for so long is an alarm."},
    {.name = "quota_at",
     .type = VIM_INTEGER,
     .default_value = "90",
     .minimum = 0,
     .maximum = 100,
     .offset = AT(quota_percent),
     .help =
         "Percent of a quota of a VIM: when so much is used, that is an alarm; 0: it never is, and quotas "
         "are not looked at."},
    {.name = "quota_interval",
     .type = VIM_DURATION,
     .default_value = "5m",
     .minimum = 100,
     .maximum = 86400000,
     .offset = AT(quota_interval_ms),
     .help = "Between looks at the quotas of a VIM, which are calls of its driver."},
};
#undef AT

const struct config_table alarms_table =
    CONFIG_TABLE("alarms", alarms_options, struct alarms_config, "When something is not well.");

int daemon_open_alarms(struct daemon *daemon, struct failure *failure)
{
    const struct alarms_config *config = settings_section(daemon->settings, SECTION_ALARMS);
    struct alarms_settings settings = {.vims = daemon->vims,
                                       .presence = daemon->presence,
                                       .vim_after_ms = config->vim_after_ms,
                                       .quota_interval_ms = config->quota_interval_ms,
                                       .quota_percent = config->quota_percent};
    daemon->alarms = alarms_new(daemon->store, &settings);
    return alarms_start(daemon->alarms, failure);
}

#include "options.h"
#include "session.h"

#include <string.h>
#include <unistd.h>

#define TEXT(field, flags, value, help) VIM_OPTION_TEXT(struct os_config, field, flags, value, help)

const struct vim_option os_options[] = {
    TEXT(auth_url, VIM_REQUIRED, NULL, "URL of Keystone, as https://cloud.example:5000/v3"),
    VIM_OPTION_CHOICE(struct os_config, auth_type, 0, "password", "password application_credential",
                      "how to log in"),
    TEXT(username, 0, NULL, "user, for auth_type password, or owner of a credential given by name"),
    TEXT(password, VIM_SECRET, NULL, "the user's password"),
    TEXT(user_domain, 0, "Default", "name of the domain in which the user is"),
    TEXT(project, 0, NULL, "name of the project to work in, for auth_type password"),
    TEXT(project_domain, 0, "Default", "name of the domain in which the project is"),
    TEXT(domain, 0, NULL, "name of the domain to work in, instead of a project"),
    TEXT(application_credential_id, 0, NULL, "id of the application credential"),
    TEXT(application_credential_name, 0, NULL, "its name, if the id is not given"),
    TEXT(application_credential_secret, VIM_SECRET, NULL, "its secret"),
    TEXT(region, 0, NULL, "region of the endpoints; without it the first in the catalog"),
    VIM_OPTION_CHOICE(struct os_config, interface, 0, "public", "public internal admin",
                      "which endpoints of the catalog to use"),
    TEXT(compute_endpoint, 0, NULL, "URL of Nova, instead of the catalog's"),
    TEXT(network_endpoint, 0, NULL, "URL of Neutron, instead of the catalog's"),
    TEXT(image_endpoint, 0, NULL, "URL of Glance, instead of the catalog's"),
    TEXT(volume_endpoint, 0, NULL,
         "URL of Cinder's version 3, its project included where the cloud has it there, instead of "
         "the catalog's; a cloud with neither has no volumes"),
    VIM_OPTION_PATH(struct os_config, ca_file, 0, NULL,
                    "PEM file of the authorities that may sign the endpoints' certificates; "
                    "without it the system's"),
    TEXT(proxy, 0, NULL,
         "URL of an HTTP proxy to reach the cloud through; without it none is used"),
    VIM_OPTION_BOOLEAN(struct os_config, verify_tls, 0, "true",
                       "check the endpoints' certificates; false lets anybody listen in"),
    VIM_OPTION_BOOLEAN(struct os_config, all_projects, 0, "false",
                       "list the things of every project; needs an administrator's rights"),
    VIM_OPTION_DURATION(struct os_config, connect_timeout, 0, "5s", 10, 600000,
                        "longest time to connect, name look-up and TLS included"),
    VIM_OPTION_DURATION(struct os_config, timeout, 0, "60s", 10, 3600000,
                        "longest time for one request; an upload may take longer while it moves"),
    VIM_OPTION_INTEGER(struct os_config, connections, 0, "8", 1, 256,
                       "connections kept to each endpoint, which is also the requests at a time"),
    VIM_OPTION_INTEGER(struct os_config, page_size, 0, "0", 0, 100000,
                       "things per page of a list; 0 for 1000, which most clouds allow"),
    VIM_OPTION_DURATION(
        struct os_config, changes_overlap, 0, "1m", 0, 3600000,
        "how far behind its last look the driver asks for changes, against clocks that differ"),
    VIM_OPTION_DURATION(struct os_config, settle_time, 0, "30s", 0, 3600000,
                        "how long a request that was not answered may still be done: so long is "
                        "looked for what it made before it counts as undone, or as made once"),
    VIM_OPTION_BYTES(struct os_config, max_answer, 0, "64MiB", 65536, 1 << 30,
                     "a longer answer is refused"),
};
const unsigned os_option_count = sizeof(os_options) / sizeof(os_options[0]);

static int empty(const char *text)
{
    return text == NULL || *text == '\0';
}

static const char *password_problem(const struct os_config *config)
{
    if (empty(config->username) || empty(config->password)) {
        return "auth_type password needs username and password";
    }
    if (config->project == NULL && config->domain == NULL) {
        return "auth_type password needs project or domain: without a scope there is no catalog";
    }
    if (config->project != NULL && config->domain != NULL) {
        return "project and domain exclude each other";
    }
    if (config->application_credential_id != NULL || config->application_credential_name != NULL ||
        config->application_credential_secret != NULL) {
        return "application_credential_id, _name and _secret are for auth_type "
               "application_credential";
    }
    return NULL;
}

static const char *credential_problem(const struct os_config *config)
{
    if (empty(config->application_credential_secret)) {
        return "auth_type application_credential needs application_credential_secret";
    }
    if (empty(config->application_credential_id) && empty(config->application_credential_name)) {
        return "auth_type application_credential needs application_credential_id or _name";
    }
    if (config->application_credential_id == NULL && empty(config->username)) {
        return "application_credential_name needs username: names are the user's own";
    }
    if (config->project != NULL || config->domain != NULL) {
        return "project and domain do not go with an application credential, which has its own";
    }
    return config->password != NULL ? "password is for auth_type password" : NULL;
}

/* It would be sent to nobody, and shown by whoever shows the URL. */
static int has_userinfo(const char *url)
{
    const char *authority = url != NULL ? strstr(url, "://") : NULL;

    return authority != NULL && memchr(authority + 3, '@', strcspn(authority + 3, "/?#")) != NULL;
}

const char *os_config_problem(const struct os_config *config)
{
    char url[512];
    const char *problem;

    if (has_userinfo(config->auth_url)) {
        return "auth_url has a user or a password in it, which belong into username and password";
    }
    if (empty(config->auth_url) || os_catalog_base(OS_IDENTITY, config->auth_url, url) != VIM_OK) {
        return "auth_url is no http or https URL";
    }
    if (config->compute_endpoint != NULL &&
        (os_catalog_base(OS_COMPUTE, config->compute_endpoint, url) != VIM_OK ||
         os_catalog_version_url(config->compute_endpoint, url) != VIM_OK)) {
        return "compute_endpoint is no http or https URL with Nova's version (/v2.1)";
    }
    if (config->network_endpoint != NULL &&
        os_catalog_base(OS_NETWORK, config->network_endpoint, url) != VIM_OK) {
        return "network_endpoint is no http or https URL";
    }
    if (config->image_endpoint != NULL &&
        os_catalog_base(OS_IMAGE, config->image_endpoint, url) != VIM_OK) {
        return "image_endpoint is no http or https URL";
    }
    if (config->volume_endpoint != NULL &&
        os_catalog_base(OS_VOLUME, config->volume_endpoint, url) != VIM_OK) {
        return "volume_endpoint is no http or https URL";
    }
    if (config->ca_file != NULL && access(config->ca_file, R_OK) != 0) {
        return "ca_file cannot be read";
    }
    problem = strcmp(config->auth_type, "application_credential") == 0 ? credential_problem(config)
                                                                       : password_problem(config);
    return problem;
}

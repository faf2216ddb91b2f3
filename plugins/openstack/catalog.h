/*
 * catalog.h - what Keystone says with a token, and what a service says of its versions.
 */
#ifndef OPENSTACK_CATALOG_H
#define OPENSTACK_CATALOG_H

#include "error.h"

#include <stddef.h>
#include <stdint.h>

struct os_catalog {
    int64_t lifetime_ms; /* from issue to expiry, by Keystone's own clock */
    char project[64]; /* id of the project in whose scope it is, or "" */
    char url[OS_SERVICES][512]; /* base of each service with its version, without a slash at the
                                   end; "" if the catalog does not have it */
};

/* Reads the body of a token. REGION NULL takes the first endpoint of the interface. Returns
 * VIM_OK, or VIM_E_INTERNAL if it is no token. */
int os_catalog_read(const char *body, size_t length, const char *region, const char *interface,
                    struct os_catalog *ret_catalog);

/* Copies the URL of an endpoint, completed with the version that the catalog may leave out.
 * Returns VIM_OK, or VIM_E_INVALID if it is no http(s) URL or too long. */
int os_catalog_base(enum os_service service, const char *url, char ret_url[512]);

/* Where Nova tells about its microversions, from its base. */
int os_catalog_version_url(const char *base, char ret_url[512]);

/* Reads {"version": {"min_version", "version"}}. Microversions are major * 1000 + minor, so that
 * they compare as numbers. */
int os_catalog_versions(const char *body, size_t length, int *ret_lowest, int *ret_highest);

/* "2.46" -> 2046, or -1. */
int os_microversion(const char *text);

#endif

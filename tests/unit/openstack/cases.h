/* cases.h - what the test files of the driver share: one fake cloud, a driver per test. */
#ifndef CASES_H
#define CASES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include <jansson.h>

#include "driver_host.h"
#include "fake.h"

struct fixture {
    struct fake *fake;
    struct driver *driver;
};

/* A driver for the fake, with more settings (name, value, ..., NULL). */
struct driver *open_driver(struct fake *fake, const char *const *more);

/* Per test: the fake as new, a driver with short time limits. */
int set_up(void **state);
int tear_down(void **state);

/* A UUID that differs with NUMBER. */
const char *uuid(int number);

/* Runs a create of KIND to its end. */
int create(struct fixture *f, const char *kind, const char *spec, int number,
           struct result *result);

/* The text at KEY of a JSON body, to be compared at once, or "". */
const char *field(const char *body, const char *key);

extern const struct CMUnitTest fault_cases[];
extern const size_t fault_case_count;
extern const struct CMUnitTest late_cases[];
extern const size_t late_case_count;
extern const struct CMUnitTest kind_cases[];
extern const size_t kind_case_count;
extern const struct CMUnitTest session_cases[];
extern const size_t session_case_count;

#define SERVER_SPEC                                                                                       \
    "{\"name\":\"s\",\"image\":\"image-0\",\"flavor\":\"flavor-0\",\"networks\":[{\"network\":\"net\"}]," \
    "\"metadata\":{\"a\":\"b\"}}"
#define GROUP_SPEC                                                                                        \
    "{\"name\":\"g\",\"description\":\"web\",\"rules\":[{\"direction\":\"ingress\",\"protocol\":\"tcp\"," \
    "\"port_min\":80,\"port_max\":80},{\"direction\":\"egress\",\"ethertype\":\"IPv6\"}]}"

#define RUN(verb_, kind_, id_, spec_, number_)                          \
    (struct run)                                                        \
    {                                                                   \
        .verb = (verb_), .kind = (kind_), .id = (id_), .spec = (spec_), \
        .request_id = uuid(number_)                                     \
    }

#endif

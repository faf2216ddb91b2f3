/*
 * fake.h - starts tests/scene/fakecloud and talks to it. A failure ends the test program.
 */
#ifndef FAKE_H
#define FAKE_H

struct fake;

/* Starts one on a port of its own; it ends with this process at the latest. */
struct fake *fake_start(void);
/* One that speaks HTTPS under a certificate for NAME ("IP:127.0.0.1"), which it writes to cert.pem
 * in FOLDER. It takes no orders: only fake_auth_url() and fake_stop() are for it. */
struct fake *fake_start_tls(const char *folder, const char *name);

void fake_stop(struct fake *fake);

/* URL of its Keystone. Lives as long as the fake. */
const char *fake_auth_url(const struct fake *fake);

/* POSTs BODY (a format) to /_fake/WHAT. */
void fake_tell(struct fake *fake, const char *what, const char *body, ...)
    __attribute__((format(printf, 3, 4)));

/* How many things there are of a kind ("servers", "rules"). */
int fake_count(struct fake *fake, const char *name);

/* How many requests were made since the last reset with that METHOD (NULL for any) and a path and
 * query that contain PART. */
int fake_calls(struct fake *fake, const char *method, const char *part);

/* The distinct client ports from which PART was asked: connections that were made. */
int fake_connections(struct fake *fake, const char *part);

/* How many requests with PART were not answered so far. */
int fake_unanswered(struct fake *fake, const char *part);

#endif

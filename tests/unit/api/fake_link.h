/*
 * A link that answers by path, for tests of the HTTP front alone.
 *
 *   /inline   200 at once                     /thread   200 from another thread, a moment later
 *   /never    no answer until fake_release()  /big      8 MiB
 *   /echo     the length of the body and its first bytes; /upload: the same, spooled
 *   /see      what arrived: path, pairs, headers, principal, as lines of text
 *   /private  /inline under a name of its own; everything but /healthz needs the token "good"
 */
#ifndef TEST_FAKE_LINK_H
#define TEST_FAKE_LINK_H

#include "api/api.h"

#define FAKE_BODY_MAX 4096
#define FAKE_UPLOAD_MAX (1 << 20)
#define FAKE_BIG ((size_t)8 << 20)

struct fake_counts {
    unsigned calls, authentications;
};
struct fake_counts fake_counts(void);

/* Exchanges held by /never. */
unsigned fake_held(void);
/* Answers them, with STATUS. */
void fake_release(int status);

/* Has the temporary folder for uploads: empty? */
const char *fake_spool_dir(void);
unsigned fake_spool_files(void);

/* Waits for threads of /thread and removes the folder. */
void fake_end(void);

/* A configuration with defaults, port 0 and short timeouts; CHANGE (YAML) overrides. */
struct config_struct *fake_config(const char *change);
struct api *fake_start(const struct config_struct *config);

#endif

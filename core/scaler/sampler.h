/*
 * scaler/sampler.h - where the numbers of a service come from. Sources are interchangeable: each is a table of
 * functions, and all put what they have measured into the window of a history (scaler/history.h) that was opened
 * last.
 *
 *     sampler_new()                              per service, when the scaler starts
 *     history_open_window(); sampler_sample()    right after the end of every window
 *     sampler_free()
 *
 * Windows lie on one grid for all services and processes: they end at multiples of their length in wall
 * time (sampler_grid()). A source looks when a window has ended, takes the difference to its look before, and
 * divides by the time that has really passed in between; so nothing is lost or counted twice when a look comes
 * late. A counter that is smaller than before has begun anew (its process was restarted): its difference is its
 * value. Of what is new since the look before nothing is told, as nobody knows how long it took to grow.
 *
 * What cannot be measured is left out: it becomes NaN in the window. A source that has nothing at all to tell
 * returns an error, and the window stays empty; that many windows in a row have no value is what makes data stale.
 *
 * A sampler belongs to one thread. sample() may block, at most for the time that the source's settings allow.
 */
#ifndef SCALER_SAMPLER_H
#define SCALER_SAMPLER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "model/store.h"
#include "scaler/history.h"
#include "scaler/services.h"

struct sampler;
struct presence;

/* What a source may use of the process. Outlives the sampler. */
struct sampler_host {
    struct store *store; /* NULL in tests that need none */
    struct presence *presence; /* the same */
};

/* One look. */
struct sampler_look {
    int64_t end; /* of the window (ms since 1970), which is open in the history */
    int64_t window_ms;
    struct history *history; /* its blocks and edges have the indices of those of the service */
    const atomic_bool *stopping; /* true: come back soon, whatever is left out; may be NULL */
};

/* A source. Append members only at the end. */
struct sampler_source {
    const char *name; /* as in `source: type:` of the configuration */

    /* Makes its state from the configured SERVICE, which outlives it. Does not wait for anything. */
    int (*open)(const struct service *service, const struct sampler_host *host, void **ret_state,
                struct failure *failure);

    /* Measures, and puts values of the service, of its blocks and edges. VIM_OK if there is anything to tell
     * (also if some of it is missing: FAILURE then has VIM_OK, and a text that says what); else an error that says why, and nothing was put. The first look only
     * remembers: VIM_OK. */
    int (*sample)(void *state, const struct sampler_look *look, struct failure *failure);

    void (*close)(void *state);
};

/* By enum service_source_kind. */
extern const struct sampler_source sampler_vimd; /* source_vimd.c */
extern const struct sampler_source sampler_prometheus; /* source_prometheus.c */
const struct sampler_source *sampler_source_of(enum service_source_kind kind);

int sampler_new(const struct service *service, const struct sampler_host *host,
                struct sampler **ret_sampler, struct failure *failure);
/* The same with a source that is given (tests). */
int sampler_new_with(const struct sampler_source *source, const struct service *service,
                     const struct sampler_host *host, struct sampler **ret_sampler,
                     struct failure *failure);
int sampler_sample(struct sampler *sampler, const struct sampler_look *look,
                   struct failure *failure);
void sampler_free(struct sampler *sampler); /* NULL is fine */

/* The end of the window that AT (ms since 1970) lies behind: the last multiple of WINDOW_MS. */
int64_t sampler_grid(int64_t at, int64_t window_ms);

/* --- Counters ------------------------------------------------------------------------------------
 * How a total has changed, told by the totals of looks. All zero at first. */
struct sampler_counter {
    double value;
    bool known;
};
/* The difference to the value before, which VALUE replaces; NaN at first, or when VALUE is not finite (then the
 * value before is forgotten). */
double sampler_counter_step(struct sampler_counter *counter, double value);

#endif

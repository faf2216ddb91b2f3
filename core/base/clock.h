/*
 * base/clock.h - time. Milliseconds since 1970 for what is stored and shown, the monotonic clock
 * for deadlines and measuring.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <pthread.h>
#include <stdint.h>
#include <time.h>

#define CLOCK_TEXT_SIZE 32 /* room for RFC 3339 text, NUL included */

int64_t clock_now_ms(void); /* realtime */
int64_t clock_mono_ms(void); /* monotonic */
int64_t clock_mono_us(void);
/* As clock_mono_ms(), up to some 10 ms late and cheaper: for deadlines of seconds. */
int64_t clock_coarse_ms(void);

/* "2026-11-23T20:33:12.345Z". MS may be negative; years outside 0..9999 are clipped. Returns
 * RET_TEXT. */
char *clock_format_rfc3339(int64_t ms, char ret_text[CLOCK_TEXT_SIZE]);

/* RFC 3339 with any offset and any number of fraction digits (cut to milliseconds); the 'T' and
 * 'Z' may be lower case; a leap second counts as the second after. VIM_E_INVALID if malformed. */
int clock_parse_rfc3339(const char *text, int64_t *ret_ms);

/* A condition variable whose timed waits use the monotonic clock. */
void clock_cond_init(pthread_cond_t *cond);

/* Waits until MONO_MS at the latest (INT64_MAX: for ever). Returns 0 or ETIMEDOUT. */
int clock_cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *mutex, int64_t mono_ms);

void clock_sleep_ms(int64_t ms);

#endif

#include "base/clock.h"
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <vim/plugin.h>

static int64_t clock_read(clockid_t id, int64_t unit)
{
    struct timespec now;
    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * (1000000000 / unit) + now.tv_nsec / unit;
}

int64_t clock_now_ms(void)
{
    return clock_read(CLOCK_REALTIME, 1000000);
}

int64_t clock_mono_ms(void)
{
    return clock_read(CLOCK_MONOTONIC, 1000000);
}

int64_t clock_coarse_ms(void)
{
    return clock_read(CLOCK_MONOTONIC_COARSE, 1000000);
}

int64_t clock_mono_us(void)
{
    return clock_read(CLOCK_MONOTONIC, 1000);
}

#define CLOCK_MS_MIN (-62167219200000ll) /* 0000-01-01T00:00:00Z */
#define CLOCK_MS_MAX 253402300799999ll /* 9999-12-31T23:59:59.999Z */

/* Days since 1970-01-01 of a date in the proleptic Gregorian calendar (H. Hinnant's algorithm:
 * timegm() and gmtime_r() take locks on the time zone). */
static int64_t days_from_date(int64_t year, unsigned month, unsigned day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    unsigned year_of_era = (unsigned)(year - era * 400);
    unsigned day_of_year = (153 * (month + (month > 2 ? -3u : 9u)) + 2) / 5 + day - 1;
    unsigned day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + (int64_t)day_of_era - 719468;
}

char *clock_format_rfc3339(int64_t ms, char ret_text[CLOCK_TEXT_SIZE])
{
    ms = ms < CLOCK_MS_MIN ? CLOCK_MS_MIN : ms > CLOCK_MS_MAX ? CLOCK_MS_MAX : ms;
    int64_t day_ms = ((ms % 86400000) + 86400000) % 86400000;
    int64_t days = (ms - day_ms) / 86400000 + 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    unsigned day_of_era = (unsigned)(days - era * 146097);
    unsigned year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    unsigned day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    unsigned month_part = (5 * day_of_year + 2) / 153;
    unsigned day = day_of_year - (153 * month_part + 2) / 5 + 1;
    unsigned month = month_part < 10 ? month_part + 3 : month_part - 9;
    int64_t year = (int64_t)year_of_era + era * 400 + (month <= 2);
    unsigned second = (unsigned)(day_ms / 1000);
    snprintf(ret_text, CLOCK_TEXT_SIZE, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ",
             (unsigned)year % 10000, month % 100, day % 100, second / 3600 % 100, second / 60 % 60,
             second % 60, (unsigned)(day_ms % 1000));
    return ret_text;
}

/* Reads exactly COUNT digits. */
static bool digits(const char **at, int count, unsigned *ret_value)
{
    unsigned value = 0;
    for (int i = 0; i < count; i++) {
        if (!isdigit((unsigned char)**at)) {
            return false;
        }
        value = value * 10 + (unsigned)(*(*at)++ - '0');
    }
    *ret_value = value;
    return true;
}

static bool literal(const char **at, char wanted)
{
    if (toupper((unsigned char)**at) != wanted) {
        return false;
    }
    (*at)++;
    return true;
}

/* ".123456" to 123, nothing to 0. */
static bool fraction(const char **at, unsigned *ret_ms)
{
    *ret_ms = 0;
    if (**at != '.') {
        return true;
    }
    (*at)++;
    unsigned weight = 100;
    bool any = false;
    for (; isdigit((unsigned char)**at); (*at)++, any = true) {
        *ret_ms += (unsigned)(**at - '0') * weight;
        weight /= 10;
    }
    return any;
}

static bool offset(const char **at, int *ret_minutes)
{
    *ret_minutes = 0;
    if (literal(at, 'Z')) {
        return true;
    }
    int sign = **at == '-' ? -1 : 1;
    unsigned hours, minutes;
    if (**at != '+' && **at != '-') {
        return false;
    }
    (*at)++;
    if (!digits(at, 2, &hours) || !literal(at, ':') || !digits(at, 2, &minutes) || hours > 23 ||
        minutes > 59) {
        return false;
    }
    *ret_minutes = sign * (int)(hours * 60 + minutes);
    return true;
}

static unsigned days_in_month(unsigned year, unsigned month)
{
    static const unsigned char days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return days[month - 1] + (month == 2 && leap ? 1u : 0u);
}

int clock_parse_rfc3339(const char *text, int64_t *ret_ms)
{
    unsigned year, month, day, hour, minute, second, ms;
    int shift;
    if (!text || !digits(&text, 4, &year) || !literal(&text, '-') || !digits(&text, 2, &month) ||
        !literal(&text, '-') || !digits(&text, 2, &day) || !literal(&text, 'T') ||
        !digits(&text, 2, &hour) || !literal(&text, ':') || !digits(&text, 2, &minute) ||
        !literal(&text, ':') || !digits(&text, 2, &second) || !fraction(&text, &ms) ||
        !offset(&text, &shift) || *text) {
        return VIM_E_INVALID;
    }
    if (month < 1 || month > 12 || day < 1 || day > days_in_month(year, month) || hour > 23 ||
        minute > 59 || second > 60) {
        return VIM_E_INVALID;
    }
    int64_t seconds = days_from_date(year, month, day) * 86400 + hour * 3600 + minute * 60 + second;
    *ret_ms = (seconds - (int64_t)shift * 60) * 1000 + ms;
    return VIM_OK;
}

void clock_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    int error = pthread_cond_init(cond, &attributes);
    assert(error == 0);
    (void)error;
    pthread_condattr_destroy(&attributes);
}

int clock_cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *mutex, int64_t mono_ms)
{
    if (mono_ms == INT64_MAX) {
        return pthread_cond_wait(cond, mutex);
    }
    if (mono_ms < 0) {
        mono_ms = 0;
    }
    struct timespec until = {.tv_sec = (time_t)(mono_ms / 1000),
                             .tv_nsec = (long)(mono_ms % 1000) * 1000000};
    return pthread_cond_timedwait(cond, mutex, &until);
}

void clock_sleep_ms(int64_t ms)
{
    if (ms <= 0) {
        return;
    }
    struct timespec left = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
    while (nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
}

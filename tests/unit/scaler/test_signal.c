/* Expressions over series, and the text that series come in. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/text.h"
#include "scaler/exposition.h"
#include "scaler/sampler.h"
#include "scaler/signal.h"

static void refuse(const char *text, const char *why_part)
{
    struct signal signal;
    char why[160] = "";
    assert_int_equal(signal_parse(text, &signal, why), VIM_E_INVALID);
    if (!strstr(why, why_part)) {
        fail_msg("%s: '%s' does not say '%s'", text, why, why_part);
    }
}

static void expressions(void **state)
{
    struct signal signal;
    char why[160];
    (void)state;
    assert_int_equal(signal_parse("rate(a_total)", &signal, why), VIM_OK);
    assert_int_equal(signal.term_count, 1);
    assert_int_equal(signal.terms[0].function, SIGNAL_RATE);
    assert_string_equal(signal.terms[0].selector.name, "a_total");
    signal_free(&signal);

    assert_int_equal(
        signal_parse(
            " p95( s{a=\"x\\\"y\", b!=\"\",c=~\"5..\" ,d!~\"q|r\",} ) *1000/ready - 2.5e1 * "
            "sum(b)",
            &signal, why),
        VIM_E_INVALID); /* a factor comes behind its term */
    assert_int_equal(
        signal_parse(" p95( s{a=\"x\\\"y\", b!=\"\",c=~\"5..\" ,d!~\"q|r\",} ) *1000/ready - "
                     "sum(b)*2.5e1 ",
                     &signal, why),
        VIM_OK);
    assert_int_equal(signal.term_count, 2);
    assert_float_equal(signal.terms[0].quantile, 0.95, 1e-9);
    assert_int_equal(signal.terms[0].selector.label_count, 4);
    assert_string_equal(signal.terms[0].selector.labels[0].value, "x\"y");
    assert_int_equal(signal.terms[0].selector.labels[2].match, MATCH_REGEX);
    assert_int_equal(signal.terms[0].factor_count, 2);
    assert_true(signal.terms[0].factors[1].divides);
    assert_int_equal(signal.terms[0].factors[1].kind, FACTOR_READY);
    assert_true(signal.terms[1].minus);
    assert_float_equal(signal.terms[1].factors[0].number, 25, 1e-9);
    signal_free(&signal);
}

static void mistakes(void **state)
{
    (void)state;
    refuse("", "at character 1: expected rate, sum");
    refuse("a_total", "at character 1: expected rate");
    refuse("rate a", "at character 6: expected (");
    refuse("rate(", "the name of a series");
    refuse("rate(9a)", "the name of a series");
    refuse("rate(a", "at character 7: expected )");
    refuse("rate(a{)", "the name of a label");
    refuse("rate(a{b)", "=, !=, =~ or !~");
    refuse("rate(a{b=c})", "double quotes");
    refuse("rate(a{b=\"c})", "double quotes");
    refuse("rate(a{b=\"c\" d=\"e\"})", ", or }");
    refuse("rate(a{b=~\"(\"})", "a regular expression");
    refuse("rate(a)/0", "a number");
    refuse("rate(a)*nan", "a number");
    refuse("rate(a)*many", "a number, ready or quota");
    refuse("rate(a)*1*1*1*1*1", "4 factors");
    refuse("rate(a)+rate(a)+rate(a)+rate(a)+rate(a)", "4 terms");
    refuse("rate(a) rate(b)", "or the end");
    refuse("rate(a)+", "expected rate");
}

/* --- The text ------------------------------------------------------------------------------------- */

struct seen {
    unsigned count;
    struct text names; /* name[label=value...]=number; */
};

static void see(void *argument, const struct exposition_sample *sample)
{
    struct seen *seen = argument;
    seen->count++;
    text_printf(&seen->names, "%s", sample->name);
    for (uint32_t i = 0; i < sample->label_count; i++) {
        text_printf(&seen->names, "[%s=%s]", sample->labels[i].name, sample->labels[i].value);
    }
    text_printf(&seen->names, "=%g;", sample->value);
}

static void expect(const char *text, size_t bad, const char *names)
{
    struct seen seen = {.count = 0};
    size_t wrong = 99;
    size_t count = exposition_read(text, strlen(text), see, &seen, &wrong);
    assert_int_equal(count, seen.count);
    assert_string_equal(text_get(&seen.names), names);
    assert_int_equal(wrong, bad);
    text_free(&seen.names);
}

static void exposition(void **state)
{
    (void)state;
    expect("", 0, "");
    expect("# HELP a b\n# TYPE a counter\n\n   \na 1\n", 0, "a=1;");
    expect("a{x=\"1\",y=\"2\"} 3.5e2 1395066363000\nb{} +Inf\nc -1\r\n", 0,
           "a[x=1][y=2]=350;b=inf;c=-1;");
    expect("a{x=\"q\\\"\\\\n\\n\"} 1\n", 0, "a[x=q\"\\n\n]=1;");
    expect("a{ x = \"1\" , } 2\nb {y=\"2\"}3\nc \t4\n", 0, "a[x=1]=2;b[y=2]=3;c=4;");
    /* What is no sample is left out, and counted. */
    expect("a\nb x\n{} 1\nc{x} 1\nd{x=1} 1\ne{x=\"1} 1\nf 1x\ng{x=\"1\" 2\nh 5\n", 8, "h=5;");
    /* Half a number is another number: without its end a line is none. */
    expect("a 1027\na 10", 1, "a=1027;");
}

/* Whatever it is cut off to, and whatever stands in it. */
static void cut_off(void **state)
{
    static const char whole[] = "# c\nname{label=\"va\\\"lue\",other=\"x\"} 12.5 99\nplain 7\n";
    (void)state;
    for (size_t length = 0; length < sizeof(whole); length++) {
        for (int value = 0; value < 256; value += 5) {
            char *copy = malloc(length + 1); /* so that a byte too far is found */
            assert_non_null(copy);
            memcpy(copy, whole, length);
            if (length) {
                copy[length / 2] = (char)value;
            }
            copy[length] = '\n';
            struct seen seen = {.count = 0};
            exposition_read(copy, length + 1, see, &seen, NULL);
            assert_true(seen.count <= 4);
            text_free(&seen.names);
            free(copy);
        }
    }
}

static void too_long(void **state)
{
    struct text text = {0};
    struct seen seen = {.count = 0};
    size_t bad = 0;
    (void)state;
    text_add(&text, "a{x=\"");
    for (int i = 0; i < 9000; i++) {
        text_add_char(&text, 'y');
    }
    text_add(&text, "\"} 1\nb{");
    for (int i = 0; i < 40; i++) {
        text_printf(&text, "l%d=\"v\",", i);
    }
    text_add(&text, "} 1\nc 3\n");
    exposition_read(text_get(&text), text.length, see, &seen, &bad);
    assert_string_equal(text_get(&seen.names), "c=3;");
    assert_int_equal(bad, 2);
    text_free(&seen.names);
    text_free(&text);
}

/* --- Counters and the grid ------------------------------------------------------------------------ */

static void counters(void **state)
{
    struct sampler_counter counter = {0};
    (void)state;
    assert_true(isnan(sampler_counter_step(&counter, 10))); /* since when is not known */
    assert_float_equal(sampler_counter_step(&counter, 15), 5, 0);
    assert_float_equal(sampler_counter_step(&counter, 15), 0, 0);
    assert_float_equal(sampler_counter_step(&counter, 3), 3, 0); /* it has begun anew */
    assert_true(isnan(sampler_counter_step(&counter, NAN)));
    assert_true(isnan(sampler_counter_step(&counter, 9)));
    assert_float_equal(sampler_counter_step(&counter, 10), 1, 0);
}

static void grid(void **state)
{
    (void)state;
    assert_int_equal(sampler_grid(12345, 5000), 10000);
    assert_int_equal(sampler_grid(10000, 5000), 10000);
    assert_int_equal(sampler_grid(9999, 5000), 5000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(expressions), cmocka_unit_test(mistakes), cmocka_unit_test(exposition),
        cmocka_unit_test(cut_off),     cmocka_unit_test(too_long), cmocka_unit_test(counters),
        cmocka_unit_test(grid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

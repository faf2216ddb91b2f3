/* The link inside one process: who waits, for how long, and who is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdatomic.h>
#include <string.h>
#include "base/clock.h"
#include "base/memory.h"
#include "link/link.h"

#define WAIT_MS 1000
#define JOBS 8

/* The logic: every request takes until it is let go. */
static atomic_uint begun, let_go;

/* The clock: it goes when the test says so. */
static atomic_int_fast64_t now_ms = 1000;

int64_t __wrap_clock_mono_us(void);
int64_t __wrap_clock_mono_us(void)
{
    return atomic_load(&now_ms) * 1000;
}

bool __wrap_logic_is_inline(struct logic *logic, const struct request *request);
bool __wrap_logic_is_search(struct logic *logic, const struct request *request);
void __wrap_logic_handle(struct logic *logic, const struct request *request,
                         logic_respond_fn respond, void *argument);

bool __wrap_logic_is_inline(struct logic *logic, const struct request *request)
{
    (void)logic, (void)request;
    return false;
}

bool __wrap_logic_is_search(struct logic *logic, const struct request *request)
{
    (void)logic;
    return request->query_count > 0;
}

void __wrap_logic_handle(struct logic *logic, const struct request *request,
                         logic_respond_fn respond, void *argument)
{
    (void)logic, (void)request;
    unsigned mine = atomic_fetch_add(&begun, 1);
    while (atomic_load(&let_go) <= mine) {
        clock_sleep_ms(1);
    }
    struct response response = {.status = 200};
    respond(argument, &response);
}

static atomic_int statuses[JOBS];

static void take_answer(void *argument, struct response *response)
{
    if (response->status == 503) {
        assert_true(response->refused);
        assert_string_equal(response->headers[0].name, "Retry-After");
    }
    atomic_store((atomic_int *)argument, response->status);
}

static struct link *link;
static const struct request request = {.method = "GET", .path = "/v1/plugins", .request_id = "r"};

static int setup(void **state)
{
    (void)state;
    static int nothing;
    atomic_store(&begun, 0);
    atomic_store(&let_go, 0);
    for (int i = 0; i < JOBS; i++) {
        atomic_store(&statuses[i], 0);
    }
    assert_int_equal(link_new_local((struct logic *)&nothing, 1, 4, WAIT_MS, &link), VIM_OK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    atomic_store(&let_go, JOBS);
    link_free(link);
    return 0;
}

static void ask(int job)
{
    link_call(link, &request, take_answer, &statuses[job]);
}

static void wait_status(int job, int status)
{
    while (atomic_load(&statuses[job]) == 0) {
        clock_sleep_ms(1);
    }
    assert_int_equal(atomic_load(&statuses[job]), status);
}

static void wait_begun(unsigned count)
{
    while (atomic_load(&begun) < count) {
        clock_sleep_ms(1);
    }
}

static void full_queue(void **state)
{
    (void)state;
    ask(0);
    wait_begun(1);
    for (int job = 1; job < 6; job++) {
        ask(job); /* four wait */
    }
    assert_int_equal(atomic_load(&statuses[5]), 503);
    atomic_store(&let_go, JOBS);
    for (int job = 0; job < 5; job++) {
        wait_status(job, 200);
    }
}

/* Who waited too long is not begun, and as long as others wait as long, nobody is let in. */
static void long_wait(void **state)
{
    (void)state;
    ask(0);
    wait_begun(1);
    ask(1);
    atomic_fetch_add(&now_ms, WAIT_MS / 2 + 50);
    ask(2);
    ask(3);
    atomic_fetch_add(&now_ms, WAIT_MS / 2 + 10);
    atomic_store(&let_go, 1); /* the first ends; the second is late; the third is begun */
    wait_status(0, 200);
    wait_status(1, 503);
    wait_begun(2);
    atomic_fetch_add(&now_ms, WAIT_MS / 2 + 50);
    ask(4); /* the fourth still waits, and the third had waited for more than half of what is allowed */
    assert_int_equal(atomic_load(&statuses[4]), 503);
    atomic_store(&let_go, JOBS);
    wait_status(2, 200);
    wait_status(3, 503);
    /* Nobody waits any more. */
    ask(5);
    wait_status(5, 200);
    ask(6);
    wait_status(6, 200);
}

/* Neither waits behind the other, nor has its queue closed by the other's. */
static void searches_apart(void **state)
{
    (void)state;
    struct header name = {"name", "x"};
    struct request search = request;
    search.query = &name;
    search.query_count = 1;
    ask(0);
    wait_begun(1);
    link_call(link, &search, take_answer, &statuses[1]);
    wait_begun(2); /* beside it */
    for (int job = 2; job < 6; job++) {
        link_call(link, &search, take_answer, &statuses[job]); /* all that may wait */
    }
    link_call(link, &search, take_answer, &statuses[6]);
    assert_int_equal(atomic_load(&statuses[6]), 503);
    ask(7);
    assert_int_equal(atomic_load(&statuses[7]), 0);
    atomic_store(&let_go, JOBS);
    for (int job = 0; job < JOBS; job++) {
        wait_status(job, job == 6 ? 503 : 200);
    }
}

/* What other processes ask for themselves is late where all is, and refused only when there is no room. */
static void peers_wait(void **state)
{
    (void)state;
    struct request own = request;
    own.peer = true;
    for (int job = 0; job < 6; job++) {
        link_call(link, &own, take_answer, &statuses[job]);
        wait_begun(job < 2 ? (unsigned)job + 1 : 2); /* two are begun, four wait */
    }
    link_call(link, &own, take_answer, &statuses[6]);
    assert_int_equal(atomic_load(&statuses[6]), 503);
    atomic_fetch_add(&now_ms, 2 * WAIT_MS);
    atomic_store(&let_go, 2);
    while (atomic_load(&begun) < 4 && atomic_load(&statuses[2]) == 0) {
        clock_sleep_ms(1); /* two have waited for that long, and others do */
    }
    link_call(link, &own, take_answer, &statuses[7]);
    atomic_store(&let_go, JOBS);
    for (int job = 0; job < JOBS; job++) {
        wait_status(job, job == 6 ? 503 : 200);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(full_queue, setup, teardown),
        cmocka_unit_test_setup_teardown(long_wait, setup, teardown),
        cmocka_unit_test_setup_teardown(searches_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(peers_wait, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

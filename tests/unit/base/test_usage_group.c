/* Control groups of made-up trees, as versions 1 and 2 and a container show them. */
#include "root.h"
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include "base/usage_group.h"

#define GROUP "/sys/fs/cgroup"

static void nothing_is_known_without_files(void **state)
{
    (void)state;
    struct usage_group group;
    usage_group_at(root, &group);
    assert_true(isnan(group.periods) && isnan(group.throttled) && isnan(group.throttled_seconds));
    assert_true(isnan(group.memory) && isnan(group.memory_limit));
    assert_true(isnan(group.pressure[PRESSURE_CPU]) && isnan(group.pressure[PRESSURE_IO]));
    assert_false(group.pressure_of_system);
}

static void version_2(void **state)
{
    (void)state;
    struct usage_group group;
    put("/proc/self/cgroup", "0::/vimd/logic\n");
    put(GROUP "/cgroup.procs", "");
    put(GROUP "/vimd/logic/cpu.stat",
        "usage_usec 9\nuser_usec 5\nnr_periods 400\nnr_throttled 30\nthrottled_usec 2500000\n");
    put(GROUP "/vimd/logic/memory.current", "4096000\n");
    put(GROUP "/vimd/logic/memory.max", "max\n");
    put(GROUP "/vimd/logic/cpu.pressure", "some avg10=1.00 avg60=2.00 avg300=3.00 total=1500000\n"
                                          "full avg10=0.00 avg60=0.00 avg300=0.00 total=7\n");
    put(GROUP "/vimd/logic/memory.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=20\n");
    put(GROUP "/vimd/logic/io.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n");
    put("/proc/pressure/cpu", "some avg10=0.00 avg60=0.00 avg300=0.00 total=99000000\n");
    usage_group_at(root, &group);
    assert_true(group.periods == 400 && group.throttled == 30 && group.throttled_seconds == 2.5);
    assert_true(group.memory == 4096000 && isinf(group.memory_limit));
    assert_true(group.pressure[PRESSURE_CPU] == 1.5);
    assert_true(fabs(group.pressure[PRESSURE_MEMORY] - 20e-6) < 1e-12);
    assert_true(group.pressure[PRESSURE_IO] == 0);
    assert_false(group.pressure_of_system);
    put(GROUP "/vimd/logic/memory.max", "8192000\n");
    usage_group_at(root, &group);
    assert_true(group.memory_limit == 8192000);
}

/* Inside of a container the own group is what is mounted as the root. */
static void a_container_sees_its_group_as_the_root(void **state)
{
    (void)state;
    struct usage_group group;
    put("/proc/self/cgroup", "0::/docker/0123456789\n");
    put(GROUP "/cgroup.procs", "");
    put(GROUP "/cpu.stat", "usage_usec 9\nnr_periods 7\nnr_throttled 0\nthrottled_usec 0\n");
    put(GROUP "/memory.current", "123\n");
    usage_group_at(root, &group);
    assert_true(group.periods == 7 && group.throttled == 0 && group.memory == 123);
}

static void version_1(void **state)
{
    (void)state;
    struct usage_group group;
    put("/proc/self/cgroup", "9:name=systemd:/u\n5:memory:/m/x\n4:cpu,cpuacct:/c/x\n");
    put(GROUP "/cpu,cpuacct/cgroup.procs", "");
    put(GROUP "/cpu,cpuacct/c/x/cpu.stat",
        "nr_periods 50\nnr_throttled 5\nthrottled_time 1500000000\n");
    put(GROUP "/memory/cgroup.procs", "");
    put(GROUP "/memory/m/x/memory.usage_in_bytes", "777\n");
    put(GROUP "/memory/m/x/memory.limit_in_bytes", "9223372036854771712\n");
    put("/proc/pressure/cpu", "some avg10=0.00 avg60=0.00 avg300=0.00 total=3000000\n");
    put("/proc/pressure/io", "some avg10=0.00 avg60=0.00 avg300=0.00 total=4000000\n");
    usage_group_at(root, &group);
    assert_true(group.periods == 50 && group.throttled == 5 && group.throttled_seconds == 1.5);
    assert_true(group.memory == 777 && isinf(group.memory_limit));
    assert_true(group.pressure_of_system && group.pressure[PRESSURE_CPU] == 3);
    assert_true(group.pressure[PRESSURE_IO] == 4 && isnan(group.pressure[PRESSURE_MEMORY]));
}

/* As systemd mounts both: the controllers in version 1, pressure in version 2. */
static void both_side_by_side(void **state)
{
    (void)state;
    struct usage_group group;
    put("/proc/self/cgroup", "2:cpu:/a\n0::/b\n1:memory:/\n");
    put(GROUP "/cpu/cgroup.procs", "");
    put(GROUP "/cpu/a/cpu.stat", "nr_periods 1\nnr_throttled 1\nthrottled_time 0\n");
    put(GROUP "/unified/cgroup.procs", "");
    put(GROUP "/unified/b/cpu.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=2000000\n");
    put(GROUP "/unified/b/memory.current", "55\n");
    usage_group_at(root, &group);
    assert_true(group.periods == 1 && group.throttled == 1);
    assert_true(group.pressure[PRESSURE_CPU] == 2 && !group.pressure_of_system);
    assert_true(group.memory == 55 && isnan(group.memory_limit));
}

/* The control groups in version 1, and nobody has made one in version 2. */
static void pressure_of_the_root_is_the_machine_s(void **state)
{
    (void)state;
    struct usage_group group;
    put("/proc/self/cgroup", "2:cpu:/a\n0::/\n");
    put(GROUP "/cpu/cgroup.procs", "");
    put(GROUP "/cpu/a/cpu.stat", "nr_periods 1\nnr_throttled 1\nthrottled_time 0\n");
    put(GROUP "/unified/cgroup.procs", "");
    put(GROUP "/unified/cpu.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=2000000\n");
    usage_group_at(root, &group);
    assert_true(group.pressure[PRESSURE_CPU] == 2 && group.pressure_of_system);
    put(GROUP "/unified/cgroup.type", "domain\n"); /* a container's own */
    usage_group_at(root, &group);
    assert_true(group.pressure[PRESSURE_CPU] == 2 && !group.pressure_of_system);
}

static void nonsense_is_not_known(void **state)
{
    (void)state;
    struct usage_group group;
    put("/proc/self/cgroup", "nonsense\n\n0:\n:::\n0::/x\n");
    put(GROUP "/cgroup.procs", "");
    put(GROUP "/x/cpu.stat", "nr_periods\nnr_throttledx 5\n");
    put(GROUP "/x/memory.current", "many\n");
    put(GROUP "/x/cpu.pressure", "some\nfull total=4\n");
    usage_group_at(root, &group);
    assert_true(isnan(group.periods) && isnan(group.throttled) && isnan(group.memory));
    assert_true(isnan(group.pressure[PRESSURE_CPU]));
}

#define WITH_ROOT(test) cmocka_unit_test_setup_teardown(test, make_root, remove_root)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_ROOT(nothing_is_known_without_files),
        WITH_ROOT(version_2),
        WITH_ROOT(a_container_sees_its_group_as_the_root),
        WITH_ROOT(version_1),
        WITH_ROOT(both_side_by_side),
        WITH_ROOT(pressure_of_the_root_is_the_machine_s),
        WITH_ROOT(nonsense_is_not_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

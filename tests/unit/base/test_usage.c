#include "root.h"
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "base/usage.h"

static void time_and_memory_grow_with_use(void **state)
{
    (void)state;
    int64_t before = usage_cpu_us();
    volatile unsigned long sum = 0;
    for (int64_t until = clock_mono_us() + 20000000;
         usage_cpu_us() < before + 20000 && clock_mono_us() < until;) {
        for (unsigned i = 0; i < 10000; i++) {
            sum += i;
        }
    }
    assert_true(sum > 0);
    assert_true(usage_cpu_us() >= before + 20000);
    int64_t memory = usage_memory();
    size_t size = 64 << 20;
    char *block = malloc(size);
    assert_non_null(block);
    memset(block, 1, size);
    assert_true(usage_memory() >= memory + (48 << 20));
    free(block);
}

static void the_quota_of_the_group_is_the_limit(void **state)
{
    (void)state;
    double all = usage_cpu_limit_at(root); /* no file at all: the affinity */
    assert_true(all >= 1);
    put("/proc/self/cgroup", "4:memory:/m\n2:cpuacct,cpu:/a/b\n1:name=systemd:/\n0::/u\n");
    put("/sys/fs/cgroup/cpu/a/b/cpu.cfs_quota_us", "-1\n");
    put("/sys/fs/cgroup/cpu/a/b/cpu.cfs_period_us", "100000\n");
    assert_true(usage_cpu_limit_at(root) == all);
    put("/sys/fs/cgroup/cpu/a/b/cpu.cfs_quota_us", "5000\n");
    assert_true(usage_cpu_limit_at(root) == 0.05);
    put("/sys/fs/cgroup/unified/u/cpu.max", "max 100000\n");
    assert_true(usage_cpu_limit_at(root) == 0.05);
    put("/sys/fs/cgroup/unified/u/cpu.max", "4000 100000\n");
    assert_true(usage_cpu_limit_at(root) == 0.04);
    /* In a container the own group is the root that is seen. */
    put("/proc/self/cgroup", "0::/not/seen\n");
    put("/sys/fs/cgroup/cpu.max", "25000 100000\n");
    assert_true(usage_cpu_limit_at(root) == 0.25);
    put("/proc/self/cgroup", "nonsense\n\n0:\n");
    assert_true(usage_cpu_limit_at(root) == all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(time_and_memory_grow_with_use),
        cmocka_unit_test_setup_teardown(the_quota_of_the_group_is_the_limit, make_root,
                                        remove_root),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

"""What it costs to have the roles apart, and what more replicas bring: API, logic and worker
processes with PostgreSQL and Redis, replicas held to a small share of a processor by control
groups."""
import contextlib
import os
import re
import sys
import time

from measure import ROUNDS, SECONDS, Results, median, quiet_mock, say, vimd, wrk

from apart import Apart  # (measure has named its folder)
from cgroups import Group

SHARES = (1, 2, 3, 4)
# Of one processor, per replica.
LOGIC_SHARE = float(os.environ.get("BENCH_LOGIC_SHARE", "0.06"))
WORKER_SHARE = float(os.environ.get("BENCH_WORKER_SHARE", "0.06"))
PERIOD_US = 20000
TASKS = int(os.environ.get("BENCH_WORKER_TASKS", "500"))
QUIET = {"log": {"level": "info"}, "heartbeat": "1s"}


def all_known(scene):
    """The API process has found all logic replicas."""
    wanted = len(scene.of("logic"))
    vimd.wait_for(lambda: len(set(re.findall(
        r'event="a logic process has changed" address=(\S+) .*state=up',
        scene.of("api")[0].log()))) >= wanted, "all logic replicas to be known", 60)
    time.sleep(1)


@contextlib.contextmanager
def apart(vim, role=None, share=None, **counts):
    """Processes, ready. With ROLE, hold() holds each of these to SHARE of a processor."""
    scene = Apart(vims=[vim], settings=QUIET, name="bench",
                  counts={"api": 1, "logic": 1, "worker": 1, **counts})
    groups = [Group(f"vimd-bench-{os.getpid()}-{one.name}", share, PERIOD_US) for one in scene.of(role)] if role else []

    def hold():
        for group, one in zip(groups, scene.of(role)):
            group.add(one.popen.pid)

    scene.hold = hold
    try:
        yield scene.start()
    finally:
        scene.close()
        time.sleep(0.2)
        for group in groups:
            group.remove()


def servers():
    """The sections of one process that uses the same servers as Apart."""
    return {"store": {"plugin": "store-postgres", "options": {
                "hosts": [f"127.0.0.1:{os.environ['TEST_POSTGRES_PORT']}"], "database": "postgres",
                "schema": f"one_{os.getpid()}_{time.monotonic_ns()}",
                "password": "${env:TEST_POSTGRES_PASSWORD}"}},
            "queue": {"plugin": "queue-redis", "options": {
                "address": f"127.0.0.1:{os.environ['TEST_REDIS_PORT']}",
                "password": "${env:TEST_REDIS_PASSWORD}"}}}


def network(scene):
    return scene.create("networks", {"vim": "edge1", "name": "bench"})["id"]


def load(scene, path, connections=64):
    return wrk(f"http://127.0.0.1:{scene.port}{path}", threads=2, connections=connections,
               script="list.lua", env={"TOKEN": scene.token}).check().rate


def bench_together(results):
    """One API and one logic process against one process that is both."""
    rates = {"apart": [], "one": []}
    for _ in range(ROUNDS):
        with apart(quiet_mock()) as scene:
            rates["apart"].append(load(scene, f"/v1/networks/{network(scene)}"))
        with vimd.Vimd(vims=[quiet_mock()], settings={**QUIET, **servers()}, name="bench") as one:
            rates["one"].append(load(one, f"/v1/networks/{network(one)}"))
    results.add("apart_gets_per_second", median(rates["apart"]), median(rates["one"]))


def handled(process):
    """Requests that a logic process has answered."""
    client = vimd.Client(process.health)
    text = client.get("/metrics").body.decode()
    client.close()
    name = r"^vimd_logic_request_seconds_count(?:\{[^}]*\})? ([\d.e+]+)$"
    return sum(float(value) for value in re.findall(name, text, re.M))


def bench_spread(results):
    with apart(quiet_mock(), logic=4) as scene:
        path = f"/v1/networks/{network(scene)}"
        all_known(scene)
        before = [handled(one) for one in scene.of("logic")]
        load(scene, path)
        counts = [handled(one) - was for one, was in zip(scene.of("logic"), before)]
    mean = sum(counts) / len(counts)
    say(f"requests per logic replica: {', '.join(f'{count:.0f}' for count in counts)}")
    results.add("spread_largest_deviation_from_even",
                max(abs(count - mean) for count in counts) / mean, target=0.1, at_least=False)


def add_scaling(results, name, rates):
    for replicas in SHARES:
        rate = median(rates[replicas])
        say(f"{name} {replicas}: {rate:.1f} ({', '.join(f'{one:.1f}' for one in rates[replicas])})")
        results.add(f"{name}_by_{replicas}", rate, replicas * median(rates[1]),
                    0.85 if replicas > 1 else None)


def bench_logic(results):
    rates = {}
    for _ in range(ROUNDS):
        for replicas in SHARES:
            with apart(quiet_mock(), "logic", LOGIC_SHARE, logic=replicas) as scene:
                path = f"/v1/networks/{network(scene)}"
                all_known(scene)
                scene.hold()
                rates.setdefault(replicas, []).append(load(scene, path, 32 * replicas))
    add_scaling(results, "logic_gets_per_second", rates)


def carry_out(scene, count):
    """Tasks per second of COUNT creates that wait all at once."""
    vimd.many(lambda index: scene.must(scene.post("/v1/networks", {
        "vim": "edge1", "name": f"n{index}"}), 202), range(count), 16)
    done = scene.calls("network", "create")
    started = time.monotonic()
    vimd.wait_for(lambda: scene.calls("network", "create") >= count, "all creates", 300, pause=0.1)
    return (count - done) / (time.monotonic() - started)


def bench_worker(results):
    """The mock takes 50 ms for a call, and a worker process has four of them under way."""
    rates = {}
    vim = {**quiet_mock(call="50ms"), "operations": 4}
    for _ in range(ROUNDS):
        for replicas in SHARES:
            with apart(vim, "worker", WORKER_SHARE, worker=replicas) as scene:
                scene.hold()
                rates.setdefault(replicas, []).append(carry_out(scene, TASKS * replicas))
    add_scaling(results, "worker_tasks_per_second", rates)


PARTS = {"together": bench_together, "spread": bench_spread, "logic": bench_logic,
         "worker": bench_worker}


def main():
    """Under tests/servers/with, which brings PostgreSQL and Redis; parts can be named."""
    results = Results("apart")
    for name in sys.argv[1:] or PARTS:
        PARTS[name](results)
    return 0 if results.write() else 1


if __name__ == "__main__":
    sys.exit(main())

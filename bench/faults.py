#!/usr/bin/env python3
"""Labelled faults on the real vimd: does the policy name the block that is short?

The real roles, PostgreSQL and Redis, each replica in a control group of its own with a small share of a processor, and
a scaler in mode `advise` that sees nothing but what they tell. While requests come at a fixed rate one fault at a time
is made, and undone; what each policy says at its end is compared with where it was made. Classes:

    quota    a block's share of a processor is cut to a part of what the load needs
    lock     the store's table is held by somebody else most of the time, for writers or for all
    pool     a worker may call the infrastructure once or twice at a time, and a call takes long
    rtt      a hop gets a long round trip: no block is short, and the hop is to be named
    decoy    a block burns processor time for nothing, while another one's share is cut
    chatty   creates, of which each calls the store some twenty times, while the caller's share is cut

    bench/faults.py [--cases N] [--seed S] [--resume] [--minutes M] [--share I/N] [--only CLASS,...] [--table]

--resume goes on with bench/results/testbed-faults.csv, where the run before (or --minutes) ended; --share 1/2 and 2/2 are two runs that
can go on at once, the second with --resume; --table only judges what is there. Needs root (control groups, a network namespace
of its own), PostgreSQL, Redis, gnuplot. Writes bench/results/testbed-faults.csv, .tsv and .png.
"""
import argparse
import collections
import contextlib
import csv
import json
import os
import pathlib
import random
import shutil
import statistics
import subprocess
import sys
import time

from measure import RESULTS, Results, say, vimd

from faults_stack import (HOPS, QUOTA_LEAST, SHARES, Load,
                          Stack, request)

CSV = RESULTS / "testbed-faults.csv"
FIELDS = ("case", "class", "load", "fault", "strength", "truth", "before_per_second",
          "fault_per_second", "after_per_second", "before_in_flight", "fault_in_flight",
          "after_in_flight", "similarity", "literal", "threshold", "psi", "callcount", "random",
          "reason", "scores")
POLICIES = ("similarity", "literal", "threshold", "psi", "callcount", "random")
BEFORE_S, FAULT_S, AFTER_S = 6, 13, 2
CASES_PER_STACK = 12
CONNECTIONS = 48
TARGET = 0.9
# Loads: requests per second of each kind.
LOADS = {"lists": {"list": 280, "create": 3}, "tasks": {"list": 40, "create": 14},
         "chatty": {"list": 20, "create": 18}}
Case = collections.namedtuple("Case", "number kind load fault strength truth")


# --- Which cases ------------------------------------------------------------------------------------

def draw_quota(source):
    block = source.choice(("api", "logic", "store", "worker"))
    return ("tasks" if block == "worker" else "lists", block, part(source), block)


def part(source):
    """Of what the load needs."""
    return round(source.uniform(0.35, 0.65), 2)


def draw_lock(source):
    mode = source.choice(("access exclusive", "exclusive"))
    return ("lists" if mode == "access exclusive" else "tasks", mode,
            round(source.uniform(0.75, 0.92), 2), "store")


def draw_pool(source):
    return ("tasks", source.choice((1, 2)), round(source.uniform(1.3, 2.2), 2), "worker")


def draw_rtt(source):
    edge = source.choice(("api -> logic", "logic -> store", "logic -> store", "api -> logic",
                          "worker -> store"))
    return ("tasks" if edge.startswith("worker") else "lists", edge, source.randrange(110, 260), edge)


def draw_decoy(source):
    decoy = source.choice(("store", "queue", "worker", "api", "logic"))
    short = source.choice([name for name in ("api", "logic", "store") if name != decoy])
    return "lists", f"{decoy}+{short}", part(source), short


def draw_chatty(source):
    short = source.choice(("worker", "worker", "logic"))
    return "chatty", short, part(source), short


DRAW = {"quota": draw_quota, "lock": draw_lock, "pool": draw_pool, "rtt": draw_rtt,
        "decoy": draw_decoy, "chatty": draw_chatty}


def make_cases(count, seed):
    """As many of each class as there are places, in an order of the seed's."""
    source = random.Random(seed)
    kinds = [list(DRAW)[number % len(DRAW)] for number in range(count)]
    source.shuffle(kinds)
    return [Case(number, kind, *DRAW[kind](source)) for number, kind in enumerate(kinds)]


# --- Faults --------------------------------------------------------------------------------------------

@contextlib.contextmanager
def cut(stack, block, strength, needed):
    """The block's replicas together get STRENGTH of what they NEED."""
    groups = stack.groups()[block]
    share = max(strength * needed[block] / len(groups), QUOTA_LEAST)
    for group in groups:
        group.set_quota(share)
    try:
        yield f"{share:.3f}"
    finally:
        for group in groups:
            group.set_quota(SHARES[block])


@contextlib.contextmanager
def held(stack, mode, strength):
    """Somebody holds a lock on the store's table for STRENGTH of the time: `exclusive` keeps writers out, `access
    exclusive` readers too."""
    hold, free = 0.2 * strength, 0.2 * (1 - strength)
    turn = (f"BEGIN; LOCK TABLE {stack.schema}.rows IN {mode} MODE; "
            f"SELECT pg_sleep({hold:.3f}); COMMIT; SELECT pg_sleep({free:.3f});\n")
    process = stack.query(turn * int((FAULT_S + 30) / 0.2))
    try:
        yield ""
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def short_pool(stack, slots, strength):
    """The worker has SLOTS for calls that take so long that STRENGTH times as many are asked for."""
    call = strength * slots / LOADS["tasks"]["create"]
    stack.reload("worker", threads=slots, call=f"{call * 1000:.0f}ms")
    try:
        yield f"{call * 1000:.0f} ms"
    finally:
        stack.reload("worker")


@contextlib.contextmanager
def slow_hop(stack, edge, round_trip_ms):
    stack.link.set(HOPS[edge], round_trip_ms)
    try:
        yield ""
    finally:
        stack.link.set(HOPS[edge], 0)


@contextlib.contextmanager
def decoy(stack, block, needed):
    """A process in the block's group that uses up most of what the block leaves of its share."""
    group = stack.group(block)
    inner = type(group)(f"{stack.cgroup}/{block}-1/decoy")
    for path in inner.paths:
        path.mkdir(exist_ok=True)
    spare = SHARES[block] - needed[block] / len(stack.groups()[block])
    inner.set_quota(max(0.7 * spare, QUOTA_LEAST))
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    inner.add(process.pid)
    try:
        yield ""
    finally:
        process.kill()
        process.wait()
        for path in inner.paths:
            vimd.wait_for(lambda: remove(path), f"the end of {path}", 10)


def remove(path):
    with contextlib.suppress(OSError):
        path.rmdir()
    return not path.exists()


@contextlib.contextmanager
def fault(stack, case, needed):
    with contextlib.ExitStack() as all_of_it:
        enter = all_of_it.enter_context
        if case.kind in ("quota", "chatty"):
            enter(cut(stack, case.fault, case.strength, needed))
        elif case.kind == "lock":
            enter(held(stack, case.fault, case.strength))
        elif case.kind == "pool":
            enter(short_pool(stack, case.fault, case.strength))
        elif case.kind == "rtt":
            enter(slow_hop(stack, case.fault, case.strength))
        else:
            burning, short = case.fault.split("+")
            enter(decoy(stack, burning, needed))
            enter(cut(stack, short, case.strength, needed))
        yield


# --- One case --------------------------------------------------------------------------------------------

def requests_of(stack, load):
    body = json.dumps({"vim": "edge1", "name": "f-########"})
    kinds = {"list": request(stack, "GET", "/v1/networks?limit=20"),
             "create": request(stack, "POST", "/v1/networks", body, ("Prefer: wait=50",))}
    return [(rate, kinds[kind]) for kind, rate in LOADS[load].items()]


def trend(service, windows):
    """Throughput and requests in flight, as means of the last WINDOWS."""
    return [statistics.fmean([value for value in service["trend"].get(name, [])[-windows:]
                              if value is not None] or [0])
            for name in ("throughput", "in_flight")]


def claim(told):
    """What a decision says is short: a block, a hop, or nothing."""
    if told.get("edge"):
        return told["edge"]
    return told.get("block") if told["verdict"] in ("scale_out", "not_scalable") else None


def look(stack, count=3):
    """What each policy says in most of COUNT decisions, and the last of the acting one's."""
    claims, seen, service = [], None, None
    while len(claims) < count:
        service = stack.service()
        now = service.get("decision")
        if now and now["time"] != seen:
            seen = now["time"]
            claims.append([claim(one) or "none" for one in (now, *now["shadows"])])
        time.sleep(0.2)
    said = [collections.Counter(reversed(column)).most_common(1)[0][0] for column in zip(*claims)]
    return said, service


def settle(stack):
    """Until nothing is left of the last load: neither requests nor tasks that nobody waits for any more."""
    def is_idle():
        service = stack.service()
        worker = next(block["now"] for block in service["blocks"] if block["name"] == "worker")
        held = [service["trend"].get("in_flight", [None])[-1], worker.get("in_flight")]
        return all(value is not None and value < 0.5 for value in held)

    vimd.wait_for(is_idle, "what the last load has left to end", 60, pause=0.25)


def run_case(stack, case):
    load = Load(stack, requests_of(stack, case.load), BEFORE_S + FAULT_S + 30, CONNECTIONS)
    try:
        time.sleep(2)
        used, began = stack.used(), time.monotonic()
        time.sleep(BEFORE_S - 2)
        needed = {name: (now - used[name]) / (time.monotonic() - began)
                  for name, now in stack.used().items()}
        before = trend(stack.service(), 6)
        with fault(stack, case, needed):
            time.sleep(FAULT_S - 3.6)
            said, service = look(stack)
            during = trend(service, 6)
        time.sleep(AFTER_S)
        after = trend(stack.service(), 2)
    finally:
        load.stop()
    settle(stack)
    decision = service["decision"]
    scores = " ".join(f"{one['block']}:{one['score']:.2f}" for one in decision.get("scores", [])
                      if one.get("score") is not None)
    numbers = [f"{pair[at]:.1f}" for at in (0, 1) for pair in (before, during, after)]
    return (case.number, case.kind, case.load, case.fault, case.strength, case.truth, *numbers,
            *said, decision["reason"], scores)


# --- All of them -----------------------------------------------------------------------------------------

def read_rows():
    if not CSV.exists():
        return []
    with CSV.open(newline="") as file:
        return list(csv.DictReader(file))


def run(arguments):
    rows = read_rows() if arguments.resume else []
    done = {int(row["case"]) for row in rows}
    cases = [case for case in make_cases(arguments.cases, arguments.seed)
             if case.number not in done and case.kind in arguments.only
             and case.number % arguments.share[1] == arguments.share[0] - 1]
    RESULTS.mkdir(exist_ok=True)
    if not rows:
        with CSV.open("w", newline="") as file:
            csv.writer(file).writerow(FIELDS)
    until = time.monotonic() + 60 * arguments.minutes if arguments.minutes else None
    took = BEFORE_S + FAULT_S + AFTER_S + 3
    while cases and not (until and time.monotonic() + took > until):
        trace = RESULTS / f"testbed-faults-{cases[0].number}.trace.csv"
        trace.unlink(missing_ok=True)
        with contextlib.closing(Stack(trace)) as stack:
            stack.start()
            for case in cases[:CASES_PER_STACK]:
                if until and time.monotonic() + took > until:
                    break
                began = time.monotonic()
                row = run_case(stack, case)
                with CSV.open("a", newline="") as file:
                    csv.writer(file).writerow(row)
                done.add(case.number)
                cases = cases[1:]
                took = time.monotonic() - began
                said = row[FIELDS.index("similarity")]
                say(f"{len(done)}/{arguments.cases}, {len(cases) * took / 60:.0f} min left: "
                    f"{case.kind} {case.fault} {case.strength}: {said}"
                    f"{'' if said == case.truth else '  WRONG: ' + case.truth}  "
                    f"({row[6]} -> {row[7]} -> {row[8]}/s, in flight {row[9]} -> {row[10]} -> "
                    f"{row[11]}) {row[FIELDS.index('reason')]}")


def accuracy(rows, policy):
    return sum(row[policy] == row["truth"] for row in rows) / len(rows) if rows else None


def draw(rows):
    if not shutil.which("gnuplot"):
        say("no gnuplot, no picture")
        return
    classes = {"all": rows, **{kind: [row for row in rows if row["class"] == kind] for kind in DRAW}}
    lines = [" ".join([kind, *(f"{100 * accuracy(those, policy):.1f}" for policy in POLICIES)])
             for kind, those in classes.items() if those]
    data = "$data << EOD\n" + "\n".join(lines) + "\nEOD\n"
    plots = ", ".join(f"$data using {at}:xtic(1) title '{policy}'"
                      for at, policy in enumerate(POLICIES, 2))
    script = (f"set terminal pngcairo size 1000,500 font ',11'\n"
              f"set output '{RESULTS}/testbed-faults.png'\n"
              f"set title '{len(rows)} labelled faults on the real testbed: block or hop named'\n"
              f"set ylabel 'per cent'\nset yrange [0:100]\nset grid ytics\nset key outside\n"
              f"set style data histograms\nset style fill solid 0.8\n{data}plot {plots}\n")
    subprocess.run(["gnuplot"], input=script.encode(), check=True)


def judge(rows):
    results = Results("testbed-faults")
    best = max(accuracy(rows, policy) for policy in POLICIES[1:])
    results.add("faults", len(rows), target=90)
    results.add("top1", accuracy(rows, "similarity"), target=TARGET)
    results.add("top1_of_the_best_other_policy", best)
    for kind in DRAW:
        those = [row for row in rows if row["class"] == kind]
        for policy in POLICIES if those else ():
            results.add(f"{kind}_{policy}", accuracy(those, policy))
    for policy in POLICIES[1:]:
        results.add(f"top1_{policy}", accuracy(rows, policy))
    draw(rows)
    return results.write()


def parse():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=96)
    parser.add_argument("--seed", type=int, default=7741)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--share", default="1/1",
                        type=lambda text: tuple(map(int, text.split("/"))))
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--only", default=",".join(DRAW), type=lambda text: text.split(","))
    return parser.parse_args()


def main():
    arguments = parse()
    if not arguments.table:
        if os.geteuid() != 0:
            sys.exit("faults: control groups and a network namespace need root")
        if not os.environ.get("FAULTS_NAMESPACE"):
            os.environ["FAULTS_NAMESPACE"] = "1"
            os.execvp("unshare", ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"',
                                  "sh", sys.executable, __file__, *sys.argv[1:]])
        run(arguments)
    rows = read_rows()
    return 0 if rows and judge(rows) else 1


if __name__ == "__main__":
    sys.exit(main())

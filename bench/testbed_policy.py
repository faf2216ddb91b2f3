#!/usr/bin/env python3
"""The policy on the testbed of the paper: does it stop adding replicas when nothing more is to be had?

The testbed of testbed.py under the same load, `wrk -t12 -c400`, from one logic replica on: a scaler in mode `act` starts and ends the
logic replicas (platform-process, each in a control group of its own, up to MOST), and knows what the processes tell in
their heartbeats, nothing else. The databases have their share and no platform: there is nothing to be added. Tells every
WINDOW_S seconds how many replicas there are, how many requests are answered per second, and how many that is for each list of
the reference (testbed.py), since what the machine can do changes within minutes. At its end it tells what was decided, why, and how
the last third compares with the best windows and with the best that the sweep of testbed.py found for so many databases (if
bench/results/testbed.csv has it), all beside the reference.

    bench/testbed_policy.py [DATABASES] [SECONDS]      1 database, 240 s; needs root, as testbed.py does

Writes bench/results/testbed-policy-DATABASES.csv and .png.
"""
import csv
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import testbed
from measure import RESULTS, Results, quiet_mock, say, vimd, wrk
from testbed import SERVERS, SHARE, Database, Reference

from own_replicas import BLOCKS, EDGES, OwnReplicas  # (measure has named its folder)

MOST = 10
WINDOW_S = 6


class Scaled(OwnReplicas):
    """API, worker and scaler; the logic replicas are the scaler's."""

    counts = {"api": 1, "worker": 1, "scaler": 1}

    def __init__(self, databases):
        self.databases = databases
        super().__init__(vims=[quiet_mock()], name="policy",
                         settings={"log": {"level": "warning"}, "heartbeat": "1s"})

    def config(self, process):
        tree = super().config(process)
        if process.role == "api":
            tree["link"].update(requests=512, queue_wait="30s")
            return tree
        tree["store"]["options"].update(
            hosts=[f"127.0.0.1:{one.port} {'replica' if at else 'primary'}"
                   for at, one in enumerate(self.databases)])
        if process.role != "scaler":
            return tree
        group = self.own_group("logic", tree, blocking_wait="30s")
        tree["vims"] = []
        tree["platforms"] = [self.platform("here", [group], cpu=SHARE, ready=[self.is_ready_at("logic")])]
        tree["services"] = [{
            "name": "vimd", "mode": "act", "window": "1s", "interval": "2s", "slo_p95": "100ms",
            "policy": "scaler-similarity", "source": {"type": "vimd", "timeout": "800ms"},
            "blocks": [{"name": name, **({"platform": "here", "max": MOST} if name == "logic" else {})}
                       for name in BLOCKS], "edges": list(EDGES)}]
        return tree

    def ready(self):
        """None: too slow to answer."""
        return (self.block("logic") or {}).get("ready")


def run(count, seconds):
    folder = pathlib.Path(tempfile.mkdtemp(prefix="vimd-testbed-"))
    folder.chmod(0o711)
    databases, rows = [], []
    reference = Reference(folder)
    try:
        for number in range(count):
            databases.append(Database(folder, f"p{count}-{number}", databases[0] if databases else None))
        os.environ["TEST_POSTGRES_PORT"] = str(databases[0].port)
        os.environ["TEST_POSTGRES_PASSWORD"] = databases[0].password
        scene = Scaled(databases)
        try:
            scene.start()
            vimd.wait_for(lambda: scene.ready() == 1, "one logic replica", 60)
            for number in range(testbed.NETWORKS):
                scene.create("networks", {"vim": "edge1", "name": f"net-{number}"})
            for one in databases:
                one.hold()
            began = time.monotonic()
            while time.monotonic() - began < seconds:
                beside = reference.begin(WINDOW_S)
                rate = wrk(f"http://127.0.0.1:{scene.port}{testbed.PATH}", seconds=WINDOW_S, script="list.lua",
                           env={"TOKEN": scene.token}).rate
                lists = reference.end(beside)
                rows.append((round(time.monotonic() - began), scene.ready(), round(rate, 1), round(lists, 1),
                             round(rate / lists, 3)))
                say(f"{rows[-1][0]:4} s: {rows[-1][1]} logic replicas, {rate:7.1f}/s, {rate / lists:.2f} of the reference")
            decisions = [one for one in scene.done() if one["verdict"] in ("scale_out", "scale_in", "rollback")]
            last = scene.service() or {}
        finally:
            scene.close()
    finally:
        for one in reversed(databases):
            one.stop()
        reference.stop()
        shutil.rmtree(folder, ignore_errors=True)
    return rows, decisions, last


def best_of_sweep(count):
    rows = [row for row in testbed.read_rows() if int(row["databases"]) == count]
    points = testbed.curve(rows, "logic", "databases", count)
    return max(points, key=lambda point: point[1])[:2] if points else None


def draw(name, rows, count):
    if not shutil.which("gnuplot"):
        return
    steps = "\n".join(f"{at} {ready}" for at, ready, *_ in rows if ready)
    ratios = "\n".join(f"{at} {ratio}" for at, *_, ratio in rows)
    script = (f"set terminal pngcairo size 800,500 font ',11'\nset output '{RESULTS}/{name}.png'\n"
              f"set title 'databases = {count}, each replica with {SHARE:.0%} of a processor'\n"
              f"set xlabel 'seconds'\nset ylabel 'requests for each list of the reference'\nset yrange [0:*]\nset y2range [0:{MOST + 1}]\n"
              f"set y2label 'logic replicas'\nset y2tics 1\nset grid ytics\nset key bottom right\n"
              f"plot '-' with linespoints lw 2 pt 7 title 'requests for each list of the reference', "
              f"'-' axes x1y2 with steps lw 2 title 'logic replicas'\n{ratios}\ne\n{steps}\ne\n")
    subprocess.run(["gnuplot"], input=script.encode(), check=True)


def judge(count, rows, decisions, last):
    name = f"testbed-policy-{count}"
    with (RESULTS / f"{name}.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("seconds", "logic", "requests_per_second", "reference", "ratio"), *rows])
    for one in decisions:
        say(f"{one['time']} {one['verdict']} {one.get('block')}: {one['explanation']}")
    if last.get("decisions"):
        one = max(last["decisions"], key=lambda one: one["time"])
        say(f"{one['time']} {one['verdict']}: {one['explanation']}")
    results = Results(name)
    third = rows[len(rows) * 2 // 3:]
    ratios = [row[-1] for row in rows]
    middle = statistics.median(ratios[len(rows) * 2 // 3:])
    results.add("logic_replicas_at_the_end", rows[-1][1])
    results.add("logic_replicas_changed_in_the_last_third", len({row[1] for row in third}) - 1)
    results.add("requests_per_second_in_the_last_third", *(statistics.median(row[at] for row in third) for at in (2, 3)),
                ratio=middle)
    # Windows go up and down, by half with nothing changed: the best one is chance.
    results.add("last_third_of_the_second_best_window", middle, sorted(ratios)[-2], 0.9)
    best = best_of_sweep(count)
    if best:
        results.add("last_third_of_the_best_of_the_sweep", middle, best[1], 0.9)
        say(f"the best of the sweep: {best[1]:.2f} of the reference with {best[0]} logic replicas")
    else:
        say(f"no sweep with {count} databases to compare with: TESTBED_DATABASES={count} bench/testbed.py makes one")
    draw(name, rows, count)
    return results.write()


def main():
    if len(sys.argv) > 1 and not sys.argv[1].isdigit():
        print(__doc__.strip())
        return 0 if sys.argv[1] in ("-h", "--help") else 2
    if os.geteuid() != 0:
        sys.exit("testbed: control groups need root")
    count, seconds = (int(word) for word in (sys.argv[1:] + ["1", "240"][len(sys.argv) - 1:])[:2])
    RESULTS.mkdir(exist_ok=True)
    return 0 if judge(count, *run(count, seconds)) else 1


if __name__ == "__main__":
    if "TEST_REDIS_PORT" not in os.environ and (len(sys.argv) == 1 or sys.argv[1].isdigit()):
        os.execv(SERVERS / "with", [str(SERVERS / "with"), "redis", "--", sys.executable, __file__, *sys.argv[1:]])
    sys.exit(main())

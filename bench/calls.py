#!/usr/bin/env python3
"""What loading a network service costs in calls to the infrastructure, against the law 2n^2 + 4m^2.

Services of n VNFs and m virtual links, both from 0 to 8, are made at a mock cloud that builds one thing
after another: once with the mock's naive polling (each create asks about everything: 2 calls per VNF, 4 per
link and round), and once as vimd does it (one list per kind and round, however many wait). The sums of squares
a n^2 + b m^2 + alpha are fitted to the reads of the naive way by least squares; creates come on top of both.

Writes bench/results/calls.csv (every service), calls.tsv (the verdicts) and calls.png (gnuplot).
BENCH_CALLS_MAX (8) makes the grid smaller.
"""
import collections
import csv
import os
import pathlib
import shutil
import subprocess
import sys
import threading

from measure import RESULTS, Results, say, vimd

MOST = int(os.environ.get("BENCH_CALLS_MAX", "8"))
BUILD_MS = 200  # all creates of a service have to be asked for before the first one is done
POLL_MS = 150
READS = ("list", "changes", "get")

Row = collections.namedtuple("Row", "mode n m creates reads rounds total seconds")


def cloud(mode):
    # Who polls naively has no inventory beside it.
    poll = {"poll_pending": "1h" if mode == "naive" else f"{POLL_MS}ms", "poll_idle": "1h",
            "poll_full": "1h"}
    # The looks at quotas and hosts that a second shares have no part in the law.
    return vimd.mock("edge1", poll=poll, check_quota=False, build=f"{BUILD_MS}ms", delete="0ms",
                     network_latency_mean=f"{BUILD_MS}ms", builders=1, server_ports="cloud",
                     polling="naive" if mode == "naive" else "shared")


def description(n, m):
    points = {f"p{i}": {"network": f"${{vl.l{i}.id}}"} for i in range(m)}
    return {"name": f"s-{n}-{m}",
            "virtual_links": {f"l{i}": {} for i in range(m)},
            "vnfs": {f"v{i}": {"image": "cirros", "flavor": "small", "connection_points": points}
                     for i in range(n)}}


def counted(daemon):
    calls = daemon.counters()["calls"]
    return {(kind, verb): count for kind, verbs in calls.items() for verb, count in verbs.items()}


def load(daemon, mode, n, m):
    """Makes one service, counts, and deletes it."""
    before = counted(daemon)
    answer = daemon.must(daemon.post("/v1/network-services", description(n, m)), 202)
    task = daemon.wait_task(daemon.task_of(answer))
    if task["state"] != "succeeded":
        raise vimd.Broken(f"{task}")
    after = counted(daemon)
    made = {key: after[key] - before.get(key, 0) for key in after}
    creates = sum(count for (_, verb), count in made.items() if verb == "create")
    reads = sum(count for (_, verb), count in made.items() if verb in READS)
    polls = [sum(made[kind, verb] for verb in ("list", "changes")) for kind in ("server", "network")]
    other = sum(made.values()) - creates - reads
    if other:
        raise vimd.Broken(f"calls that nothing asked for: {made}")
    seconds = moment(task["finished"]) - moment(task["created"])
    end = daemon.must(daemon.delete(f"/v1/network-services/{task['target']['id']}"), 202)
    daemon.wait_task(daemon.task_of(end))
    settle(daemon)
    return Row(mode, n, m, creates, reads, max(polls), creates + reads, round(seconds, 3))


def moment(text):
    import datetime
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def settle(daemon):
    """Until the inventory has looked at what was deleted, and asks no more."""
    import time
    last = None
    while last != (last := counted(daemon)):
        time.sleep(3 * POLL_MS / 1000)


def grid(mode, rows):
    settings = {"log": {"level": "warning"}, "tasks": {"sweep": "5s"}}
    with vimd.Vimd(vims=[cloud(mode)], name=f"calls-{mode}", settings=settings) as daemon:
        settle(daemon)
        for n in range(MOST + 1):
            for m in range(MOST + 1):
                rows.append(load(daemon, mode, n, m))


def fit(points):
    """Least squares for a n^2 + b m^2 + alpha, by the normal equations; and R^2."""
    matrix = [[0.0] * 4 for _ in range(3)]
    for n, m, value in points:
        terms = (n * n, m * m, 1)
        for i in range(3):
            for j in range(3):
                matrix[i][j] += terms[i] * terms[j]
            matrix[i][3] += terms[i] * value
    for i in range(3):
        pivot = matrix[i][i]
        matrix[i] = [cell / pivot for cell in matrix[i]]
        for k in range(3):
            if k != i:
                factor = matrix[k][i]
                matrix[k] = [cell - factor * with_ for cell, with_ in zip(matrix[k], matrix[i])]
    a, b, alpha = (matrix[i][3] for i in range(3))
    mean = sum(value for _, _, value in points) / len(points)
    unexplained = sum((value - a * n * n - b * m * m - alpha) ** 2 for n, m, value in points)
    spread = sum((value - mean) ** 2 for _, _, value in points)
    return a, b, alpha, 1 - unexplained / spread


def show(mode, rows):
    say(f"{mode}: calls for n VNFs (down) and m links (across)")
    cells = {(row.n, row.m): row.total for row in rows}
    say("      " + "".join(f"{m:6}" for m in range(MOST + 1)))
    for n in range(MOST + 1):
        say(f"{n:6}" + "".join(f"{cells[n, m]:6}" for m in range(MOST + 1)))


PICTURE = r"""
set terminal pngcairo size 1500,620 font "sans,11"
set output "{output}"
set datafile separator ","
set key top left
set grid
set xlabel "VNFs (n)"
set ylabel "calls to the infrastructure"
set multiplot layout 1,2 title "Calls for a network service of n VNFs and m virtual links"
set title "naive polling, and the law 2n² + 4m² + n + m + α"
plot for [m in "{links}"] "{data}" using ($1 eq "naive" && $3 == m ? $2 : 1/0):7 \
    with points pointtype 7 title sprintf("m = %s", m), \
    for [m in "{links}"] {a}*x**2 + {b}*m**2 + x + m + {alpha} with lines linecolor rgb "#999999" notitle
set title "as vimd does it: one list per kind and round"
set yrange [0:{high}]
plot for [m in "{links}"] "{data}" using ($1 eq "shared" && $3 == m ? $2 : 1/0):7 \
    with points pointtype 7 title sprintf("m = %s", m), \
    for [m in "{links}"] x + m with lines linecolor rgb "#999999" \
    title (m == 0 ? "n + m, the creates alone" : "")
unset multiplot
"""


def draw(a, b, alpha, high):
    if not shutil.which("gnuplot"):
        say("no gnuplot, no picture")
        return
    links = " ".join(str(m) for m in sorted({0, MOST // 2, MOST}))
    script = PICTURE
    for name, value in {"output": RESULTS / "calls.png", "data": RESULTS / "calls.csv",
                        "links": links, "a": a, "b": b, "alpha": alpha, "high": high}.items():
        script = script.replace("{" + name + "}", str(value))
    script = script.replace('$1 eq', 'strcol(1) eq')
    subprocess.run(["gnuplot"], input=script, text=True, check=True)


def main():
    rows = {"naive": [], "shared": []}
    errors = []

    def run(mode):
        try:
            grid(mode, rows[mode])
        except BaseException as error:  # told by the main thread
            errors.append((mode, error))

    threads = [threading.Thread(target=run, args=(mode,)) for mode in rows]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0][1]
    RESULTS.mkdir(exist_ok=True)
    with open(RESULTS / "calls.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(Row._fields)
        writer.writerows(row for each in rows.values() for row in each)
    for mode, each in rows.items():
        show(mode, each)
    a, b, alpha, square = fit([(row.n, row.m, row.reads) for row in rows["naive"]])
    say(f"naive reads = {a:.4f} n^2 + {b:.4f} m^2 + {alpha:.3f}, R^2 = {square:.6f}")
    results = Results("calls")
    results.add("naive-a", a, target=1.98)
    results.add("naive-a-most", a, target=2.02, at_least=False)
    results.add("naive-b", b, target=3.96)
    results.add("naive-b-most", b, target=4.04, at_least=False)
    results.add("naive-r2", square, target=0.999)
    # What is not a create nor one of the two lists of a round is alpha: it must not grow.
    rest = max(row.total - row.n - row.m - 2 * row.rounds for row in rows["shared"])
    results.add("shared-alpha", rest, target=2, at_least=False)
    extra = max(row.creates - row.n - row.m for row in rows["shared"])
    results.add("shared-creates-more-than-n-and-m", extra, target=0, at_least=False)
    late = max(row.rounds - row.seconds * 1000 / POLL_MS for row in rows["shared"])
    results.add("shared-rounds-more-than-time-allows", late, target=3, at_least=False)
    largest = {mode: each[-1].total for mode, each in rows.items()}
    results.add("largest-service-calls", largest["shared"], reference=largest["naive"], target=0.5,
                at_least=False)
    met = results.write()
    draw(a, b, alpha, max(row.total for row in rows["shared"]) + 5)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""The testbed of the paper with the real vimd: requests per second against logic and database replicas.

API, logic and worker processes, PostgreSQL (a primary and streaming read replicas) and Redis; each logic
replica and each PostgreSQL has a control group of its own with a small share of a processor, the other
processes are not held. The load is `wrk -t12 -c400`, lists of 20 networks, of which none is cached
between API and database. Beside each point, at the same time, a PostgreSQL that has nothing to do with vimd and the same share is asked
for such lists by pgbench, as many as it can answer: what the machine can do changes by half within minutes, and with it what
both do. A point is judged by their ratio. Draws throughput against logic replicas for 1, 3 and 5 databases (Figs. 4, 5, 6
of Na, Park and Ryu, 2018) and against databases for 5 and 10 logic replicas (Fig. 7).

    bench/testbed.py                   needs root (control groups), wrk, PostgreSQL, Redis, gnuplot

TESTBED_REPETITIONS (2), TESTBED_SECONDS (6), TESTBED_WARM_UP (10: new replicas make their
connections then; twice as long after a start of everything): per point; the figures of a publication want 5, 30 and 30, which takes hours. TESTBED_SHARE (0.05 of a processor), TESTBED_PERIOD (100 ms, over
which a share is reckoned: the default of Linux, Docker and Kubernetes; with 20 ms a kernel that stops the processes of a group one by one spends
a good part of a share of a twentieth on that, the more the more of them have something to do),
TESTBED_DATABASES (1 2 3 4 5), TESTBED_LOGIC (1 to 10), TESTBED_SEED (1) of the order. Writes bench/results/testbed.csv,
testbed.tsv, testbed-*.png and testbed.png (three of them in one). A run that is broken off goes on with TESTBED_RESUME=1; so a run can be cut into pieces, too: what one has measured
(TESTBED_DATABASES=1, say) is kept by the next that has TESTBED_RESUME=1, and each judges and draws all there is.
"""
import contextlib
import csv
import os
import pathlib
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from measure import RESULTS, Results, quiet_mock, say, vimd, wrk

from apart import Apart, Linked  # (measure has named its folder)
from cgroups import Group, hold_postgres

SERVERS = vimd.SOURCE / "tests" / "servers"
REPETITIONS = int(os.environ.get("TESTBED_REPETITIONS", "2"))
MEASURE_S = int(os.environ.get("TESTBED_SECONDS", "6"))
WARM_UP_S = int(os.environ.get("TESTBED_WARM_UP", "10"))
SHARE = float(os.environ.get("TESTBED_SHARE", "0.05"))
PERIOD_US = int(os.environ.get("TESTBED_PERIOD", "100")) * 1000
DATABASES = [int(word) for word in os.environ.get("TESTBED_DATABASES", "1 2 3 4 5").split()]
LOGIC = [int(word) for word in os.environ.get("TESTBED_LOGIC", "1 2 3 4 5 6 7 8 9 10").split()]
SEED = int(os.environ.get("TESTBED_SEED", "1"))
PATH = "/v1/networks?limit=20"
NETWORKS = 20
CSV = RESULTS / "testbed.csv"
FIELDS = ("repetition", "databases", "logic", "requests_per_second", "api_cores", "logic_cores",
          "database_cores", "reference")
# Curves: name, what is on the axis, what is held, at which number, and where the paper has its peak.
CURVES = (("fig4", "logic", "databases", 1), ("fig5", "logic", "databases", 3),
          ("fig6", "logic", "databases", 5), ("fig7a", "databases", "logic", 5),
          ("fig7b", "databases", "logic", 10))
# A step down that is smaller is noise.
TOLERANCE = 0.03


class Database:
    """One PostgreSQL in a control group of its own."""

    def __init__(self, folder, number, primary=None):
        self.place = str(folder / f"db{number}")
        self.group = Group(f"vimd-bench-{os.getpid()}-db{number}", SHARE, PERIOD_US)
        words = ["replica", self.place, primary.place] if primary else ["up", self.place]
        done = subprocess.run([SERVERS / "postgres", *words, "max_wal_senders=20",
                               "max_connections=300"], stdout=subprocess.PIPE, text=True, check=True)
        self.port = int(done.stdout)
        self.password = pathlib.Path(self.place, "password").read_text()

    def hold(self):
        hold_postgres(self.place, self.group)

    def stop(self):
        subprocess.run([SERVERS / "postgres", "down", self.place, "immediate"], check=False)
        time.sleep(0.2)
        self.group.remove()


class Reference:
    """A PostgreSQL of its own, with the share of one of vimd's, and pgbench, which reads lists of 20 rows from it."""

    LISTS = 12  # in one pipeline, about as many as vimd sends
    TABLE = """create table rows(collection text, id text, parent text, state int, due bigint, revision bigint,
                                 body text, primary key(collection, id));
               insert into rows select kind, md5(i::text), 'parent', 1, 0, i, repeat('x', 330)
                   from generate_series(1, 20) i, unnest(array['networks', 'servers', 'ports']) kind;
               analyze rows"""
    LIST = ("select id, parent, state, due, revision, body from rows where collection = 'networks' "
            "order by id limit 21;\n")

    def __init__(self, folder):
        self.database = Database(folder, "reference")
        self.programs = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))[-1]
        self.script = folder / "reference.sql"
        self.script.write_text("\\startpipeline\n" + self.LIST * self.LISTS + "\\endpipeline\n")
        subprocess.run([self.programs / "psql", "-q", *self.place(), "-c", self.TABLE],
                       env=self.environment(), check=True)
        self.database.hold()

    def place(self):
        return ["-h", "127.0.0.1", "-p", str(self.database.port), "-U", "vimd", "postgres"]

    def environment(self):
        return {**os.environ, "PGPASSWORD": self.database.password}

    def begin(self, duration):
        return subprocess.Popen([self.programs / "pgbench", "-n", "-M", "prepared", "-T", str(duration),
                                 "-f", self.script, *self.place()], env=self.environment(), text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def end(self, running):
        """Lists per second since RUNNING began."""
        out, errors = running.communicate()
        if running.returncode != 0:
            raise SystemExit(f"pgbench: {errors}")
        return self.LISTS * float(re.search(r"tps = ([\d.]+)", out).group(1))

    def stop(self):
        self.database.stop()


class Testbed(Apart):
    """Logic replicas come and go; the databases are those of its time."""

    def __init__(self, databases):
        self.databases = databases
        self.groups = {}
        super().__init__(vims=[quiet_mock()], name="testbed",
                         settings={"log": {"level": "warning"}, "heartbeat": "2s",
                                   # All 400 may wait: refusals would be no throughput.
                                   "link": {"requests": 512, "queue_wait": "30s",
                                            "blocking_wait": "30s"}},
                         counts={"api": 1, "logic": 1, "worker": 1})

    def config(self, process):
        tree = super().config(process)
        if "store" in tree:
            tree["store"]["options"].update(
                hosts=[f"127.0.0.1:{one.port} {'replica' if at else 'primary'}"
                       for at, one in enumerate(self.databases)])
        return tree

    def hold(self, one):
        group = self.groups[one.name] = Group(f"vimd-bench-{os.getpid()}-{one.name}", SHARE, PERIOD_US)
        group.add(one.popen.pid)

    def drop(self, one):
        one.stop()
        self.groups.pop(one.name).remove()
        del self.processes[one.name]

    def set_logic(self, count):
        """The first one stays: it is the one that the API process is told of."""
        replicas = self.of("logic")
        for one in replicas[count:]:
            self.drop(one)
        for number in range(len(replicas), count):
            one = self.processes[f"logic{number}"] = Linked(self, "logic", number)
            one.start()
            one.wait_ready()
            self.hold(one)
        vimd.wait_for(lambda: self.replicas_up() == count, f"{count} logic replicas to be known", 60)

    def replicas_up(self):
        return self.gauge("vimd_link_replicas_up")

    def settle(self):
        """Until nothing waits of what a load has left behind: it would be measured with the next."""
        vimd.wait_for(lambda: self.gauge("vimd_http_in_flight") == 0, "all requests to end", 120)

    def gauge(self, name):
        client = vimd.Client(self.of("api")[0].health)
        try:
            text = client.get("/metrics").body.decode()
        finally:
            client.close()
        return next((int(float(line.split()[-1])) for line in text.splitlines()
                     if line.startswith(name + " ")), 0)

    def cpu(self):
        """Seconds of processor time so far of the API process and all logic replicas."""
        return tuple(sum(seconds(one.popen.pid) for one in self.of(role)) for role in ("api", "logic"))

    def close(self):
        super().close()
        time.sleep(0.2)
        for group in self.groups.values():
            group.remove()


def seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure_point(scene, reference, is_first):
    def load(duration):
        return wrk(f"http://127.0.0.1:{scene.port}{PATH}", seconds=duration, script="list.lua",
                   env={"TOKEN": scene.token})

    def used():
        return (*scene.cpu(), sum(one.group.seconds() for one in scene.databases))

    for _ in range(2 if is_first else 1):
        warm_up = load(WARM_UP_S)
        if warm_up.failed:
            say(f"while it warms up: {warm_up.failed} answers other than 2xx")
    scene.settle()
    before, began = used(), time.monotonic()
    beside = reference.begin(MEASURE_S)
    rate = load(MEASURE_S).check().rate
    lists = reference.end(beside)
    scene.settle()
    cores = [(now - was) / (time.monotonic() - began) for now, was in zip(used(), before)]
    return rate, cores, lists


def sweep(databases, reference, repetition, points, writer):
    """POINTS of one number of databases, in an order of their own."""
    os.environ["TEST_POSTGRES_PORT"] = str(databases[0].port)
    os.environ["TEST_POSTGRES_PASSWORD"] = databases[0].password
    with contextlib.closing(Testbed(databases)) as scene:
        scene.start()
        for number in range(NETWORKS):
            scene.create("networks", {"vim": "edge1", "name": f"net-{number}"})
        scene.hold(scene.of("logic")[0])
        for one in databases:
            one.hold()
        for logic in points:
            scene.set_logic(logic)
            rate, cores, lists = measure_point(scene, reference, logic == points[0])
            writer((repetition, len(databases), logic, f"{rate:.1f}",
                    *(f"{value:.3f}" for value in cores), f"{lists:.1f}"))
            say(f"repetition {repetition}, {len(databases)} databases, {logic:2} logic: "
                f"{rate:7.1f}/s, {rate / lists:.2f} of the reference   cores: api {cores[0]:.2f}, logic {cores[1]:.2f}, "
                f"databases {cores[2]:.2f}")


def sweep_with(folder, count, reference, repetition, points, writer):
    """The same, with COUNT databases that are made for it."""
    databases = []
    try:
        for number in range(count):
            databases.append(Database(folder, f"{count}-{number}",
                                      databases[0] if databases else None))
        sweep(databases, reference, repetition, points, writer)
    finally:
        for one in reversed(databases):
            one.stop()


def wanted(databases):
    """The numbers of logic replicas that some curve needs."""
    whole = any(held == "databases" and at == databases for _, _, held, at in CURVES)
    return [logic for logic in LOGIC if whole or logic in (5, 10)]


def read_rows():
    if not CSV.exists():
        return []
    with CSV.open(newline="") as file:
        rows = list(csv.DictReader(file))
    if rows and set(rows[0]) != set(FIELDS):
        sys.exit(f"testbed: {CSV} is of another version of this program: move it away")
    return rows


def run():
    rows = read_rows() if os.environ.get("TESTBED_RESUME") else []
    done = {(int(row["repetition"]), int(row["databases"]), int(row["logic"])) for row in rows}
    RESULTS.mkdir(exist_ok=True)
    if not done:
        CSV.write_text(",".join(FIELDS) + "\n")

    def write(row):
        with CSV.open("a") as file:
            file.write(",".join(map(str, row)) + "\n")

    order = random.Random(SEED)
    total = REPETITIONS * sum(len(wanted(count)) for count in DATABASES)
    say(f"{total} points, about {total * (MEASURE_S + WARM_UP_S + 4) // 60 + 1} min")
    for repetition in range(REPETITIONS):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="vimd-testbed-"))
        folder.chmod(0o711)
        reference = Reference(folder)
        try:
            for count in order.sample(DATABASES, len(DATABASES)):
                points = [logic for logic in order.sample(wanted(count), len(wanted(count)))
                          if (repetition, count, logic) not in done]
                if points:
                    sweep_with(folder, count, reference, repetition, points, write)
        finally:
            reference.stop()
        shutil.rmtree(folder, ignore_errors=True)


# --- What came of it --------------------------------------------------------------------------------

def interval(values, rounds=1000):
    """Median, and the 95 % of medians of samples drawn again from VALUES."""
    source = random.Random(0)
    medians = sorted(statistics.median(source.choices(values, k=len(values)))
                     for _ in range(rounds))
    return (statistics.median(values), medians[int(0.025 * rounds)],
            medians[int(0.975 * rounds) - 1])


def curve(rows, axis, held, at):
    """[(replicas, median, low, high)] of the requests for each list of the reference, along one axis."""
    found = {}
    for row in rows:
        if int(row[held]) == at:
            found.setdefault(int(row[axis]), []).append(
                float(row["requests_per_second"]) / float(row["reference"]))
    return [(x, *interval(found[x])) for x in sorted(found)]


def worst_step(points):
    """The largest share of throughput that one more replica cost, beside the reference; 0 if none did."""
    return max([1 - after[1] / before[1] for before, after in zip(points, points[1:])], default=0)


def draw_together(curves):
    """What is drawn against logic replicas, in one picture."""
    drawn = [(curves[name], at) for name, axis, _, at in CURVES if axis == "logic" and len(curves[name]) > 1]
    if not drawn:
        return
    plots = ", ".join(f"'-' with yerrorlines lw 2 pt 7 title 'databases = {at}'" for _, at in drawn)
    data = "".join("\n".join(" ".join(map(str, point)) for point in points) + "\ne\n" for points, _ in drawn)
    script = (f"set terminal pngcairo size 800,500 font ',11'\n"
              f"set output '{RESULTS}/testbed.png'\n"
              f"set title 'each replica with {SHARE:.0%} of a processor'\n"
              f"set xlabel 'logic replicas'\nset ylabel 'requests for each list of the reference'\n"
              f"set yrange [0:*]\nset xtics 1\nset key top left\nset grid ytics\n"
              f"plot {plots}\n{data}")
    subprocess.run(["gnuplot"], input=script.encode(), check=True)


def draw(curves):
    if not shutil.which("gnuplot"):
        say("no gnuplot, no pictures")
        return
    draw_together(curves)
    for name, axis, held, at in CURVES:
        if len(curves[name]) < 2:
            continue
        data = "\n".join(" ".join(map(str, point)) for point in curves[name])
        script = (f"set terminal pngcairo size 800,500 font ',11'\n"
                  f"set output '{RESULTS}/testbed-{name}.png'\n"
                  f"set title '{held} = {at}, each replica with {SHARE:.0%} of a processor'\n"
                  f"set xlabel '{axis} replicas'\nset ylabel 'requests for each list of the reference'\n"
                  f"set yrange [0:*]\nset xtics 1\nset key off\nset grid ytics\n"
                  f"plot '-' with yerrorlines lw 2 pt 7\n{data}\ne\n")
        subprocess.run(["gnuplot"], input=script.encode(), check=True)


def judge(rows):
    results = Results("testbed")
    curves = {name: curve(rows, axis, held, at) for name, axis, held, at in CURVES}
    for name, axis, held, at in CURVES:
        points = curves[name]
        if not points:
            continue
        for x, middle, low, high in points:
            beside = [row for row in rows if int(row[held]) == at and int(row[axis]) == x]
            results.add(f"{name}_{axis}_{x}_requests_per_second",
                        *(statistics.median(float(row[what]) for row in beside)
                          for what in ("requests_per_second", "reference")), ratio=middle)
            say(f"{name}: {held} {at}, {axis} {x:2}: {middle:5.2f} of the reference  [{low:.2f}, {high:.2f}]")
        results.add(f"{name}_share_lost_by_a_replica_at_most", worst_step(points),
                    target=TOLERANCE, at_least=False)
    draw(curves)
    return results.write()


def main():
    if len(sys.argv) > 1:
        print(__doc__.strip())
        return 0 if sys.argv[1] in ("-h", "--help") else 2
    if os.geteuid() != 0:
        sys.exit("testbed: control groups need root")
    run()
    return 0 if judge(read_rows()) else 1


if __name__ == "__main__":
    if "TEST_REDIS_PORT" not in os.environ and len(sys.argv) == 1:
        os.execv(SERVERS / "with", [str(SERVERS / "with"), "redis", "--", sys.executable, __file__])
    sys.exit(main())

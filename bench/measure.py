"""What the benchmarks share: the daemon under load, wrk, processes' memory, tables of results."""
import contextlib
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests" / "scene"))
os.environ.setdefault("VIMD_BUILD", str(HERE.parent / "build" / "release"))
os.environ.setdefault("VIMD_TEST_PATIENCE", "10")

import vimd  # noqa: E402  (its folder was only just named)

RESULTS = HERE / "results"
PROGRAMS = vimd.BUILD / "bin"
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
SECONDS = int(os.environ.get("BENCH_SECONDS", "8"))
SERVERS = int(os.environ.get("BENCH_SERVERS", "10000"))


def say(text):
    print(f"  {text}", flush=True)


class Results:
    """Rows of one benchmark: printed, and written as bench/results/NAME.tsv."""

    def __init__(self, name):
        self.name = name
        self.rows = []

    def add(self, identity, value, reference=None, target=None, ratio=None, at_least=True):
        """TARGET bounds the ratio to the reference if there is one, else the value; from below, or
        from above."""
        if ratio is None and reference:
            ratio = value / reference
        judged = ratio if ratio is not None else value
        met = "" if target is None else \
            "yes" if (judged >= target if at_least else judged <= target) else "NO"
        sign = ">=" if at_least else "<="
        self.rows.append((identity, number(value), number(reference), number(ratio),
                          "" if target is None else f"{sign} {number(target)}", met))

    def write(self):
        RESULTS.mkdir(exist_ok=True)
        head = ("id", "value", "reference", "ratio", "target", "met")
        lines = ["\t".join(row) for row in (head, *self.rows)]
        (RESULTS / f"{self.name}.tsv").write_text("\n".join(lines) + "\n")
        widths = [max(len(row[index]) for row in (head, *self.rows)) for index in range(6)]
        for row in (head, *self.rows):
            print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths)))
        return all(row[5] != "NO" for row in self.rows)


def number(value):
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return f"{value:.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.3g}"


def median(values):
    return statistics.median(values)


class Load:
    """What one run of wrk saw."""

    def __init__(self, text):
        self.text = text
        self.rate = float(re.search(r"Requests/sec:\s+([\d.]+)", text).group(1))
        amount, unit = re.search(r"Transfer/sec:\s+([\d.]+)(\w+)", text).groups()
        self.bytes = float(amount) * {"B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}[unit]
        failed = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
        self.failed = int(failed.group(1)) if failed else 0
        self.lost = re.search(r"Socket errors: (.*)", text)

    def check(self):
        if self.failed:
            raise SystemExit(f"answers other than 2xx:\n{self.text}")
        return self


def wrk(url, threads=12, connections=400, seconds=None, script=None, env=None):
    words = ["wrk", f"-t{threads}", f"-c{connections}", f"-d{seconds or SECONDS}s", "--timeout",
             "30s"]
    if script:
        words += ["-s", str(HERE / script)]
    done = subprocess.run([*words, url], capture_output=True, text=True,
                          env={**os.environ, **(env or {})})
    if done.returncode != 0:
        raise SystemExit(f"wrk: {done.stderr}")
    return Load(done.stdout)


@contextlib.contextmanager
def bare_mhd(body, headers, threads):
    """A bare libmicrohttpd that answers BODY with HEADERS; gives its port. In a session of its own,
    as vimd is: Linux shares processors out among sessions (sched_autogroup), and within that of
    wrk it would be given more of a busy machine than vimd gets."""
    with tempfile.TemporaryDirectory(prefix="vimd-bench-") as folder:
        body_file, header_file = pathlib.Path(folder, "body"), pathlib.Path(folder, "headers")
        body_file.write_bytes(body)
        header_file.write_text("".join(f"{name}: {value}\n" for name, value in headers))
        port = vimd.free_port()
        server = subprocess.Popen([str(PROGRAMS / "bare_mhd"), str(port), str(threads),
                                   str(body_file), str(header_file)],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  start_new_session=True)
        try:
            if server.stdout.readline() != b"listening\n":
                raise SystemExit("bare_mhd does not listen")
            yield port
        finally:
            server.stdin.close()
            server.wait()


def open_loop(port, rate, seconds, connections, request):
    """RATE requests per second, whatever becomes of them. Status -> (count, p50, p99, max in ms, how many
    had Retry-After); 0: closed without an answer; "unanswered": how many got none at all; "seconds":
    from the first request to the last answer."""
    with tempfile.TemporaryDirectory(prefix="vimd-bench-") as folder:
        file = pathlib.Path(folder, "request")
        file.write_bytes(request)
        done = subprocess.run([str(PROGRAMS / "open_loop"), str(port), str(rate), str(seconds),
                               str(connections), str(file)], capture_output=True, text=True,
                              check=True, start_new_session=True)
    answers = {}
    for line in done.stdout.splitlines():
        word, *numbers = line.split()
        if word.isdigit():
            answers[int(word)] = tuple(map(float, numbers))
        else:
            answers[word] = int(numbers[0]) if word == "unanswered" else float(numbers[0])
    return answers


def memory(pid, field="VmHWM"):
    """MiB of a process: the highest it was, or VmRSS."""
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(rf"^{field}:\s+(\d+) kB", text, re.M).group(1)) / 1024


def threads(pid):
    """Names of a process's threads, with how many there are of each."""
    names = {}
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        name = (task / "comm").read_text().strip()
        names[name] = names.get(name, 0) + 1
    return names


def sqlite_commits(sizes, seconds=None):
    """Commits per second of SQLite alone, with rows of SIZES each."""
    with tempfile.TemporaryDirectory(prefix="vimd-bench-") as folder:
        done = subprocess.run([str(PROGRAMS / "sqlite_commits"), f"{folder}/raw.db",
                               str(seconds or SECONDS), "power", *map(str, sizes)],
                              capture_output=True, text=True, check=True, start_new_session=True)
        return float(done.stdout)


def quiet_mock(**more):
    """The mock with nothing going on by itself while a measurement runs."""
    return vimd.mock("edge1", poll={"poll_pending": "1s", "poll_idle": "1h", "poll_full": "1h"},
                     **more)


def catalogue(daemon):
    """A flavor and an image to make servers of."""
    flavor = daemon.create("flavors", {"vim": "edge1", "name": "bench", "vcpus": 1, "ram": 64})
    image = daemon.create("images", {"vim": "edge1", "name": "bench", "disk_format": "raw"})
    from world import upload
    upload(daemon, image["id"], b"x")
    return flavor["id"], image["id"]


def populate(daemon, count, batch_seconds=2):
    """COUNT servers, asked for as fast as they are accepted, and waited for until all are ACTIVE."""
    flavor, image = catalogue(daemon)
    body = {"vim": "edge1", "image": image, "flavor": flavor, "labels": {"app": "upf"},
            "metadata": {"role": "user-plane", "site": "edge-17"}}
    say(f"creating {count} servers")

    def make(index):
        daemon.must(daemon.post("/v1/servers", {**body, "name": f"server-{index:05d}"}), 202)

    vimd.many(make, range(count), 16)
    wait_active(daemon, count)


def states(daemon):
    """How many tasks have not ended, and how many servers there are by status."""
    open_tasks = sum(len(daemon.list("tasks", f"state={state}&fields=id"))
                     for state in ("queued", "running", "waiting"))
    return open_tasks


def wait_active(daemon, count, seconds=600):
    end = time.monotonic() + seconds
    while True:
        open_tasks = states(daemon)
        if open_tasks == 0:
            break
        if time.monotonic() > end:
            raise SystemExit(f"{open_tasks} tasks have not ended after {seconds} s")
        time.sleep(1)
    active = len(daemon.list("servers", "status=ACTIVE&fields=id"))
    if active != count:
        raise SystemExit(f"{active} servers are ACTIVE instead of {count}")


def answer_headers(answer):
    """What a bare server is to send as well; the rest libmicrohttpd adds by itself."""
    own = {"content-length", "date", "connection", "keep-alive"}
    return [(name, value) for name, value in answer.headers.items() if name.lower() not in own]


def read_json(path):
    return json.loads(pathlib.Path(path).read_text())

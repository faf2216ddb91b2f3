"""Harness of the scenes: runs the real vimd on a free loopback port with a state folder of its own.

    with Vimd(vims=[mock("edge1")]) as vimd:
        vimd.post("/v1/networks", {"vim": "edge1", "name": "n"}, wait=30)

Waits are for conditions, with generous bounds (longer under VIMD_TEST_PATIENCE=N); no verdict
hangs on time. The environment says what to run: VIMD_BUILD (the build folder), and optionally
VIMD_TEST_WRAPPER (words in front of vimd: valgrind, say; they find
the name of the test in VIMD_TEST_NAME).
"""
import contextlib
import http.client
import json
import os
import pathlib
import random
import select
import shlex
import shutil
import signal
import socket
import string
import subprocess
import sys
import tempfile
import threading
import time
import unittest

SOURCE = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("VIMD_BUILD") or SOURCE / "build" / "dev").resolve()
PATIENCE = float(os.environ.get("VIMD_TEST_PATIENCE", "1"))
WRAPPER = shlex.split(os.environ.get("VIMD_TEST_WRAPPER", ""))
os.environ.setdefault("VIMD_TEST_NAME", pathlib.Path(sys.argv[0]).stem.replace("test_", "scene_"))
PROJECT = "demo"

ENDED = {"succeeded", "failed", "timed_out", "cancelled", "rolled_back", "rollback_failed"}


class Broken(AssertionError):
    """The daemon did what it must not."""


def wait_for(condition, what, seconds=60, pause=0.05):
    """Calls CONDITION until it returns something true, and returns that."""
    end = time.monotonic() + seconds * PATIENCE
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            raise Broken(f"waited {seconds * PATIENCE:.0f} s in vain for {what}")
        time.sleep(pause)


def patient(seconds):
    """What vimd waits for as an option's value: a duration that grows with our patience, up to a minute."""
    return f"{min(int(PATIENCE * seconds), 60)}s"


def every(milliseconds):
    """How often vimd does something of itself, as an option's value: more seldom under much patience, or several
    processes that are many times slower would do nothing else."""
    return f"{int(milliseconds * max(1, PATIENCE / 5))}ms"


def is_readable(connected):
    ready = select.poll()
    ready.register(connected, select.POLLIN)
    return bool(ready.poll(0))


# --- Configuration ---------------------------------------------------------------------------


def to_yaml(value, indent=0):
    """Nested dicts and lists of scalars, as block YAML."""
    pad = "  " * indent
    lines = []
    if isinstance(value, dict):
        for key, item in value.items():
            if isinstance(item, (dict, list)) and item:
                lines.append(f"{pad}{key}:")
                lines.append(to_yaml(item, indent + 1))
            else:
                lines.append(f"{pad}{key}: {scalar(item)}")
    else:
        for item in value:
            if isinstance(item, (dict, list)):
                text = to_yaml(item, indent + 1)
                lines.append(f"{pad}- {text.lstrip()}")
            else:
                lines.append(f"{pad}- {scalar(item)}")
    return "\n".join(lines)


def scalar(value):
    if value == {}:
        return "{}"
    if value == []:
        return "[]"
    if isinstance(value, str) and not value.startswith("${"):
        plain = value and all(c in string.ascii_letters + string.digits + "-_./" for c in value)
        return value if plain and not value[0].isdigit() or is_duration(value) else json.dumps(value)
    return value if isinstance(value, str) else json.dumps(value)


def is_duration(value):
    return value[:1].isdigit() and value.rstrip("msdhKMGiB").isdigit() and not value.isdigit()


# One name for each port that was given out, held until this test ends: what listens at a port may be about to start
# again when another test looks for one.
HELD = []


def hold_port(port):
    """Is nobody listening there, and was it given to no other test? Then it is this one's until it ends."""
    held = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        held.bind(f"\0vimd-test-port-{port}")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
    except OSError:
        held.close()
        return False
    HELD.append(held)
    return True


def port_range():
    """Of what tests are given: below the ports that the kernel hands out to connections (one of these could have taken it
    by the time that vimd starts again), and below those of the servers (servers/common.sh) and of what
    test_scaler_processes starts."""
    first = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    least = min(10240, first // 2)
    return range(least, least + (first - least) * 4 // 9)


def free_port():
    for _ in range(1000):
        port = random.SystemRandom().choice(port_range())
        if hold_port(port):
            return port
    raise Broken("no port is free")


# Options of the mock, by the shorter names that scenes use.
MOCK_OPTIONS = {"build": "latency_mean", "delete": "delete_latency_mean", "call": "call_latency"}


def mock(name="edge1", call_timeout=None, poll=None, quotas=None, check_quota=None, **options):
    """One VIM on the mock driver, quick and steady unless told otherwise. QUOTAS: {kind: count}; network services
    meet them on the way, unless they are to be checked beforehand."""
    entry = {"name": name, "driver": "mock", "project": PROJECT,
             **(poll or {"poll_pending": every(50), "poll_idle": every(300), "poll_full": every(600),
                        "poll_backoff": "1s"})}
    if call_timeout:
        entry["call_timeout"] = call_timeout
    options = {MOCK_OPTIONS.get(key, key): value for key, value in options.items()}
    options = {"latency_mean": "20ms", "delete_latency_mean": "10ms",
               "latency_distribution": "fixed", **options}
    if quotas:
        options["quotas"] = [f"{kind} {count}" for kind, count in quotas.items()]
    if check_quota is None:
        check_quota = not quotas
    entry["check_quota"] = check_quota
    entry["options"] = options
    return entry


# --- HTTP ------------------------------------------------------------------------------------


class Answer:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self):
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise Broken(f"{self.status} with a body that is not JSON ({error}): "
                         f"{self.body[:300]!r}") from None

    @property
    def items(self):
        """The elements of a list: {"servers": [...], "next": ...}."""
        lists = [value for value in self.json.values() if isinstance(value, list)]
        if len(lists) != 1:
            raise Broken(f"not a list: {self!r}")
        return lists[0]

    def __repr__(self):
        return f"<{self.status} {self.body[:600].decode(errors='replace')}>"


class Client:
    """One user of the API. Threads may share it: each has its own kept-alive connection."""

    def __init__(self, port, token=None, host="127.0.0.1"):
        self.host, self.port, self.token = host, port, token
        self.local = threading.local()

    def connection(self, timeout):
        known = getattr(self.local, "connection", None)
        # Nothing is asked for: what comes is the end, after idle_timeout. A write is not sent into that.
        if known is not None and known.sock is not None and is_readable(known.sock):
            known.close()
        if known is None:
            known = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
            self.local.connection = known
        known.timeout = timeout
        if known.sock is not None:
            known.sock.settimeout(timeout)
        return known

    def close(self):
        known = getattr(self.local, "connection", None)
        if known is not None:
            known.close()
            self.local.connection = None

    def request(self, method, path, body=None, headers=None, timeout=None, token=None):
        """One request. A kept-alive connection that the server has closed is opened anew once, for
        requests that may be repeated."""
        headers = dict(headers or {})
        token = self.token if token is None else token
        if token:
            headers.setdefault("Authorization", f"Bearer {token}")
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
            headers.setdefault("Content-Type", "application/json")
        if isinstance(body, str):
            body = body.encode()
        timeout = (timeout or 90) * PATIENCE
        fresh = getattr(self.local, "connection", None) is None
        while True:
            connection = self.connection(timeout)
            try:
                connection.request(method, path, body, headers)
                answer = connection.getresponse()
                content = answer.read()
            except (ConnectionError, http.client.HTTPException, OSError):
                self.close()
                if fresh or (method not in ("GET", "HEAD") and "Idempotency-Key" not in headers):
                    raise
                fresh = True
                continue
            if answer.will_close:
                self.close()
            return Answer(answer.status, answer.headers, content)

    def get(self, path, **keywords):
        return self.request("GET", path, **keywords)

    def post(self, path, body=None, wait=None, **keywords):
        return self.write("POST", path, body, wait, keywords)

    def patch(self, path, body=None, wait=None, **keywords):
        return self.write("PATCH", path, body, wait, keywords)

    def put(self, path, body=None, wait=None, **keywords):
        return self.write("PUT", path, body, wait, keywords)

    def delete(self, path, wait=None, **keywords):
        return self.write("DELETE", path, None, wait, keywords)

    def write(self, method, path, body, wait, keywords):
        headers = dict(keywords.pop("headers", None) or {})
        if wait is not None:
            headers.setdefault("Prefer", f"wait={wait}" if wait else "respond-async")
        return self.request(method, path, body=body, headers=headers, **keywords)

    # What scenes want to have done, whatever it takes.

    def must(self, answer, *statuses):
        if answer.status not in (statuses or (200, 201)):
            raise Broken(f"expected {statuses or (200, 201)}, got {answer!r}")
        return answer

    def task_of(self, answer):
        location = self.must(answer, 202).headers["Location"]
        return location.rsplit("/", 1)[1]

    def wait_task(self, task, seconds=60):
        """Long-polls until the task has ended; returns it."""
        end = time.monotonic() + seconds * PATIENCE
        while True:
            shown = self.must(self.get(f"/v1/tasks/{task}?wait=10"), 200).json
            if shown["state"] in ENDED:
                return shown
            if time.monotonic() > end:
                raise Broken(f"task has not ended after {seconds * PATIENCE:.0f} s: "
                             f"{json.dumps(shown, indent=1)}")

    def create(self, plural, body, seconds=60):
        """Creates, waits, and returns the resource."""
        task = self.wait_task(self.task_of(self.post(f"/v1/{plural}", body, wait=0)), seconds)
        if task["state"] != "succeeded":
            raise Broken(f"create of {plural} {body}: {json.dumps(task, indent=1)}")
        return self.must(self.get(f"/v1/{plural}/{target_id(task)}"), 200).json

    def remove(self, plural, identity, seconds=60):
        answer = self.delete(f"/v1/{plural}/{identity}", wait=0)
        if answer.status in (204, 404):
            return None
        task = self.wait_task(self.task_of(answer), seconds)
        if task["state"] != "succeeded":
            raise Broken(f"delete of {plural} {identity}: {json.dumps(task, indent=1)}")
        return task

    def list(self, plural, query="", limit=1000):
        """All items, over all pages."""
        path = f"/v1/{plural}?limit={limit}" + (f"&{query}" if query else "")
        items = []
        while path:
            answer = self.must(self.get(path), 200)
            items += answer.items
            path = next_link(answer)
        return items


def target_id(task):
    target = task["target"]
    return target["id"] if isinstance(target, dict) else target.rsplit("/", 1)[-1]


def next_link(answer):
    """The path of the Link header's rel="next", or None."""
    for part in (answer.headers["Link"] or "").split(","):
        address, _, rest = part.strip().partition(">")
        if 'rel="next"' in rest:
            address = address.lstrip("<")
            return address[address.index("/v1/"):]
    return None


# --- The daemon ------------------------------------------------------------------------------


class Vimd:
    """One daemon and its state folder. Without arguments: one mock named edge1."""

    plugins = ("store-sqlite", "queue-memory")

    def __init__(self, vims=None, settings=None, env=None, name="vimd", build=None):
        self.build = pathlib.Path(build or BUILD)
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=f"vimd-{name}-"))
        self.port = free_port()
        self.vims = [mock()] if vims is None else vims
        self.settings = settings or {}
        self.env = dict(env or {})
        self.process = None
        self.secrets = []
        self.token = None
        self.client = None
        self.starts = 0
        (self.folder / "state").mkdir()
        self.write_config()

    # Configuration

    @property
    def config_path(self):
        return self.folder / "vimd.yaml"

    @property
    def state(self):
        return self.folder / "state"

    def config(self):
        tree = {
            "state_dir": str(self.state),
            "plugin_dir": str(self.build / "plugins"),
            "log": {"level": "info"},
            "api": {"listen": f"127.0.0.1:{self.port}"},
            "vims": self.vims,
        }
        if PATIENCE > 1:  # what is slow on purpose is not overloaded
            tree["api"]["blocking_wait"] = patient(5)
        for section, values in self.settings.items():
            if isinstance(values, dict) and isinstance(tree.get(section), dict):
                tree[section] = {**tree[section], **values}
            else:
                tree[section] = values
        return tree

    def write_config(self, text=None):
        self.config_path.write_text(text if text is not None else to_yaml(self.config()) + "\n")
        self.config_path.chmod(0o600)

    # Running

    @property
    def program(self):
        return str(self.build / "bin" / "vimd")

    @property
    def log_path(self):
        return self.folder / "vimd.log"

    def log(self):
        try:
            return self.log_path.read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def environment(self, extra=None):
        environment = dict(os.environ)
        environment.update(self.env)
        environment.update(extra or {})
        return environment

    def run(self, *words, timeout=60, env=None, input=None):
        """vimd with other words than those that start the daemon."""
        return subprocess.run([self.program, *words], capture_output=True, text=True, input=input,
                              timeout=timeout * PATIENCE, env=self.environment(env))

    def start(self, env=None, ready=True):
        assert self.process is None
        self.starts += 1
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [*WRAPPER, self.program, "--config", str(self.config_path)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment(env),
                start_new_session=True)
        if self.client is None:
            self.client = Client(self.port)
        if ready:
            self.wait_ready()
            if self.token is None:
                self.token = self.make_token()
                self.client.token = self.token
        return self

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def is_ready(self):
        if not self.alive():
            raise Broken(f"vimd ended with {self.process.returncode}:\n{self.log()[-4000:]}")
        anonymous = Client(self.port)
        try:
            return anonymous.get("/readyz", timeout=5).status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            anonymous.close()

    def wait_ready(self, seconds=60):
        wait_for(self.is_ready, "/readyz", seconds, pause=0.02)

    def make_token(self, role="admin", project=PROJECT, name=None):
        name = name or f"{role}-{random.randrange(10**9)}"
        done = self.run("--config", str(self.config_path), "token", "create", "--project", project,
                        "--role", role, "--name", name)
        if done.returncode != 0:
            raise Broken(f"token create: {done.returncode}: {done.stderr}")
        token = done.stdout.strip()
        self.secrets.append(token)
        return token

    def user(self, role, project=PROJECT):
        return Client(self.port, self.make_token(role, project))

    def reload(self):
        self.process.send_signal(signal.SIGHUP)

    def stop(self, seconds=60, expect=0):
        """SIGTERM, and the end it leads to."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(seconds * PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise Broken(f"vimd did not end within {seconds * PATIENCE:.0f} s of SIGTERM:\n"
                         f"{self.log()[-4000:]}") from None
        finally:
            self.process = None
            self.client.close()
        if expect is not None and code != expect:
            raise Broken(f"vimd ended with {code}:\n{self.log()[-6000:]}")

    def kill(self):
        """kill -9."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
            self.client.close()

    def wait_end(self, seconds=60):
        """The code with which it ends by itself."""
        try:
            code = self.process.wait(seconds * PATIENCE)
        except subprocess.TimeoutExpired:
            raise Broken("vimd goes on running") from None
        self.process = None
        self.client.close()
        return code

    def restart(self, env=None):
        self.stop()
        return self.start(env=env)

    def check_no_secrets(self):
        """Nothing that is secret may stand in the log."""
        log = self.log()
        for secret in self.secrets:
            part = secret.rsplit("_", 1)[-1]
            if part in log:
                raise Broken("a secret stands in the log: "
                             + next(line for line in log.splitlines() if part in line)[:300])

    def close(self, keep=False):
        self.kill()
        if not keep and not os.environ.get("VIMD_TEST_KEEP"):
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.kill()
            raise

    def __exit__(self, kind, error, trace):
        try:
            if kind is None:
                self.stop()
                self.check_no_secrets()
                self.check_log()
        finally:
            self.kill()
            if kind is not None:
                print(f"--- {self.folder}\n{self.log()[-6000:]}", flush=True)
            self.close(keep=kind is not None)
        return False

    def check_log(self):
        """A sanitizer's or valgrind's finding fails whatever was being tested."""
        log = self.log()
        for sign in ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "runtime error:",
                     "WARNING: ThreadSanitizer", "ERROR SUMMARY: ", "Assertion `"):
            at = log.find(sign)
            if at >= 0 and "ERROR SUMMARY: 0 errors" not in log[at:at + 40]:
                raise Broken(f"found in the log:\n{log[max(0, at - 500):at + 4000]}")

    # The user's side

    def __getattr__(self, name):
        if name in ("get", "post", "patch", "put", "delete", "request", "create", "remove", "list",
                    "wait_task", "must", "task_of"):
            return getattr(self.client, name)
        raise AttributeError(name)

    # The mock's side

    def mock(self, *words, vim="edge1", codes=(0,)):
        """The mock infrastructure's own command line, behind vimd's back."""
        program = self.build / "bin" / "mock-nfvi"
        done = subprocess.run([str(program), str(self.mock_file(vim, "journal")), *words],
                              capture_output=True, text=True, timeout=60 * PATIENCE)
        if done.returncode not in codes:
            raise Broken(f"mock-nfvi {words}: {done.returncode}: {done.stderr}")
        return done.stdout

    def mock_file(self, vim, ending):
        """A file of the mock's state."""
        return next(self.state.rglob(f"{vim}.{ending}"), self.state / f"{vim}.{ending}")

    def things(self, kind, vim="edge1"):
        """What there is at the infrastructure: bodies, with ids."""
        return [{**thing, **thing["body"]}
                for thing in json_lines(self.mock("list", kind, vim=vim))]

    def orphans(self, vim="edge1"):
        return json_lines(self.mock("orphans", vim=vim, codes=(0, 1)))

    def counters(self, vim="edge1"):
        return json.loads(self.mock_file(vim, "counters.json").read_text())

    def calls(self, kind, verb, vim="edge1"):
        return self.counters(vim)["calls"][kind][verb]


def json_lines(text):
    return [json.loads(line) for line in text.splitlines() if line.strip()]


class Scene(unittest.TestCase):
    """A test whose daemon starts before the first test of the class and ends behind the last."""

    vims = None
    settings = None
    env = None

    @classmethod
    def setUpClass(cls):
        cls.stack = contextlib.ExitStack()
        cls.vimd = Vimd(vims=cls.vims, settings=cls.settings, env=cls.env,
                        name=cls.__name__.lower())
        try:
            cls.vimd.start()
        except BaseException:
            cls.vimd.kill()
            raise

    @classmethod
    def tearDownClass(cls):
        vimd = cls.vimd
        try:
            vimd.stop()
            vimd.check_no_secrets()
            vimd.check_log()
        except BaseException:
            print(f"--- {vimd.folder}\n{vimd.log()[-6000:]}", flush=True)
            vimd.kill()
            raise
        vimd.close()

    def run(self, result=None):
        before = len(result.failures) + len(result.errors) if result else 0
        outcome = super().run(result)
        if result and len(result.failures) + len(result.errors) > before and \
                getattr(self, "vimd", None) is not None:
            print(f"--- log of {self.id()}\n{self.vimd.log()[-3000:]}", flush=True)
        return outcome


def unique(prefix="x"):
    return f"{prefix}-{random.randrange(10**12):012d}"


def many(function, items, threads=8):
    """FUNCTION over ITEMS on several threads; the results in order. The first error is raised."""
    from concurrent.futures import ThreadPoolExecutor
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(function, items))

"""The stack that bench/faults.py breaks: the real roles, PostgreSQL and Redis, each replica in a control group of its
own, started by the platform of the scaler that watches them, and what can be done to them.

All of it is in a network namespace that is the bench's alone, so addresses and ports are fixed; calls go
over the hops of slow_link.py.
"""
import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

from measure import PROGRAMS, vimd

from apart import Apart  # (measure has named its folder)
from scaling import end_replicas
from slow_link import LOCAL, SlowLink, address

SERVERS = vimd.SOURCE / "tests" / "servers"
BLOCKS = ("api", "logic", "worker", "store", "queue")
EDGES = ("api -> logic", "logic -> store", "logic -> queue", "worker -> store", "worker -> queue")
HOPS = {edge: number for number, edge in enumerate(EDGES, 1)}
# What of a processor each replica has while nothing is wrong, and how many there are.
SHARES = {"api": 0.24, "logic": 0.16, "worker": 0.16, "store": 0.3, "queue": 0.1}
REPLICAS = {"api": 1, "logic": 2, "worker": 1, "store": 1, "queue": 1}
PERIOD_MS = 40
WINDOW_MS = 1000
QUOTA_LEAST = 0.01  # of a processor
POLICY = "scaler-similarity"
SHADOWS = ({"plugin": POLICY, "options": {"mode": "literal"}}, "scaler-threshold", "scaler-psi",
           "scaler-callcount", "scaler-random")
NETWORKS = 20


class Group:
    """The control group that a platform has made for one replica."""

    base = pathlib.Path("/sys/fs/cgroup")

    def __init__(self, path):
        self.is_v1 = (self.base / "cpu").is_dir()
        self.cpu = self.base / ("cpu" if self.is_v1 else "") / path
        self.counted = self.base / ("cpuacct" if self.is_v1 else "") / path
        # Beside version 1 there may be version 2 without controllers, which tells the pressure.
        self.pressed = self.base / "unified" / path if (self.base / "unified").is_dir() else None

    @property
    def paths(self):
        return {path for path in (self.cpu, self.counted, self.pressed) if path}

    def set_quota(self, share):
        # The kernel takes no quota below 1 ms per period.
        period = max(PERIOD_MS * 1000, int(1000 / share))
        quota = max(int(share * period), 1000)
        if self.is_v1:
            (self.cpu / "cpu.cfs_quota_us").write_text(str(quota))
        else:
            (self.cpu / "cpu.max").write_text(f"{quota} {period}")

    def prefer(self):
        """Before all that is in no group, or in one of its own."""
        name, weight = ("cpu.shares", "262144") if self.is_v1 else ("cpu.weight", "10000")
        with contextlib.suppress(OSError):
            (self.cpu / name).write_text(weight)

    def tell_pressure(self):
        """Puts what runs in the group into one of version 2 as well."""
        if self.pressed:
            self.pressed.mkdir(parents=True, exist_ok=True)
            for pid in self.pids():
                with contextlib.suppress(OSError):
                    (self.pressed / "cgroup.procs").write_text(str(pid))

    def pids(self):
        return [int(word) for word in (self.cpu / "cgroup.procs").read_text().split()]

    def add(self, pid):
        for path in self.paths:
            (path / "cgroup.procs").write_text(str(pid))

    def seconds(self):
        """Of processor time, of all that was ever in it."""
        if self.is_v1:
            return int((self.counted / "cpuacct.usage").read_text()) / 1e9
        words = (self.cpu / "cpu.stat").read_text().split()
        return int(words[words.index("usage_usec") + 1]) / 1e6


class Stack(Apart):
    """Of Apart's processes only the scaler is started here; the rest are replicas of its platforms."""

    counts = {"api": 1, "scaler": 1}

    def __init__(self, trace):
        super().__init__(vims=[vimd.mock("edge1", call="5ms", build="0ms",
                                         poll={"poll_pending": "200ms", "poll_idle": "1h",
                                               "poll_full": "1h"})], name="faults")
        self.folder.chmod(0o711)
        self.trace = trace
        self.cgroup = f"vimd-faults-{os.getpid()}"
        self.api_port = self.port
        self.has_store = False
        self.tools = self.group("tools", 0)
        for path in self.tools.paths:
            path.mkdir(parents=True, exist_ok=True)
        # Whatever is started from here, load and hops too, is in it until a platform puts it elsewhere.
        self.tools.add(os.getpid())
        # Others that work on this machine must not decide who is short: what the quotas allow is to be had.
        Group(self.cgroup).prefer()
        self.link = SlowLink()
        self.make_servers()

    # --- Configuration ---

    def make_servers(self):
        """Makes the folders of PostgreSQL and Redis; the platform starts them."""
        self.db, self.redis = self.folder / "db", self.folder / "redis"
        for name, place in (("postgres", self.db), ("redis", self.redis)):
            subprocess.run([SERVERS / name, "up", place], stdout=subprocess.DEVNULL, check=True)
        with (self.db / "data" / "pg_hba.conf").open("a") as file:
            file.write("host all all 10.77.0.0/16 scram-sha-256\n")
        with (self.redis / "redis.conf").open("a") as file:
            file.write(f"bind 127.0.0.1 {LOCAL}\n")
        for name, place in (("redis", self.redis), ("postgres", self.db)):
            subprocess.run([SERVERS / name, "down", place], check=True)
        self.ports = {name: int((place / "port").read_text())
                      for name, place in (("db", self.db), ("redis", self.redis))}
        self.passwords = {name: (place / "password").read_text()
                          for name, place in (("db", self.db), ("redis", self.redis))}

    def store(self, host):
        return {"plugin": "store-postgres", "timeout": "30s", "options": {
            "hosts": [f"{host}:{self.ports['db']}"], "database": "postgres", "schema": self.schema,
            "password": "${env:STORE_PASSWORD}", "connect_timeout": "10s", "sslmode": "disable",
            # A pool that is short is a fault of its own.
            "connections": 64}}

    def queue(self, host):
        return {"plugin": "queue-redis", "options": {
            "address": f"{host}:{self.ports['redis']}", "password": "${env:QUEUE_PASSWORD}",
            "prefix": self.schema, "timeout": "20s"}}

    def environment(self, env=None):
        return super().environment({"STORE_PASSWORD": self.passwords["db"],
                                    "QUEUE_PASSWORD": self.passwords["redis"], **(env or {})})

    def role_config(self, role, **vim):
        """The file of all replicas of ROLE; with VIM, the mock has these keys and options."""
        tree = {"plugin_dir": str(self.build / "plugins"), "heartbeat": f"{WINDOW_MS}ms", "roles": [role],
                "state_dir": f"{self.folder}/{role}-" + "${env:VIMD_REPLICA}",
                "log": {"level": "warning"}, "link": {"secret": self.secret, "insecure": True}}
        if role == "api":
            tree["api"] = {"listen": f"127.0.0.1:{self.api_port}", "reuse_port": True}
            # A thousand may wait: what is refused is no overload.
            tree["link"].update(logic=[f"{address(HOPS['api -> logic'])}:{18700 + number}"
                                       for number in range(1, REPLICAS["logic"] + 1)],
                                requests=1024, queue_wait="60s")
        else:
            tree.update(spool_dir=str(self.folder / "uploads"),
                        store=self.store(address(HOPS[f"{role} -> store"])),
                        queue=self.queue(address(HOPS[f"{role} -> queue"])),
                        vims=[self.vim(**vim)])
        if role == "logic":
            tree["link"].update(
                listen=[f"{LOCAL}:1870" + "${env:VIMD_REPLICA}"], blocking_threads=64,
                advertise=f"{address(HOPS['api -> logic'])}:1870" + "${env:VIMD_REPLICA}",
                blocking_wait="60s")
        path = self.folder / f"{role}.yaml"
        path.write_text(vimd.to_yaml(tree) + "\n")
        path.chmod(0o600)
        return path

    def vim(self, operations=64, threads=32, call="5ms"):
        entry = dict(self.vims[0], operations=operations, threads=threads)
        entry["options"] = {**entry["options"], "folder": str(self.folder / "cloud"),
                            "call_latency": call}
        return entry

    def commands(self):
        postgres = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/postgres"))[-1]
        redis = self.redis / "redis-server"
        redis = redis if redis.exists() else shutil.which("redis-server") or shutil.which("valkey-server")
        return {
            **{role: f"{self.program} --config {self.role_config(role)}"
               for role in ("api", "logic", "worker")},
            "store": f"{shutil.which('setpriv')} --reuid=postgres --regid=postgres --clear-groups -- {postgres} "
                     f"-D {self.db}/data -c port={self.ports['db']} -c max_connections=400 "
                     f"-c listen_addresses=127.0.0.1,{LOCAL} "
                     f"-c unix_socket_directories={self.db}/socket",
            "queue": f"{redis} {self.redis}/redis.conf"}

    def config(self, process):
        tree = {"state_dir": str(process.state), "plugin_dir": str(self.build / "plugins"),
                "heartbeat": f"{WINDOW_MS}ms", "log": {"level": "warning"},
                "health": {"listen": f"127.0.0.1:{process.health}"},
                "link": {"secret": self.secret}}
        if self.has_store:
            tree.update(store=self.store("127.0.0.1"), queue=self.queue("127.0.0.1"))
        tree["platforms"] = [{"name": f"{name}s", "driver": "platform-process", "options": {
            "groups": [f"{name} {command}"], "cgroup": "required", "cgroup_name": self.cgroup,
            "cpu": SHARES[name], "cpu_period": f"{PERIOD_MS}ms", "restart_delay": "200ms"}}
            for name, command in self.commands().items()]
        tree["services"] = [{
            "name": "vimd", "mode": "advise", "interval": f"{WINDOW_MS}ms",
            "window": f"{WINDOW_MS}ms", "slo_p95": "100ms",
            "record": str(self.trace), "policy": POLICY, "shadow": list(SHADOWS),
            "source": {"type": "vimd", "timeout": "400ms"}, "edges": list(EDGES),
            "blocks": [{"name": name, "platform": f"{name}s", "min": REPLICAS[name], "max": 8}
                       for name in BLOCKS]}]
        return tree

    @property
    def config_path(self):
        return self.processes["scaler0"].config_path

    # --- Life ---

    def start(self):
        # The scaler needs the store, which its platform starts. So a first one, with a store of its own,
        # starts the servers and ends; replicas outlive their scaler, and the next one finds them.
        scaler = self.processes["scaler0"]
        self.want("store", "queue")
        scaler.role_words = ["--role", "api,logic,worker,scaler"]
        scaler.start()
        scaler.wait_ready()
        vimd.wait_for(lambda: all(self.listens(port) for port in self.ports.values()),
                      "PostgreSQL and Redis", 60)
        scaler.stop()
        self.has_store, scaler.role_words = True, ["--role", "scaler"]
        self.want(*BLOCKS)
        scaler.start()
        scaler.wait_ready()
        self.client.port = self.api_port
        self.token = self.client.token = self.make_token()
        vimd.wait_for(self.answers, "an answer through API, logic and store", 60)
        for number in range(NETWORKS):
            self.create("networks", {"vim": "edge1", "name": f"net-{number}"})
        for groups in self.groups().values():
            for group in groups:
                group.tell_pressure()
        return self

    def want(self, *blocks):
        """In mode `advise` nobody wants replicas: it is written down for the platforms beforehand."""
        state = self.processes["scaler0"].state
        for name in blocks:
            place = state / f"{name}s"
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{name}.wanted").write_text(f"{REPLICAS[name]}\n")
        state.chmod(0o700)

    @staticmethod
    def listens(port):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        return False

    def answers(self):
        try:
            return self.client.get("/v1/networks", timeout=5).status == 200
        except OSError:
            return False

    def group(self, block, number=1):
        return Group(f"{self.cgroup}/{block}-{number}")

    def groups(self):
        return {name: [self.group(name, number) for number in range(1, REPLICAS[name] + 1)]
                for name in BLOCKS}

    def used(self):
        """Seconds of processor time so far, by block."""
        return {name: sum(group.seconds() for group in groups)
                for name, groups in self.groups().items()}

    def service(self):
        return self.must(self.client.get("/v1/services/vimd", timeout=30), 200).json

    def reload(self, role, **vim):
        self.role_config(role, **vim)
        for group in self.groups()[role]:
            for pid in group.pids():
                os.kill(pid, signal.SIGHUP)

    def query(self, text):
        """A session of psql that runs TEXT, as a client of the store that is none of vimd's."""
        process = subprocess.Popen(
            ["psql", "-q", "-h", "127.0.0.1", "-p", str(self.ports["db"]), "-U", "vimd", "postgres"],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True,
            env={**os.environ, "PGPASSWORD": self.passwords["db"]})
        process.stdin.write(text)
        process.stdin.close()
        return process

    def redis_cli(self, *words):
        subprocess.run([SERVERS / "redis", "cli", self.redis, *words], stdout=subprocess.DEVNULL,
                       check=True)

    def close(self):
        """The scaler first: it would start the others again."""
        for path in self.tools.paths:  # this process leaves first
            root = next(one for one in path.parents if (one / "cgroup.procs").exists()
                        and not (one.parent / "cgroup.procs").exists())
            (root / "cgroup.procs").write_text(str(os.getpid()))
        scaler = self.processes["scaler0"]
        with contextlib.suppress(Exception):
            scaler.stop()
        self.kill()
        self.link.close()
        for groups in (self.base_groups(), self.base_groups()):
            for path in groups:
                with contextlib.suppress(OSError):
                    for pid in (path / "cgroup.procs").read_text().split():
                        os.kill(int(pid), signal.SIGKILL)
            time.sleep(0.3)
        for name in BLOCKS:
            end_replicas(scaler.state / f"{name}s")
        time.sleep(0.3)
        for path in self.base_groups():
            with contextlib.suppress(OSError):
                path.rmdir()
        shutil.rmtree(self.folder, ignore_errors=True)

    def base_groups(self):
        """Inner ones first."""
        return [path for root in Group(self.cgroup).paths if root.exists()
                for path in sorted([root, *root.rglob("*/")], key=lambda path: -len(path.parts))]


class Load:
    """Requests at fixed rates, whatever becomes of them."""

    def __init__(self, stack, requests, seconds, connections):
        self.processes = []
        for number, (rate, text) in enumerate(requests):
            path = stack.folder / f"request{number}"
            path.write_bytes(text.encode())
            self.processes.append(subprocess.Popen(
                [str(PROGRAMS / "open_loop"), str(stack.api_port), str(rate), str(seconds),
                 str(connections), str(path)], stdout=subprocess.DEVNULL, start_new_session=True))

    def stop(self):
        for one in self.processes:
            one.kill()
            one.wait()


def request(stack, method, path, body=None, headers=()):
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {stack.token}",
             *headers]
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join(lines) + "\r\n\r\n" + (body or "")

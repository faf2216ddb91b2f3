"""vimd in several processes: Apart is a Vimd whose roles are processes of their own, so that scenes that are
written for one process run over several as they are.

Needs PostgreSQL and Redis (tests/servers/with postgres redis -- ...).
"""
import contextlib
import copy
import os
import pathlib
import random
import signal
import subprocess
import tempfile

import vimd
from vimd import BUILD, PATIENCE, WRAPPER, Broken, Client, every, free_port, mock, patient, to_yaml, wait_for


class Process:
    """One process of a role, whose configuration the scene makes: scene.config(process)."""

    def __init__(self, scene, role, number):
        self.scene, self.role, self.name = scene, role, f"{role}{number}"
        self.health = free_port()
        self.state = scene.folder / self.name
        self.config_path = scene.folder / f"{self.name}.yaml"
        self.log_path = scene.folder / f"{self.name}.log"
        self.role_words = ["--role", role]
        self.popen = None

    def config(self):
        return self.scene.config(self)

    def write_config(self):
        self.config_path.write_text(to_yaml(self.config()) + "\n")
        self.config_path.chmod(0o600)

    def start(self, env=None):
        assert self.popen is None
        self.write_config()
        with open(self.log_path, "ab") as log:
            self.popen = subprocess.Popen(
                [*WRAPPER, self.scene.program, "--config", str(self.config_path), *self.role_words],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.scene.environment(env),
                start_new_session=True)

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def is_ready(self):
        if self.popen.poll() is not None:
            raise Broken(f"{self.name} ended with {self.popen.returncode}:\n{self.log()[-4000:]}")
        client = Client(self.health)
        try:
            return client.get("/readyz", timeout=5).status == 200
        except OSError:
            return False
        finally:
            client.close()

    def wait_ready(self, seconds=60):
        wait_for(self.is_ready, f"/readyz of {self.name}", seconds, pause=0.02)

    def signal(self, number):
        self.popen.send_signal(number)

    def stop(self, seconds=60, expect=0):
        """SIGTERM, and the end it leads to."""
        if self.popen is None:
            return
        if self.popen.poll() is None:
            self.signal(signal.SIGTERM)
        try:
            code = self.popen.wait(seconds * PATIENCE)
        except subprocess.TimeoutExpired:
            raise Broken(f"{self.name} does not end:\n{self.log()[-4000:]}") from None
        self.popen = None
        if expect is not None and code != expect:
            raise Broken(f"{self.name} ended with {code}:\n{self.log()[-4000:]}")

    def kill(self):
        if self.popen is not None:
            self.popen.kill()
            self.popen.wait()
            self.popen = None

    def restart(self):
        self.stop()
        self.start()
        self.wait_ready()


class Linked(Process):
    """One of those that find each other by the link."""

    def __init__(self, scene, role, number):
        super().__init__(scene, role, number)
        self.port = scene.port if scene.shared_port and role == "api" else free_port()
        self.link = f"unix:{scene.folder}/{self.name}.sock" if scene.unix else f"127.0.0.1:{free_port()}"


class Apart(vimd.Vimd):
    """API, logic and worker processes, as many as COUNTS says."""

    plugins = ("store-postgres", "queue-redis")
    counts = {"api": 1, "logic": 2, "worker": 2}
    unix = False  # the link over Unix sockets
    shared_port = False  # all API processes at one port

    def __init__(self, vims=None, settings=None, env=None, name="apart", build=None, counts=None):
        self.build = pathlib.Path(build or BUILD)
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=f"vimd-{name}-"))
        self.vims = [mock()] if vims is None else vims
        self.settings = settings or {}
        self.env = dict(env or {})
        self.secret = f"{random.getrandbits(160):040x}"
        self.secrets = [self.secret]
        self.token = None
        self.port = free_port()
        self.schema = f"apart_{random.randrange(10**9)}"
        (self.folder / "cloud").mkdir()
        (self.folder / "uploads").mkdir(mode=0o700)
        counts = counts or self.counts
        self.processes = {}
        for role in ("logic", "worker", "api", "scaler"):
            for number in range(counts.get(role, 0)):
                one = Linked(self, role, number)
                self.processes[one.name] = one
        self.port = self.of("api")[0].port
        self.client = Client(self.port)

    def of(self, role):
        return [one for one in self.processes.values() if one.role == role]

    def config(self, process):
        vims = copy.deepcopy(self.vims)
        for entry in vims:
            if entry["driver"] == "mock":
                entry["options"]["folder"] = str(self.folder / "cloud")
        tree = {
            "state_dir": str(process.state),
            "plugin_dir": str(self.build / "plugins"),
            "heartbeat": every(300),
            "log": {"level": "info"},
            "health": {"listen": f"127.0.0.1:{process.health}", "metrics": True},
            "link": {"secret": self.secret},
        }
        if process.role == "api":
            tree["api"] = {"listen": f"127.0.0.1:{process.port}", "reuse_port": self.shared_port}
            # One is enough: it knows of the others.
            tree["link"]["logic"] = [one.link for one in self.of("logic")][:None if self.unix else 1]
        else:
            tree["spool_dir"] = str(self.folder / "uploads")
            tree["store"] = {"plugin": "store-postgres", "timeout": patient(10), "options": {
                "hosts": [f"127.0.0.1:{os.environ['TEST_POSTGRES_PORT']}"],
                "database": "postgres", "schema": self.schema,
                "password": "${env:TEST_POSTGRES_PASSWORD}", "connect_timeout": patient(5)}}
            tree["queue"] = {"plugin": "queue-redis", "options": {
                "address": f"127.0.0.1:{os.environ['TEST_REDIS_PORT']}",
                "password": "${env:TEST_REDIS_PASSWORD}", "prefix": self.schema, "timeout": patient(2)}}
            tree["vims"] = vims
        if process.role == "logic":
            tree["link"]["listen"] = [process.link]
        for section, values in self.settings.items():
            known = tree.get(section)
            tree[section] = {**known, **values} if isinstance(known, dict) else values
        return tree

    def log(self):
        return "".join(f"--- {one.name}\n{one.log()}" for one in self.processes.values())

    def start(self, env=None, ready=True):
        for one in self.processes.values():
            one.start()
        for one in self.processes.values():
            one.wait_ready()
        if self.token is None:
            self.token = self.client.token = self.make_token()
        return self

    @property
    def config_path(self):
        return self.of("logic")[0].config_path

    def alive(self):
        return all(one.popen and one.popen.poll() is None for one in self.processes.values())

    def stop(self, seconds=60, expect=0):
        self.client.close()
        for role in ("scaler", "api", "logic", "worker"):
            for one in self.of(role):
                one.stop(seconds, expect)

    def kill(self):
        for one in self.processes.values():
            with contextlib.suppress(OSError):
                one.kill()

    def mock_file(self, vim, ending):
        return self.folder / "cloud" / f"{vim}.{ending}"

"""What scenes of the scaler share: a service whose numbers the scene sets, a platform that it scripts, and vimd
with the role scaler.
"""
import http.server
import json
import os
import pathlib
import random
import shutil
import signal
import socketserver
import tempfile
import threading
import time

from apart import Process
from vimd import BUILD, Vimd, patient, wait_for


class Scripted:
    """An HTTP server: script(method, path, body) -> (status, text)."""

    def __init__(self, script):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                length = int(self.headers.get("Content-Length") or 0)
                status, text = script(self.command, self.path, self.rfile.read(length))
                data = text.encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_PUT = do_PATCH = answer

            def log_message(self, *arguments):
                pass

            def handle(self):
                try:
                    super().handle()
                except (OSError, ValueError):
                    pass

        class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
            daemon_threads = True

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Shop:
    """A service with a Prometheus endpoint: blocks web and db, gauges and counters as the scene sets them."""

    def __init__(self):
        self.cpu = {"web": 0.9, "db": 0.2}
        self.rate, self.p95 = 100.0, 0.2
        self.started = time.monotonic()
        self.down = False
        self.server = Scripted(self.script)

    def script(self, method, path, body):
        if self.down:
            return 503, "away"
        total = self.rate * (time.monotonic() - self.started)
        fast = total * 0.94
        lines = ["# TYPE requests_total counter", f'requests_total{{code="200"}} {total:.3f}',
                 'requests_total{code="500"} 0']
        lines += [f'cpu_share{{block="{name}"}} {share}' for name, share in self.cpu.items()]
        lines += [f'seconds_bucket{{le="0.1"}} {fast:.3f}', f'seconds_bucket{{le="{2 * self.p95}"}} {total:.3f}',
                  f'seconds_bucket{{le="+Inf"}} {total:.3f}', f"seconds_sum {total * 0.05:.3f}", f"seconds_count {total:.3f}"]
        return 200, "\n".join(lines) + "\n"

    def source(self):
        return {"type": "prometheus", "endpoints": [f"http://127.0.0.1:{self.server.port}/metrics"], "timeout": "300ms"}

    def close(self):
        self.server.close()


class Cluster:
    """A Kubernetes API with Deployments, as platform-kubernetes asks it."""

    def __init__(self, **replicas):
        self.wanted = dict(replicas)
        self.ready = dict(replicas)
        self.stuck = False  # replicas do not become ready
        self.down = False
        self.forbidden = False  # sizes may be read only
        self.delay = {"GET": 0.0, "PUT": 0.0}
        self.apply_first = True  # what is slow is done before the answer is delayed
        self.written = []
        self.version = 1
        self.lock = threading.Lock()
        self.token = tempfile.NamedTemporaryFile("w", suffix=".token")
        self.token.write("secret-token\n")
        self.token.flush()
        self.server = Scripted(self.script)

    def script(self, method, path, body):
        if self.down:
            return 503, json.dumps({"kind": "Status", "status": "Failure", "reason": "ServiceUnavailable", "message": "away", "code": 503})
        if method == "GET":
            time.sleep(self.delay["GET"])
        name = path.split("/deployments/")[-1].split("/")[0].split("?")[0]
        if "/deployments/" not in path or name not in self.wanted:
            return 404, json.dumps({"kind": "Status", "status": "Failure", "reason": "NotFound", "message": "not found", "code": 404})
        if path.split("?")[0].endswith("/scale"):
            return self.scale(method, name, body)
        with self.lock:
            if not self.stuck:
                self.ready[name] = self.wanted[name]
            container = {"name": "c", "resources": {"limits": {"cpu": "500m"}}}
            return 200, json.dumps({
                "metadata": {"name": name, "generation": self.version},
                "spec": {"replicas": self.wanted[name], "selector": {"matchLabels": {"app": name}},
                         "template": {"spec": {"containers": [container]}}},
                "status": {"observedGeneration": self.version, "replicas": self.wanted[name],
                           "readyReplicas": min(self.ready[name], self.wanted[name])}})

    def scale(self, method, name, body):
        if method == "PUT" and self.forbidden:
            return 403, json.dumps({"kind": "Status", "status": "Failure", "reason": "Forbidden", "message": "not yours", "code": 403})
        if method == "PUT":
            if not self.apply_first:
                time.sleep(self.delay["PUT"])
            with self.lock:
                self.wanted[name] = json.loads(body)["spec"].get("replicas", 0)
                self.version += 1
                self.written.append((name, self.wanted[name]))
            if self.apply_first:
                time.sleep(self.delay["PUT"])
        return 200, json.dumps({"kind": "Scale", "apiVersion": "autoscaling/v1",
                                "metadata": {"name": name, "resourceVersion": str(self.version)},
                                "spec": {"replicas": self.wanted[name]}, "status": {"replicas": self.ready[name]}})

    def platform(self, name="cluster", call_timeout="1s"):
        return {"name": name, "driver": "platform-kubernetes", "call_timeout": call_timeout,
                "options": {"server": f"http://127.0.0.1:{self.server.port}", "token_file": self.token.name,
                            "namespace": "shop"}}

    def close(self):
        self.server.close()
        self.token.close()


def plugins_folder(build=BUILD):
    """The plugins, and the faulty policy beside them."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="vimd-plugins-"))
    for path in [*(build / "plugins").glob("*.so"), build / "tests" / "conform" / "faulty-policy.so"]:
        (folder / path.name).symlink_to(path)
    return folder


def service(shop, platform="cluster", group="deployment/", **more):
    """The shop, with short windows."""
    entry = {
        "name": "shop", "mode": "act", "interval": "400ms", "window": "400ms", "windows": 32, "source": shop.source(),
        "policy": {"plugin": "faulty-policy"},
        "signals": {"throughput": 'rate(requests_total{code=~"2.."})', "offered": "rate(requests_total)",
                    "errors": 'rate(requests_total{code="500"})', "latency_p95": "p95(seconds) * 1000",
                    "latency": "average(seconds) * 1000"},
        "blocks": [{"name": name, "platform": platform, "group": group + name, "min": 1, "max": 8,
                    "signals": {"cpu": f'mean(cpu_share{{block="{name}"}})'}} for name in ("web", "db")],
        "edges": ["web -> db"],
    }
    entry.update(more)
    return entry


def shared_store(folder):
    """A store for several processes: PostgreSQL beside tests/servers/with, else a file of SQLite in FOLDER."""
    if "TEST_POSTGRES_PORT" not in os.environ:
        return {"plugin": "store-sqlite", "options": {"path": str(folder / "shared.db")}}
    return {"plugin": "store-postgres", "timeout": patient(10), "options": {
        "hosts": [f"127.0.0.1:{os.environ['TEST_POSTGRES_PORT']}"], "database": "postgres",
        "schema": f"scaler_{random.randrange(10**9)}", "password": "${env:TEST_POSTGRES_PASSWORD}",
        "connect_timeout": patient(5)}}


class Scaled(Vimd):
    """One process with all roles, and the scaler."""

    roles = ["api", "logic", "worker", "scaler"]

    def __init__(self, platforms, services, **keywords):
        self.plugin_dir = plugins_folder()
        settings = {"roles": self.roles, "plugin_dir": str(self.plugin_dir), "platforms": platforms, "services": services,
                    "heartbeat": "300ms"}
        if "TEST_POSTGRES_PORT" in os.environ:
            settings["store"] = shared_store(None)
        settings.update(keywords.pop("settings", {}))
        super().__init__(settings=settings, name="scaler", **keywords)

    def close(self, keep=False):
        super().close(keep)
        shutil.rmtree(self.plugin_dir, ignore_errors=True)

    def service(self, name="shop"):
        return self.client.must(self.client.get(f"/v1/services/{name}"), 200).json

    def wait_service(self, condition, what, seconds=60, name="shop"):
        """Waits until the service is shown, and CONDITION holds of it."""
        def look():
            answer = self.client.get(f"/v1/services/{name}")
            return answer.status == 200 and condition(answer.json) and answer.json
        return wait_for(look, what, seconds)

    def decisions(self, query="", name="shop"):
        if self.client.get(f"/v1/services/{name}").status == 404:
            return []  # not watched yet
        return self.client.list(f"services/{name}/decisions", query)

    def events(self, kind=None):
        found = self.client.list("events")
        return [event for event in found if event["type"].startswith("scaling.") and (kind is None or event["type"] == kind)]

    def wait_event(self, kind, condition=lambda event: True, seconds=60):
        return wait_for(lambda: next((event for event in self.events(kind) if condition(event)), None), f"an event {kind}", seconds)


def is_sanitized(program):
    """ASan and TSan have a process do several times as much."""
    text = pathlib.Path(program).read_bytes()
    return b"__asan_init" in text or b"__tsan_init" in text


def end_replicas(folder):
    """Replicas outlive the vimd that started them: ends those that a platform-process with its state in FOLDER did."""
    for path in pathlib.Path(folder).glob("*.[0-9]*"):
        text = path.read_text().strip()
        if text.isdigit() and int(text) > 1:
            try:
                os.kill(int(text), signal.SIGKILL)
            except ProcessLookupError:
                pass


class Scaler(Process):
    """One more process, with the role scaler alone, beside a Scaled (or Vimd) with the same store."""

    def __init__(self, scene, number=1):
        super().__init__(scene, "scaler", number)

    def config(self):
        tree = self.scene.config()
        for section in ("vims", "roles", "api"):
            tree.pop(section, None)
        return {**tree, "state_dir": str(self.state), "health": {"listen": f"127.0.0.1:{self.health}"}}

    def start(self, env=None):
        super().start(env)
        self.wait_ready()
        return self

"""A real OpenStack, seen without vimd: what the scene compares with and disturbs."""
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from vimd import SOURCE, Broken, wait_for


def read_clouds(path):
    """clouds.yaml as `up` writes it: nested mappings of plain scalars, two spaces deep."""
    tree, stack = {}, []
    stack = [(-1, tree)]
    for line in pathlib.Path(path).read_text().splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        depth = len(line) - len(line.lstrip())
        key, _, value = line.strip().partition(":")
        while stack[-1][0] >= depth:
            stack.pop()
        if value.strip():
            stack[-1][1][key] = value.strip().strip("'\"")
        else:
            stack[-1][1][key] = {}
            stack.append((depth, stack[-1][1][key]))
    return tree["clouds"]


class Cloud:
    """One user of the cloud, speaking to the services directly."""

    def __init__(self, clouds_yaml, name="loopback"):
        self.clouds_yaml = pathlib.Path(clouds_yaml).resolve()
        self.state = self.clouds_yaml.parent
        self.name = name
        self.auth = read_clouds(clouds_yaml)[name]["auth"]
        self.login()

    def login(self):
        auth = self.auth
        body = {"auth": {
            "identity": {"methods": ["password"], "password": {"user": {
                "name": auth["username"], "password": auth["password"],
                "domain": {"name": auth["user_domain_name"]}}}},
            "scope": {"project": {"name": auth["project_name"],
                                  "domain": {"name": auth["project_domain_name"]}}}}}
        request = urllib.request.Request(auth["auth_url"] + "/auth/tokens", method="POST",
                                         data=json.dumps(body).encode(),
                                         headers={"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            self.token = answer.headers["X-Subject-Token"]
            token = json.load(answer)["token"]
        self.project = token["project"]["id"]
        self.urls = {service["type"]: next(
            endpoint["url"] for endpoint in service["endpoints"]
            if endpoint["interface"] == "public").rstrip("/") for service in token["catalog"]}
        self.urls["identity"] = auth["auth_url"]
        for service, version in (("network", "/v2.0"), ("image", "/v2")):
            if not self.urls[service].endswith(version):
                self.urls[service] += version

    def call(self, method, service, path, body=None, headers=None):
        request = urllib.request.Request(
            self.urls[service] + path, method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"X-Auth-Token": self.token, "Content-Type": "application/json",
                     "OpenStack-API-Version": "volume 3.0" if service == "volumev3"
                     else "compute 2.79", **(headers or {})})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                text = answer.read()
                return answer.status, json.loads(text) if text.strip() else None
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode(errors="replace")

    def get(self, service, path):
        status, body = self.call("GET", service, path)
        if status != 200:
            raise Broken(f"GET {service} {path}: {status} {body}")
        return body

    LISTS = {"server": ("compute", "/servers/detail", "servers"),
             "flavor": ("compute", "/flavors/detail?is_public=none", "flavors"),
             "keypair": ("compute", "/os-keypairs", "keypairs"),
             "network": ("network", "/networks", "networks"),
             "subnet": ("network", "/subnets", "subnets"),
             "port": ("network", "/ports", "ports"),
             "security-group": ("network", "/security-groups", "security_groups"),
             "image": ("image", "/images?limit=500", "images"),
             "router": ("network", "/routers", "routers"),
             "floating-ip": ("network", "/floatingips", "floatingips"),
             "affinity-group": ("compute", "/os-server-groups", "server_groups"),
             "volume": ("volumev3", "/volumes/detail", "volumes"),
             "snapshot": ("volumev3", "/snapshots/detail", "snapshots")}

    def list(self, kind):
        service, path, member = self.LISTS[kind]
        items = self.get(service, path)[member]
        return [item["keypair"] for item in items] if kind == "keypair" else items

    def find(self, kind, name):
        return [item for item in self.list(kind) if item["name"] == name]

    def ids(self):
        """Everything there is, to compare with later."""
        return {kind: sorted(item.get("id") or item["name"] for item in self.list(kind))
                for kind in self.LISTS}

    def client(self, *words):
        """The distribution's `openstack` client, answering in JSON."""
        answer = self.command(*words, "-f", "json")
        return json.loads(answer) if answer.strip() else None

    def command(self, *words):
        """The same, as it answers by itself."""
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(self.state / "home"),
                       "LANG": "C.UTF-8", "OS_CLIENT_CONFIG_FILE": str(self.clouds_yaml),
                       "OS_CLOUD": self.name}
        done = subprocess.run(["/usr/bin/openstack", *words], timeout=120, capture_output=True,
                              text=True, env=environment)
        if done.returncode != 0:
            raise Broken(f"openstack {' '.join(words)}: {done.stderr}")
        return done.stdout

    # Disturbances

    def end_service(self, name):
        """Ends one service that `up` started, by the pid that it wrote down."""
        pid = int((self.state / "run" / f"{name}.pid").read_text().split()[0])
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not pathlib.Path(f"/proc/{pid}").exists()
                 or "State:\tZ" in pathlib.Path(f"/proc/{pid}/status").read_text(), f"{name} to end")

    def up(self):
        done = subprocess.run([str(SOURCE / "tests" / "openstack" / "up")], timeout=300,
                              capture_output=True, text=True, stdin=subprocess.DEVNULL,
                              env={**os.environ, "OPENSTACK_STATE": str(self.state)})
        if done.returncode != 0:
            raise Broken(f"up: {done.stderr[-2000:]}")

    def forget_tokens(self):
        """Services remember checked tokens in memcached: make them ask again."""
        settings = (self.state / "settings").read_text()
        offset = int(re.search(r"^OPENSTACK_PORT_OFFSET=(\d+)", settings, re.M).group(1))
        with socket.create_connection(("127.0.0.1", 21211 + offset), timeout=10) as cache:
            cache.sendall(b"flush_all\r\n")
            assert cache.recv(100).startswith(b"OK")

    def revoke(self, token):
        status, body = self.call("DELETE", "identity", "/auth/tokens",
                                 headers={"X-Subject-Token": token})
        if status != 204:
            raise Broken(f"the token was not revoked: {status} {body}")


class Doorkeeper:
    """Stands between vimd and Keystone and remembers the tokens that pass."""

    def __init__(self, target):
        keeper = self
        self.tokens = []
        address = target.split("/")[2]

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def forward(self):
                length = int(self.headers.get("Content-Length") or 0)
                headers = {name: value for name, value in self.headers.items()
                           if name.lower() not in ("host", "connection", "content-length")}
                request = urllib.request.Request(
                    f"http://{address}{self.path}", method=self.command, headers=headers,
                    data=self.rfile.read(length) if length else None)
                try:
                    with urllib.request.urlopen(request, timeout=60) as answer:
                        self.reply(answer.status, answer.headers, answer.read())
                except urllib.error.HTTPError as error:
                    self.reply(error.code, error.headers, error.read())

            def reply(self, status, headers, body):
                if headers.get("X-Subject-Token") and self.command == "POST":
                    keeper.tokens.append(headers["X-Subject-Token"])
                self.send_response(status)
                for name, value in headers.items():
                    if name.lower() not in ("connection", "content-length", "transfer-encoding",
                                            "date", "server"):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_HEAD = do_DELETE = forward

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/v3"

    def close(self):
        self.server.shutdown()
        self.server.server_close()

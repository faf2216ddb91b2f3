"""What a sweep over N servers costs on the wire: vimd, a counting relay, and a fake Nova behind it."""
import json
import pathlib
import socket
import subprocess
import sys
import threading
import urllib.request

from measure import vimd

FAKE = pathlib.Path(vimd.__file__).parent / "fakecloud"


class Relay:
    """Forwards TCP to a port and counts the bytes of both directions."""

    def __init__(self, target):
        self.target = target
        self.bytes = 0
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                ours, _ = self.listener.accept()
            except OSError:
                return
            theirs = socket.create_connection(("127.0.0.1", self.target))
            for pair in ((ours, theirs), (theirs, ours)):
                threading.Thread(target=self.pump, args=pair, daemon=True).start()

    def pump(self, source, sink):
        try:
            while data := source.recv(1 << 16):
                with self.lock:
                    self.bytes += len(data)
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def close(self):
        self.listener.close()


class Fake:
    def __init__(self):
        self.process = subprocess.Popen([sys.executable, "-B", str(FAKE)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline().split()[1])

    def tell(self, what, body=None):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/_fake/{what}",
                                         data=None if body is None else json.dumps(body).encode(),
                                         method="GET" if body is None else "POST")
        with urllib.request.urlopen(request, timeout=300) as answer:
            return json.load(answer)

    def calls(self):
        return len(self.tell("calls"))

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def sweep(count, rounds=10):
    """(calls, bytes) of the first complete look at everything, and the mean of later ones."""
    fake = Fake()
    relay = Relay(fake.port)
    base = f"http://127.0.0.1:{relay.port}"
    try:
        fake.tell("fill", {"servers": count})
        daemon = vimd.Vimd(name="sweep", settings={"log": {"level": "warning"}}, vims=[{
            "name": "fake", "driver": "openstack", "project": vimd.PROJECT,
            "poll_pending": "1s", "poll_idle": "3s", "poll_full": "1h", "options": {
                "auth_url": base + "/identity/v3", "compute_endpoint": base + "/compute/v2.1",
                "network_endpoint": base + "/network", "image_endpoint": base + "/image",
                "username": "admin", "password": "secret", "project": "admin",
                "region": "RegionOne"}}])
        with daemon:
            vimd.wait_for(lambda: len(daemon.list("servers", "fields=id")) == count
                          and len(daemon.list("ports", "fields=id")) == count,
                          f"{count} servers", 120)
            first = (fake.calls(), relay.bytes)
            listed = lambda: sum("/servers/detail" in call["path"] for call in fake.tell("calls"))
            start = listed()
            vimd.wait_for(lambda: listed() >= start + 1, "a round")
            start, calls, size = listed(), fake.calls(), relay.bytes
            vimd.wait_for(lambda: listed() >= start + rounds, "later rounds", 120)
            done = listed() - start
            later = ((fake.calls() - calls) / done, (relay.bytes - size) / done)
        return first, later
    finally:
        relay.close()
        fake.close()

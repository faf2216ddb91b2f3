"""Every API, logic and worker process is restarted, one after the other, while clients are at work: no request
fails, no task is lost, and nothing is made twice."""
import random
import signal
import socket
import ssl
import subprocess
import threading
import time
import unittest

import vimd
from apart import Apart
from vimd import PATIENCE, Broken, Client, mock, unique, wait_for


class OnePort(Apart):
    counts = {"api": 2, "logic": 2, "worker": 2}
    shared_port = True


class OnePortUnix(OnePort):
    unix = True


class Load(threading.Thread):
    """A client that writes, reads and waits, without an Idempotency-Key, and takes no failure."""

    def __init__(self, scene, stop):
        super().__init__()
        self.client = Client(scene.port, scene.token)
        self.stopped, self.accepted, self.wrong, self.count = stop, [], None, 0

    def ask(self, method, path, body=None, headers=None):
        answer = self.client.request(method, path, body, headers=headers)
        self.count += 1
        if answer.status >= 400:
            raise Broken(f"{method} {path}: {answer!r}")
        return answer

    def run(self):
        try:
            while not self.stopped.is_set():
                self.round()
        except BaseException as error:  # pylint: disable=broad-except
            self.wrong = error
        finally:
            self.client.close()

    def round(self):
        answer = self.ask("POST", "/v1/networks", {"vim": "edge1", "name": unique("n")})
        task = self.client.task_of(answer)
        self.accepted.append(task)
        self.ask("GET", answer.headers["Content-Location"])
        self.ask("GET", "/v1/networks?limit=5")
        self.ask("GET", f"/v1/tasks/{task}?wait=5")
        answer = self.ask("POST", "/v1/networks", {"vim": "edge1", "name": unique("n")},
                          headers={"Prefer": "wait=5"})
        if answer.status == 202:
            self.accepted.append(self.client.task_of(answer))


class Guarded(Apart):
    """The link over TLS, with a secret and certificates that can be changed."""
    counts = {"api": 2, "logic": 2, "worker": 1}
    shared_port = True
    previous = None

    def file(self, name):
        return str(self.folder / name)

    def openssl(self, *words):
        subprocess.run(["openssl", *words], check=True, capture_output=True)

    def make_ca(self):
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                     "-keyout", self.file("ca.key"), "-out", self.file("ca.pem"), "-days", "2",
                     "-subj", "/CN=link")

    def make_certificate(self):
        """Another one of the same CA; returns its serial number. Whoever reads sees the pair as it was or as it is."""
        self.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                     self.file("new.key"), "-out", self.file("new.csr"), "-subj", "/CN=vimd")
        self.openssl("x509", "-req", "-in", self.file("new.csr"), "-CA", self.file("ca.pem"), "-CAkey",
                     self.file("ca.key"), "-CAcreateserial", "-days", "2", "-out", self.file("new.crt"))
        (self.folder / "new.key").chmod(0o600)
        for ending in ("key", "crt"):
            (self.folder / f"new.{ending}").rename(self.folder / f"link.{ending}")
        done = subprocess.run(["openssl", "x509", "-noout", "-serial", "-in", self.file("link.crt")],
                              check=True, capture_output=True, text=True)
        return int(done.stdout.strip().split("=")[1], 16)

    def config(self, process):
        tree = super().config(process)
        tree["link"].update({"tls_certificate": self.file("link.crt"), "tls_key": self.file("link.key"),
                             "tls_ca": self.file("ca.pem")})
        if process.role == "logic" and self.previous:
            tree["link"]["previous_secret"] = self.previous
        return tree

    def reload(self, *roles):
        for one in [one for role in roles for one in self.of(role)]:
            before = one.log().count("event=reloaded")
            one.write_config()
            one.signal(signal.SIGHUP)
            wait_for(lambda one=one, before=before: one.log().count("event=reloaded") > before,
                     f"{one.name} to have read its file", pause=0.02)

    def ask(self, process, secret):
        """The serial number of what a logic process shows on a new connection, and its answer to one who knows SECRET."""
        context = ssl.create_default_context(cafile=self.file("ca.pem"))
        context.check_hostname = False
        context.load_cert_chain(self.file("link.crt"), self.file("link.key"))
        host, port = process.link.rsplit(":", 1)
        with socket.create_connection((host, int(port)), timeout=10 * PATIENCE) as plain:
            with context.wrap_socket(plain) as link:
                link.sendall(b"GET /v1/version HTTP/1.1\r\nHost: vimd\r\nConnection: close\r\n"
                             b"Authorization: Vimd-Link " + secret.encode() + b"\r\n\r\n")
                return int(link.getpeercert()["serialNumber"], 16), link.recv(100).split()[1]


class Rolling(unittest.TestCase):
    def under_load(self, scene, steps):
        """STEPS, (what it is, what to call), while clients are at work."""
        stop = threading.Event()
        loads = [Load(scene, stop) for _ in range(6)]
        for load in loads:
            load.start()
        try:
            for what, step in steps:
                time.sleep(0.3)
                step()
                for load in loads:
                    if load.wrong:
                        raise Broken(f"while {what}") from load.wrong
            wait_for(lambda: any(load.wrong for load in loads)
                     or sum(len(load.accepted) for load in loads) > 30, "work that was done")
        finally:
            stop.set()
            for load in loads:
                load.join()
        for load in loads:
            if load.wrong:
                raise load.wrong
        accepted = [task for load in loads for task in load.accepted]
        self.assertGreater(len(accepted), 20)
        for task in accepted:
            self.assertEqual(scene.wait_task(task)["state"], "succeeded")
        made = [thing for thing in scene.things("network") if thing["name"].startswith("n-")]
        self.assertEqual(len({thing["name"] for thing in made}), len(made))
        self.assertEqual(scene.orphans(), [])
        print(f"{sum(load.count for load in loads)} requests, {len(accepted)} tasks, none failed")

    def roll(self, scene):
        self.under_load(scene, [(f"{name} was restarted", one.restart)
                                for name, one in scene.processes.items()])

    def test_secret_and_certificates_are_changed(self):
        scene = Guarded(vims=[mock("edge1", build="50ms")], name="guarded")
        scene.make_ca()
        first = scene.make_certificate()
        with scene:
            logic = scene.of("logic")[0]
            old, new = scene.secret, f"{random.getrandbits(160):040x}"
            scene.secrets.append(new)
            self.assertEqual(scene.ask(logic, old)[0], first)
            self.assertNotEqual(scene.ask(logic, old)[1], b"401")
            self.assertEqual(scene.ask(logic, new)[1], b"401")
            serials = []

            def certificates():
                serials.append(scene.make_certificate())
                scene.reload("logic", "api")

            def both():
                scene.secret, scene.previous = new, old
                scene.reload("logic")
                for secret in (old, new):
                    self.assertNotEqual(scene.ask(logic, secret)[1], b"401")

            def only_new():
                scene.previous = None
                scene.reload("logic")

            self.under_load(scene, [
                ("certificates were changed", certificates), ("both secrets were believed", both),
                ("the API took the new one", lambda: scene.reload("api")),
                ("the old one was forgotten", only_new), ("certificates were changed again", certificates)])
            self.assertEqual(scene.ask(logic, new)[0], serials[-1])
            self.assertEqual(scene.ask(logic, old)[1], b"401")
            self.assertNotIn("a restart is needed", scene.log())
            # What does not fit changes nothing.
            (scene.folder / "link.crt").write_text("no certificate")
            for one in (logic, scene.of("api")[0]):
                one.signal(signal.SIGHUP)
                wait_for(lambda one=one: "reload refused" in one.log(), "the file to be refused")
            scene.must(scene.get("/v1/vims"), 200)

    def test_over_tcp(self):
        with OnePort(vims=[mock("edge1", build="50ms")], name="rolling") as scene:
            self.roll(scene)

    def test_over_unix_sockets(self):
        with OnePortUnix(vims=[mock("edge1", build="50ms")], name="rolling") as scene:
            self.roll(scene)


if __name__ == "__main__":
    unittest.main(verbosity=2)

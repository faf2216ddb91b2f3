"""Logic processes die and stand still while clients are at work through one API process: reads and what has an
Idempotency-Key never fail, other writes are told honestly, and whoever is gone is left within a moment."""
import http.client
import json
import signal
import threading
import time
import unittest

from apart import Apart
from vimd import PATIENCE, PROJECT, Broken, Client, mock, unique, wait_for


class Three(Apart):
    counts = {"api": 1, "logic": 3, "worker": 1}


class Load(threading.Thread):
    """Reads and writes, with keys or without."""

    def __init__(self, scene, stop, keyed):
        super().__init__()
        self.client = Client(scene.port, scene.token)
        self.stopped, self.keyed = stop, keyed
        self.names, self.lost, self.wrong, self.slowest, self.count = [], [], None, 0, 0

    def ask(self, method, path, body=None, headers=None):
        begin = time.monotonic()
        answer = self.client.request(method, path, body, headers=headers)
        self.slowest = max(self.slowest, time.monotonic() - begin)
        self.count += 1
        return answer

    def round(self):
        name = unique("n")
        headers = {"Idempotency-Key": name} if self.keyed else {}
        answer = self.ask("POST", "/v1/networks", {"vim": "edge1", "name": name}, headers)
        if answer.status == 202:
            self.names.append(name)
        elif answer.status == 502 and answer.json["code"] == "lost" and not self.keyed:
            self.lost.append(name)
        else:
            raise Broken(f"POST: {answer!r}")
        for path in ("/v1/networks?limit=5", "/v1/vims", f"/v1/networks?name={name}"):
            answer = self.ask("GET", path)
            if answer.status != 200:
                raise Broken(f"{path}: {answer!r}")

    def run(self):
        try:
            while not self.stopped.is_set():
                self.round()
        except BaseException as error:  # pylint: disable=broad-except
            self.wrong = error
        finally:
            self.client.close()


class Listener(threading.Thread):
    """Follows the stream of events, which is the API process's business alone."""

    def __init__(self, scene):
        super().__init__(daemon=True)
        self.connection = http.client.HTTPConnection("127.0.0.1", scene.port, timeout=60 * PATIENCE)
        self.connection.request("GET", "/v1/events/stream",
                                headers={"Authorization": f"Bearer {scene.token}"})
        self.answer = self.connection.getresponse()
        self.numbers = []

    def run(self):
        try:
            for line in self.answer:
                if line.startswith(b"id:"):
                    self.numbers.append(int(line[3:]))
        except (OSError, ValueError, http.client.HTTPException):
            pass


class Faults(unittest.TestCase):
    def test_logic_processes_die_and_stand_still(self):
        with Three(vims=[mock("edge1", build="50ms")], name="faults") as scene:
            wait_for(lambda: self.replicas(scene) == 3, "three logic processes that are up")
            # Logic processes do not poll, and know how the VIM is all the same.
            wait_for(lambda: scene.get("/v1/vims/edge1").json["health"]["reachable"],
                     "a VIM that is reachable")
            listener = Listener(scene)
            self.assertEqual(listener.answer.status, 200)
            listener.start()
            stop = threading.Event()
            loads = [Load(scene, stop, keyed) for keyed in (True, True, True, False)]
            for load in loads:
                load.start()
            try:
                for number in (1, 2, 1):
                    one = scene.processes[f"logic{number}"]
                    time.sleep(0.5)
                    one.kill()
                    time.sleep(1)
                    one.start()
                    one.wait_ready()
                for number in (2, 0):
                    one = scene.processes[f"logic{number}"]
                    time.sleep(0.5)
                    one.signal(signal.SIGSTOP)
                    time.sleep(3)
                    one.signal(signal.SIGCONT)
                time.sleep(1)
            finally:
                stop.set()
                for load in loads:
                    load.join()
            self.judge(scene, loads, listener)

    @staticmethod
    def replicas(scene):
        client = Client(scene.processes["api0"].health)
        for line in client.get("/metrics").body.decode().splitlines():
            if line.startswith("vimd_link_replicas_up "):
                client.close()
                return int(float(line.split()[1]))
        raise Broken("no such series")

    def judge(self, scene, loads, listener):
        for load in loads:
            if load.wrong:
                raise load.wrong
        keyed = max(load.slowest for load in loads if load.keyed)
        # A process that stands still is found by a probe (700 ms), and what was there goes elsewhere.
        self.assertLess(keyed, 2.5 * PATIENCE)
        names = [name for load in loads for name in load.names]
        lost = [name for load in loads for name in load.lost]
        self.assertLessEqual(len(lost), 5)
        for name in names:
            wait_for(lambda name=name: scene.get(f"/v1/networks?name={name}&status=ACTIVE").items, name)
        made = [thing["name"] for thing in scene.things("network") if thing["name"].startswith("n-")]
        self.assertEqual(len(made), len(set(made)))
        self.assertLessEqual(set(names), set(made))
        self.assertLessEqual(set(made), set(names) | set(lost))
        self.assertEqual(scene.orphans(), [])
        last = int(scene.must(scene.get("/v1/events?limit=1&sort=-id"), 200).items[0]["id"])
        wait_for(lambda: listener.numbers and listener.numbers[-1] >= last, "the last event")
        first = listener.numbers[0]
        self.assertEqual(listener.numbers, list(range(first, first + len(listener.numbers))))
        print(json.dumps({"requests": sum(load.count for load in loads), "writes": len(names),
                          "lost": len(lost), "slowest": round(keyed, 2), "project": PROJECT,
                          "events": len(listener.numbers)}))


if __name__ == "__main__":
    unittest.main(verbosity=2)

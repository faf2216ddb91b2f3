"""Every API, logic and worker process is restarted, one after the other, while clients are at work: no request
fails, no task is lost, and nothing is made twice."""
import threading
import time
import unittest

import vimd
from apart import Apart
from vimd import Broken, Client, mock, unique


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


class Rolling(unittest.TestCase):
    def roll(self, scene):
        stop = threading.Event()
        loads = [Load(scene, stop) for _ in range(6)]
        for load in loads:
            load.start()
        try:
            for name in list(scene.processes):
                time.sleep(0.3)
                scene.processes[name].restart()
                for load in loads:
                    if load.wrong:
                        raise Broken(f"while {name} was restarted") from load.wrong
            time.sleep(0.5)
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

    def test_over_tcp(self):
        with OnePort(vims=[mock("edge1", build="50ms")], name="rolling") as scene:
            self.roll(scene)

    def test_over_unix_sockets(self):
        with OnePortUnix(vims=[mock("edge1", build="50ms")], name="rolling") as scene:
            self.roll(scene)


if __name__ == "__main__":
    unittest.main(verbosity=2)

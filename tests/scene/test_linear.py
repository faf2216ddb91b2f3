"""Compare-and-set by ETag never loses an update, whichever API and logic processes the writers go through.

Writers read a network's labels and its ETag through one API process, and change a label under If-Match through
another; meanwhile logic processes are killed and paused, and PostgreSQL is restarted. All that they saw is recorded, and
a checker (history.py) looks for an order in which a single register would have given the same. VIMD_TEST_SEED
says where and when faults strike.
"""
import http.client
import os
import random
import signal
import subprocess
import threading
import time
import unittest

import vimd
from apart import Apart
from history import DONE, FOREVER, LOST, READ, REFUSED, SET, History, Operation, check, now
from vimd import Broken, mock, unique

SEED = int(os.environ.get("VIMD_TEST_SEED", "1"))
SECONDS = float(os.environ.get("VIMD_TEST_LINEAR_SECONDS", "12")) * max(1, vimd.PATIENCE / 5)
KEYS, WRITERS = 4, 8


class Writer(threading.Thread):
    """One client, that goes through the API processes at random."""

    def __init__(self, number, ports, token, keys, history, stop):
        super().__init__(name=f"writer{number}")
        self.chance = random.Random(f"{SEED} {number}")
        self.clients = [vimd.Client(port, token) for port in ports]
        self.number, self.keys, self.history, self.stop = number, keys, history, stop
        self.serial, self.error, self.unanswered = 0, None, 0

    def ask(self, method, key, **more):
        """The answer, or None if it was lost or is no verdict."""
        client = self.chance.choice(self.clients)
        try:
            answer = client.request(method, f"/v1/networks/{key}", timeout=8, **more)
        except (OSError, http.client.HTTPException):
            client.close()
            answer = None
        if answer is not None and answer.status in (200, 412):
            return answer
        if answer is not None and answer.status not in (409, 500, 502, 503, 504):
            raise Broken(f"{method} of {key}: {answer!r}")
        self.unanswered += 1
        self.stop.wait(0.05)
        return None

    def step(self):
        key = self.chance.choice(self.keys)
        called = now()
        answer = self.ask("GET", key)
        if answer is None:
            return
        tag = int(answer.headers["ETag"].strip('"'))
        value = answer.json.get("labels", {}).get("value")
        self.history.record(key, Operation(READ, called, now(), DONE, tag, value))
        if self.chance.random() < 0.3:
            return
        self.serial += 1
        new = f"{self.number}-{self.serial}"
        called = now()
        answer = self.ask("PATCH", key, body={"labels": {"value": new}},
                          headers={"If-Match": f'"{tag}"',
                                   "Content-Type": "application/merge-patch+json"})
        change = Operation(SET, called, now(), DONE, None, new, tag)
        if answer is None:
            change.outcome, change.returned = LOST, FOREVER
        elif answer.status == 412:
            change.outcome = REFUSED
        else:
            change.tag = int(answer.headers["ETag"].strip('"'))
            if answer.json["labels"]["value"] != new:
                raise Broken(f"set to {new}, answered {answer!r}")
        self.history.record(key, change)

    def run(self):
        try:
            while not self.stop.is_set():
                self.step()
        except BaseException as error:  # told by the main thread
            self.error = error
        finally:
            for client in self.clients:
                client.close()


class Linear(unittest.TestCase):
    def trouble(self, apart, stop):
        """Faults until the time is over. Returns how many."""
        chance = random.Random(SEED)
        count, end = 0, time.monotonic() + SECONDS
        while time.monotonic() < end:
            stop.wait(chance.uniform(0.3, 0.9))
            victim = chance.choice(apart.of("logic"))
            kind = chance.choice(["kill", "pause", "kill", "pause", "postgres"])
            if kind == "kill":
                victim.kill()
                stop.wait(chance.uniform(0, 0.3))
                victim.start()
            elif kind == "pause":
                victim.signal(signal.SIGSTOP)
                stop.wait(chance.uniform(0.2, 1.5))
                victim.signal(signal.SIGCONT)
            else:
                folder = os.environ["TEST_POSTGRES_DIR"]
                script = os.path.join(os.environ["TEST_SERVERS"], "postgres")
                subprocess.run([script, "down", folder, chance.choice(["fast", "immediate"])],
                               check=True, stdout=subprocess.DEVNULL)
                subprocess.run([script, "up", folder], check=True, stdout=subprocess.DEVNULL)
            count += 1
        return count

    def test_compare_and_set(self):
        apart = Apart(vims=[mock()], counts={"api": 2, "logic": 3, "worker": 1}, name="linear")
        with apart:
            keys = [apart.create("networks", {"vim": "edge1", "name": unique("n")})["id"]
                    for _ in range(KEYS)]
            # The inventory has to be through with them: only clients write from here on.
            time.sleep(1)
            starts = {key: int(apart.must(apart.get(f"/v1/networks/{key}"), 200)
                               .headers["ETag"].strip('"')) for key in keys}
            history, stop = History(), threading.Event()
            ports = [one.port for one in apart.of("api")]
            writers = [Writer(number, ports, apart.token, keys, history, stop)
                       for number in range(WRITERS)]
            for writer in writers:
                writer.start()
            try:
                faults = self.trouble(apart, stop)
            finally:
                stop.set()
                for writer in writers:
                    writer.join()
            for writer in writers:
                if writer.error is not None:
                    raise writer.error
            for one in apart.of("logic"):
                one.wait_ready()
            for key in keys:
                verdict = check(history.by_key[key], (starts[key], None), lambda tag: tag + 1)
                self.assertIsNone(verdict, f"network {key}, seed {SEED}: {verdict}")
            done, refused, lost = (history.count(what) for what in (DONE, REFUSED, LOST))
            print(f"seed {SEED}: {history.count()} operations, {done} sets done, {refused} refused, "
                  f"{lost} lost, {faults} faults", flush=True)
            self.assertGreater(done, 100)
            self.assertGreater(refused, 10)
            self.assertGreater(faults, 3)


if __name__ == "__main__":
    unittest.main(verbosity=2)

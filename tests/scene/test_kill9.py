"""kill -9 at every commit of the store, while replies of the infrastructure get lost.

VIMD_TEST_KILL_AT_COMMIT=N makes the daemon kill itself at its Nth commit, right before or right
after it is made (VIMD_TEST_KILL_WHEN). For each operation N goes up from 1 until the operation comes
through without a kill. Then the daemon starts again, and: every accepted task ends, what was to be
made is there once, what was to be deleted is not, and nothing is left over at the infrastructure.
VIMD_TEST_KILLS says how many kills there have to be at least; with a few, commits are left out, and
there are fewer chains of kills under load.
"""
import http.client
import itertools
import os
import random
import shutil
import signal
import threading
import unittest

import vimd
from vimd import Broken, Vimd, mock, target_id, unique, wait_for
from world import World

KILLS = int(os.environ.get("VIMD_TEST_KILLS", "200"))
STEP = max(1, 50 // KILLS)
CHAINS = min(6, max(1, KILLS // 5))
THREADS = int(os.environ.get("VIMD_TEST_KILL_THREADS", "3"))
SETTINGS = {"tasks": {"backoff_base": "10ms", "backoff_cap": "100ms", "sweep": "100ms"}}
MISFORTUNE = ["create * lost 0.25", "create * lost-before 0.1", "delete * lost 0.25",
              "update * lost 0.25"]

# What is made: kind and plural. Each is deleted in a sweep of its own.
WHAT = {"networks": "network", "security-groups": "security-group", "servers": "server"}


def troubled(seed):
    return mock("edge1", build="10ms", delete="10ms", faults=MISFORTUNE, seed=seed)


class Template:
    """A state folder with a world in it, and things to delete, that every try starts from."""

    def __init__(self):
        self.daemon = Vimd(vims=[mock("edge1", build="10ms", delete="10ms")], settings=SETTINGS,
                           name="kill9")
        self.daemon.start()
        self.world = World(self.daemon)
        self.doomed = {plural: self.daemon.create(plural, self.world.body(plural))
                       for plural in WHAT}
        self.daemon.stop()
        self.ports = len(self.daemon.things("port"))

    def copy(self, seed):
        """A daemon of its own on a copy, not started."""
        daemon = Vimd(vims=[troubled(seed)], settings=SETTINGS, name="kill9")
        shutil.rmtree(daemon.state)
        shutil.copytree(self.daemon.state, daemon.state)
        daemon.write_config()
        daemon.token = self.daemon.token
        daemon.secrets.append(daemon.token)
        daemon.client = vimd.Client(daemon.port, daemon.token)
        return daemon


class Operation:
    """One wish, which is sent again under the same key as long as no answer has come."""

    def __init__(self, template, plural, delete, number):
        self.plural, self.kind, self.is_delete = plural, WHAT[plural], delete
        self.key = {"Idempotency-Key": f"key-{number}-{plural}-{delete}"}
        if delete:
            self.doomed = template.doomed[plural]
            self.name = self.doomed["name"]
        else:
            self.body = template.world.body(plural)
            self.name = self.body["name"]
        self.task = None

    def send(self, daemon):
        if self.is_delete:
            answer = daemon.delete(f"/v1/{self.plural}/{self.doomed['id']}", headers=self.key)
            if answer.status == 404 and self.task is None:
                raise Broken(f"a delete was carried out that nobody was told of: {answer!r}")
        else:
            answer = daemon.post(f"/v1/{self.plural}", self.body, headers=self.key)
        if answer.status in (200, 201) and answer.headers["Idempotent-Replayed"] == "true":
            return
        self.task = daemon.task_of(answer)

    def try_to_finish(self, daemon):
        """False if the daemon went away on the way."""
        try:
            if self.task is None:
                self.send(daemon)
            if self.task is not None:
                daemon.wait_task(self.task)
            return True
        except (OSError, http.client.HTTPException):
            return False

    def check(self, daemon):
        if self.task is not None:
            ended = daemon.wait_task(self.task)
            if ended["state"] != "succeeded":
                raise Broken(f"an accepted task did not succeed: {ended}")
        there = [thing for thing in daemon.things(self.kind) if thing["name"] == self.name]
        shown = daemon.list(self.plural, f"name={self.name}")
        if self.is_delete:
            if there or shown:
                raise Broken(f"{self.name} was deleted, yet there is {there} and {shown}")
            return
        if len(there) != 1:
            raise Broken(f"{self.name} was made {len(there)} times: {there}")
        # An inventory round must not show it a second time under another id.
        rounds = daemon.calls(self.kind, "list") + daemon.calls(self.kind, "changes")
        wait_for(lambda: daemon.calls(self.kind, "list") + daemon.calls(self.kind, "changes")
                 > rounds + 1, "two inventory rounds")
        shown = daemon.list(self.plural, f"name={self.name}")
        if [item["backend_id"] for item in shown] != [there[0]["id"]]:
            raise Broken(f"there is {there}, and vimd shows {shown}")


class Kill9(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.template = Template()
        cls.kills = 0
        cls.lost = 0
        cls.lock = threading.Lock()
        cls.serial = itertools.count(1)

    @classmethod
    def tearDownClass(cls):
        cls.template.daemon.close()
        print(f"{cls.kills} kills, {cls.lost} replies lost", flush=True)

    def killed(self, daemon):
        code = daemon.wait_end()
        if code != -signal.SIGKILL:
            raise Broken(f"ended with {code} instead of being killed:\n{daemon.log()[-3000:]}")
        with self.lock:
            type(self).kills += 1

    def check_all(self, daemon, operations, ports):
        for operation in operations:
            operation.check(daemon)
        open_tasks = [task for task in daemon.list("tasks") if task["state"] not in vimd.ENDED]
        if open_tasks:
            raise Broken(f"tasks that have not ended: {open_tasks}")
        if daemon.orphans():
            raise Broken(f"orphans: {daemon.orphans()}")
        if len(daemon.things("port")) != ports:
            raise Broken(f"{len(daemon.things('port'))} ports instead of {ports}: "
                         f"{daemon.things('port')}")
        faults = daemon.counters()["faults"]
        with self.lock:
            type(self).lost += faults["lost"] + faults["lost-before"]
        daemon.stop()
        daemon.check_no_secrets()
        daemon.check_log()

    def one_try(self, plural, delete, at, when):
        """True if the daemon was killed on the way."""
        number = next(self.serial)
        daemon = self.template.copy(seed=number)
        operation = Operation(self.template, plural, delete, number)
        ports = self.template.ports + (0 if plural != "servers" else -1 if delete else 1)
        try:
            daemon.start(ready=False, env={"VIMD_TEST_KILL_AT_COMMIT": str(at),
                                           "VIMD_TEST_KILL_WHEN": when})
            survived = self.wait_ready_or_end(daemon) and operation.try_to_finish(daemon)
            if survived:
                daemon.kill()
            else:
                self.killed(daemon)
            daemon.start()
            if not operation.try_to_finish(daemon):
                raise Broken(f"it died without being told to:\n{daemon.log()[-3000:]}")
            self.check_all(daemon, [operation], ports)
        except BaseException as error:
            print(f"--- {plural} delete={delete} commit {at} {when}: {error}\n"
                  f"{daemon.folder}\n{daemon.log()[-6000:]}", flush=True)
            daemon.kill()
            raise
        daemon.close()
        return not survived

    @staticmethod
    def wait_ready_or_end(daemon):
        def ready_or_ended():
            return not daemon.alive() or daemon.is_ready()
        try:
            wait_for(ready_or_ended, "/readyz or the kill", pause=0.02)
        except Broken:
            if daemon.alive():
                raise
        return daemon.alive()

    def sweep(self, what):
        plural, delete, when, first = what
        survived = 0
        for at in itertools.count(first, STEP):
            survived = 0 if self.one_try(plural, delete, at, when) else survived + 1
            # How many commits there are before the operation is not always the same.
            if survived == 2:
                return

    def test_every_commit(self):
        sweeps = [(plural, delete, when, 1) for plural in WHAT for delete in (False, True)
                  for when in ("before", "after")]
        vimd.many(self.sweep, sweeps, THREADS)
        for _ in range(20):
            if self.kills >= KILLS:
                break
            vimd.many(self.sweep, sweeps, THREADS)
        self.assertGreaterEqual(self.kills, KILLS)
        self.assertGreater(self.lost, KILLS // 20, "replies got lost on the way")

    def test_kills_under_load(self):
        """Several wishes at once, and kills that come while the last one is being repaired."""
        def chain(number):
            chance = random.Random(number)
            daemon = self.template.copy(seed=1000 + number)
            operations = [Operation(self.template, plural, delete, f"{number}-{index}")
                          for index, (plural, delete) in enumerate(
                              [(plural, False) for plural in WHAT for _ in range(3)]
                              + [("networks", True), ("security-groups", True),
                                 ("servers", True)])]
            try:
                for _ in range(6):
                    daemon.start(ready=False, env={
                        "VIMD_TEST_KILL_AT_COMMIT": str(chance.randrange(5, 60)),
                        "VIMD_TEST_KILL_WHEN": chance.choice(("before", "after"))})
                    if self.wait_ready_or_end(daemon) and \
                            all(vimd.many(lambda each: each.try_to_finish(daemon), operations)):
                        daemon.kill()
                    else:
                        self.killed(daemon)
                daemon.start()
                self.assertTrue(all(vimd.many(lambda each: each.try_to_finish(daemon),
                                              operations)))
                self.check_all(daemon, operations, self.template.ports + 3 - 1)
            except BaseException as error:
                print(f"--- chain {number}: {error}\n{daemon.folder}\n{daemon.log()[-6000:]}",
                      flush=True)
                daemon.kill()
                raise
            daemon.close()

        vimd.many(chain, range(CHAINS), THREADS)


if __name__ == "__main__":
    unittest.main(verbosity=2)

"""kill -9 at every commit of the store while a network service is made, changed, scaled, healed, taken back
or deleted, at an infrastructure that loses replies. The next process brings it to the end that was asked for:
all of it, or nothing; nothing twice, nothing left over. VIMD_TEST_KILL_STEP=1 tries every commit, which
takes some minutes; left out every fifth. VIMD_TEST_KILL_WISHES and VIMD_TEST_KILL_WHENS name those to try,
separated by commas.
"""
import http.client
import itertools
import os
import shutil
import signal
import threading
import unittest

import vimd
from vimd import Broken, Vimd, mock, wait_for

THREADS = int(os.environ.get("VIMD_TEST_KILL_THREADS", "3"))
STEP = int(os.environ.get("VIMD_TEST_KILL_STEP", "5"))
WISHES = os.environ.get("VIMD_TEST_KILL_WISHES", "")
WHENS = os.environ.get("VIMD_TEST_KILL_WHENS", "before,after").split(",")
LANES = 4 if STEP == 1 else 1  # side by side
SETTINGS = {"tasks": {"backoff_base": "10ms", "backoff_cap": "100ms", "sweep": "100ms"}}
MISFORTUNE = ["create * lost 0.2", "create * lost-before 0.1", "delete * lost 0.2",
              "update * lost 0.2", "action * lost 0.2"]
KINDS = ("network", "subnet", "security-group", "port", "server", "volume", "router",
         "floating-ip", "affinity-group")


def service(count, **more):
    return {"name": "s", "virtual_links": {"a": {"subnets": {"v4": {"cidr": "10.1.0.0/24"}},
                                                 "router": {"external_network": "public"}}},
            "security_groups": {"g": {}},
            "affinity_groups": {"apart": {"policy": "soft-anti-affinity"}},
            "floating_ips": {"out": {"network": "public", "port": "${vnf.f.cp.x.id}"}},
            "volumes": {"data": {"size": 1, "attach": {"server": "${vnf.f.id}"}}},
            "vnfs": {"f": {"flavor": "small", "count": count,
                           "volumes": {"root": {"image": "cirros", "size": 1}},
                           "boot_volume": {"volume": "${vnf.f.volume.root.id}"},
                           "affinity_group": "${group.apart.id}",
                           "connection_points": {"x": {"network": "${vl.a.id}",
                                                       "security_groups": ["${sg.g.id}"]}}}},
            **more}


class Template:
    """A state folder with a service in it that every try starts from; without, an empty one."""

    def __init__(self, with_service):
        self.daemon = Vimd(vims=[mock("edge1", build="5ms", delete="5ms")], settings=SETTINGS,
                           name="skill9")
        self.daemon.start()
        self.empty = self.things(self.daemon)
        self.identity = None
        if with_service:
            answer = self.daemon.must(self.daemon.post("/v1/network-services", service(1)), 202)
            task = self.daemon.wait_task(self.daemon.task_of(answer))
            self.identity = task["target"]["id"]
        self.full = self.things(self.daemon)
        self.daemon.stop()

    @staticmethod
    def things(daemon):
        return {kind: len(daemon.things(kind)) for kind in KINDS}

    def copy(self, seed, quotas):
        vim = mock("edge1", build="5ms", delete="5ms", faults=MISFORTUNE, seed=seed, quotas=quotas)
        daemon = Vimd(vims=[vim], settings=SETTINGS, name="skill9")
        shutil.rmtree(daemon.state)
        shutil.copytree(self.daemon.state, daemon.state)
        daemon.write_config()
        daemon.token = self.daemon.token
        daemon.secrets.append(daemon.token)
        daemon.client = vimd.Client(daemon.port, daemon.token)
        return daemon


class Wish:
    """What is asked for, how its task ends, and what there is then."""

    def __init__(self, name, template, end, expected, quotas=None):
        self.name, self.template, self.end, self.quotas = name, template, end, quotas
        self.expected = {**template.empty, **{kind: template.empty[kind] + count
                                              for kind, count in expected.items()}}

    def send(self, daemon, key):
        path = "/v1/network-services"
        if self.name in ("create", "rollback"):
            return daemon.post(path, service(1 if self.name == "create" else 3), headers=key)
        path += f"/{self.template.identity}"
        if self.name == "delete":
            return daemon.delete(path, headers=key)
        if self.name in ("scale", "heal"):
            action = {"scale": {"action": "scale", "vnf": "f", "count": 2},
                      "heal": {"action": "heal"}}[self.name]
            return daemon.post(path + "/actions", action, headers=key)
        return daemon.patch(path, {"vnfs": {"f": {"count": 3 if self.name == "undo" else 2}},
                                   "volumes": {"data": None}, "floating_ips": {"out": None},
                                   "security_groups": {"g": {"description": "new"}}}, headers=key)


class ServicesKill9(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        empty, full = Template(False), Template(True)
        cls.templates = (empty, full)
        one = {**{kind: 1 for kind in KINDS}, "port": 2, "volume": 2}  # one is the router's
        two = {**one, "server": 2, "port": 3, "volume": 3}
        cls.wishes = [Wish("create", empty, "succeeded", one),
                      Wish("rollback", empty, "rolled_back", {}, quotas={"server": 2}),
                      Wish("update", full, "succeeded", {**two, "volume": 2, "floating-ip": 0}),
                      Wish("undo", full, "rolled_back", one, quotas={"server": 2}),
                      Wish("scale", full, "succeeded", two),
                      Wish("heal", full, "succeeded", one),
                      Wish("delete", full, "succeeded", {})]
        cls.wishes = [wish for wish in cls.wishes if not WISHES or wish.name in WISHES.split(",")]
        cls.serial, cls.lock, cls.kills, cls.lost = itertools.count(1), threading.Lock(), 0, 0

    @classmethod
    def tearDownClass(cls):
        for template in cls.templates:
            template.daemon.close()
        print(f"{cls.kills} kills, {cls.lost} replies lost", flush=True)

    def finish(self, daemon, wish, state):
        """Asks as often as it takes; None if the daemon went away on the way."""
        try:
            if state["task"] is None:
                answer = wish.send(daemon, state["key"])
                state["task"] = daemon.task_of(daemon.must(answer, 202))
            return daemon.wait_task(state["task"])
        except (OSError, http.client.HTTPException):
            return None

    def check(self, daemon, wish, task):
        if task["state"] != wish.end:
            raise Broken(f"{task['state']} instead of {wish.end}: {task}")
        there = Template.things(daemon)
        if there != wish.expected:
            raise Broken(f"there is {there} instead of {wish.expected}")
        if daemon.orphans():
            raise Broken(f"orphans: {daemon.orphans()}")
        unended = [each for each in daemon.list("tasks") if each["state"] not in vimd.ENDED]
        if unended:
            raise Broken(f"tasks that have not ended: {unended}")
        self.check_shown(daemon, wish, task)

    def check_shown(self, daemon, wish, task):
        answer = daemon.get(f"/v1/network-services/{task['target']['id']}")
        if wish.name == "delete":
            daemon.must(answer, 404)
            return
        shown = daemon.must(answer, 200).json
        states = {node["state"] for node in shown["nodes"]}
        wanted = ("ERROR", set()) if wish.name == "rollback" else ("ACTIVE", {"ready"})
        if (shown["status"], states) != wanted or "task" in shown:
            raise Broken(f"shown as {shown}")
        description = daemon.list("security-groups", "name=s-g")
        told = [each.get("description", "") for each in description]
        if wish.name in ("update", "undo") and told != (["new"] if wish.name == "update" else [""]):
            raise Broken(f"the security group is {description}")

    def one_try(self, wish, at, when):
        """True if the daemon was killed on the way."""
        number = next(self.serial)
        daemon = wish.template.copy(number, wish.quotas)
        state = {"task": None, "key": {"Idempotency-Key": f"key-{number}"}}
        if wish.name == "heal":  # behind vimd's back
            lost, = [thing for thing in daemon.things("server") if thing["name"] == "s-f-0"]
            daemon.mock("delete", "server", lost["id"])
        try:
            daemon.start(ready=False, env={"VIMD_TEST_KILL_AT_COMMIT": str(at),
                                           "VIMD_TEST_KILL_WHEN": when})
            survived = False
            if self.ready_or_ended(daemon):
                survived = self.finish(daemon, wish, state) is not None
            if survived:
                daemon.kill()
            elif daemon.wait_end() != -signal.SIGKILL:
                raise Broken("it ended by itself")
            daemon.start()
            task = self.finish(daemon, wish, state)
            self.check(daemon, wish, task)
            faults = daemon.counters()["faults"]
            with self.lock:
                type(self).kills += not survived
                type(self).lost += faults["lost"] + faults["lost-before"]
            daemon.stop()
            daemon.check_log()
        except BaseException as error:
            print(f"--- {wish.name} commit {at} {when}: {error}\n{daemon.folder}\n"
                  f"{daemon.log()[-6000:]}", flush=True)
            daemon.kill()
            raise
        daemon.close()
        return not survived

    @staticmethod
    def ready_or_ended(daemon):
        wait_for(lambda: not daemon.alive() or daemon.is_ready(), "/readyz or the kill", pause=0.02)
        return daemon.alive()

    def sweep(self, what):
        wish, when, first = what
        survived = 0
        for at in itertools.count(first, max(STEP, LANES)):
            survived = 0 if self.one_try(wish, at, when) else survived + 1
            if survived == 2:
                return

    def test_every_commit(self):
        sweeps = [(wish, when, first) for when in WHENS for wish in self.wishes
                  for first in range(1, LANES + 1)]
        vimd.many(self.sweep, sweeps, THREADS)
        self.assertGreater(self.kills, 5 * len(WHENS) * len(self.wishes) // STEP)
        self.assertGreater(self.lost, self.kills // 20)


if __name__ == "__main__":
    unittest.main(verbosity=2)

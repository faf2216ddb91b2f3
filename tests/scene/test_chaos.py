"""Everything breaks, and nothing is lost or doubled.

Three API, three logic and three worker processes on PostgreSQL and Redis, over a mock infrastructure that loses
replies. Clients submit creates and deletes, each under an Idempotency-Key of its own, and send them again
until they are acknowledged; now and then they leave without reading the answer. Meanwhile faults strike, on a schedule that
follows from the seed: kill -9 of any process, SIGSTOP for longer than a lease, FLUSHALL and restart of Redis, restart of
PostgreSQL, and packets that are dropped (where the test may make a network namespace: all of it then runs in one of
its own). In the end every acknowledged task has a final state, the mock holds exactly what the tasks say, and nothing
was left over or made twice.

    VIMD_TEST_SEED=7 VIMD_CHAOS_FAULTS=300 VIMD_CHAOS_TASKS=5000 test_chaos.py

`make test-chaos` makes the long run; the same seed gives the same schedule.
"""
import collections
import dataclasses
import heapq
import http.client
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import unittest

import vimd
from apart import Apart
from vimd import ENDED, SOURCE, Broken, many, mock, unique, wait_for

SEED = int(os.environ.get("VIMD_TEST_SEED", "1"))
FAULTS = int(os.environ.get("VIMD_CHAOS_FAULTS", "25"))
TASKS = int(os.environ.get("VIMD_CHAOS_TASKS", "300"))
CLIENTS = int(os.environ.get("VIMD_CHAOS_CLIENTS", "8"))
NAMESPACE = os.environ.get("VIMD_CHAOS_NAMESPACE") == "yes"

COUNTS = {"api": 3, "logic": 3, "worker": 3}
LEASE = 1.5  # call_timeout and lease_margin below
MISFORTUNE = ["create * lost 0.1", "create * lost-before 0.05", "delete * lost 0.1"]
SETTINGS = {"tasks": {"backoff_base": "20ms", "backoff_cap": "500ms", "sweep": "300ms",
                      "lease_margin": "500ms", "max_attempts": 1000}}

KINDS = {"networks": "network", "security-groups": "security-group"}


# --- The schedule ------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Fault:
    start: float
    seconds: float  # until it is over
    kind: str
    victim: str
    share: float = 0  # of packets

    def __str__(self):
        more = f" {self.share:.0%} of packets" if self.share else ""
        return f"{self.start:7.2f} s: {self.kind} {self.victim} for {self.seconds:.2f} s{more}"


def schedule(seed, count, with_drops):
    """COUNT faults, in order; no victim has two at a time, and PostgreSQL is not down all the time."""
    chance = random.Random(seed)
    names = [f"{role}{number}" for role, many_of in COUNTS.items() for number in range(many_of)]
    kinds = ["kill"] * 8 + ["pause"] * 5 + ["flush"] * 2 + ["restart-redis", "restart-postgres"]
    kinds += ["drop"] * 3 if with_drops else []
    busy, faults, at = collections.defaultdict(float), [], 0.5
    while len(faults) < count:
        at += chance.uniform(0.2, 0.9)
        kind = chance.choice(kinds)
        share = 0
        if kind == "kill":
            victim, seconds = chance.choice(names), chance.uniform(0, 1)
        elif kind == "pause":
            victim, seconds = chance.choice(names), chance.uniform(LEASE + 0.5, LEASE + 2)
        elif kind == "drop":
            victim = chance.choice(["postgres", "redis", "logic0", "logic1", "logic2"])
            seconds, share = chance.uniform(0.5, 3), chance.choice([0.1, 0.3, 1.0])
        else:
            victim = "postgres" if kind == "restart-postgres" else "redis"
            seconds = 0 if kind == "flush" else chance.uniform(0, 1)
        if busy[victim] > at:
            continue
        busy[victim] = at + seconds + (4 if kind == "restart-postgres" else 0.5)
        faults.append(Fault(at, seconds, kind, victim, share))
    return faults


class Trouble:
    """Carries a schedule out."""

    def __init__(self, apart, faults):
        self.apart, self.faults = apart, faults
        self.struck = collections.Counter()

    def server(self, name, *words):
        folder = os.environ[f"TEST_{name.upper()}_DIR"]
        done = subprocess.run([os.path.join(os.environ["TEST_SERVERS"], name), words[0], folder,
                               *words[1:]], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                              text=True)
        if done.returncode:
            raise Broken(f"{name} {words}: {done.stderr}")

    def port_of(self, victim):
        if victim in ("postgres", "redis"):
            return os.environ[f"TEST_{victim.upper()}_PORT"]
        return self.apart.processes[victim].link.rsplit(":", 1)[1]

    def drop(self, change, fault):
        for side in ("--dport", "--sport"):
            subprocess.run(["iptables", change, "INPUT", "-i", "lo", "-p", "tcp", side,
                            self.port_of(fault.victim), "-m", "statistic", "--mode", "random",
                            "--probability", str(fault.share), "-j", "DROP"], check=True)

    def begin(self, fault):
        self.struck[fault.kind] += 1
        process = self.apart.processes.get(fault.victim)
        if fault.kind == "kill":
            process.kill()
        elif fault.kind == "pause":
            process.signal(signal.SIGSTOP)
        elif fault.kind == "flush":
            self.server("redis", "cli", "flushall")
        elif fault.kind == "restart-redis":
            self.server("redis", "down")
        elif fault.kind == "restart-postgres":
            self.server("postgres", "down", "immediate" if fault.seconds < 0.5 else "fast")
        else:
            self.drop("-A", fault)

    def end(self, fault):
        process = self.apart.processes.get(fault.victim)
        if fault.kind == "kill":
            process.start()
        elif fault.kind == "pause":
            process.signal(signal.SIGCONT)
        elif fault.kind in ("restart-redis", "restart-postgres"):
            self.server(fault.victim, "up")
        elif fault.kind == "drop":
            self.drop("-D", fault)

    def check_alive(self):
        """Whoever ended, ended because it was killed."""
        for one in self.apart.processes.values():
            if one.popen is not None and one.popen.poll() is not None:
                raise Broken(f"{one.name} ended with {one.popen.returncode}:\n{one.log()[-4000:]}")

    def run(self):
        serial = itertools.count()
        events = [(fault.start, next(serial), self.begin, fault) for fault in self.faults]
        heapq.heapify(events)
        start = time.monotonic()
        try:
            while events:
                at, _, act, fault = heapq.heappop(events)
                time.sleep(max(0, start + at - time.monotonic()))
                self.check_alive()
                act(fault)
                if act == self.begin:
                    heapq.heappush(events, (at + fault.seconds, next(serial), self.end, fault))
        finally:
            for _, _, act, fault in events:  # something broke: leave nothing stopped behind
                if act == self.end:
                    self.end(fault)


# --- The clients -------------------------------------------------------------------------------


@dataclasses.dataclass
class Wish:
    plural: str
    name: str
    key: str
    is_delete: bool
    resource: str = None  # id
    task: str = None
    state: str = None


class Customer(threading.Thread):
    """Makes things, and deletes some of those that it made."""

    def __init__(self, number, apart, stop):
        super().__init__(name=f"customer{number}")
        self.chance = random.Random(f"{SEED} {number}")
        self.clients = [vimd.Client(one.port, apart.token) for one in apart.of("api")]
        self.number, self.stop = number, stop
        self.wishes, self.error, self.lost, self.again = [], None, 0, 0

    def send(self, client, wish, prefer):
        """The answer, or None if it did not come, or says to come again."""
        headers = {"Idempotency-Key": wish.key, "Prefer": prefer}
        method, path, body = "POST", f"/v1/{wish.plural}", {"vim": "edge1", "name": wish.name}
        if wish.is_delete:
            method, path, body = "DELETE", f"{path}/{wish.resource}", None
        try:
            if self.chance.random() < 0.05:  # asks, and leaves
                self.lost += 1
                connection = client.connection(5)
                connection.request(method, path, body and json.dumps(body),
                                   {**headers, "Authorization": f"Bearer {client.token}",
                                    "Content-Type": "application/json"})
                time.sleep(self.chance.uniform(0, 0.01))
                client.close()
                return None
            answer = client.request(method, path, body=body, headers=headers, timeout=10)
        except (OSError, http.client.HTTPException):
            client.close()
            return None
        if answer.status in (429, 500, 502, 503, 504):
            return None
        if answer.status == 409 and answer.json.get("retryable"):
            return None
        return answer

    def submit(self, wish):
        """Until it is acknowledged, however long that takes."""
        while True:
            prefer = self.chance.choice(["respond-async"] * 4 + ["wait=3"])
            answer = self.send(self.chance.choice(self.clients), wish, prefer)
            if answer is None:
                self.again += 1
                time.sleep(self.chance.uniform(0.01, 0.2))
            elif answer.status == 202:
                task = answer.headers["Location"].rsplit("/", 1)[1]
                if wish.task not in (None, task):
                    raise Broken(f"one key led to two tasks: {wish} and {task}")
                wish.task = task
                wish.resource = answer.headers["Content-Location"].rsplit("/", 1)[1]
                return
            elif not (prefer.startswith("wait") and answer.status in (200, 201, 204)):
                raise Broken(f"{wish}: {answer!r}")
            # Waited until it was done: the task is asked for with the same key once more.

    def state_of(self, wish):
        """Its final state, or None if it has none yet."""
        client = self.chance.choice(self.clients)
        try:
            answer = client.get(f"/v1/tasks/{wish.task}?wait=2", timeout=10)
        except (OSError, http.client.HTTPException):
            client.close()
            return None
        if answer.status in (429, 500, 502, 503, 504):
            return None
        if answer.status != 200:
            raise Broken(f"an acknowledged task is not there: {wish}: {answer!r}")
        return answer.json["state"] if answer.json["state"] in ENDED else None

    def wish(self):
        made = [one for one in self.wishes if not one.is_delete and one.state == "succeeded"
                and not any(other.is_delete and other.resource == one.resource
                            for other in self.wishes)]
        serial = len(self.wishes)
        key = f"key-{SEED}-{self.number}-{serial}"
        if made and self.chance.random() < 0.3:
            victim = self.chance.choice(made)
            return Wish(victim.plural, victim.name, key, True, victim.resource)
        return Wish(self.chance.choice(list(KINDS)), unique(f"c{self.number}"), key, False)

    def run(self):
        try:
            while not self.stop.is_set():
                wish = self.wish()
                self.submit(wish)
                self.wishes.append(wish)
                open_ones = [one for one in self.wishes if one.state is None]
                if len(open_ones) > 12:
                    one = open_ones[0]
                    one.state = self.state_of(one)
        except BaseException as error:  # told by the main thread
            self.error = error
        finally:
            for client in self.clients:
                client.close()

    def finish(self):
        """Every acknowledged task ends."""
        try:
            for wish in self.wishes:
                wish.state = wish.state or wait_for(lambda: self.state_of(wish),
                                                    f"the end of {wish}", 120)
        finally:
            for client in self.clients:
                client.close()


# --- The whole ---------------------------------------------------------------------------------


class Chaos(unittest.TestCase):
    def test_the_seed_gives_the_schedule(self):
        self.assertEqual(schedule(5, 300, True), schedule(5, 300, True))
        self.assertNotEqual(schedule(5, 300, True), schedule(6, 300, True))
        kinds = collections.Counter(fault.kind for fault in schedule(5, 300, True))
        self.assertEqual(set(kinds), {"kill", "pause", "flush", "restart-redis",
                                      "restart-postgres", "drop"})

    def check_cloud(self, apart, wishes):
        """The mock holds exactly what the tasks say, and vimd shows it."""
        wrong = []
        for plural, kind in KINDS.items():
            there = collections.Counter(thing["name"] for thing in apart.things(kind))
            for wish in (one for one in wishes if one.plural == plural and not one.is_delete):
                deleted = [one for one in wishes
                           if one.is_delete and one.resource == wish.resource]
                expected = int(wish.state == "succeeded"
                               and not any(one.state == "succeeded" for one in deleted))
                found = there.pop(wish.name, 0)
                if found != expected:
                    wrong.append((f"{found} instead of {expected}", wish, deleted))
            strangers = [name for name in there if name.startswith("c")]
            if strangers:
                wrong.append((f"{kind} that nobody was told of", strangers))
        if wrong:
            raise Broken(f"{len(wrong)} things are not as their tasks say: {wrong[:5]}")

    def check_shown(self, apart, plural, kind):
        """What vimd lists is what there is, soon."""
        there = sorted((thing["name"], thing["id"]) for thing in apart.things(kind)
                       if thing["name"].startswith("c"))
        end = time.monotonic() + 60 * vimd.PATIENCE
        while True:
            shown = [item for item in apart.list(plural) if item["name"].startswith("c")]
            names = sorted((item["name"], item.get("backend_id")) for item in shown)
            if names == there:
                return
            if time.monotonic() > end:
                extra = [item for item in shown
                         if (item["name"], item.get("backend_id")) not in there]
                missing = [one for one in there if one not in names]
                raise Broken(f"of the {plural}, shown but not there: {extra[:3]}; there but not "
                             f"shown: {missing[:3]}")
            time.sleep(0.2)

    def test_chaos(self):
        faults = schedule(SEED, FAULTS, NAMESPACE)
        print(f"seed {SEED}: {len(faults)} faults over {faults[-1].start:.0f} s, packets are "
              f"{'' if NAMESPACE else 'not '}dropped", flush=True)
        vims = [mock("edge1", call_timeout="1s", build="20ms", call="2ms", faults=MISFORTUNE,
                     seed=SEED)]
        with Apart(vims=vims, settings=SETTINGS, counts=COUNTS, name="chaos") as apart:
            stop = threading.Event()
            customers = [Customer(number, apart, stop) for number in range(CLIENTS)]
            began = time.monotonic()
            for customer in customers:
                customer.start()
            trouble = Trouble(apart, faults)
            try:
                trouble.run()
                wait_for(lambda: any(one.error for one in customers)
                         or sum(len(one.wishes) for one in customers) >= TASKS,
                         f"{TASKS} acknowledged tasks", 600)
            finally:
                stop.set()
                for customer in customers:
                    customer.join()
            for customer in customers:
                if customer.error is not None:
                    raise customer.error
            for one in apart.processes.values():
                one.wait_ready()
            struck = time.monotonic() - began
            many(Customer.finish, customers)
            wishes = [wish for customer in customers for wish in customer.wishes]
            states = collections.Counter(wish.state for wish in wishes)
            print(f"{len(wishes)} tasks acknowledged in {struck:.0f} s, "
                  f"{sum(one.again for one in customers)} requests sent again, "
                  f"{sum(one.lost for one in customers)} answers not read; ended after "
                  f"{time.monotonic() - began - struck:.1f} s more: {dict(states)}; "
                  f"faults: {dict(trouble.struck)}", flush=True)
            tasks = [wish.task for wish in wishes]
            self.assertEqual(len(set(tasks)), len(tasks), "two keys led to one task")
            self.assertEqual(set(states), {"succeeded"})
            self.check_cloud(apart, wishes)
            self.assertEqual(apart.orphans(), [])
            for plural, kind in KINDS.items():
                self.check_shown(apart, plural, kind)
            self.assertGreaterEqual(sum(trouble.struck.values()), FAULTS)
            self.assertGreaterEqual(len(wishes), TASKS)


def can_drop():
    """May we make a network namespace, and drop packets in it?"""
    if not all(shutil.which(program) for program in ("unshare", "ip", "iptables")):
        return False
    rule = "-A INPUT -i lo -p tcp --dport 9 -m statistic --mode random --probability 0.5 -j DROP"
    return subprocess.run(["unshare", "-n", "sh", "-c", f"ip link set lo up && iptables {rule}"],
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


def main():
    if "TEST_SERVERS" in os.environ:
        unittest.main(verbosity=2)
    words = [str(SOURCE / "tests" / "servers" / "with"), "postgres", "redis", "--",
             sys.executable, "-B", "-X", "faulthandler", *sys.argv]
    if can_drop():
        os.environ["VIMD_CHAOS_NAMESPACE"] = "yes"
        words = ["unshare", "-n", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", *words]
    os.execvp(words[0], words)


if __name__ == "__main__":
    main()

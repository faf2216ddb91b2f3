"""vimd under a real load, its logic and workers as replicas of platform-process with a twentieth of a core each, PostgreSQL and
Redis beside them: from what the processes tell in their heartbeats alone the scaler finds the block that holds the
service back, says why in one sentence, scales it out, and in again when the load has gone. No request fails.

Requests look through many rows and find nothing: they cost the logic much and everybody else little. So the logic, with
its quota, is the first to be short on any machine; how short, and when what is decided, is not asked.
"""
import pathlib
import threading
import unittest

from apart import Apart
from scaling import end_replicas, is_sanitized
from vimd import Client, many, to_yaml, unique, wait_for

MOST = 3
ROWS = 300
CLIENTS = 16
BLOCKS = ("api", "logic", "worker", "store", "queue")
SEARCH = "/v1/tokens?filter=(cont,name,nobody)&limit=1000"


class Stack(Apart):
    """An API process, a scaler, and what the scaler starts."""

    counts = {"api": 1, "scaler": 1}
    unix = True

    @property
    def config_path(self):
        return self.processes["scaler0"].config_path  # it names the store

    def make_replica_config(self, role, tree):
        """The file of all replicas of ROLE, out of that of a process that has the store."""
        tree = {name: tree[name] for name in ("plugin_dir", "heartbeat", "log", "spool_dir", "store", "queue", "vims")}
        tree.update({"roles": [role], "state_dir": f"{self.folder}/{role}-" + "${env:VIMD_REPLICA}", "link": {
            "listen": [f"unix:{self.folder}/{role}-" + "${env:VIMD_REPLICA}.sock"], "secret": self.secret,
            "blocking_wait": "60s"}})  # on a machine that is slow, too, nobody is turned away
        path = self.folder / f"{role}.yaml"
        path.write_text(to_yaml(tree) + "\n")
        path.chmod(0o600)
        return path

    def config(self, process):
        tree = super().config(process)
        if process.role == "api":
            tree["link"]["logic"] = [f"unix:{self.folder}/logic-1.sock"]
            return tree
        groups = [f"{role} {self.program} --config {self.make_replica_config(role, tree)}" for role in ("logic", "worker")]
        tree["vims"] = []
        tree["platforms"] = [{"name": "here", "driver": "platform-process", "options": {
            "groups": groups, "cgroup": "required", "cgroup_name": f"vimd-{self.schema}", "cpu": 0.2 if is_sanitized(self.program) else 0.05,
            "ready": [f"logic unix:{self.folder}/logic-" + "{replica}.sock"], "restart_delay": "200ms"}}]
        tree["services"] = [{
            "name": "vimd", "mode": "act", "interval": "500ms", "window": "500ms", "slo_p95": "100ms",
            "cooldown_out": "2s", "cooldown_in": "2s", "record": str(self.folder / "trace.csv"),
            "policy": "scaler-similarity", "shadow": ["scaler-threshold"], "source": {"type": "vimd", "timeout": "400ms"},
            "blocks": [{"name": name, **({"platform": "here", "max": MOST} if name in ("logic", "worker") else {})}
                       for name in BLOCKS],
            "edges": ["api -> logic", "logic -> store", "logic -> queue", "worker -> store", "worker -> queue"]}]
        return tree

    def service(self):
        answer = self.client.get("/v1/services/vimd")
        return answer.json if answer.status == 200 else None

    def block(self, name):
        service = self.service()
        return next((block for block in service["blocks"] if block["name"] == name), None) if service else None

    def done(self):
        """What the scaler did, the oldest first."""
        return self.client.list("services/vimd/decisions", "state=done&sort=time")


    def remove_groups(self):
        """The control groups of replicas that were killed."""
        for root in ("/sys/fs/cgroup", "/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpuacct"):
            folder = pathlib.Path(root, f"vimd-{self.schema}")
            for group in [*folder.glob("*/"), folder]:
                def remove():
                    try:
                        group.rmdir()
                    except FileNotFoundError:
                        pass
                    except OSError:
                        return False  # a process that was killed has not ended yet
                    return True
                wait_for(remove, f"the end of {group}", 20)


class Load:
    """Clients that ask as fast as they are answered."""

    def __init__(self, stack):
        self.stack, self.over, self.answers, self.failures = stack, False, 0, []
        self.threads = [threading.Thread(target=self.run) for _ in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def run(self):
        client = Client(self.stack.port, self.stack.token)
        while not self.over:
            try:
                answer = client.get(SEARCH)
                if answer.status != 200:
                    self.failures.append(repr(answer))
                self.answers += 1
            except OSError as error:
                self.failures.append(repr(error))
        client.close()

    def end(self):
        self.over = True
        for thread in self.threads:
            thread.join()


class RealLoad(unittest.TestCase):
    def setUp(self):
        self.stack = Stack(vims=[], name="load")
        self.addCleanup(self.stack.close)
        self.addCleanup(self.stack.remove_groups)
        self.addCleanup(lambda: end_replicas(self.stack.processes["scaler0"].state / "here"))
        self.addCleanup(self.stack.kill)
        self.stack.start()
        tokens = many(lambda _: self.stack.client.post("/v1/tokens", {"name": unique("t"), "role": "reader", "project": "demo"}),
                      range(ROWS))
        self.assertEqual({201}, {answer.status for answer in tokens})

    def test_out_and_in(self):
        stack = self.stack
        wait_for(lambda: (stack.block("logic") or {}).get("ready") == 1 and stack.block("worker").get("ready") == 1,
                 "one replica of each")
        began = len(stack.done())
        load = Load(stack)
        try:
            wait_for(lambda: (stack.block("logic") or {}).get("ready", 0) > 1, "a second logic", 120, pause=0.5)
        finally:
            load.end()
        self.assertEqual([], load.failures[:5])
        self.assertGreater(load.answers, 0)
        first = next(one for one in stack.done()[began:] if one["verdict"] == "scale_out" and not one["ruling"]["own"])
        self.assertEqual("logic", first["block"], first)
        self.assertRegex(first["explanation"], r"^logic: \d+ % of (the \+)?\d+ requests in flight .*wait here; utilisation "
                                               r"[0-9.]+, 1 -> [23] replicas")
        # Looks are a load, too.
        wait_for(lambda: stack.block("logic").get("desired") == 1 and stack.block("logic").get("ready") == 1,
                 "one logic again", 240, pause=1)
        last = [one for one in stack.done() if one["ruling"].get("block") == "logic"][-1]
        self.assertLess(last["to"], last["from"], last)
        self.assertTrue(last["explanation"])
        self.assertEqual(200, stack.client.get(SEARCH).status)
        stack.stop()


if __name__ == "__main__":
    unittest.main(verbosity=2)

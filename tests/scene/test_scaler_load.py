"""vimd under a real load, its logic and workers as replicas of platform-process with a twentieth of a core each, PostgreSQL and
Redis beside them: from what the processes tell in their heartbeats alone the scaler finds the block that holds the
service back, says why in one sentence, scales it out, and in again when the load has gone. No request fails.

Requests look through many rows and find nothing: they cost the logic much and everybody else little. So the logic, with
its quota, is the first to be short on any machine; how short, and when what is decided, is not asked.
"""
import threading
import unittest

from own_replicas import BLOCKS, EDGES, OwnReplicas
from scaling import is_sanitized
from vimd import Client, many, unique, wait_for

MOST = 3
ROWS = 300
CLIENTS = 16
SEARCH = "/v1/tokens?filter=(cont,name,nobody)&limit=1000"


class Stack(OwnReplicas):
    def config(self, process):
        tree = super().config(process)
        if process.role == "api":
            return tree
        # On a machine that is slow, too, nobody is turned away.
        groups = [self.own_group(role, tree, blocking_wait="60s") for role in ("logic", "worker")]
        tree["vims"] = []
        tree["platforms"] = [self.platform("here", groups, cpu=0.2 if is_sanitized(self.program) else 0.05,
                                           ready=[self.is_ready_at("logic")], restart_delay="200ms")]
        tree["services"] = [{
            "name": "vimd", "mode": "act", "interval": "500ms", "window": "500ms", "slo_p95": "100ms",
            "cooldown_out": "2s", "cooldown_in": "2s", "record": str(self.folder / "trace.csv"),
            "policy": "scaler-similarity", "shadow": ["scaler-threshold"], "source": {"type": "vimd", "timeout": "400ms"},
            "blocks": [{"name": name, **({"platform": "here", "max": MOST} if name in ("logic", "worker") else {})}
                       for name in BLOCKS], "edges": list(EDGES)}]
        return tree


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

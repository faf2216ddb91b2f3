"""What a process tells of itself for scaling, held against loads that are known. No bound depends on how fast the
machine is: by Little's law the request-seconds of a block are the sum of the times that requests spent there."""
import re
import time
import unittest

import vimd
from vimd import PATIENCE, Scene, Vimd, many, mock, unique, wait_for

CALL = 0.03  # seconds that every call of the infrastructure takes
CREATES = 12


class Metrics:
    """All series, and how long it took to get them, in which the looking request itself is in flight."""

    def __init__(self, daemon):
        began = time.monotonic()
        text = daemon.must(daemon.get("/metrics"), 200).body.decode()
        self.took = time.monotonic() - began
        self.series = {}
        for line in text.splitlines():
            if not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                self.series[name] = float(value)

    def sum(self, name, *parts):
        return sum(value for series, value in self.series.items()
                   if series.split("{")[0] == name and all(part in series for part in parts))


class Signals(Scene):
    vims = [mock(call="30ms", build="60ms", poll={"poll_pending": "100ms", "poll_idle": "1h",
                                                  "poll_full": "1h", "poll_backoff": "1h"})]

    def grown(self, before, after, name, *parts):
        return after.sum(name, *parts) - before.sum(name, *parts)

    def idle(self):
        """Nothing is in progress any more."""
        def is_idle():
            metrics = Metrics(self.vimd)
            return metrics.sum("vimd_task_steps_in_flight") == 0 and metrics.sum("vimd_logic_in_flight") <= 1
        wait_for(is_idle, "no request and no step in progress")
        return Metrics(self.vimd)

    def load(self):
        """Reads, a wrong one, and creates that somebody waits for."""
        path = "/v1/networks/" + self.vimd.create("networks", {"vim": "edge1", "name": unique("r")})["id"]
        before = self.idle()
        many(lambda _: self.vimd.must(vimd.Client(self.vimd.port, self.vimd.token).get(path), 200), range(200))
        many(lambda _: vimd.Client(self.vimd.port, self.vimd.token).post(
            "/v1/networks", {"vim": "edge1", "name": unique("n")}, wait=30), range(CREATES))
        self.assertEqual(self.vimd.get("/v1/networks/none").status, 404)
        return before, self.idle()

    def test_littles_law_holds(self):
        before, after = self.load()
        slack = before.took + after.took + 0.01
        for block, series in (("api", "vimd_http_request_seconds_sum"), ("logic", "vimd_logic_request_seconds_sum")):
            spent = self.grown(before, after, series)
            inside = self.grown(before, after, "vimd_inflight_seconds_total", f'block="{block}",edge=""')
            if block == "logic":
                inside -= self.grown(before, after, "vimd_thread_queue_seconds_total", 'block="logic"')
            self.assertGreater(spent, CREATES * CALL)
            self.assertAlmostEqual(inside, spent, delta=slack, msg=block)

    def test_a_block_works_or_waits(self):
        before, after = self.load()

        def edge(name):
            return self.grown(before, after, "vimd_inflight_seconds_total", f'edge="{name}"')

        # Steps: what the driver takes is known, and is no work of the worker's own.
        calls = self.grown(before, after, "vimd_edge_calls_total", 'edge="worker>nfvi"')
        self.assertGreaterEqual(calls, CREATES)
        self.assertGreaterEqual(edge("worker>nfvi"), calls * CALL)
        inside = self.grown(before, after, "vimd_inflight_seconds_total", 'block="worker",edge=""')
        steps = self.grown(before, after, "vimd_task_step_seconds_sum")
        self.assertGreaterEqual(inside, steps - 0.001)
        own = self.grown(before, after, "vimd_own_inflight_seconds_total", 'block="worker"')
        queued = self.grown(before, after, "vimd_thread_queue_seconds_total", 'block="worker"')
        # A step that is being posted is worked on by a thread that still looks at its hint: hence the slack.
        parts = own + queued + edge("worker>nfvi") + edge("worker>store") + edge("worker>queue")
        self.assertLessEqual(parts, inside + 0.001 * PATIENCE)
        self.assertGreater(own, 0)
        self.assertLess(own, inside - edge("worker>nfvi"))
        for name in ("logic>store", "worker>store", "worker>queue", "logic>queue"):
            self.assertGreater(self.grown(before, after, "vimd_edge_calls_total", f'edge="{name}"'), 0, name)
        # Who waits for a task is in the logic, and not worked on there.
        waited = self.grown(before, after, "vimd_logic_request_seconds_sum", 'wait="true"')
        logic = self.grown(before, after, "vimd_inflight_seconds_total", 'block="logic",edge=""')
        own = self.grown(before, after, "vimd_own_inflight_seconds_total", 'block="logic"')
        # What a request that waits is worked on before and after is in both: hence the slack.
        self.assertLess(own, logic - waited + before.took + after.took + 0.01 * PATIENCE)
        self.assertGreater(edge("api>logic"), waited)

    def test_calls_of_the_store_are_all_counted(self):
        before, after = self.load()
        edges = sum(self.grown(before, after, "vimd_edge_calls_total", f'edge="{caller}>store"')
                    for caller in ("logic", "worker", "aside"))
        seconds = sum(self.grown(before, after, "vimd_inflight_seconds_total", f'edge="{caller}>store"')
                      for caller in ("logic", "worker", "aside"))
        calls = self.grown(before, after, "vimd_store_call_seconds_count")
        self.assertGreater(calls, 200)
        # A call is counted when it begins, its time when it ends; few can be in between, or be probes.
        self.assertAlmostEqual(edges, calls, delta=40)
        self.assertAlmostEqual(seconds, self.grown(before, after, "vimd_store_call_seconds_sum"),
                               delta=before.took + after.took + 0.05)

    def test_the_process_and_its_queue(self):
        metrics = self.idle()
        self.assertGreater(metrics.sum("vimd_cpu_seconds_total"), 0)
        self.assertGreater(metrics.sum("vimd_cpu_limit_cores"), 0)
        self.assertGreaterEqual(metrics.sum("vimd_lane_threads"), 1)
        self.assertGreaterEqual(metrics.sum("vimd_link_threads"), 1)
        wait_for(lambda: 'vimd_queue_entries{state="waiting"}' in Metrics(self.vimd).series, "the queue's depth")

    def test_blocks(self):
        self.load()
        answer = None

        def seen():
            nonlocal answer
            answer = self.vimd.must(self.vimd.get("/v1/blocks"), 200)
            return {block["block"]: block for block in answer.json["blocks"]}["api"]["rate"] > 0
        wait_for(seen, "a heartbeat that tells of requests")
        blocks = {block["block"]: block for block in answer.json["blocks"]}
        self.assertEqual(list(blocks), ["api", "logic", "worker", "store", "queue"])
        for name in ("api", "logic", "worker"):
            self.assertEqual(blocks[name]["ready"], 1)
            self.assertEqual(len(blocks[name]["replicas"]), 1)
        self.assertTrue(blocks["store"]["reachable"])
        self.assertEqual(blocks["queue"]["depth"]["waiting"], 0)
        # Measured numbers have no digits that mean nothing.
        for number in re.findall(rb":(-?[0-9]+\.[0-9]+)", answer.body):
            self.assertLessEqual(len(number.split(b".")[1]), 3, number)


if __name__ == "__main__":
    unittest.main(verbosity=2)

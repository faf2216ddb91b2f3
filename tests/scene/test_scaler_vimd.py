"""The scaler watches vimd itself, by heartbeats alone: what it records adds up to what was asked."""
import csv
import pathlib
import tempfile
import unittest

import vimd
from vimd import Vimd, every, many, mock, unique, wait_for

READS, CREATES = 400, 6
WINDOW = every(1000)
WINDOW_S = int(WINDOW.removesuffix("ms")) / 1000  # more than one under much patience; what is told is per second
BLOCKS = ["api", "logic", "worker", "store", "queue", "nfvi"]


class Watched(Vimd):
    def __init__(self):
        self.traces = tempfile.TemporaryDirectory(prefix="vimd-trace-")
        self.trace = pathlib.Path(self.traces.name) / "trace.csv"
        # No roles are named: where there are services, the scaler is among them.
        settings = {"heartbeat": every(1000), "services": [{
            "name": "itself", "mode": "advise", "window": WINDOW, "interval": WINDOW,
            "policy": "scaler-similarity",
            "source": {"type": "vimd", "timeout": "500ms"}, "record": str(self.trace),
            "blocks": [{"name": block} for block in BLOCKS],
            "edges": ["api -> logic", "logic -> store", "logic -> queue", "worker -> store", "worker -> queue",
                      "worker -> nfvi"]}]}
        super().__init__(vims=[mock(call="30ms", build="60ms")], settings=settings, name="watched")

    def rows(self):
        """{(scope, name, metric): {end of the window: value}}"""
        found = {}
        with open(self.trace) as file:
            for row in csv.DictReader(line for line in file if line.endswith("\n")):
                if row["value"] != "nan":
                    key = row["scope"], row["name"], row["metric"]
                    found.setdefault(key, {})[int(row["t_ms"])] = float(row["value"])
        return found

    def series(self, scope, name, metric):
        return self.rows().get((scope, name, metric), {}) if self.trace.exists() else {}

    def throughput(self):
        return self.series("service", "itself", "throughput")

    def wait_quiet(self, after=0):
        """The end of the last of three windows in which nothing was asked, behind AFTER."""
        def quiet():
            series = self.throughput()
            last = sorted(series)[-3:]
            return len(last) == 3 and last[0] > after and not any(series[end] for end in last) and last[-1]
        return wait_for(quiet, "three windows without a request", 60, pause=0.2)


class ScalerVimd(unittest.TestCase):
    def test_windows_add_up_to_what_was_asked(self):
        with Watched() as daemon:
            for left in range(3, 0, -1):
                try:
                    self.check(daemon)
                    return
                except AssertionError:
                    # A machine that stood still for a second leaves out heartbeats, which are filled in by what was before.
                    if left == 1:
                        raise

    def check(self, daemon):
        client = vimd.Client(daemon.port, daemon.token)
        begin = daemon.wait_quiet()
        path = "/v1/networks/" + daemon.must(client.get("/v1/networks"), 200).json["networks"][0]["id"]
        many(lambda _: daemon.must(vimd.Client(daemon.port, daemon.token).get(path), 200), range(READS))
        for _ in range(CREATES):
            daemon.must(client.post("/v1/networks", {"vim": "edge1", "name": unique("n")}, wait=30), 201, 202, 200)
        asked = READS + CREATES + 1
        end = daemon.wait_quiet(after=begin + WINDOW_S * 1000)
        rows = daemon.rows()

        def total(scope, name, metric):
            """Over the time, not over the windows."""
            return WINDOW_S * sum(value for at, value in rows.get((scope, name, metric), {}).items()
                                  if begin < at <= end)

        self.assertAlmostEqual(total("service", "itself", "throughput"), asked, delta=0.01)
        self.assertAlmostEqual(total("service", "itself", "offered"), asked, delta=0.01)
        self.assertAlmostEqual(total("service", "itself", "errors"), 0, delta=0.01)
        self.assertAlmostEqual(total("block", "api", "calls"), asked, delta=0.01)
        # Little's law: requests in flight over time are the latencies of all of them.
        spent = WINDOW_S * sum(value * rows["service", "itself", "throughput"][at] / 1000
                               for at, value in rows["service", "itself", "latency"].items() if begin < at <= end)
        self.assertAlmostEqual(total("service", "itself", "in_flight"), spent, delta=0.001 + spent / 1000)
        self.assertGreater(spent, CREATES * 0.03)
        # Calls of the infrastructure take 30 ms each, and no time of the worker's own.
        calls, inside = total("edge", "worker>nfvi", "visits"), total("edge", "worker>nfvi", "in_flight")
        self.assertGreaterEqual(calls, CREATES - 0.01)
        self.assertGreaterEqual(inside, calls * 0.03 - 0.01)
        self.assertLess(total("block", "worker", "own_in_flight"), total("block", "worker", "in_flight"))
        self.assertAlmostEqual(total("edge", "api>logic", "visits"), asked, delta=0.01)
        self.assertGreater(total("edge", "worker>store", "visits"), CREATES)
        for block in ("api", "logic", "worker"):
            self.assertTrue(rows["block", block, "cpu"], block)
            self.assertTrue(all(value >= 0 for value in rows["block", block, "cpu"].values()))
            self.assertGreater(min(rows["block", block, "memory"].values()), 0)
        self.assertIn(("block", "queue", "queue_depth"), rows)


if __name__ == "__main__":
    unittest.main(verbosity=2)

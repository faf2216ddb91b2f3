"""What the kernel knows of the connections between real processes, PostgreSQL and Redis: it is told by the right ones, and in
units that can be."""
import re
import unittest

from apart import Apart
from vimd import Client, unique, wait_for

SERIES = re.compile(r'^vimd_edge_(connections|rtt_seconds|retransmits_total|network_seconds_total)\{callee="(\w+)"\} (\S+)$', re.MULTILINE)


def edges(process):
    """{callee: {series: value}} as a process's /metrics tells it."""
    client = Client(process.health)
    try:
        text = client.get("/metrics").body.decode()
    finally:
        client.close()
    found = {}
    for series, callee, value in SERIES.findall(text):
        found.setdefault(callee, {})[series] = float(value)
    return found


class Connections(unittest.TestCase):
    def test_who_is_connected_to_whom(self):
        with Apart(counts={"api": 1, "logic": 1, "worker": 1}) as stack:
            task = stack.client.post("/v1/networks", {"vim": "edge1", "name": unique("n")}, wait=60)
            self.assertLess(task.status, 300, task)
            wanted = {"api": {"logic"}, "logic": {"store", "queue"}, "worker": {"store", "queue"}}
            for role, callees in wanted.items():
                process = stack.of(role)[0]

                def connected():
                    found = edges(process)
                    return set(found) == callees and all(one["connections"] >= 1 for one in found.values()) and found
                # A pool may close an idle connection and make another one.
                for callee, series in wait_for(connected, f"{role}: connections to {callees}").items():
                    # A round trip on this machine takes microseconds; a second would be another unit.
                    self.assertGreater(series["rtt_seconds"], 0, (role, callee))
                    self.assertLess(series["rtt_seconds"], 1, (role, callee))
                    self.assertGreaterEqual(series["retransmits_total"], 0)
                    self.assertGreaterEqual(series["network_seconds_total"], 0)
            # What was closed is told no longer.
            before = edges(stack.of("api")[0])["logic"]["connections"]
            self.assertGreaterEqual(before, 1)
            stack.of("logic")[0].stop()
            wait_for(lambda: edges(stack.of("api")[0]).get("logic", {}).get("connections", 0) == 0, "no connection to the logic")


if __name__ == "__main__":
    unittest.main(verbosity=2)

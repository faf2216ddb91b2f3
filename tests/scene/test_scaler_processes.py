"""vimd scales its own logic processes: under a load that rises and falls replicas are started and stopped on this
machine, and no request fails. What is measured is the processor time that platform-process tells of each replica, and
what the replicas' own /metrics say. The policy is one that follows the load without waiting for minutes: this is about
the way from a measurement to a process.
"""
import socket
import threading
import time
import unittest

from scaling import Scaled, end_replicas, is_sanitized
from vimd import BUILD, Broken, to_yaml, wait_for

MOST = 3


def free_ports(count):
    """The first of COUNT neighbours, of which the last digit tells them apart."""
    for base in range(21000, 29000, 10):
        try:
            probes = [socket.create_server(("127.0.0.1", base + 1 + i)) for i in range(count)]
        except OSError:
            continue
        for probe in probes:
            probe.close()
        return base
    raise Broken("no free ports")


class Own(Scaled):
    """API, worker and scaler in one process; the logic processes are replicas of the platform."""

    roles = ["api", "worker", "scaler"]

    def __init__(self):
        self.base = free_ports(MOST)
        super().__init__([], [])

    def quota(self):
        """Cores of a replica: a load fills them, and what it does by itself is far from it; a sanitizer's takes more."""
        return 0.12 if is_sanitized(self.program) else 0.04

    def config(self):
        tree = super().config()
        store = {"plugin": "store-sqlite", "options": {"path": str(self.folder / "shared.db"), "durability": "process"}}
        spool = self.folder / "uploads"
        spool.mkdir(mode=0o700, exist_ok=True)
        logic = {
            "state_dir": str(self.folder / "logic") + "-${env:VIMD_REPLICA}", "plugin_dir": tree["plugin_dir"],
            "heartbeat": "300ms", "store": store, "vims": [], "spool_dir": str(spool),
            "health": {"listen": f"127.0.0.1:{self.base // 10}" + "${env:VIMD_REPLICA}", "metrics": True},
            "link": {"listen": [f"unix:{self.folder}/logic-" + "${env:VIMD_REPLICA}.sock"], "secret": "a" * 32},
        }
        path = self.folder / "logic.yaml"
        path.write_text(to_yaml(logic) + "\n")
        path.chmod(0o600)
        tree.update({
            "store": store, "spool_dir": str(spool), "vims": [],
            "link": {"logic": [f"unix:{self.folder}/logic-1.sock"], "secret": "a" * 32},
            "platforms": [{"name": "here", "driver": "platform-process", "options": {
                "groups": [f"logic {self.program} --config {path} --role logic"], "cgroup": "off",
                "ready": [f"logic unix:{self.folder}/logic-{{replica}}.sock"], "restart_delay": "200ms"}}],
            "services": [{
                "name": "vimd", "mode": "act", "interval": "1s", "window": "1s", "windows": 32, "slo_p95": "60s",
                "cooldown_out": "1s", "cooldown_in": "1s", "record": str(self.folder / "trace.csv"),
                "policy": {"plugin": "faulty-policy", "options": {"fault": "follows"}},
                "source": {"type": "prometheus", "timeout": "300ms",
                           "endpoints": [f"http://127.0.0.1:{self.base + 1 + i}/metrics" for i in range(MOST)]},
                "signals": {"throughput": "rate(vimd_logic_request_seconds_count)",
                            "offered": "rate(vimd_logic_request_seconds_count)",
                            "latency_p95": "p95(vimd_logic_request_seconds) * 1000",
                            "in_flight": "rate(vimd_logic_request_seconds_sum)"},
                "blocks": [{"name": "logic", "platform": "here", "min": 1, "max": MOST, "quota_cores": self.quota()}]}],
        })
        return tree


class Load:
    """Clients that ask as fast as they are answered. Every answer counts."""

    def __init__(self, vimd, clients=6):
        self.vimd, self.stop = vimd, False
        self.answers, self.failures = 0, []
        self.threads = [threading.Thread(target=self.run) for _ in range(clients)]
        for thread in self.threads:
            thread.start()

    def run(self):
        while not self.stop:
            try:
                answer = self.vimd.client.get("/v1/tokens?limit=50")
                if answer.status != 200:
                    self.failures.append(repr(answer))
                self.answers += 1
            except OSError as error:
                self.failures.append(repr(error))
        self.vimd.client.close()

    def end(self):
        self.stop = True
        for thread in self.threads:
            thread.join()


class Processes(unittest.TestCase):
    def test_out_and_back(self):
        vimd = Own()
        try:
            # No replica is there to begin with, so there is nothing to be measured: the scaler starts the minimum.
            vimd.start(ready=False)
            wait_for(lambda: (vimd.folder / "logic-1.sock").exists(), "the first replica", 120)
            vimd.wait_ready(120)
            vimd.client.token = vimd.token = vimd.make_token()
            load = Load(vimd)
            try:
                vimd.wait_service(lambda one: one["blocks"][0].get("ready") == MOST, "all replicas", 120, "vimd")
                vimd.wait_service(lambda one: one["blocks"][0]["now"].get("cpu") is not None
                                  and one["trend"].get("throughput"), "what they use", 60, "vimd")
                time.sleep(2)
                self.assertEqual([], load.failures)
            finally:
                load.end()
            self.assertGreater(load.answers, 100)
            # A few requests go on, while replicas are stopped.
            quiet = Load(vimd, clients=0)

            def trickle():
                while not quiet.stop:
                    answer = vimd.client.get("/v1/version")
                    quiet.answers += 1
                    if answer.status != 200:
                        quiet.failures.append(repr(answer))
                    time.sleep(0.1)
            thread = threading.Thread(target=trickle)
            thread.start()
            try:
                shown = vimd.wait_service(lambda one: one["blocks"][0].get("ready") == 1
                                          and one["blocks"][0].get("desired") == 1, "one replica", 120, "vimd")
            finally:
                quiet.end()
                thread.join()
            self.assertEqual([], quiet.failures)
            self.assertGreater(quiet.answers, 5)
            sizes = [event["data"]["to"] for event in vimd.events("scaling.acted")]
            self.assertEqual(1, sizes[0])
            self.assertEqual(MOST, max(sizes))
            self.assertEqual(1, sizes[-1])
            done = sorted(vimd.decisions("state=done", "vimd"), key=lambda one: one["time"])
            self.assertIn("it has 0 replicas, fewer than its minimum of 1", done[0]["explanation"])
            self.assertTrue(all("processor share" in one["explanation"] for one in done[1:]), done)
            self.assertTrue(shown["decision"]["explanation"])
            trace = (vimd.folder / "trace.csv").read_text().splitlines()
            self.assertEqual("t_ms,scope,name,metric,value", trace[0])
            self.assertTrue(any(",block,logic,cpu," in line for line in trace))
            vimd.stop()
        finally:
            vimd.kill()
            end_replicas(vimd.state / "here")
            vimd.close()


if __name__ == "__main__":
    unittest.main(verbosity=2)

"""The scaler when things go wrong: no wrong action, and an event for each."""
import contextlib
import re
import sqlite3
import time
import unittest

from scaling import Cluster, Scaled, Scaler, Shop, service, shared_store
from vimd import PATIENCE, wait_for


@contextlib.contextmanager
def scaled(call_timeout="1s", settings=None, start=True, **more):
    shop, cluster = Shop(), Cluster(web=1, db=1)
    vimd = Scaled([cluster.platform(call_timeout=call_timeout)], [service(shop, **more)], settings=settings or {})
    vimd.shop, vimd.cluster = shop, cluster
    try:
        if start:
            vimd.start()
        yield vimd
    finally:
        vimd.close()
        shop.close()
        cluster.close()


class Faults(unittest.TestCase):
    def test_killed_after_the_platform_has_done_it(self):
        with scaled(call_timeout="20s") as vimd:
            vimd.cluster.delay["PUT"] = 30  # it is done, and the answer is on its way
            wait_for(lambda: vimd.cluster.written, "the call")
            vimd.kill()
            vimd.cluster.delay["PUT"] = 0
            vimd.start()
            event = vimd.wait_event("scaling.acted")
            self.assertEqual((1, 2), (event["data"]["from"], event["data"]["to"]))
            self.assertEqual("done", vimd.decisions(f"id={event['data']['decision']}")[0]["state"])
            # It was done once: the cooldown of that action holds for the process that went on.
            self.assertEqual([("web", 2)], vimd.cluster.written)
            self.assertEqual(1, len(vimd.events("scaling.acted")))

    def test_killed_before_the_platform_has_done_it(self):
        with scaled(call_timeout="5s") as vimd:
            vimd.cluster.apply_first = False
            vimd.cluster.delay["PUT"] = 3600  # it never is
            acting = wait_for(lambda: next(iter(vimd.decisions("state=acting")), None), "the intent")
            vimd.kill()
            vimd.cluster.delay["PUT"] = 0
            vimd.start()
            vimd.wait_event("scaling.failed", lambda event: event["data"].get("decision") == acting["id"]
                            and "does not show it" in event["data"]["reason"])
            self.assertEqual("failed", vimd.decisions(f"id={acting['id']}")[0]["state"])
            event = vimd.wait_event("scaling.acted")  # decided anew
            self.assertNotEqual(acting["id"], event["data"]["decision"])
            # Once; where this is looked at late, the next one has followed.
            written = list(vimd.cluster.written)
            self.assertEqual([("web", 2 + step) for step in range(len(written))], written)

    def test_two_scalers(self):
        with scaled(settings={"roles": ["api", "logic", "worker"]}, start=False, cooldown_out="3s") as vimd:
            vimd.settings["store"] = shared_store(vimd.folder)
            vimd.write_config()
            vimd.start()
            scalers = [Scaler(vimd, number) for number in (1, 2)]
            try:
                for one in scalers:
                    one.start()
                wait_for(lambda: len(vimd.cluster.written) >= 2, "two actions")
                deciders = [one for one in scalers if "this process decides on a service" in one.log()]
                self.assertEqual(1, len(deciders), "one of them decides")
                before = len(vimd.cluster.written)
                fences = {one["fence"] for one in vimd.decisions()}
                self.assertEqual({1}, fences)
                deciders[0].kill()
                wait_for(lambda: len(vimd.cluster.written) > before, "the other one goes on")
                wait_for(lambda: {one["fence"] for one in vimd.decisions("state=done")} == {1, 2}, "its decision")
                # Each began where the one before had ended, whoever made it; none was made twice.
                wait_for(lambda: len(vimd.events("scaling.acted")) >= before + 1, "its event")
                sizes = [(event["data"]["from"], event["data"]["to"]) for event in vimd.events("scaling.acted")]
                self.assertEqual([1] + [to for _, to in sizes[:-1]], [size for size, _ in sizes])
                self.assertEqual([to for _, to in sizes], [size for _, size in vimd.cluster.written][:len(sizes)])
            finally:
                for one in scalers:
                    one.kill()

    def test_platform_down_and_slow(self):
        with scaled(cooldown_out="0s", call_timeout="500ms") as vimd:
            wait_for(lambda: vimd.cluster.written, "an action")
            vimd.cluster.down = True
            down = vimd.wait_event("scaling.failed")
            written = len(vimd.cluster.written)
            vimd.wait_service(lambda one: "problem" in one["blocks"][0], "the problem")
            time.sleep(2)
            self.assertEqual(written, len(vimd.cluster.written))
            vimd.cluster.down = False
            well = vimd.wait_event("scaling.failed", lambda event: event["id"] > down["id"]
                                   and "well again" in event["data"]["reason"])
            wait_for(lambda: len(vimd.cluster.written) > written, "it goes on")
            # Slow: answers come later than anybody waits for them.
            vimd.cluster.delay["GET"] = 3
            vimd.wait_event("scaling.failed", lambda event: event["id"] > well["id"]
                            and "well again" not in event["data"]["reason"])
            vimd.wait_service(lambda one: "problem" in one["blocks"][0], "the problem")
            before = len(vimd.cluster.written)
            time.sleep(2)
            # At most the call that was under way comes through.
            self.assertLessEqual(len(vimd.cluster.written), before + 1)
            vimd.cluster.delay["GET"] = 0
            self.assertEqual(200, vimd.client.get("/v1/services/shop").status)
            vimd.stop()

    def test_a_platform_that_comes_and_goes(self):
        """It is told once, until it has been well for a while: so it is with a replica that crashes again and again."""
        with scaled(mode="advise", window="2s", interval="2s", call_timeout="500ms") as vimd:
            def problem():
                return "problem" in vimd.service()["blocks"][0]
            vimd.wait_service(lambda one: "ready" in one["blocks"][0] and "problem" not in one["blocks"][0], "the replicas")
            before = len(vimd.events("scaling.failed"))
            for _ in range(3):
                vimd.cluster.down = True
                wait_for(problem, "the problem")
                vimd.cluster.down = False
                wait_for(lambda: not problem(), "its end")
            told = [event["data"]["reason"] for event in vimd.events("scaling.failed")][before:]
            self.assertEqual(["db", "web"], sorted(reason.split(":")[0] for reason in told), told)
            wait_for(lambda: sum("well again" in event["data"]["reason"] for event in vimd.events("scaling.failed")[before:]) == 2,
                     "the end of it")
            vimd.stop()

    def test_an_event_that_could_not_be_written(self):
        """It is told when the store is back."""
        with scaled(mode="advise", window="2s", interval="2s", start=False) as vimd:
            if "store" in vimd.settings:
                self.skipTest("the store is not a file")
            vimd.settings["store"] = {"plugin": "store-sqlite", "timeout": "1s"}
            vimd.write_config()
            vimd.start()
            shown = vimd.wait_service(lambda one: "ready" in one["blocks"][0], "the replicas")
            vimd.wait_service(lambda one: one["updated"] > shown["updated"], "the end of a round")
            other = sqlite3.connect(next(vimd.state.glob("*.db")), timeout=60 * PATIENCE, isolation_level=None)
            other.execute("BEGIN IMMEDIATE")  # nothing can be written by vimd
            vimd.cluster.down = True
            wait_for(lambda: "what was decided on a service is not written" in vimd.log(), "a commit that fails")
            other.execute("ROLLBACK")
            other.close()
            vimd.wait_event("scaling.failed")
            vimd.stop()

    def test_a_right_that_is_missing(self):
        """It is asked for again, but not with each decision; and at once when somebody says so."""
        with scaled(cooldown_out="0s", start=False) as vimd:
            vimd.cluster.forbidden = True
            began = time.monotonic()
            vimd.start()
            first = vimd.wait_event("scaling.failed")
            self.assertIn("web +1 was not carried out: ", first["data"]["reason"])
            self.assertIn("not yours", first["data"]["reason"])
            vimd.wait_service(lambda one: one["decision"]["ruling"]["rule"] == "cooldown"
                              and "could not be scaled" in one["decision"]["ruling"]["text"], "the pause")
            time.sleep(2)
            tried = [one for one in vimd.events("scaling.failed") if "not yours" in one["data"]["reason"]]
            self.assertLessEqual(len(tried), 1 + (time.monotonic() - began) // 10)  # and not one each 400 ms
            vimd.cluster.forbidden = False
            vimd.client.must(vimd.client.post("/v1/services/shop/mode", {"mode": "act"}))
            vimd.wait_event("scaling.acted")
            vimd.stop()

    def test_what_cannot_be_opened(self):
        """Told once, at its place in the configuration."""
        with scaled(start=False) as vimd:
            vimd.settings["platforms"][0]["options"] = {"server": "http://10.0.0.1"}
            vimd.write_config()
            vimd.start(ready=False)
            self.assertNotEqual(0, vimd.wait_end())
            number = next(at for at, line in enumerate(vimd.config_path.read_text().splitlines(), 1) if "10.0.0.1" in line)
            self.assertRegex(vimd.log(), rf"vimd.yaml:{number}:\d+: platforms\[0\].options: cluster: plugin platform-kubernetes "
                                         r"cannot be opened: invalid: server: has to begin with https://")

    def test_stale_metrics(self):
        with scaled(cooldown_out="0s", mode="advise") as vimd:
            vimd.wait_service(lambda one: one.get("decision", {}).get("verdict") == "scale_out", "a decision")
            vimd.shop.down = True
            event = vimd.wait_event("scaling.stale", lambda one: one["data"]["stale"])
            self.assertIn("503", event["data"]["reason"])
            vimd.client.must(vimd.client.post("/v1/services/shop/mode", {"mode": "act"}))
            shown = vimd.wait_service(lambda one: one["stale"] and one["decision"]["ruling"]["rule"] == "stale", "the rule")
            self.assertFalse(shown["decision"]["ruling"]["act"])
            time.sleep(2)
            self.assertEqual([], vimd.cluster.written)
            vimd.shop.down = False
            vimd.wait_event("scaling.stale", lambda one: not one["data"]["stale"])
            wait_for(lambda: vimd.cluster.written, "it acts again")

    def test_a_policy_that_misbehaves(self):
        for fault, part in (("unknown_block", "block"), ("nan_confidence", "confidence"), ("nonsense", "10000"),
                            ("hangs", "within 100 ms"), ("crashes", "SIG")):
            with self.subTest(fault), scaled(cooldown_out="0s", policy={"plugin": "faulty-policy",
                                                                      "options": {"fault": fault}},
                                             shadow=["scaler-threshold"]) as vimd:
                # Under much patience even a crash may take longer than a policy has.
                parts = re.escape(part) + ("|within 100 ms" if PATIENCE > 5 else "")
                event = vimd.wait_event("scaling.refused")
                self.assertRegex(event["data"]["reason"], parts)
                decision = wait_for(lambda: next(iter(vimd.decisions("verdict=none")), None), "the log")
                self.assertRegex(decision["refused"], parts)
                time.sleep(1.5)
                self.assertEqual([], vimd.cluster.written)
                self.assertEqual(1, len(vimd.events("scaling.refused")), "it is told once")
                # The one beside it goes on.
                self.assertEqual("scaler-threshold", vimd.service()["decision"]["shadows"][0]["policy"])
                vimd.stop()

    def test_replicas_that_do_not_become_ready(self):
        with scaled(cooldown_out="0s") as vimd:
            vimd.cluster.stuck = True
            wait_for(lambda: vimd.cluster.written, "an action")
            time.sleep(2.5)
            # A block of which a replica starts is left alone.
            self.assertEqual([("web", 2)], vimd.cluster.written)
            decision = vimd.wait_service(lambda one: one["decision"]["ruling"]["rule"] == "starting", "the rule")
            self.assertEqual(1, decision["blocks"][0]["starting"])


if __name__ == "__main__":
    unittest.main(verbosity=2)

"""The scaler: what it measures, decides, does and tells, on a scripted service and a scripted platform."""
import concurrent.futures
import contextlib
import os
import subprocess
import tempfile
import unittest

from scaling import Cluster, Scaled, Shop, service
from vimd import BUILD, wait_for


@contextlib.contextmanager
def scaled(**more):
    """A shop with blocks web and db, and vimd that scales it."""
    shop, cluster = Shop(), Cluster(web=1, db=1)
    try:
        with Scaled([cluster.platform()], [service(shop, **more)]) as vimd:
            vimd.shop, vimd.cluster = shop, cluster
            yield vimd
    finally:
        shop.close()
        cluster.close()


class Scaling(unittest.TestCase):
    def test_acts_and_tells(self):
        with scaled() as vimd:
            event = vimd.wait_event("scaling.acted")
            self.assertEqual("shop", event["resource"])
            self.assertEqual(("web", 1, 1, 2), tuple(event["data"][key] for key in ("block", "delta", "from", "to")))
            self.assertEqual([("web", 2)], vimd.cluster.written[:1])
            decision = next(one for one in vimd.decisions() if one["id"] == event["data"]["decision"])
            self.assertEqual(("scale_out", "web", "done"), tuple(decision[key] for key in ("verdict", "block", "state")))
            self.assertIn("web uses most", decision["explanation"])
            told = next(line for line in vimd.log().splitlines() if f"decision={decision['id']}" in line)
            self.assertIn('event="a service is to be scaled" service=shop', told)
            self.assertIn(decision["explanation"], told)
            # (Of a window in which the cluster did not answer in time there is no cpu.)
            shown = vimd.wait_service(lambda one: len(one["trend"].get("throughput", [])) > 3 and any(
                block["name"] == "web" and "cpu" in block["now"] for block in one["blocks"]), "a trend")
            self.assertTrue(shown["watched"])
            self.assertEqual("act", shown["mode"])
            web = next(block for block in shown["blocks"] if block["name"] == "web")
            self.assertAlmostEqual(0.9, web["now"]["cpu"])
            rate = next(value for value in reversed(shown["trend"]["throughput"]) if value is not None)
            self.assertTrue(90 < rate < 110, rate)
            self.assertTrue(vimd.client.get("/v1/services/shop/explain").json["explanation"])
            # What came of it is filled in, once it is known.
            wait_for(lambda: next((one for one in vimd.decisions() if one["id"] == decision["id"]), {}).get("effect"),
                     "the effect")
            vimd.stop()

    def test_confirm(self):
        with scaled(mode="confirm", confirm_timeout="2s") as vimd:
            # Nobody approves the first one; it expires, and can be approved no more.
            first = wait_for(lambda: next(iter(vimd.decisions("state=waiting")), None), "a decision that waits")
            self.assertEqual(first["id"], vimd.service()["waiting"])
            wait_for(lambda: vimd.decisions(f"id={first['id']}")[0]["state"] == "expired", "its end")
            path = "/v1/services/shop/decisions/{}/approve"
            self.assertEqual(409, vimd.client.post(path.format(first["id"])).status)
            self.assertEqual(404, vimd.client.post(path.format("0" * 8 + first["id"][8:])).status)
            self.assertEqual([], vimd.cluster.written)
            for role, status in (("reader", 403), ("member", 403)):
                self.assertEqual(status, vimd.user(role).post(path.format(first["id"])).status)

            def approve():  # many at once: one of them does it
                waiting = vimd.service().get("waiting")
                if not waiting:
                    return None
                with concurrent.futures.ThreadPoolExecutor(12) as pool:
                    answers = list(pool.map(lambda _: vimd.client.post(path.format(waiting)), range(12)))
                statuses = sorted(one.status for one in answers)
                self.assertIn(statuses, ([202] + 11 * [409], 12 * [409]))
                for one in answers:
                    self.assertNotIn(b"store: ", one.body)
                return statuses[0] == 202 and waiting
            second = wait_for(approve, "an approval")
            vimd.wait_event("scaling.acted", lambda event: event["data"]["decision"] == second)
            self.assertEqual([("web", 2)], vimd.cluster.written)
            done = vimd.decisions(f"id={second}")[0]
            self.assertEqual("done", done["state"])
            self.assertIn(f"decision={second}", vimd.log())
            self.assertTrue(done["approved_by"].startswith("admin-"))

    def test_approval_is_ruled_on_again(self):
        with scaled(mode="confirm") as vimd:
            waiting = vimd.wait_service(lambda one: one.get("waiting"), "a decision that waits")["waiting"]
            vimd.cluster.wanted["web"] = 8  # somebody else has done more than that: it is at its maximum
            vimd.wait_service(lambda one: one["blocks"][0]["ready"] == 8, "the other's work")
            self.assertEqual(202, vimd.client.post(f"/v1/services/shop/decisions/{waiting}/approve").status)
            wait_for(lambda: vimd.decisions(f"id={waiting}")[0]["state"] == "refused", "the refusal")
            self.assertIn("maximum", vimd.decisions(f"id={waiting}")[0]["error"])
            self.assertEqual([], vimd.cluster.written)

    def test_minimum(self):
        with scaled() as vimd:
            vimd.wait_service(lambda one: one["blocks"][1].get("ready") == 1, "the replicas")
            vimd.shop.down = True  # and so not measured any more
            vimd.cluster.wanted["db"] = 0  # somebody takes them away
            event = vimd.wait_event("scaling.acted", lambda event: event["data"]["from"] == 0)
            self.assertEqual(("db", 1), (event["data"]["block"], event["data"]["to"]))
            decision = vimd.decisions(f"id={event['data']['decision']}")[0]
            self.assertTrue(decision["ruling"]["own"])
            self.assertIn("db +1: it has 0 replicas, fewer than its minimum of 1", decision["explanation"])
            self.assertEqual(1, vimd.cluster.wanted["db"])

    def test_modes(self):
        with scaled(mode="advise") as vimd:
            # The platform may not have answered in time at first, and nothing is to be done then.
            decision = wait_for(lambda: next((one for one in vimd.decisions("verdict=scale_out") if one["ruling"]["act"]), None),
                                "advice")
            self.assertEqual("noted", decision["state"])
            path = "/v1/services/shop/mode"
            for body, status in (({}, 422), ({"mode": "go"}, 422), ({"mode": "act", "x": 1}, 422), ({"mode": 1}, 422)):
                self.assertEqual(status, vimd.client.post(path, body).status, body)
            errors = vimd.client.post(path, {"mode": "act", "a/b~c": 1}).json["errors"]
            self.assertEqual(["/a~1b~0c"], [one["pointer"] for one in errors])
            self.assertEqual(404, vimd.client.post("/v1/services/nothing/mode", {"mode": "off"}).status)
            self.assertEqual(403, vimd.user("reader").post(path, {"mode": "act"}).status)
            self.assertEqual(403, vimd.user("member").post(path, {"mode": "act"}).status)
            self.assertEqual([], vimd.cluster.written)
            self.assertEqual("off", vimd.client.post(path, {"mode": "off"}).json["mode"])
            self.assertEqual("off", vimd.service()["mode"])
            vimd.wait_event("scaling.mode")
            # It holds over a restart.
            vimd.restart()
            self.assertEqual("off", vimd.service()["mode"])
            vimd.client.must(vimd.client.post(path, {"mode": "act"}))
            vimd.wait_event("scaling.acted")

    def test_a_record_is_decided_the_same(self):
        """What the daemon has decided, vim-replay decides too, from the windows that it has written."""
        with tempfile.TemporaryDirectory(prefix="vimd-record-") as folder:
            trace = os.path.join(folder, "shop.csv")
            policy = {"plugin": "scaler-threshold", "options": {"target": 0.5}}
            with scaled(record=trace, interval="800ms", policy=policy, cooldown_out="1s", cooldown_in="1s") as vimd:
                vimd.wait_event("scaling.acted")
                vimd.shop.cpu = {"web": 0.3, "db": 0.8}
                vimd.wait_event("scaling.acted", lambda event: event["data"]["block"] == "db")
                vimd.shop.cpu = {"web": 0.5, "db": 0.5}
                vimd.wait_service(lambda one: one["decision"]["verdict"] == "hold", "calm")
                decided = [(one["verdict"], one["reason"]) for one in vimd.decisions() if "reason" in one]
                vimd.stop()
            lines = subprocess.run([BUILD / "bin" / "vim-replay", trace, "--policy", "scaler-threshold:target=0.5"],
                                   check=True, capture_output=True, text=True).stdout.splitlines()
            replayed = [tuple(line.split("\t")[index] for index in (2, 5)) for line in lines[:-1]]
            with open(trace) as file:
                times = sorted({int(line.split(",")[0]) for line in file if line[0].isdigit()})
            # Those that a slow machine has left out are decided on, too.
            windows = (times[-1] - times[0]) // min(after - at for at, after in zip(times, times[1:])) + 1
            self.assertLessEqual(len(replayed), windows // 2 + 1)
            at = -1
            for one in decided:  # the log has what is news, in its order
                self.assertIn(one, replayed[at + 1:], f"after {at} of {replayed}")
                at = replayed.index(one, at + 1)

    def test_project(self):
        with scaled(project="demo") as vimd:
            vimd.wait_service(lambda one: True, "the service")
            self.assertEqual(200, vimd.user("reader").get("/v1/services/shop").status)
            self.assertEqual(200, vimd.user("member").post("/v1/services/shop/mode", {"mode": "off"}).status)
            stranger = vimd.user("member", "other")
            for path in ("", "/explain", "/decisions"):
                self.assertEqual(404, stranger.get("/v1/services/shop" + path).status)
            self.assertEqual([], stranger.list("services"))
            self.assertEqual(404, stranger.post("/v1/services/shop/mode", {"mode": "act"}).status)


if __name__ == "__main__":
    unittest.main(verbosity=2)

"""The scaler when somebody sets the clock back: nothing is waited for until that time has come again, and nothing is
told twice."""
import contextlib
import pathlib
import struct
import unittest

from scaling import Cluster, Scaled, Shop, is_sanitized, service
from vimd import BUILD, wait_for

SHIM = BUILD / "tests" / "scene" / "set_clock.so"
HOUR = 3600


@contextlib.contextmanager
def scaled(call_timeout="1s", **more):
    shop, cluster = Shop(), Cluster(web=1, db=1)
    vimd = Scaled([cluster.platform(call_timeout=call_timeout)], [service(shop, **more)])
    vimd.shop, vimd.cluster = shop, cluster
    clock = vimd.folder / "clock"
    clock.write_bytes(struct.pack("q", 0))
    vimd.env = {"LD_PRELOAD": str(SHIM), "VIMD_TEST_CLOCK": str(clock)}

    def set_back(seconds):
        with open(clock, "r+b") as file:
            before, = struct.unpack("q", file.read(8))
            file.seek(0)
            file.write(struct.pack("q", before - int(seconds * 1000)))
    vimd.set_back = set_back
    try:
        with vimd:
            yield vimd
    finally:
        shop.close()
        cluster.close()


def times_of(trace):
    """The times of windows in the order in which they were written, and how often each was begun."""
    times = []
    for line in pathlib.Path(trace).read_text().splitlines():
        time = line.split(",")[0]
        if time.isdigit() and (not times or times[-1] != int(time)):
            times.append(int(time))
    return times


@unittest.skipIf(is_sanitized(BUILD / "bin" / "vimd"), "a sanitizer has to be loaded first")
class Clock(unittest.TestCase):
    def test_an_hour(self):
        """The windows begin anew, it decides and acts, and what it does is seen."""
        with scaled(cooldown_out="1s") as vimd:
            vimd.wait_event("scaling.acted")
            before = vimd.wait_service(lambda one: "decision" in one, "a decision")
            vimd.set_back(HOUR)
            wait_for(lambda: "the clock was set back; the windows of a service begin anew" in vimd.log(), "the new beginning")
            vimd.wait_service(lambda one: one["trend"]["end"] < before["trend"]["end"] and not one["stale"]
                              and one["trend"].get("throughput"), "windows of that time")
            written = len(vimd.cluster.written)
            wait_for(lambda: len(vimd.cluster.written) > written, "an action")
            vimd.wait_event("scaling.effect", lambda event: event["time"] < before["updated"])
            self.assertEqual(1, vimd.log().count("begin anew"))

    def test_a_little(self):
        """No window is measured, decided on or written twice."""
        with scaled(mode="advise") as vimd:
            trace = vimd.folder / "trace.csv"
            vimd.settings["services"][0]["record"] = str(trace)
            vimd.settings["services"][0]["window"] = vimd.settings["services"][0]["interval"] = "1s"
            vimd.write_config()
            vimd.restart()
            wait_for(lambda: trace.exists() and len(times_of(trace)) >= 3, "windows")
            for _ in range(2):
                last = times_of(trace)[-1]
                vimd.set_back(2.5)
                wait_for(lambda: len(times_of(trace)) and times_of(trace)[-1] >= last + 2000, "it to go on")
            vimd.stop()
            times = times_of(trace)
            self.assertEqual(sorted(set(times)), times)
            self.assertNotIn("begin anew", vimd.log())

    def test_an_hour_ends_no_trace(self):
        """What lies before what is written already is left out: times never decrease."""
        with scaled(mode="advise") as vimd:
            trace = vimd.folder / "trace.csv"
            vimd.settings["services"][0]["record"] = str(trace)
            vimd.write_config()
            vimd.restart()
            wait_for(lambda: trace.exists() and len(times_of(trace)) >= 2, "windows")
            vimd.set_back(5)
            wait_for(lambda: "begin anew" in vimd.log(), "the new beginning")
            last = times_of(trace)[-1]
            wait_for(lambda: times_of(trace)[-1] > last + 800, "it to go on")
            vimd.stop()
            times = times_of(trace)
            self.assertEqual(sorted(set(times)), times)

    def test_an_action_whose_answer_was_lost(self):
        with scaled(call_timeout="1s") as vimd:
            vimd.cluster.apply_first = False
            vimd.cluster.delay["PUT"] = 3600  # it is never done
            acting = wait_for(lambda: next(iter(vimd.decisions("state=acting")), None), "the intent")
            vimd.set_back(HOUR)
            vimd.wait_event("scaling.failed", lambda event: event["data"].get("decision") == acting["id"]
                            and "does not show it" in event["data"]["reason"])
            self.assertEqual("failed", vimd.decisions(f"id={acting['id']}")[0]["state"])

    def test_a_decision_that_waits(self):
        """It expires as if nobody had touched the clock."""
        with scaled(mode="confirm", confirm_timeout="3s") as vimd:
            first = wait_for(lambda: next(iter(vimd.decisions("state=waiting")), None), "a decision that waits")
            vimd.set_back(HOUR)
            wait_for(lambda: vimd.decisions(f"id={first['id']}")[0]["state"] == "expired", "its end")


if __name__ == "__main__":
    unittest.main(verbosity=2)

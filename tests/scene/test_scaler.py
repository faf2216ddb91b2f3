"""The scaler: what it measures, decides, does and tells, on a scripted service and a scripted platform."""
import contextlib
import unittest

from scaling import Cluster, Scaled, Shop, service
from vimd import wait_for


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
            shown = vimd.wait_service(lambda one: len(one["trend"].get("throughput", [])) > 3, "a trend")
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


if __name__ == "__main__":
    unittest.main(verbosity=2)

"""Alarms: raised once, told, listed, and cleared, across restarts."""
import datetime
import resource
import time
import unittest

from vimd import Scene, Vimd, mock, target_id, unique, wait_for

SETTINGS = {"alarms": {"vim_after": "300ms", "quota_interval": "200ms", "quota_at": 80}}


def told(vimd, kind):
    return [(event["type"], event["data"]["alarm"]) for event in vimd.list("events")
            if event["type"].startswith("alarm.") and event["data"]["alarm_type"] == kind]


class Alarms(Scene):
    vims = [mock("edge1", quotas={"server": 5})]
    settings = SETTINGS

    def alarms(self, kind, client=None):
        return [one for one in (client or self.vimd).list("alarms") if one["type"] == kind]

    def test_quota(self):
        servers = [self.vimd.create("servers", {"vim": "edge1", "name": unique("q"), "image": "cirros",
                                                "flavor": "small"}) for _ in range(4)]
        alarm, = wait_for(lambda: self.alarms("quota-nearly-used"), "the alarm")
        self.assertEqual((alarm["id"], alarm["severity"], alarm["vim"], alarm["project"]),
                         ("quota-nearly-used.edge1.servers", "warning", "edge1", "demo"))
        self.assertIn("4 of 5", alarm["reason"])
        # It is the project's own.
        other = self.vimd.user("reader", "other")
        self.assertEqual(self.alarms("quota-nearly-used", other), [])
        other.close()
        self.vimd.restart()
        self.assertEqual(self.alarms("quota-nearly-used"), [alarm])
        for server in servers:
            self.vimd.remove("servers", server["id"])
        wait_for(lambda: not self.alarms("quota-nearly-used"), "its end")
        wait_for(lambda: len(told(self.vimd, "quota-nearly-used")) == 2, "both events")
        self.assertEqual(told(self.vimd, "quota-nearly-used"),
                         [("alarm.raised", alarm["id"]), ("alarm.cleared", alarm["id"])])

    def test_list(self):
        self.assertEqual(self.vimd.get("/v1/alarms?type=nonsense").status, 400)
        self.assertEqual(self.vimd.get("/v1/alarms?severity=critical").status, 200)


class Errors(Scene):
    vims = [mock("edge1", quotas={"server": 2})]
    settings = {"alarms": {"quota_at": 0}}

    def test_what_is_in_error(self):
        body = {"vim": "edge1", "name": unique("e"), "image": "cirros", "flavor": "small"}
        kept = self.vimd.create("servers", body)
        answer = self.vimd.post("/v1/network-services", {
            "name": unique("s"), "on_failure": "keep",
            "vnfs": {"a": {"image": "cirros", "flavor": "small", "count": 3}}})
        task = self.vimd.wait_task(self.vimd.task_of(answer))
        self.assertEqual(task["state"], "failed")
        # Of a create that failed nothing is at the VIM: its task has told. The service is in ERROR.
        alarm, = wait_for(lambda: self.vimd.list("alarms"), "the alarm")
        self.assertEqual((alarm["type"], alarm["kind"], alarm["severity"], alarm["resource"]),
                         ("resource-error", "network-service", "major", target_id(task)))
        self.assertIn("quota", alarm["reason"].lower())
        self.vimd.kill()
        self.vimd.start()
        self.assertEqual([one["id"] for one in self.vimd.list("alarms")], [alarm["id"]])
        self.assertEqual(self.vimd.user("member", "other").list("alarms"), [])
        self.vimd.remove("network-services", alarm["resource"])
        wait_for(lambda: not self.vimd.list("alarms"), "its end")
        wait_for(lambda: len(told(self.vimd, "resource-error")) == 2, "both events")
        self.assertEqual(told(self.vimd, "resource-error"),
                         [("alarm.raised", alarm["id"]), ("alarm.cleared", alarm["id"])])
        self.vimd.remove("servers", kept["id"])


class Unreachable(unittest.TestCase):
    def test_a_vim_that_does_not_answer(self):
        settings = {"alarms": {"vim_after": "300ms"}}
        with Vimd(vims=[mock("edge1"), mock("edge2")], settings=settings, name="alarms") as vimd:
            vimd.stop()
            vimd.vims = [mock("edge1", faults=["list * unavailable 1", "changes * unavailable 1"]),
                         mock("edge2")]
            vimd.write_config()
            vimd.start()
            alarm, = wait_for(lambda: vimd.list("alarms"), "the alarm")
            self.assertEqual((alarm["id"], alarm["severity"], alarm["shared"]),
                             ("vim-unreachable.edge1", "critical", True))
            other = vimd.user("reader", "other")
            self.assertEqual(len(other.list("alarms")), 1)
            other.close()
            vimd.restart()
            self.assertEqual(vimd.list("alarms"), [alarm])
            vimd.stop()
            vimd.vims = [mock("edge1"), mock("edge2")]
            vimd.write_config()
            vimd.start()
            wait_for(lambda: not vimd.list("alarms"), "its end")
            wait_for(lambda: len(told(vimd, "vim-unreachable")) == 2, "both events")
            self.assertEqual(told(vimd, "vim-unreachable"), [
                ("alarm.raised", alarm["id"]), ("alarm.cleared", alarm["id"])])


class Unwritable(unittest.TestCase):
    """A store that cannot grow: shown at once, to everybody; told as events when it is over."""

    def fill(self, daemon):
        """From here on no file of the daemon's takes a byte behind its first 4096: less than one page of the store."""
        _, hard = resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (4096, hard))
        self.addCleanup(self.lift, daemon, hard)
        body = {"vim": "edge1", "name": unique()}
        wait_for(lambda: daemon.post("/v1/networks", body).status == 503, "a refusal")
        return hard

    @staticmethod
    def lift(daemon, hard):
        if daemon.alive():
            resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (hard, hard))

    def test_a_store_that_takes_no_writes(self):
        with Vimd(vims=[mock("edge1")], name="unwritable") as daemon:
            other = daemon.user("reader", "other")
            self.assertEqual(other.list("alarms"), [])
            began = time.time()
            hard = self.fill(daemon)
            alarm, = wait_for(lambda: other.list("alarms"), "the alarm")
            self.assertEqual((alarm["type"], alarm["severity"], alarm["shared"], alarm["id"]),
                             ("store-unwritable", "critical", True, "store-unwritable.store-sqlite"))
            self.assertEqual(daemon.get("/readyz").status, 503)
            self.assertTrue(alarm["reason"])
            self.assertGreaterEqual(self.at(alarm["raised"]), began - 1)
            self.assertEqual(told(daemon, "store-unwritable"), [])  # it has no way to be kept
            time.sleep(2)
            again, = other.list("alarms")
            self.assertLess(abs(self.at(again["raised"]) - self.at(alarm["raised"])), 1)
            ended = time.time()
            self.lift(daemon, hard)
            wait_for(lambda: not other.list("alarms"), "its end")
            wait_for(lambda: len(told(daemon, "store-unwritable")) >= 2, "both events")
            self.assertEqual(told(daemon, "store-unwritable"), [
                ("alarm.raised", alarm["id"]), ("alarm.cleared", alarm["id"])])
            raised = [event for event in other.list("events") if event["type"] == "alarm.raised"]
            self.assertEqual(len(raised), 1, "everybody's")
            # When it began is told, not when that could be kept.
            since = self.at(raised[0]["data"]["raised"])
            self.assertTrue(began - 1 <= since < ended - 1, (began, since, ended))
            daemon.create("networks", {"vim": "edge1", "name": unique()})
            other.close()

    @staticmethod
    def at(text):
        return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


if __name__ == "__main__":
    unittest.main(verbosity=2)

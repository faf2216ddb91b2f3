"""Alarms: raised once, told, listed, and cleared, across restarts."""
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


if __name__ == "__main__":
    unittest.main(verbosity=2)

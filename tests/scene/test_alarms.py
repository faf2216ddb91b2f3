"""Alarms: raised once, told, listed, and cleared, across restarts."""
import json
import unittest

from vimd import Scene, Vimd, mock, unique, wait_for

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
    """Servers of more than one processor fit nowhere, and end in ERROR."""
    vims = [mock("edge1", hosts=1, host_vcpus=1)]
    settings = SETTINGS

    def test_a_server_that_is_in_error(self):
        large = next(one for one in self.vimd.list("flavors") if one["vcpus"] > 1)
        answer = self.vimd.post("/v1/servers", {"vim": "edge1", "name": unique("e"), "image": "cirros",
                                                "flavor": large["id"]})
        task = self.vimd.wait_task(self.vimd.task_of(answer))
        self.assertNotEqual(task["state"], "succeeded")
        # A create that failed has nothing at its VIM: its task has told.
        self.assertEqual(self.vimd.list("alarms"), [])
        image = self.vimd.list("images", "name=cirros")[0]["backend_id"]
        outside = json.loads(self.vimd.mock("create", "server", json.dumps(
            {"name": "outside", "image": image, "flavor": large["backend_id"]})))["id"]
        alarm, = wait_for(lambda: self.vimd.list("alarms"), "the alarm")
        self.assertEqual((alarm["type"], alarm["kind"], alarm["severity"], alarm["name"]),
                         ("resource-error", "server", "major", "outside"))
        self.vimd.kill()
        self.vimd.start()
        self.assertEqual([one["id"] for one in self.vimd.list("alarms")], [alarm["id"]])
        self.vimd.mock("delete", "server", outside)
        wait_for(lambda: not self.vimd.list("alarms"), "its end")
        self.assertEqual(told(self.vimd, "resource-error"),
                         [("alarm.raised", alarm["id"]), ("alarm.cleared", alarm["id"])])


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
            self.assertEqual(told(vimd, "vim-unreachable"), [
                ("alarm.raised", alarm["id"]), ("alarm.cleared", alarm["id"])])


if __name__ == "__main__":
    unittest.main(verbosity=2)

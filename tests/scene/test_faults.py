"""What an infrastructure can do to vimd: each fault of the mock, what comes of it, and that one sick
VIM is nobody else's."""
import json
import unittest

import vimd
from vimd import Vimd, mock, target_id, unique, wait_for
from world import World

SETTINGS = {"tasks": {"backoff_base": "20ms", "backoff_cap": "200ms", "deadline": "60s",
                      "sweep": "200ms"}}


def faulty(*faults, name="edge1", **options):
    options.setdefault("poll", {"poll_pending": "50ms", "poll_idle": "200ms", "poll_full": "400ms",
                                "poll_backoff": "300ms"})
    return mock(name, faults=list(faults), **options)


class Faults(unittest.TestCase):
    def run_with(self, *faults, **options):
        """A daemon whose one VIM has these faults from the start on, and a world on it that was made
        before they strike (rules with @N count from there)."""
        daemon = Vimd(vims=[faulty(**options)], settings=SETTINGS, name="faults")
        daemon.start()
        self.addCleanup(self.end, daemon)
        self.world = World(daemon)
        daemon.vims = [faulty(*faults, **options)]
        daemon.write_config()
        daemon.restart()
        return daemon

    def end(self, daemon):
        try:
            if daemon.alive():
                daemon.stop()
            daemon.check_no_secrets()
            daemon.check_log()
            self.assertEqual(daemon.orphans(), [], daemon.log()[-3000:])
        except BaseException:
            print(f"--- {daemon.folder}\n{daemon.log()[-4000:]}", flush=True)
            daemon.kill()
            raise
        daemon.close()

    def submit(self, daemon, plural="servers", **more):
        return daemon.task_of(daemon.post(f"/v1/{plural}", self.world.body(plural, **more)))

    def outcome(self, daemon, plural="servers", **more):
        return daemon.wait_task(self.submit(daemon, plural, **more))

    def exactly_one(self, daemon, task):
        self.assertEqual(task["state"], "succeeded", task)
        shown = daemon.must(daemon.get(f"/v1/servers/{target_id(task)}"), 200).json
        there = [thing for thing in daemon.things("server") if thing["id"] == shown["backend_id"]]
        self.assertEqual(len(there), 1)
        named = [thing for thing in daemon.things("server") if thing["name"] == shown["name"]]
        self.assertEqual(len(named), 1, "it was made once")
        return shown

    # Transient and unknown outcomes: it succeeds, once

    def test_transient_faults_are_survived(self):
        for fault in ("rate-limit 0.5 30", "unavailable 0.5", "error-500 0.3", "expired 0.3",
                      "slow 0.5 50"):
            with self.subTest(fault=fault):
                name, rest = fault.split(" ", 1)
                daemon = self.run_with(f"* * {name} {rest}", seed=11)
                task = self.outcome(daemon)
                if name == "error-500":
                    self.after_internal_errors(daemon, task)
                    continue
                self.exactly_one(daemon, task)

    def after_internal_errors(self, daemon, task):
        """They are for good, and may strike the undo as well: it can be asked for again."""
        for _ in range(50):
            if task["state"] != "rollback_failed":
                break
            daemon.must(daemon.post(f"/v1/tasks/{task['id']}/rollback"), 202)
            task = daemon.wait_task(task["id"])
        self.assertIn(task["state"], ("failed", "rolled_back", "succeeded"), task)
        if task["state"] != "succeeded":
            self.came_to_nothing(daemon, task)

    def came_to_nothing(self, daemon, task):
        """A create that failed leaves a row that tells why, which can be deleted."""
        shown = daemon.must(daemon.get(f"/v1/servers/{target_id(task)}"), 200).json
        self.assertEqual(shown["status"], "ERROR")
        self.assertTrue(shown["status_reason"])
        self.assertNotIn("backend_id", shown)
        self.assertNotIn("task", shown)
        daemon.remove("servers", shown["id"])
        self.assertEqual(daemon.get(f"/v1/servers/{target_id(task)}").status, 404)

    def test_unknown_outcomes_make_one_thing(self):
        for fault in ("lost", "lost-before", "timeout"):
            with self.subTest(fault=fault):
                daemon = self.run_with(f"create * {fault} @1-2", f"delete * {fault} @1-2",
                                       call_timeout="500ms")
                shown = self.exactly_one(daemon, self.outcome(daemon))
                daemon.remove("servers", shown["id"])
                self.assertEqual([thing for thing in daemon.things("server")
                                  if thing["name"] == shown["name"]], [])

    # Permanent ones: told, and nothing left

    def test_refusals_end_the_task_and_leave_nothing(self):
        for number, status in (("400", 400), ("403", 403), ("409", 409)):
            with self.subTest(number=number):
                daemon = self.run_with(f"create server refuse-{number} 1")
                task = self.outcome(daemon)
                self.assertIn(task["state"], ("failed", "rolled_back"), task)
                self.assertTrue(task["error"]["detail"])
                self.assertEqual(str(task["error"]["backend"]["status"]), str(status))
                self.assertEqual(daemon.things("server"), [])
                self.assertEqual([port for port in daemon.things("port")], [])

    def test_a_build_that_ends_in_error_is_undone(self):
        daemon = self.run_with("create server error-build 1")
        task = self.outcome(daemon)
        self.assertIn(task["state"], ("failed", "rolled_back"), task)
        wait_for(lambda: not daemon.things("server") and not daemon.things("port"),
                 "nothing to be left")

    def test_quota(self):
        daemon = self.run_with(quotas={"server": 2})
        self.assertEqual(self.outcome(daemon)["state"], "succeeded")
        self.assertEqual(self.outcome(daemon)["state"], "succeeded")
        task = self.outcome(daemon)
        self.assertIn(task["state"], ("failed", "rolled_back"), task)
        self.assertIn("quota", json.dumps(task["error"]).lower())
        self.assertEqual(len(daemon.things("server")), 2)
        self.assertEqual(len(daemon.things("port")), 2)

    # Deadline, cancel, retry

    def test_a_stuck_build_meets_its_deadline(self):
        settings = {"tasks": {**SETTINGS["tasks"], "deadline": "2s"}}
        daemon = Vimd(vims=[faulty("create server stuck 1")], settings=settings, name="stuck")
        daemon.start()
        self.addCleanup(self.end, daemon)
        self.world = World(daemon)
        task = self.outcome(daemon)
        self.assertIn(task["state"], ("timed_out", "rolled_back"), task)
        wait_for(lambda: not daemon.things("server") and not daemon.things("port"),
                 "the undo to have cleaned up")

    def test_cancel_at_each_moment_undoes(self):
        """Cancelled after 0, 1, 2 ... steps (each call slow enough to be caught in)."""
        daemon = self.run_with("* server slow 1 30", "* port slow 1 30", build="300ms")
        states = set()
        for polls in range(10):
            task_id = self.submit(daemon)
            for _ in range(polls * 3):
                daemon.get(f"/v1/tasks/{task_id}")
            answer = daemon.post(f"/v1/tasks/{task_id}/cancel")
            self.assertIn(answer.status, (200, 202, 409), answer)
            task = daemon.wait_task(task_id)
            states.add(task["state"])
            if task["state"] == "succeeded":
                daemon.remove("servers", target_id(task))
            else:
                self.assertIn(task["state"], ("cancelled", "rolled_back"), task)
                self.came_to_nothing(daemon, task)
        self.assertTrue(states & {"cancelled", "rolled_back"}, states)
        wait_for(lambda: not daemon.things("server") and not daemon.things("port"),
                 "nothing to be left")

    def test_cancel_of_a_stuck_build(self):
        daemon = self.run_with("create server stuck @1")
        task_id = self.submit(daemon)
        wait_for(lambda: daemon.get(f"/v1/tasks/{task_id}").json["state"] == "waiting",
                 "the task to wait for its build")
        daemon.must(daemon.post(f"/v1/tasks/{task_id}/cancel"), 200, 202)
        self.assertIn(daemon.wait_task(task_id)["state"], ("cancelled", "rolled_back"))
        self.exactly_one(daemon, self.outcome(daemon))

    def test_retry_after_a_failure(self):
        daemon = self.run_with("create server refuse-403 @1")
        task = self.outcome(daemon)
        self.assertIn(task["state"], ("failed", "rolled_back"), task)
        daemon.must(daemon.post(f"/v1/tasks/{task['id']}/retry"), 200, 202)
        again = daemon.wait_task(task["id"])
        self.exactly_one(daemon, again)

    # The inventory

    def test_vanished_things_go(self):
        daemon = self.run_with("create network vanish 1 400")
        task = self.outcome(daemon, "networks")
        path = f"/v1/networks/{target_id(task)}"
        wait_for(lambda: daemon.get(path).status == 404, "the vanished network to go")

    def test_truncated_lists_never_delete(self):
        daemon = self.run_with("list network truncate 1", "changes network truncate 1",
                               page_limit=3)
        made = vimd.many(lambda _: self.outcome(daemon, "networks"), range(12))
        ids = {target_id(task) for task in made}
        before = daemon.calls("network", "list") + daemon.calls("network", "changes")
        wait_for(lambda: daemon.calls("network", "list") + daemon.calls("network", "changes")
                 > before + 10, "ten more rounds")
        self.assertLessEqual(ids, {item["id"] for item in daemon.list("networks")})

    def test_paging_of_the_far_side(self):
        daemon = self.run_with(page_limit=2)
        names = [unique("outside") for _ in range(7)]
        for name in names:
            daemon.mock("create", "network", json.dumps({"name": name}))
        wait_for(lambda: set(names) <= {item["name"] for item in daemon.list("networks")},
                 "all pages to be read")

    # One sick VIM

    def test_a_sick_vim_stalls_no_other(self):
        daemon = Vimd(vims=[mock("edge1", build="20ms"),
                            faulty("* * slow 1 1500", name="sick"),
                            faulty("* * unavailable 1", name="down")],
                      settings={**SETTINGS, "drain_timeout": "3s"}, name="sick")
        daemon.start()
        self.addCleanup(self.end, daemon)
        self.world = World(daemon)
        for vim in ("sick", "down"):
            for _ in range(25):
                daemon.task_of(daemon.post("/v1/networks", {"vim": vim, "name": unique("n")}))
        made = vimd.many(lambda _: self.outcome(daemon), range(20))
        self.assertEqual({task["state"] for task in made}, {"succeeded"})
        waiting = [task for task in daemon.list("tasks", "vim=down")]
        self.assertTrue(all(task["state"] not in vimd.ENDED for task in waiting),
                        "the well VIM's tasks were done while the others waited")
        for task in daemon.list("tasks"):
            if task["state"] not in vimd.ENDED:
                daemon.post(f"/v1/tasks/{task['id']}/cancel")
        health = {vim["id"]: vim for vim in daemon.get("/v1/vims").items}
        self.assertNotEqual(health["edge1"], health["down"])


if __name__ == "__main__":
    unittest.main(verbosity=2)

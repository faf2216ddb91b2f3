"""The main journey: every kind through its life, synchronously and asynchronously, and the
conventions that hold for every request on the way."""
import hashlib
import json
import unittest

import vimd
from vimd import PROJECT, Scene, mock, next_link, target_id, unique, wait_for
from world import PLURALS, UPDATES, World, upload

NO_SUCH = "00000000-0000-4000-8000-00000000dead"


class OnMock(Scene):
    vims = [mock("edge1", build="40ms", delete="20ms"), mock("edge2", build="40ms")]

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.world = World(cls.vimd)

    def problem(self, answer, status, code=None):
        self.assertEqual(answer.status, status, answer)
        self.assertEqual(answer.headers.get_content_type(), "application/problem+json")
        body = answer.json
        self.assertEqual(body["status"], status)
        for member in ("type", "title", "code", "retryable"):
            self.assertIn(member, body)
        if code:
            self.assertEqual(body["code"], code, body)
        return body


class Kinds(OnMock):
    def test_async_life_of_every_kind(self):
        for plural in PLURALS:
            with self.subTest(plural=plural):
                body = self.world.body(plural, labels={"scene": "async"})
                answer = self.vimd.post(f"/v1/{plural}", body,
                                        headers={"Prefer": "respond-async"})
                task_id = self.vimd.task_of(answer)
                self.assertEqual(answer.headers["Preference-Applied"], "respond-async")
                self.assertTrue(int(answer.headers["Retry-After"]) >= 0)
                where = answer.headers["Content-Location"]
                self.assertTrue(where.startswith(f"/v1/{plural}/"), where)
                early = self.vimd.must(self.vimd.get(where), 200).json
                self.assertEqual(early["name"], body["name"])

                task = self.vimd.wait_task(task_id)
                self.assertEqual(task["state"], "succeeded", task)
                self.assertEqual(task["progress"], 100)
                self.assertEqual(f"/v1/{plural}/{target_id(task)}", where)
                self.assertTrue(task["steps"])
                for moment in ("created", "started", "finished"):
                    self.assertRegex(task[moment], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$")
                self.one_life(plural, body, where)

    def one_life(self, plural, body, where):
        shown = self.vimd.must(self.vimd.get(where), 200).json
        self.assertEqual(shown["vim"], "edge1")
        self.assertEqual(shown["project"], PROJECT)
        self.assertEqual(shown["labels"], {"scene": "async"})
        self.assertFalse(shown["pending"])
        self.assertEqual(shown["status"], "QUEUED" if plural == "images" else
                         shown["status"] if plural == "ports" else "ACTIVE")
        self.assertTrue(shown["backend_id"])
        for field in ("network", "cidr", "vcpus", "ram", "disk_format", "public_key"):
            if field in body:
                self.assertEqual(shown[field], body[field])
        named = self.vimd.list(plural, f"name={body['name']}")
        self.assertEqual([item["id"] for item in named], [shown["id"]])

        if plural in UPDATES:
            answer = self.vimd.patch(where, UPDATES[plural], wait=30)
            changed = self.vimd.must(answer, 200).json
            self.assertEqual(answer.headers["Preference-Applied"], "wait=30")
            for field, value in UPDATES[plural].items():
                self.assertEqual(changed[field], value)
            fresh = self.vimd.must(self.vimd.get(where + "?fresh=true"), 200).json
            self.assertEqual(fresh[next(iter(UPDATES[plural]))],
                             next(iter(UPDATES[plural].values())))
        self.vimd.must(self.vimd.delete(where, wait=30), 200, 204)
        self.problem(self.vimd.get(where), 404)

    def test_sync_life_of_every_kind(self):
        for plural in PLURALS:
            with self.subTest(plural=plural):
                answer = self.vimd.post(f"/v1/{plural}", self.world.body(plural), wait=30)
                shown = self.vimd.must(answer, 201).json
                self.assertEqual(answer.headers["Preference-Applied"], "wait=30")
                self.assertTrue(answer.headers["Location"].endswith(
                    f"/v1/{plural}/{shown['id']}"))
                self.assertTrue(shown["backend_id"])
                self.vimd.must(self.vimd.delete(f"/v1/{plural}/{shown['id']}", wait=30), 200, 204)

    def test_default_of_a_write_is_async(self):
        answer = self.vimd.post("/v1/networks", self.world.body("networks"))
        self.assertEqual(answer.status, 202)
        task = self.vimd.wait_task(self.vimd.task_of(answer))
        answer = self.vimd.delete(f"/v1/networks/{target_id(task)}")
        self.assertEqual(self.vimd.wait_task(self.vimd.task_of(answer))["state"], "succeeded")

    def test_references_by_name(self):
        names = {"image": self.world.image["name"], "flavor": self.world.flavor["name"],
                 "networks": [{"network": self.world.network["name"]}]}
        server = self.vimd.create("servers", self.world.server(**names))
        self.assertEqual(server["image"], self.world.image["id"])
        self.assertEqual(server["flavor"], self.world.flavor["id"])
        self.assertEqual(server["addresses"][0]["network"], self.world.network["id"])
        self.vimd.remove("servers", server["id"])

    def test_server_actions(self):
        server = self.vimd.create("servers", self.world.server())
        path = f"/v1/servers/{server['id']}"
        for action, arguments, status in (("stop", {}, "SHUTOFF"), ("start", {}, "ACTIVE"),
                                          ("reboot", {"type": "hard"}, "ACTIVE"),
                                          ("reboot", {}, "ACTIVE")):
            answer = self.vimd.post(path + "/actions", {"action": action, **arguments}, wait=30)
            self.vimd.must(answer, 200)
            self.assertEqual(self.vimd.get(path).json["status"], status, action)
        body = self.problem(self.vimd.post(path + "/actions", {"action": "fly"}), 422)
        self.assertTrue(body["errors"][0]["pointer"].startswith("/"))
        self.problem(self.vimd.post(path + "/actions", {"action": "reboot", "type": "gently"}), 422)
        self.vimd.remove("servers", server["id"])

    def test_image_upload(self):
        image = self.vimd.create("images", self.world.body("images"))
        self.assertEqual(image["status"], "QUEUED")
        data = bytes(range(256)) * 8192
        shown = upload(self.vimd, image["id"], data)
        self.assertEqual(shown["status"], "ACTIVE")
        self.assertEqual(shown["size"], len(data))
        self.assertEqual(shown["checksum"], hashlib.md5(data).hexdigest())
        spooled = [path for path in self.vimd.state.rglob("*")
                   if path.is_file() and path.stat().st_size == len(data)]
        self.assertEqual(spooled, [], "the uploaded data is not kept")
        self.vimd.remove("images", image["id"])

    def test_ports_of_a_server(self):
        port = self.vimd.create("ports", self.world.body("ports"))
        server = self.vimd.create("servers", self.world.server(networks=[{"port": port["id"]}]))
        self.assertEqual(server["addresses"][0]["port"], port["id"])
        plugged = wait_for(lambda: self.vimd.get(f"/v1/ports/{port['id']}?fresh=true").json
                           .get("server"), "the port to tell its server")
        self.assertEqual(plugged, server["id"])
        self.vimd.remove("servers", server["id"])
        self.vimd.must(self.vimd.get(f"/v1/ports/{port['id']}?fresh=true"), 200)
        self.vimd.remove("ports", port["id"])

    def test_a_second_vim(self):
        network = self.vimd.create("networks", {"vim": "edge2", "name": unique("n")})
        self.assertEqual(network["vim"], "edge2")
        there = [item["id"] for item in self.vimd.list("networks", "vim=edge2")]
        here = [item["id"] for item in self.vimd.list("networks", "vim=edge1")]
        self.assertIn(network["id"], there)
        self.assertNotIn(network["id"], here)
        self.vimd.remove("networks", network["id"])


class Meta(OnMock):
    def test_health_and_version(self):
        anonymous = vimd.Client(self.vimd.port)
        for path in ("/healthz", "/readyz", "/openapi.json"):
            self.assertEqual(anonymous.get(path).status, 200, path)
        self.assertIn("version", self.vimd.must(self.vimd.get("/v1/version"), 200).json)
        who = self.vimd.must(self.vimd.get("/v1/whoami"), 200).json
        self.assertEqual((who["project"], who["role"]), (PROJECT, "admin"))
        names = json.dumps(self.vimd.must(self.vimd.get("/v1/plugins"), 200).json)
        for name in ("mock", *self.vimd.plugins):
            self.assertIn(name, names)

    def test_metrics(self):
        answer = self.vimd.must(self.vimd.get("/metrics"), 200)
        self.assertEqual(answer.headers.get_content_type(), "text/plain")
        for line in answer.body.decode().splitlines():
            self.assertRegex(line, r"^(# (HELP|TYPE) [a-zA-Z_:]\w* .+"
                                   r"|[a-zA-Z_:]\w*(\{.*\})? [-+.\deE]+(Inf|NaN)?)$")
        self.assertIn("vimd_", answer.body.decode())

    def test_vims(self):
        vims = self.vimd.must(self.vimd.get("/v1/vims"), 200).items
        self.assertEqual([vim["id"] for vim in vims], ["edge1", "edge2"])
        one = self.vimd.must(self.vimd.get("/v1/vims/edge1"), 200).json
        self.assertEqual(one["plugin"], "mock")
        self.vimd.must(self.vimd.post("/v1/vims/edge1/check"), 200)
        can = json.dumps(self.vimd.must(self.vimd.get("/v1/vims/edge1/capabilities"), 200).json)
        self.assertIn("server", can)
        self.problem(self.vimd.get("/v1/vims/nowhere"), 404)

    def test_request_id(self):
        answer = self.vimd.get("/v1/whoami", headers={"X-Request-Id": "scene-12345"})
        self.assertEqual(answer.headers["X-Request-Id"], "scene-12345")
        first = self.vimd.get("/v1/whoami").headers["X-Request-Id"]
        self.assertTrue(first)
        self.assertNotEqual(first, self.vimd.get("/v1/whoami").headers["X-Request-Id"])
        odd = self.vimd.get("/v1/whoami", headers={"X-Request-Id": "a" * 2000})
        self.assertNotEqual(odd.headers["X-Request-Id"], "a" * 2000)

    def test_backend_request_ids_on_steps(self):
        answer = self.vimd.post("/v1/networks", self.world.body("networks"))
        task = self.vimd.wait_task(self.vimd.task_of(answer))
        self.assertTrue(any(step.get("backend_request_id") for step in task["steps"]), task)
        self.vimd.remove("networks", target_id(task))


class Concurrency(OnMock):
    def test_etag(self):
        network = self.vimd.create("networks", self.world.body("networks"))
        path = f"/v1/networks/{network['id']}"
        answer = self.vimd.get(path)
        tag = answer.headers["ETag"]
        self.assertRegex(tag, r'^"[^"]+"$')
        same = self.vimd.get(path, headers={"If-None-Match": tag})
        self.assertEqual((same.status, same.body), (304, b""))
        self.assertEqual(self.vimd.get(path, headers={"If-None-Match": '"other"'}).status, 200)
        self.assertEqual(self.vimd.get(path, headers={"If-None-Match": f'"other", {tag}'}).status,
                         304)
        self.problem(self.vimd.patch(path, {"description": "x"}, headers={"If-Match": '"other"'}),
                     412)
        answer = self.vimd.patch(path, {"description": "x"}, wait=30, headers={"If-Match": tag})
        self.vimd.must(answer, 200)
        changed = self.vimd.get(path)
        self.assertNotEqual(changed.headers["ETag"], tag)
        self.problem(self.vimd.delete(path, headers={"If-Match": tag}), 412)
        answer = self.vimd.delete(path, wait=30, headers={"If-Match": "*"})
        self.vimd.must(answer, 200, 204)

    def test_head(self):
        path = f"/v1/networks/{self.world.network['id']}"
        head, whole = self.vimd.request("HEAD", path), self.vimd.get(path)
        self.assertEqual((head.status, head.body), (200, b""))
        self.assertEqual(head.headers["ETag"], whole.headers["ETag"])

    def test_idempotency(self):
        body = self.world.body("networks")
        key = {"Idempotency-Key": unique("key")}
        first = self.vimd.post("/v1/networks", body, headers=key)
        task = self.vimd.task_of(first)
        self.assertIsNone(first.headers["Idempotent-Replayed"])
        again = self.vimd.post("/v1/networks", body, headers=key)
        self.assertEqual(self.vimd.task_of(again), task)
        self.assertEqual(self.vimd.wait_task(task)["state"], "succeeded")
        later = self.vimd.post("/v1/networks", body, headers=key)
        self.assertIn(later.status, (200, 201, 202))
        self.assertEqual(later.headers["Idempotent-Replayed"], "true")
        self.problem(self.vimd.post("/v1/networks", self.world.body("networks"), headers=key), 422)
        self.assertEqual(len(self.vimd.list("networks", f"name={body['name']}")), 1)
        # Another project's key of the same name is another key.
        other = self.vimd.user("member", project="other")
        answer = other.post("/v1/networks", {**body, "name": unique("n")}, headers=key)
        self.assertIn(answer.status, (202, 201))
        self.assertNotEqual(other.task_of(answer), task)
        other.wait_task(other.task_of(answer))

    def test_a_keyed_change_of_labels_is_done_once(self):
        """It needs no task, and its entity tag is another one afterwards."""
        network = self.vimd.create("networks", self.world.body("networks"))
        service = self.vimd.must(self.vimd.post("/v1/network-services", {
            "vim": "edge1", "name": unique("ns"), "virtual_links": {"a": {}}}, wait=30), 201).json
        for path in (f"/v1/networks/{network['id']}", f"/v1/network-services/{service['id']}"):
            headers = {"If-Match": self.vimd.get(path).headers["ETag"],
                       "Idempotency-Key": unique("key")}
            patch = {"labels": {"tier": "core"}}
            first = self.vimd.must(self.vimd.patch(path, patch, headers=headers), 200)
            self.assertIsNone(first.headers["Idempotent-Replayed"])
            self.vimd.must(self.vimd.patch(path, {"labels": {"other": "later"}}), 200)
            again = self.vimd.must(self.vimd.patch(path, patch, headers=headers), 200)
            self.assertEqual(again.headers["Idempotent-Replayed"], "true")
            now = self.vimd.get(path)
            self.assertEqual(again.json["labels"], {"tier": "core", "other": "later"})
            self.assertEqual(again.headers["ETag"], now.headers["ETag"])
            self.problem(self.vimd.patch(path, {"labels": {"tier": "edge"}}, headers=headers), 422)
            self.problem(self.vimd.patch(path, patch, headers={
                **headers, "Idempotency-Key": unique("key")}), 412)
            answers = vimd.many(lambda _, path=path, key=unique("key"): self.vimd.patch(
                path, {"labels": {"storm": key}}, headers={"Idempotency-Key": key}), range(16))
            self.assertEqual({answer.status for answer in answers}, {200})
            fresh = [one for one in answers if not one.headers["Idempotent-Replayed"]]
            self.assertEqual(len(fresh), 1, "one of them did it")
        self.vimd.must(self.vimd.delete(f"/v1/network-services/{service['id']}", wait=30), 204)

    def test_a_keyed_delete_of_a_mere_row_is_done_once(self):
        body = {"vim": "edge1", "name": unique("s"), "image": self.world.image["id"],
                "flavor": self.world.flavor["id"], "zone": "no-such-zone"}
        task = self.vimd.wait_task(self.vimd.task_of(self.vimd.post("/v1/servers", body)))
        self.assertNotEqual(task["state"], "succeeded")
        path = f"/v1/servers/{target_id(task)}"
        headers = {"Idempotency-Key": unique("key"), "If-Match": self.vimd.get(path).headers["ETag"]}
        first = self.vimd.must(self.vimd.delete(path, headers=headers), 204)
        again = self.vimd.must(self.vimd.delete(path, headers=headers), 204)
        self.assertEqual([one.headers["Idempotent-Replayed"] for one in (first, again)], [None, "true"])
        self.problem(self.vimd.delete(path), 404)

    def test_idempotent_storm(self):
        body = self.world.body("networks")
        key = {"Idempotency-Key": unique("key")}
        answers = vimd.many(lambda _: self.vimd.post("/v1/networks", body, headers=key), range(24))
        tasks = {self.vimd.task_of(answer) for answer in answers if answer.status == 202}
        self.assertEqual({answer.status for answer in answers} - {200, 201, 202}, set(), answers)
        self.assertEqual(len(tasks), 1)
        self.vimd.wait_task(tasks.pop())
        self.assertEqual(len(self.vimd.list("networks", f"name={body['name']}")), 1)

    def test_delete_twice_and_conflicts(self):
        server = self.vimd.create("servers", self.world.server())
        path = f"/v1/servers/{server['id']}"
        first = self.vimd.delete(path)
        second = self.vimd.delete(path)
        self.assertEqual(first.status, 202)
        # The second asked for what is under way, or came too late.
        self.assertIn(second.status, (202, 404, 409), second)
        self.assertEqual(self.vimd.wait_task(self.vimd.task_of(first))["state"], "succeeded")
        self.problem(self.vimd.get(path), 404)

    def test_dry_run(self):
        name = unique("dry")
        answer = self.vimd.post("/v1/servers?dryRun=true", self.world.server(name=name))
        self.vimd.must(answer, 200)
        answer = self.vimd.post("/v1/servers?dryRun=true", {"vim": "edge1", "name": name})
        self.problem(answer, 422)
        self.assertEqual(self.vimd.list("servers", f"name={name}"), [])
        self.assertNotIn(name, self.vimd.must(self.vimd.get("/v1/tasks?limit=1000"), 200)
                         .body.decode())


class Tasks(OnMock):
    def test_long_poll_returns_when_it_ends(self):
        answer = self.vimd.post("/v1/servers", self.world.server())
        task = self.vimd.task_of(answer)
        shown = self.vimd.must(self.vimd.get(f"/v1/tasks/{task}?wait=60"), 200).json
        self.assertEqual(shown["state"], "succeeded", "it waited until the end")
        self.vimd.remove("servers", target_id(shown))

    def test_long_poll_gives_up(self):
        shown = self.vimd.must(self.vimd.get(f"/v1/tasks/{NO_SUCH}?wait=1"), 404)
        self.assertEqual(shown.status, 404)
        self.problem(self.vimd.get(f"/v1/tasks/{NO_SUCH}?wait=soon"), 400)

    def test_list_and_filter(self):
        network = self.vimd.create("networks", self.world.body("networks"))
        mine = [task for task in self.vimd.list("tasks", "state=succeeded")
                if target_id(task) == network["id"]]
        self.assertEqual(len(mine), 1)
        self.vimd.remove("networks", network["id"])
        kept = [task for task in self.vimd.list("tasks") if target_id(task) == network["id"]]
        self.assertEqual(len(kept), 2, "tasks outlive resources")

    def test_cancel_of_what_has_ended(self):
        network = self.vimd.create("networks", self.world.body("networks"))
        task = next(task["id"] for task in self.vimd.list("tasks")
                    if target_id(task) == network["id"])
        for verb in ("cancel", "retry"):
            self.problem(self.vimd.post(f"/v1/tasks/{task}/{verb}"), 409)
            self.problem(self.vimd.post(f"/v1/tasks/{NO_SUCH}/{verb}"), 404)
        self.vimd.remove("networks", network["id"])


if __name__ == "__main__":
    unittest.main(verbosity=2)

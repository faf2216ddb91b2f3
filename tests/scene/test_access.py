"""Who may do what: tokens, roles, projects; and requests that are refused before they matter."""
import json
import unittest

import vimd
from vimd import Scene, mock, unique
from world import World

NO_SUCH = "00000000-0000-4000-8000-00000000dead"


class Access(Scene):
    vims = [mock("edge1", build="20ms")]

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.world = World(cls.vimd)

    def problem(self, answer, status):
        self.assertEqual(answer.status, status, answer)
        self.assertEqual(answer.headers.get_content_type(), "application/problem+json")
        self.assertEqual(answer.json["status"], status)
        return answer.json

    def test_without_a_good_token(self):
        good = self.vimd.token
        head, secret = good.rsplit("_", 1)
        bad = {"none": "", "nonsense": "nonsense", "empty secret": head + "_",
               "wrong secret": head + "_" + secret[:-1] + ("0" if secret[-1] != "0" else "1"),
               "unknown id": "vimd_" + NO_SUCH + "_" + secret, "long": "vimd_" + "a" * 5000}
        for what, token in bad.items():
            with self.subTest(what=what):
                client = vimd.Client(self.vimd.port, token)
                answer = client.get("/v1/servers")
                self.assertIn(answer.status, (401, 431) if what == "long" else (401,))
                if answer.status == 401:
                    self.assertIn("Bearer", answer.headers["WWW-Authenticate"])
                    self.problem(answer, 401)
                self.assertIn(client.post("/v1/networks", {"vim": "edge1"}).status, (401, 431))
        basic = vimd.Client(self.vimd.port).get("/v1/servers", headers={
            "Authorization": "Basic Zm9vOmJhcg=="})
        self.assertEqual(basic.status, 401)
        self.assertEqual(vimd.Client(self.vimd.port).get("/healthz").status, 200)
        self.assertIn(vimd.Client(self.vimd.port).get("/no/such/path").status, (401, 404))

    def test_reader_may_only_read(self):
        reader = self.vimd.user("reader")
        self.assertEqual(reader.get("/v1/networks").status, 200)
        self.assertEqual(reader.get(f"/v1/networks/{self.world.network['id']}").status, 200)
        self.problem(reader.post("/v1/networks", self.world.body("networks")), 403)
        path = f"/v1/networks/{self.world.network['id']}"
        self.problem(reader.patch(path, {"description": "x"}), 403)
        self.problem(reader.delete(path), 403)
        self.assertEqual(self.vimd.get(path).status, 200)

    def test_member_works_in_its_project(self):
        member = self.vimd.user("member")
        made = member.create("networks", self.world.body("networks"))
        member.remove("networks", made["id"])

    def test_another_projects_things_do_not_exist(self):
        stranger = self.vimd.user("member", project="elsewhere")
        mine = self.vimd.create("networks", self.world.body("networks"))
        path = f"/v1/networks/{mine['id']}"
        task = next(task for task in self.vimd.list("tasks")
                    if vimd.target_id(task) == mine["id"])
        self.problem(stranger.get(path), 404)
        self.problem(stranger.patch(path, {"description": "x"}), 404)
        self.problem(stranger.delete(path), 404)
        self.problem(stranger.get(f"/v1/tasks/{task['id']}"), 404)
        self.problem(stranger.post(f"/v1/tasks/{task['id']}/cancel"), 404)
        self.assertNotIn(mine["id"], json.dumps(stranger.list("networks")))
        self.assertNotIn(task["id"], json.dumps(stranger.list("tasks")))
        answer = stranger.post("/v1/ports", {"vim": "edge1", "name": unique("p"),
                                             "network": mine["id"]})
        self.assertIn(answer.status, (422, 404), "another project's network cannot be referred to")
        self.vimd.remove("networks", mine["id"])

    def test_a_key_opens_nothing_of_another_project(self):
        """An administrator works for another project under a key; the same key and body show nothing of that
        to a member of the administrator's own project."""
        key, body = {"Idempotency-Key": unique()}, {"vim": "edge1", "name": unique(), "project": "third"}
        made = self.vimd.post("/v1/networks", body, wait=30, headers=key)
        self.assertEqual(made.status, 201, made)
        self.assertEqual(self.vimd.post("/v1/networks", body, wait=30, headers=key).status, 201)
        answer = self.vimd.user("member").post("/v1/networks", body, wait=30, headers=key)
        self.assertEqual(self.problem(answer, 422)["code"], "idempotency-mismatch")
        self.assertNotIn(made.json["id"].encode(), answer.body)
        self.vimd.remove("networks", made.json["id"])

    def test_unknown_roles_and_projects_at_token_create(self):
        for words in (("--role", "king"), ("--project", "")):
            base = {"--project": "demo", "--role": "member", "--name": unique("t")}
            base[words[0]] = words[1]
            done = self.vimd.run("--config", str(self.vimd.config_path), "token", "create",
                                 *[word for pair in base.items() for word in pair])
            self.assertNotEqual(done.returncode, 0, words)
            self.assertNotIn("vimd_", done.stdout)
            self.assertTrue(done.stderr)

    def test_tokens_are_stored_as_digests(self):
        secret = self.vimd.token.rsplit("_", 1)[1].encode()
        for path in self.vimd.state.rglob("*"):
            if path.is_file():
                self.assertNotIn(secret, path.read_bytes(), path)
                self.assertEqual(path.stat().st_mode & 0o077, 0, f"{path} is for nobody else")

    def test_methods(self):
        for method, path in (("PUT", "/v1/networks"), ("DELETE", "/v1/networks"),
                             ("POST", f"/v1/networks/{self.world.network['id']}"),
                             ("PATCH", "/v1/version"), ("POST", "/healthz")):
            answer = self.vimd.request(method, path, body={} if method != "DELETE" else None)
            self.problem(answer, 405)
            self.assertIn("GET", answer.headers["Allow"], (method, path))
        self.assertIn(self.vimd.request("BREW", "/v1/networks").status, (405, 501))

    def test_unknown_paths(self):
        for path in ("/v1/nothing", "/v1/", "/", "/v2/servers", "/v1/servers/x/y/z",
                     "/v1/servers/..%2f..%2fetc%2fpasswd", "/v1//servers"):
            self.assertEqual(self.vimd.get(path).status, 404, path)
        self.problem(self.vimd.get(f"/v1/servers/{NO_SUCH}"), 404)
        self.problem(self.vimd.get("/v1/servers/not-an-id"), 404)

    def test_a_target_in_absolute_form(self):
        """As clients send it that take this for a proxy."""
        for path in ("/v1/whoami", "/v1/networks?limit=1"):
            answer = self.vimd.get(f"http://127.0.0.1:{self.vimd.port}{path}")
            self.assertEqual(answer.status, 200, answer)
        self.assertIn("the target has a fragment",
                      self.problem(self.vimd.get("/v1/networks#x"), 400)["detail"])

    def test_content_types(self):
        answer = self.vimd.request("POST", "/v1/networks", body="vim: edge1",
                                   headers={"Content-Type": "application/yaml"})
        self.problem(answer, 415)
        answer = self.vimd.request("POST", "/v1/networks", body=json.dumps(
            self.world.body("networks")), headers={
                "Content-Type": "application/json; charset=utf-8"})
        self.assertEqual(answer.status, 202)
        self.vimd.wait_task(self.vimd.task_of(answer))
        for coding in ("gzip", "br, gzip"):
            answer = self.vimd.post("/v1/networks", self.world.body("networks"),
                                    headers={"Content-Encoding": coding})
            self.problem(answer, 415)
        answer = self.vimd.post("/v1/networks?dryRun=true", self.world.body("networks"),
                                headers={"Content-Encoding": "identity"})
        self.assertEqual(answer.status, 200)
        image = self.vimd.create("images", {"vim": "edge1", "name": unique(), "disk_format": "raw"})
        answer = self.vimd.put(f"/v1/images/{image['id']}/data", b"\x1f\x8b", headers={
            "Content-Type": "application/octet-stream", "Content-Encoding": "gzip"})
        self.problem(answer, 415)
        for accept in ("application/json", "*/*", "application/*;q=0.5, text/html",
                       "application/problem+json, application/json"):
            self.assertEqual(self.vimd.get("/v1/networks", headers={"Accept": accept}).status, 200)
        for accept in ("text/html", "application/json;q=0, */*"):
            self.problem(self.vimd.get("/v1/networks", headers={"Accept": accept}), 406)
            # Nothing is done for somebody who could not read what came of it.
            answer = self.vimd.post("/v1/networks", {"vim": "edge1", "name": "unread"},
                                    headers={"Accept": accept})
            self.problem(answer, 406)
        self.assertEqual(self.vimd.list("networks", "name=unread"), [])
        self.assertEqual(self.vimd.get("/metrics", headers={"Accept": "text/plain"}).status, 200)

    def test_wrong_bodies_tell_where(self):
        cases = [
            ({"vim": "edge1"}, None),
            ({"vim": "edge1", "name": "n", "mtu": "big"}, "/mtu"),
            ({"vim": "edge1", "name": "n", "status": "ACTIVE"}, "/status"),
            ({"vim": "edge1", "name": "n", "mtu": 7}, "/mtu"),
            ({"vim": "edge1", "name": "n" * 256}, "/name"),
            ({"vim": "edge1", "name": "n", "mtuu": 1500}, "/mtuu"),
            ({"vim": "edge1", "name": "n", "created": "2026-01-01T00:00:00Z"}, "/created"),
            ({"vim": "nowhere", "name": "n"}, "/vim"),
            ({"vim": "edge1", "name": "n", "labels": {"a": 1}}, "/labels/a"),
        ]
        for body, pointer in cases:
            with self.subTest(body=str(body)[:60]):
                answer = self.vimd.post("/v1/networks", body)
                if pointer is None:
                    self.assertIn(answer.status, (202, 422))
                    continue
                errors = self.problem(answer, 422)["errors"]
                self.assertIn(pointer, [error["pointer"] for error in errors])
        server = self.world.server(networks=[{"network": self.world.network["id"], "port": NO_SUCH}])
        errors = self.problem(self.vimd.post("/v1/servers", server), 422)["errors"]
        self.assertTrue(errors[0]["pointer"].startswith("/networks/0"), errors)
        near = self.problem(self.vimd.post("/v1/networks", {"vim": "edge1", "name": "n",
                                                            "mtuu": 1500}), 422)
        self.assertIn("mtu", near["errors"][0]["detail"].replace("mtuu", ""))

    def test_broken_json(self):
        for text in ('{"vim": "edge1"', "[]", "null", "1", '{"vim": "edge1", "vim": "edge1"}',
                     '{"a": ' * 100 + "1" + "}" * 100, '{"name": "\xff"}'):
            answer = self.vimd.request("POST", "/v1/networks", body=text.encode("latin-1"),
                                       headers={"Content-Type": "application/json"})
            self.problem(answer, 422 if text in ("[]", "null", "1") else 400)

    def test_preferences(self):
        for value in ("wait=-1", "wait=soon", "wait", "gardening", "wait=99999999999999999999"):
            answer = self.vimd.post("/v1/networks", self.world.body("networks"),
                                    headers={"Prefer": value})
            self.assertIn(answer.status, (201, 202, 400), value)
            if answer.status == 202:
                self.vimd.wait_task(self.vimd.task_of(answer))


if __name__ == "__main__":
    unittest.main(verbosity=2)

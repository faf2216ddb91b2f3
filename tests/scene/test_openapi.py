"""/openapi.json and what is served are the same: every path and method is called, and what comes
back is held against the answer that the document describes for that status."""
import json
import re
import unittest

import vimd
from schema import Validator
from vimd import Scene, mock, target_id
from world import PLURALS, UPDATES, World, upload

NO_SUCH = "00000000-0000-4000-8000-00000000dead"
METHODS = ("get", "put", "post", "patch", "delete", "head")


class Openapi(Scene):
    vims = [mock("edge1", build="20ms")]

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.world = World(cls.vimd)
        cls.document = cls.vimd.must(cls.vimd.get("/openapi.json"), 200).json
        cls.validator = Validator(cls.document)

    # Holding an answer against the document

    def template(self, path):
        path = path.split("?")[0]
        fits = [template for template in self.document["paths"]
                if re.fullmatch(re.sub(r"\{[^}]+\}", "[^/]+", template), path)]
        exact = [template for template in fits if template == path]
        self.assertTrue(fits, f"{path} is not in the document")
        return (exact or fits)[0]

    def hold(self, method, path, answer):
        operation = self.document["paths"][self.template(path)].get(method.lower())
        self.assertIsNotNone(operation, f"{method} {path} is not in the document")
        responses = operation["responses"]
        status = str(answer.status)
        response = responses.get(status) or responses.get(status[0] + "XX") or \
            responses.get("default")
        self.assertIsNotNone(response, f"{method} {path}: {status} is not described")
        response = self.validator.resolve(response)
        for name, header in response.get("headers", {}).items():
            if self.validator.resolve(header).get("required"):
                self.assertIn(name, answer.headers, f"{method} {path} {status}")
        content = response.get("content", {})
        if not content:
            self.assertEqual(answer.body, b"", f"{method} {path} {status} has no body described")
            return answer
        kind = answer.headers.get_content_type()
        self.assertIn(kind, content, f"{method} {path} {status}")
        if kind.endswith("json") and "schema" in content[kind]:
            wrong = self.validator.check(answer.json, content[kind]["schema"])
            self.assertEqual(wrong, [], f"{method} {path} {status}: {answer!r}")
        return answer

    def call(self, method, path, body=None, **keywords):
        return self.hold(method, path, self.vimd.request(method, path, body=body, **keywords))

    # Scenes

    def test_the_document_itself(self):
        self.assertTrue(self.document["openapi"].startswith("3.1"))
        self.assertTrue(self.document["info"]["version"])
        seen = set()
        for path, item in self.document["paths"].items():
            for method, operation in item.items():
                if method not in METHODS:
                    continue
                self.assertTrue(operation.get("responses"), (path, method))
                name = operation.get("operationId")
                self.assertTrue(name, (path, method))
                self.assertNotIn(name, seen)
                seen.add(name)
                parameters = [self.validator.resolve(each) for each in
                              item.get("parameters", []) + operation.get("parameters", [])]
                named = {each["name"] for each in parameters if each["in"] == "path"}
                self.assertEqual(named, set(re.findall(r"\{([^}]+)\}", path)), (path, method))
        self.check_references(self.document)

    def check_references(self, value):
        if isinstance(value, dict):
            if isinstance(value.get("$ref"), str):
                self.validator.resolve({"$ref": value["$ref"]})
            for item in value.values():
                self.check_references(item)
        elif isinstance(value, list):
            for item in value:
                self.check_references(item)

    def test_every_path_answers_as_described(self):
        """Every GET with an id that exists where there is one; everything else as it comes."""
        ids = {"flavors": self.world.flavor["id"], "images": self.world.image["id"],
               "networks": self.world.network["id"], "subnets": self.world.subnet["id"],
               "vims": "edge1", "tasks": self.vimd.list("tasks")[0]["id"]}
        called = 0
        for template, item in self.document["paths"].items():
            plural = template.split("/")[2] if template.startswith("/v1/") else ""
            path = re.sub(r"\{[^}]+\}", ids.get(plural, NO_SUCH), template)
            missing = re.sub(r"\{[^}]+\}", NO_SUCH, template)
            # A stream has no end: its answers are held to the page in the scene of events.
            if "get" in item and not path.endswith("/stream"):
                answer = self.call("GET", path)
                self.assertIn(answer.status, (200, 204) if NO_SUCH not in path else (200, 404),
                              (path, answer))
                called += 1
                if missing != path:
                    self.assertEqual(self.call("GET", missing).status, 404, missing)
            for method in ("post", "patch", "put", "delete"):
                if method not in item:
                    continue
                body = {} if method != "delete" else None
                answer = self.call(method.upper(), missing, body)
                self.assertIn(answer.status, range(200, 500), (method, missing, answer))
                called += 1
        self.assertGreater(called, 40)

    def test_lives_as_described(self):
        for plural in PLURALS:
            with self.subTest(plural=plural):
                base = f"/v1/{plural}"
                self.call("POST", base, {})
                answer = self.call("POST", base, self.world.body(plural))
                task = self.vimd.wait_task(self.vimd.task_of(answer))
                self.call("GET", f"/v1/tasks/{task['id']}")
                path = f"{base}/{target_id(task)}"
                answer = self.call("GET", path)
                tag = answer.headers["ETag"]
                self.call("GET", path, headers={"If-None-Match": tag})
                self.call("GET", path + "?fresh=true")
                self.call("GET", base + "?limit=1")
                if plural in UPDATES:
                    self.call("PATCH", path, {"nonsense": 1})
                    self.call("PATCH", path, UPDATES[plural], headers={"Prefer": "wait=30"})
                if plural == "images":
                    self.call("PUT", path + "/data", b"x" * 100, headers={
                        "Content-Type": "application/octet-stream", "Prefer": "wait=30"})
                if plural == "servers":
                    self.call("POST", path + "/actions", {"action": "stop"},
                              headers={"Prefer": "wait=30"})
                    self.call("POST", path + "/actions", {"action": "stop", "type": 1})
                self.call("DELETE", path, headers={"If-Match": '"x"'})
                self.call("DELETE", path, headers={"Prefer": "wait=30"})
                self.call("GET", path)

    def test_sync_and_dry_run_as_described(self):
        answer = self.call("POST", "/v1/networks", self.world.body("networks"),
                           headers={"Prefer": "wait=30"})
        self.assertEqual(answer.status, 201)
        self.call("POST", "/v1/networks?dryRun=true", self.world.body("networks"))
        self.call("DELETE", f"/v1/networks/{answer.json['id']}", headers={"Prefer": "wait=30"})

    def test_errors_as_described(self):
        self.call("GET", "/v1/networks?limit=x")
        self.call("GET", "/v1/networks", token="nonsense")
        self.call("GET", "/v1/networks", headers={"Accept": "image/png"})
        self.call("POST", "/v1/networks", "x", headers={"Content-Type": "text/plain"})
        reader = self.vimd.user("reader")
        self.call("POST", "/v1/networks", self.world.body("networks"), token=reader.token)

    def test_requests_are_checked_as_described(self):
        """What the document's own schema refuses is refused, and what it allows is not."""
        for plural in PLURALS:
            operation = self.document["paths"][f"/v1/{plural}"]["post"]
            body = self.validator.resolve(operation["requestBody"])
            schema = body["content"]["application/json"]["schema"]
            good = self.world.body(plural)
            self.assertEqual(self.validator.check(good, schema), [], plural)
            self.assertNotEqual(self.validator.check({**good, "nonsense": 1}, schema), [], plural)
            self.assertNotEqual(self.validator.check({}, schema), [], plural)


if __name__ == "__main__":
    unittest.main(verbosity=2)

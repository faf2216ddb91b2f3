"""Roles on the command line and in the file, what each needs, and what a process of the API alone is not."""
import os
import pathlib
import re
import unittest

import vimd
from vimd import SOURCE, Client, Vimd, free_port, mock, wait_for

SECRET = "0123456789abcdef0123"


class Roles(unittest.TestCase):
    def setUp(self):
        self.vimd = Vimd(vims=[mock()], name="roles")
        self.addCleanup(self.vimd.close)

    def check(self, settings, *words, file=None):
        self.vimd.settings = settings
        self.vimd.write_config()
        path = file or self.vimd.config_path
        return self.vimd.run("--config", str(path), "--check-config", *words)

    def refused(self, settings, words, pattern):
        done = self.check(settings, *words)
        self.assertEqual(done.returncode, 1, done)
        self.assertRegex(done.stderr, pattern)

    def good(self, settings, *words):
        done = self.check(settings, *words)
        self.assertEqual(done.returncode, 0, done)
        return done

    def test_command_line(self):
        self.assertIn("--role R,...", self.vimd.run("--help").stdout)
        self.assertIn("roles", self.vimd.run("--describe", "daemon").stdout)
        self.assertIn("tls_ca", self.vimd.run("--describe", "link").stdout)
        for words, part in ((["--role", "scalar"], "'scalar' is not a role; api, logic, worker and scaler are"),
                            (["--role", "api,king"], "'king' is not a role"),
                            (["--role", "api,"], "'' is not a role"),
                            (["--describe", "--role", "api"], "does not belong here")):
            done = self.vimd.run("--config", str(self.vimd.config_path), *words)
            self.assertEqual(done.returncode, 2, done)
            self.assertIn(part, done.stderr)

    def test_what_roles_need(self):
        link = {"logic": ["127.0.0.1:1"], "listen": ["127.0.0.1:8790"], "secret": SECRET}
        path = re.escape(str(self.vimd.config_path))
        self.refused({}, ["--role", "api"], "the role api without logic needs link: logic")
        self.refused({}, ["--role", "logic"], "the role logic without api needs link: listen")
        self.refused({"roles": ["worker", "king"]}, [], rf"{path}:\d+:\d+: roles\[1\]: 'king' is not a role")
        self.refused({}, ["--role", "scaler"], "need a store that they share")
        self.refused({}, ["--role", "api,logic,worker,scaler"], "the role scaler needs services: ")
        self.refused({"link": link, "roles": ["logic"]}, [], "need a store that they share")
        self.refused({"link": {**link, "secret": "short"}}, ["--role", "api"],
                     rf"{path}:\d+:\d+: link\.secret: not 16 to")
        self.refused({"link": {"logic": ["127.0.0.1:1"]}}, ["--role", "api"], "secret is missing")
        self.refused({"link": {**link, "listen": ["0.0.0.0:8790"]}}, [], "is not on this host")
        self.refused({"link": {**link, "logic": ["logic.example:8790"]}}, [], "is not on this host")
        self.refused({"link": {**link, "logic": ["nonsense"]}}, [], "is not ADDRESS:PORT")
        self.refused({"link": {**link, "tls_ca": "/x"}}, [], "belong together")
        self.refused({"health": {"listen": "somewhere"}}, [], "is not ADDRESS:PORT")
        self.good({"link": {**link, "logic": ["logic.example:8790"], "insecure": True}})
        self.good({"link": link}, "--role", "api")
        self.good({"link": link, "roles": ["api"]})
        # The command line counts more than the file.
        self.good({"link": link, "roles": ["logic"]}, "--role", "api,logic,worker")
        # Not needed, and checked all the same.
        self.refused({"link": link, "store": {"plugin": "store-sqlite", "options": {"pth": "x"}}},
                     ["--role", "api"], "pth: unknown key; did you mean path")
        shown = self.vimd.run("--config", str(self.vimd.config_path), "--dump-config", "--role",
                              "api,logic,worker")
        self.assertNotIn(SECRET, shown.stdout + shown.stderr)

    def test_tokens_need_the_store(self):
        link = {"logic": ["127.0.0.1:1"], "secret": SECRET}
        path = re.escape(str(self.vimd.config_path))
        for settings in ({"link": link}, {"link": {**link, "listen": ["127.0.0.1:8790"]}, "roles": ["api"]}):
            self.vimd.settings = settings
            self.vimd.write_config()
            for words in (["create", "--project", "demo", "--role", "member", "--name", "n"], ["list"]):
                done = self.vimd.run("--config", str(self.vimd.config_path), "token", *words)
                self.assertEqual((done.returncode, done.stdout), (1, ""), done)
                self.assertRegex(done.stderr, rf"{path}:\d+:\d+: .*without a store: .*of one of them")
        self.assertFalse(list(self.vimd.folder.rglob("*.db")), "a store was made")

    def test_example(self):
        file = SOURCE / "etc" / "vimd-apart.yaml"
        self.vimd.env = {"VIMD_LINK_SECRET": SECRET}
        for role in ("api", "logic", "worker"):
            done = self.check({}, "--role", role, file=file)
            self.assertEqual((done.returncode, done.stderr), (0, ""), done)
        self.vimd.env = {}
        done = self.check({}, "--role", "api", file=file)
        self.assertEqual(done.returncode, 1, done)
        self.assertIn("VIMD_LINK_SECRET", done.stderr)

    def test_addresses_that_a_reload_takes_away(self):
        link = {"listen": [f"127.0.0.1:{free_port()}"], "secret": SECRET}
        self.vimd.settings = {"link": link}
        self.vimd.write_config()
        self.vimd.start()
        self.vimd.settings = {}
        self.vimd.write_config()
        self.vimd.reload()
        wait_for(lambda: "event=reloaded" in self.vimd.log(), "a reload")
        self.assertRegex(self.vimd.log(), "a restart is needed.* section=link options=\"?[a-z ]*listen")
        self.assertEqual(self.vimd.get("/v1/version").status, 200)
        self.vimd.stop()
        self.vimd.check_log()

    def test_api_alone(self):
        """No store, no queue, no driver; it says what it misses, and ends when it is told to."""
        port = free_port()
        self.vimd.vims = []
        self.vimd.settings = {"roles": ["api"], "health": {"listen": f"127.0.0.1:{port}"},
                              "link": {"logic": [f"127.0.0.1:{free_port()}"], "secret": SECRET}}
        self.vimd.write_config()
        self.vimd.start(ready=False)
        health = Client(port)
        self.addCleanup(health.close)

        def answers():
            try:
                return health.get("/healthz").status == 200
            except OSError:
                return False

        wait_for(answers, "/healthz")
        ready = health.get("/readyz")
        self.assertEqual(ready.status, 503)
        self.assertIn("no logic process answers", ready.json["detail"]["logic"])
        self.assertEqual(health.get("/metrics").status, 404)
        self.assertEqual(health.get("/v1/servers").status, 404)
        answer = self.vimd.client.get("/v1/servers", token="vimd_nobody")
        self.assertEqual(answer.status, 503, answer)
        self.assertTrue(answer.headers["Retry-After"])
        self.assertEqual(self.vimd.client.get("/openapi.json").status, 200)
        maps = pathlib.Path(f"/proc/{self.vimd.process.pid}/maps").read_text(encoding="utf-8")
        for library in ("libpq", "libsqlite", "libhiredis", "libcurl", "store-", "queue-", "mock"):
            self.assertNotIn(library, maps)
        files = os.listdir(self.vimd.state)
        self.assertEqual(sorted(files), ["spool", "vimd.lock"])
        self.vimd.reload()
        wait_for(lambda: "event=reloaded" in self.vimd.log(), "a reload")
        self.vimd.stop()
        self.vimd.check_log()
        self.assertNotIn(SECRET, self.vimd.log())


if __name__ == "__main__":
    unittest.main(verbosity=2)

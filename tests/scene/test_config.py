"""Configuration: every mistake is told with its place, secrets stay secret, a reload drops nothing."""
import os
import resource
import shutil
import socket
import subprocess
import threading
import time
import unittest

import vimd
from vimd import Vimd, mock, unique, wait_for

GOOD = """state_dir: {folder}/state
plugin_dir: {plugins}
api:
  listen: "127.0.0.1:{port}"
vims:
  - name: edge1
    driver: mock
    project: demo
    options:
      seed: 7
"""

# What is wrong; the place "line:column" (a column of 0 is any); words that have to be told.
MISTAKES = [
    ("api:\n  prot: 1\n", "2:3", ["prot"]),
    ("api:\n  listn: 127.0.0.1:1\n", "2:3", ["listn", "listen"]),
    ("apy:\n  listen: 127.0.0.1:1\n", "1:1", ["apy", "api"]),
    ("api:\n  threads: many\n", "2:12", ["threads", "many"]),
    ("api:\n  threads: 65\n", "2:12", ["threads", "64"]),
    ("api:\n  idle_timeout: 3 weeks\n", "2:17", ["idle_timeout"]),
    ("api:\n  body_max: -1\n", "2:13", ["body_max"]),
    ("api:\n  insecure: maybe\n", "2:13", ["insecure", "true"]),
    ("api:\n  listen: nowhere\n", "2:0", ["listen"]),
    ("api:\n  listen: 0.0.0.0:8780\n", "2:0", ["TLS"]),
    ("api:\n  tls_certificate: /no/such.pem\n", "2:0", ["tls"]),
    ("api: 7\n", "1:6", ["api"]),
    ("api:\n  listen: [a]\n", "2:0", ["listen"]),
    ("log:\n  level: loud\n", "2:10", ["level", "debug"]),
    ("log:\n  level: ${{env:NO_SUCH_VARIABLE}}\n", "2:0", ["NO_SUCH_VARIABLE"]),
    ("log:\n  level: ${{file:/no/such/file}}\n", "2:0", ["/no/such/file"]),
    ("log: {{level: info\n", "", []),
    ("log:\n\tlevel: info\n", "2:", []),
    ("log:\n  level: info\nlog:\n  level: info\n", "3:1", ["log"]),
    ("log: &a {{level: info}}\n", "1:", []),
    ("vims:\n  - name: edge1\n    project: demo\n", "2:", ["driver"]),
    ("vims:\n  - driver: mock\n    project: demo\n", "2:", ["name"]),
    ("vims:\n  - name: Edge 1\n    driver: mock\n    project: demo\n", "2:11", ["name"]),
    ("vims:\n  - {{name: a, driver: mock, project: demo}}\n"
     "  - {{name: a, driver: mock, project: demo}}\n", "3:0", ["a"]),
    ("vims:\n  - name: edge1\n    driver: mock\n    project: demo\n    options:\n"
     "      seeed: 1\n", "6:7", ["seeed", "seed"]),
    ("vims:\n  - name: edge1\n    driver: mock\n    project: demo\n    options:\n"
     "      latency_distribution: wild\n", "6:29", ["exponential"]),
    ("vims:\n  - name: edge1\n    driver: openstack\n    project: demo\n    options:\n"
     "      username: x\n", "", ["auth_url"]),
    ("vims:\n  - name: edge1\n    driver: no-such-driver\n    project: demo\n", "3:13",
     ["no-such-driver"]),
    ("vims:\n  - name: edge1\n    driver: store-sqlite\n    project: demo\n", "3:13",
     ["store-sqlite"]),
    ("store:\n  plugin: no-such-store\n", "2:11", ["no-such-store"]),
    ("store:\n  options:\n    durabilty: power\n", "3:5", ["durabilty", "durability"]),
    ("vims: many\n", "1:7", ["vims"]),
    ("roles: [api, logik]\n", "1:14", ["roles[1]", "logik"]),
    ("roles:\n  - logic\n  -   wroker\n", "3:7", ["wroker"]),
    ("spool_dir: /etc/passwd\n", "1:12", ["spool_dir: /etc/passwd is not a folder"]),
    # Where the key is, and not where its section begins.
    ("api:\n  threads: 2\n  listen: 127.0.0.1:70000\n", "3:11", ["api.listen: ", "70000"]),
    ("link:\n  queue: 5\n  secret: short\n", "3:11", ["link.secret: "]),
    ("api:\n  threads:\n", "2:11", ["expected an integer, got nothing"]),
    ("API:\n  threads: 2\n", "1:1", ["did you mean api?"]),
    # A byte order mark moves nothing.
    ("\ufeffapi:\n  prot: 1\nlog:\n  level: loud\n", "2:3", ["prot", "level"]),
    ("- a\n- b\n", "1:", []),
]


class Files(unittest.TestCase):
    """Checks that need no running daemon."""

    def setUp(self):
        self.daemon = Vimd(name="config")
        self.addCleanup(self.daemon.close)

    def write(self, text, base=False):
        known = {"folder": self.daemon.folder, "port": self.daemon.port,
                 "plugins": self.daemon.build / "plugins"}
        self.daemon.write_config(text.format(**known))
        return str(self.daemon.config_path)

    def check(self, *words, env=None):
        return self.daemon.run("--config", str(self.daemon.config_path), *words, env=env)

    def test_a_good_file(self):
        self.write(GOOD)
        done = self.check("--check-config")
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_every_mistake_has_its_place(self):
        for text, place, words in MISTAKES:
            with self.subTest(text=text):
                # What the mistake is not about comes behind it, so that lines stay as they are.
                rest = "" if text.startswith("- ") else \
                    "state_dir: {folder}/state\nplugin_dir: {plugins}\n"
                self.write(text + rest)
                done = self.check("--check-config")
                self.assertNotEqual(done.returncode, 0, "it was taken")
                lines = [line for line in done.stderr.splitlines() if "vimd.yaml:" in line
                         or line.startswith(str(self.daemon.config_path))]
                self.assertTrue(lines, done.stderr)
                wanted = place[:-1] if place.endswith(":0") else place
                wanted = wanted.rstrip(":")
                fits = [line for line in lines
                        if not wanted or f"vimd.yaml:{wanted}:" in line]
                self.assertTrue(fits, f"{place} is not told: {done.stderr}")
                for word in words:
                    self.assertIn(word, "\n".join(lines))

    def test_all_mistakes_at_once(self):
        self.write("api:\n  threads: x\n  prot: 1\nlog:\n  level: loud\n"
                   "state_dir: {folder}/state\nplugin_dir: {plugins}\n")
        done = self.check("--check-config")
        for place in ("2:12", "3:3", "5:10"):
            self.assertIn(f"vimd.yaml:{place}", done.stderr)

    def test_a_daemon_with_a_bad_file_does_not_start(self):
        self.write("api:\n  threads: x\nstate_dir: {folder}/new\nplugin_dir: {plugins}\n")
        done = self.check()
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("vimd.yaml:2:12", done.stderr)
        self.assertFalse((self.daemon.folder / "new").exists(), "nothing was made")

    def test_a_wrong_role_is_one_mistake(self):
        """What roles need is told of those that there are."""
        self.write("roles: [api, logik]\nstate_dir: {folder}/state\nplugin_dir: {plugins}\n")
        done = self.check("--check-config")
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)

    def test_what_a_start_finds_has_its_place_too(self):
        (self.daemon.folder / "file").write_text("")
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            for text, place, words in (
                    ("state_dir: {folder}/no/such\n", "1:12: state_dir: ", "cannot make the folder"),
                    ("state_dir: {folder}/file\n", "1:12: state_dir: ", "is not a folder"),
                    ("state_dir: {folder}/state\nspool_dir: {folder}/no/such\n",
                     "2:12: spool_dir: ", "cannot make the folder"),
                    (f"state_dir: {{folder}}/state\napi:\n  listen: 127.0.0.1:{port}\n",
                     "3:11: api.listen: ", "already in use"),
                    ("state_dir: {folder}/state\napi: {{listen: '127.0.0.1:{port}'}}\n"
                     f"health:\n  listen: 127.0.0.1:{port}\n", "4:11: health.listen: ",
                     "already in use"),
                    ("state_dir: {folder}/state\nvims:\n  - name: a\n    driver: openstack\n"
                     "    project: demo\n    options:\n      {{auth_url: 'http://u:hidden@h/v3', "
                     "username: u, password: abcd, project: p}}\n", "7:7: vims[0].options: ",
                     "auth_url has a user or a password in it")):
                with self.subTest(text=text):
                    self.write(text + "plugin_dir: {plugins}\n")
                    done = self.check()
                    self.assertEqual(done.returncode, 1)
                    self.assertIn(f"vimd.yaml:{place}", done.stderr)
                    self.assertIn(words, done.stderr.lower())
                    self.assertNotIn("hidden", done.stderr)

    def test_what_cannot_be_printed_was_not_done(self):
        self.write(GOOD)
        words = [self.daemon.program, "--config", str(self.daemon.config_path)]
        with open("/dev/full", "wb") as full:
            for more in (["--help"], ["--dump-config"], ["token", "list"],
                         ["token", "create", "--project", "p", "--role", "admin", "--name", "n"]):
                done = subprocess.run([*words, *more], stdout=full, stderr=subprocess.PIPE, text=True)
                self.assertEqual(done.returncode, 1, more)
                self.assertIn("No space left", done.stderr)
        self.assertEqual(len(self.check("token", "list").stdout.splitlines()), 1,
                         "a token that nobody has seen is there")

    def test_without_standard_files(self):
        """What is meant for them must not go into what has their numbers otherwise."""
        self.write(GOOD)
        process = subprocess.Popen(["sh", "-c", 'exec "$0" --config "$1" <&- >&- 2>&-', self.daemon.program,
                                    str(self.daemon.config_path)], start_new_session=True)
        try:
            client = vimd.Client(self.daemon.port)

            def serves():
                try:
                    return client.get("/healthz").status == 200
                except OSError:
                    return False

            wait_for(serves, "an answer")
            links = [os.readlink(f"/proc/{process.pid}/fd/{fd}") for fd in (0, 1, 2)]
            self.assertEqual(links, ["/dev/null"] * 3)
        finally:
            process.terminate()
            self.assertEqual(process.wait(60), 0)

    def test_too_few_files(self):
        self.write(GOOD)
        words = [self.daemon.program, "--config", str(self.daemon.config_path)]
        done = subprocess.run(words, capture_output=True, text=True, preexec_fn=lambda:
                              resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32)))
        self.assertEqual(done.returncode, 1)
        self.assertIn("32 files", done.stderr)
        self.assertIn("ulimit -n", done.stderr)

    def test_a_byte_order_mark_is_no_mistake(self):
        self.write("\ufeff" + GOOD)
        done = self.check("--check-config")
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_help_is_given_whatever_else_is_said(self):
        for words in (["token", "--help"], ["token", "create", "-h"], ["health", "--help"]):
            done = self.daemon.run(*words)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("token create --project", done.stdout)

    def test_no_file(self):
        for path in ("/no/such/vimd.yaml", str(self.daemon.folder)):
            done = self.daemon.run("--config", path, "--check-config")
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(path, done.stderr)
        done = self.daemon.run("--no-such-option")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("no-such-option", done.stderr)

    def test_dump_shows_no_secrets(self):
        secret_file = self.daemon.folder / "secret"
        secret_file.write_text("filesecret\n")
        secret_file.chmod(0o600)
        text = GOOD + """  - name: cloud
    driver: openstack
    project: demo
    options:
      auth_url: http://127.0.0.1:1/v3
      username: user
      password: "{password}"
      project: p
"""
        for password in ("plainsecret", "${{env:SCENE_SECRET}}", f"${{{{file:{secret_file}}}}}"):
            self.write(text.replace("{password}", password))
            done = self.check("--dump-config", env={"SCENE_SECRET": "envsecret"})
            self.assertEqual(done.returncode, 0, done.stderr)
            for secret in ("plainsecret", "envsecret", "filesecret"):
                self.assertNotIn(secret, done.stdout + done.stderr)
            self.assertIn("********", done.stdout)
            self.assertIn("http://127.0.0.1:1/v3", done.stdout)
            self.assertIn("username: user", done.stdout)

    def test_the_dump_can_be_read_again(self):
        self.write(GOOD)
        dumped = self.check("--dump-config")
        self.daemon.write_config(dumped.stdout)
        again = self.check("--dump-config")
        self.assertEqual(again.returncode, 0, again.stderr)
        self.assertEqual(again.stdout, dumped.stdout)

    def test_describe(self):
        self.write(GOOD)
        for name, words in (("mock", ["seed", "latency_mean", "2s"]),
                            ("openstack", ["auth_url", "required", "secret"]),
                            ("store-sqlite", ["durability"]), ("queue-memory", []),
                            ("api", ["listen", "127.0.0.1:8780"]), ("tasks", ["deadline"])):
            done = self.check("--describe", name)
            self.assertEqual(done.returncode, 0, (name, done.stderr))
            for word in words:
                self.assertIn(word, done.stdout.lower())
        done = self.check("--describe", "no-such-plugin")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("no-such-plugin", done.stderr)

    def test_the_commented_file_of_the_project_is_right(self):
        source = vimd.SOURCE / "etc" / "vimd.yaml"
        text = source.read_text()
        self.daemon.write_config(text)
        done = self.daemon.run("--config", str(self.daemon.config_path), "--check-config")
        self.assertEqual(done.returncode, 0, done.stderr)


class Plugins(unittest.TestCase):
    """A plugin that is missing or broken is told by its name, and the daemon does not start."""

    def setUp(self):
        self.daemon = Vimd(name="plugins")
        self.addCleanup(self.daemon.close)
        self.folder = self.daemon.folder / "plugins"
        shutil.copytree(self.daemon.build / "plugins", self.folder)

    def start_with(self, driver):
        self.daemon.vims = [{"name": "edge1", "driver": driver, "project": "demo"}]
        self.daemon.settings = {"plugin_dir": str(self.folder)}
        self.daemon.write_config()
        done = self.daemon.run("--config", str(self.daemon.config_path))
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(driver, done.stderr)
        return done.stderr

    def compile(self, name, code):
        source = self.daemon.folder / f"{name}.c"
        source.write_text(code)
        subprocess.run(["gcc", "-shared", "-fPIC", f"-I{vimd.SOURCE}/include", "-o",
                        str(self.folder / f"{name}.so"), str(source)], check=True)

    def test_missing(self):
        self.start_with("not-there")

    def test_not_a_shared_object(self):
        (self.folder / "text.so").write_text("no ELF")
        self.start_with("text")

    def test_no_entry(self):
        self.compile("entryless", "int something;")
        self.assertIn("vim_plugin_entry", self.start_with("entryless"))

    def test_refuses(self):
        self.compile("refuser", "#include <vim/plugin.h>\n"
                     "const struct vim_plugin *vim_plugin_entry(uint32_t a)\n"
                     "{ (void)a; return 0; }")
        self.start_with("refuser")

    def test_crashes_while_being_looked_at(self):
        self.compile("crasher", "#include <vim/plugin.h>\n"
                     "const struct vim_plugin *vim_plugin_entry(uint32_t a)\n"
                     "{ (void)a; __builtin_trap(); }")
        self.assertIn("crash", self.start_with("crasher"))

    def test_crashes_in_its_constructor(self):
        self.compile("constructor", "__attribute__((constructor)) static void f(void)\n"
                     "{ *(volatile int *)0 = 0; }")
        self.start_with("constructor")

    def test_another_abi(self):
        self.compile("stranger", "#include <vim/plugin.h>\n"
                     "static struct vim_plugin p = {.size = sizeof(p), .abi = 99u << 16,\n"
                     " .type = VIM_DRIVER, .name = \"stranger\", .version = \"1\",\n"
                     " .summary = \"s\"};\n"
                     "const struct vim_plugin *vim_plugin_entry(uint32_t a)\n"
                     "{ (void)a; return &p; }")
        self.assertIn("99", self.start_with("stranger"))


class Reload(unittest.TestCase):
    def setUp(self):
        self.daemon = Vimd(vims=[mock("edge1")], name="reload")
        self.daemon.start()
        self.addCleanup(self.end)

    def end(self):
        try:
            if self.daemon.alive():
                self.daemon.stop()
            self.daemon.check_no_secrets()
            self.daemon.check_log()
        except BaseException:
            print(self.daemon.log()[-4000:])
            self.daemon.kill()
            raise
        self.daemon.close()

    def vims(self):
        return [vim["id"] for vim in self.daemon.get("/v1/vims").items]

    def reload(self, vims):
        self.daemon.vims = vims
        self.daemon.write_config()
        self.daemon.reload()

    def test_vims_come_and_go(self):
        self.assertEqual(self.vims(), ["edge1"])
        self.reload([mock("edge1"), mock("edge2")])
        wait_for(lambda: self.vims() == ["edge1", "edge2"], "edge2")
        network = self.daemon.create("networks", {"vim": "edge2", "name": unique("n")})
        self.reload([mock("edge1")])
        wait_for(lambda: self.vims() == ["edge1"], "edge2 to go")
        self.reload([mock("edge1"), mock("edge2")])
        wait_for(lambda: self.vims() == ["edge1", "edge2"], "edge2 again")
        self.assertEqual(self.daemon.get(f"/v1/networks/{network['id']}").status, 200)

    def test_a_bad_file_changes_nothing(self):
        good = self.daemon.config_path.read_text()
        lines = self.daemon.log().count("\n")
        self.daemon.write_config(good + "nonsense: 1\n")
        self.daemon.reload()
        wait_for(lambda: "nonsense" in self.daemon.log(), "the mistake to be told")
        self.assertGreater(self.daemon.log().count("\n"), lines)
        self.assertEqual(self.vims(), ["edge1"])
        self.daemon.create("networks", {"vim": "edge1", "name": unique("n")})
        self.daemon.write_config(good)

    def test_a_file_that_is_being_written_changes_nothing(self):
        """Who writes a file in place empties it first."""
        good = self.daemon.config_path.read_text()
        for text in ("", "# nothing yet\n"):
            lines = self.daemon.log().count("the file is empty")
            self.daemon.write_config(text)
            self.daemon.reload()
            wait_for(lambda: self.daemon.log().count("the file is empty") > lines, "the refusal")
            self.assertEqual(self.vims(), ["edge1"])
        self.daemon.write_config(good)

    def test_reload_under_load_drops_nothing(self):
        stop, errors, counts = threading.Event(), [], [0]

        def load(index):
            client = vimd.Client(self.daemon.port, self.daemon.token)
            try:
                while not stop.is_set():
                    client.must(client.get("/v1/networks?limit=5"), 200)
                    made = client.create("networks", {"vim": "edge1", "name": unique("load")})
                    client.remove("networks", made["id"])
                    counts[0] += 1
            except Exception as error:  # told by the main thread
                errors.append(error)

        threads = [threading.Thread(target=load, args=(index,)) for index in range(4)]
        for thread in threads:
            thread.start()
        try:
            for number in range(20):
                before = counts[0]
                # A LIVE option, then one for which a new instance is opened.
                more = {"seed": 100 + number} if number % 2 else {"call": f"{number % 5}ms"}
                self.reload([mock("edge1", **more)])
                wait_for(lambda: counts[0] > before + 3 or errors, "the load to go on")
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        self.assertEqual(errors, [])

    def test_the_log_level_is_live(self):
        def events():
            before = self.daemon.log().count("task ended")
            self.daemon.create("networks", {"vim": "edge1", "name": unique("n")})
            return self.daemon.log().count("task ended") > before

        def set_level(level):
            self.daemon.settings = {"log": {"level": level}}
            self.daemon.write_config()
            self.daemon.reload()

        wait_for(events, "events of tasks")
        set_level("error")
        wait_for(lambda: not events(), "no more of them")
        set_level("info")
        wait_for(events, "events of tasks again")

    def test_two_daemons_on_one_state(self):
        done = self.daemon.run("--config", str(self.daemon.config_path))
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(str(self.daemon.state), done.stderr)


class Full(unittest.TestCase):
    """No file may grow: the log tells it, and does not fill what is left."""

    def test_a_disk_that_is_full(self):
        daemon = Vimd(vims=[mock(f"edge{i}") for i in range(3)], name="full")
        self.addCleanup(daemon.close)
        daemon.start()
        network = daemon.create("networks", {"vim": "edge1", "name": unique()})
        _, hard = resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (daemon.log_path.stat().st_size
                                                                     + 65536, hard))

        def is_refused():
            body = {"vim": "edge1", "name": unique(), "labels": {"fill": "x" * 200}}
            answer = daemon.post("/v1/networks", body, wait=0)
            return answer.status == 503 and answer.headers["Retry-After"]

        wait_for(is_refused, "a refusal, as the store cannot grow", pause=0)
        self.assertEqual(daemon.get(f"/v1/networks/{network['id']}").status, 200, "reads go on")
        time.sleep(3)  # as many rounds of the poller would begin
        for event, most in (("poll not begun", 3 * 13), ("tasks cannot be looked at", 20),
                            ("the store takes no writes", 3)):
            self.assertLessEqual(daemon.log().count(event), most, daemon.log()[-2000:])
        resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
        wait_for(lambda: daemon.get("/readyz").status == 200, "it is ready again")
        self.assertEqual(daemon.create("networks", {"vim": "edge1", "name": unique()})["status"],
                         "ACTIVE")
        daemon.stop()


class Tls(unittest.TestCase):
    def test_https(self):
        daemon = Vimd(name="tls")
        self.addCleanup(daemon.close)
        key, certificate = daemon.folder / "key.pem", daemon.folder / "cert.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:P-256", "-nodes", "-keyout", str(key), "-out",
                        str(certificate), "-days", "2", "-subj", "/CN=localhost", "-addext",
                        "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
        key.chmod(0o600)
        daemon.settings = {"api": {"tls_certificate": str(certificate), "tls_key": str(key)}}
        daemon.write_config()
        daemon.start(ready=False)
        words = ["curl", "-sS", "--cacert", str(certificate), "-o", "/dev/null", "-w",
                 "%{http_code}", f"https://127.0.0.1:{daemon.port}/readyz"]
        wait_for(lambda: subprocess.run(words, capture_output=True, text=True).stdout == "200",
                 "an answer over TLS")
        plain = subprocess.run(["curl", "-s", f"http://127.0.0.1:{daemon.port}/readyz"],
                               capture_output=True)
        self.assertNotEqual(plain.returncode, 0, "no plain HTTP beside it")
        self.assertEqual(subprocess.run([*words, "--tls-max", "1.1"],
                                        capture_output=True).stdout, b"000")
        daemon.stop()
        key.chmod(0o644)
        done = daemon.run("--config", str(daemon.config_path))
        self.assertNotEqual(done.returncode, 0, "a key that everybody can read is refused")
        self.assertIn("key.pem", done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)

"""PostgreSQL and Redis are killed, stopped, restarted and wiped while clients are at work: what was accepted is
carried out once, and nothing else is."""
import http.client
import os
import subprocess
import threading
import time
import unittest

from apart import Apart
from vimd import PATIENCE, Broken, Client, unique, wait_for

CLIENTS = 4
# What happens to the servers, one thing after the other.
FAULTS = [
    ("redis", "flushall"), ("redis", "freeze"), ("redis", "restart"), ("postgres", "fast"),
    ("postgres", "freeze"), ("postgres", "immediate"), ("redis", "flushall"), ("both", "restart"),
    ("redis", "down for long"),
]


def control(server, verb, *words):
    folder = os.environ[f"TEST_{server.upper()}_DIR"]
    subprocess.run([f"{os.environ['TEST_SERVERS']}/{server}", verb, folder, *words], check=True,
                   stdout=subprocess.DEVNULL, timeout=120 * PATIENCE)


def strike(server, fault):
    if fault == "flushall":
        control("redis", "cli", "flushall")
    elif fault == "freeze":
        control(server, "freeze")
        time.sleep(2)
        control(server, "thaw")
    elif server == "both":
        control("postgres", "down", "immediate")
        control("redis", "down")
        control("redis", "up")
        control("postgres", "up")
    elif server == "postgres":
        control("postgres", "down", fault)
        control("postgres", "up")
    else:
        control("redis", "down")
        time.sleep(4 if fault == "down for long" else 0)
        control("redis", "up")


class Load(threading.Thread):
    """A client that makes networks, and says each again, with its key, until it is accepted."""

    def __init__(self, scene, stop):
        super().__init__()
        self.client = Client(scene.port, scene.token)
        self.stopped, self.accepted, self.wrong = stop, {}, None

    def make(self, name):
        end = time.monotonic() + 60 * PATIENCE
        while time.monotonic() < end:
            try:
                answer = self.client.post("/v1/networks", {"vim": "edge1", "name": name},
                                          headers={"Idempotency-Key": name}, timeout=20)
            except (OSError, http.client.HTTPException):
                self.client.close()
                continue
            if answer.status == 202:
                return answer.headers["Location"].rsplit("/", 1)[1]
            if answer.status < 500 and answer.status != 429:
                raise Broken(f"{name}: {answer!r}")
            time.sleep(0.05)
        raise Broken(f"{name} is not accepted")

    def run(self):
        try:
            while not self.stopped.is_set():
                name = unique("n")
                self.accepted[name] = self.make(name)
                time.sleep(0.02)
        except BaseException as error:  # pylint: disable=broad-except
            self.wrong = error
        finally:
            self.client.close()


def is_ours(name):
    """The mock has networks of its own."""
    return name.startswith("n-")


class Servers(unittest.TestCase):
    def test_faults_under_load(self):
        with Apart(name="servers", counts={"api": 1, "logic": 2, "worker": 2}) as scene:
            stop = threading.Event()
            clients = [Load(scene, stop) for _ in range(CLIENTS)]
            for client in clients:
                client.start()
            try:
                for server, fault in FAULTS:
                    self.await_progress(clients, server, fault)
                    strike(server, fault)
                self.await_progress(clients, "the end", "")
            finally:
                stop.set()
                for client in clients:
                    client.join()
            for client in clients:
                if client.wrong:
                    raise client.wrong
            self.check(scene, {name: task for client in clients
                               for name, task in client.accepted.items()})

    def await_progress(self, clients, server, fault):
        """Some are accepted before what comes next."""
        count = sum(len(client.accepted) for client in clients)
        wait_for(lambda: any(client.wrong for client in clients) or
                 sum(len(client.accepted) for client in clients) >= count + 20,
                 f"requests accepted before {server} {fault}", 60)

    def check(self, scene, accepted):
        for name, task in accepted.items():
            ended = scene.wait_task(task, 120)
            self.assertEqual(ended["state"], "succeeded", (name, ended))
        made = [thing["name"] for thing in scene.things("network") if is_ours(thing["name"])]
        self.assertEqual(sorted(made), sorted(accepted))
        self.assertEqual(scene.orphans(), [])
        listed = [item["name"] for item in scene.list("networks") if is_ours(item["name"])]
        self.assertEqual(sorted(listed), sorted(accepted))
        print(f"{len(accepted)} networks through {len(FAULTS)} faults")


class Wrong(unittest.TestCase):
    def test_a_queue_that_refuses_the_worker_is_told(self):
        """A queue that is away costs a delay; a wrong password will be wrong tomorrow, too."""
        wrong = {"queue": {"plugin": "queue-redis", "options": {
            "address": f"127.0.0.1:{os.environ['TEST_REDIS_PORT']}", "password": "not-this-one"}}}
        scene = Apart(settings=wrong, counts={"api": 1, "logic": 1, "worker": 1}, name="wrong")
        self.addCleanup(scene.close)
        for one in scene.processes.values():
            one.start()
        worker, logic = scene.processes["worker0"], scene.processes["logic0"]
        logic.wait_ready()
        scene.token = scene.client.token = scene.make_token()

        def ready_of(process):
            client = Client(process.health)
            try:
                return client.get("/readyz", timeout=5)
            except OSError:
                return None
            finally:
                client.close()

        def is_told():
            answer = ready_of(worker)
            return answer and answer.status == 503 and "queue" in answer.json.get("detail", {})

        wait_for(is_told, "a worker that says what is wrong")
        detail = ready_of(worker).json["detail"]["queue"]
        self.assertIn("password", detail.lower())
        self.assertIn("queue pull failed", worker.log())
        self.assertNotIn("not-this-one", scene.log())
        # The API goes on: what is due the sweep finds.
        scene.processes["api0"].wait_ready()
        made = [scene.create("networks", {"vim": "edge1", "name": unique("n")}) for _ in range(3)]
        self.assertEqual(len(made), 3)
        self.assertLessEqual(scene.log().count("queue push failed"), 2, "told once per process")

    def test_readiness_does_not_wait_for_a_store_that_hangs(self):
        with Apart(settings={"store": {"timeout": "60s"}}, counts={"api": 1, "logic": 1, "worker": 1},
                   name="hangs") as scene:
            health = Client(scene.of("logic")[0].health)
            control("postgres", "freeze")
            try:
                answer = health.get("/readyz", timeout=30)
            finally:
                control("postgres", "thaw")
                health.close()
            self.assertEqual(answer.status, 503)
            self.assertIn("store", answer.json["detail"])
            scene.of("logic")[0].wait_ready()

    def test_a_store_that_refuses_has_its_place(self):
        class Stranger(Apart):
            def config(self, process):
                tree = super().config(process)
                tree["store"]["options"]["password"] = "not-this-one"
                return tree

        scene = Stranger(counts={"api": 1, "logic": 1, "worker": 0}, name="stranger")
        self.addCleanup(scene.close)
        one = scene.of("logic")[0]
        one.start()
        self.assertEqual(one.popen.wait(60 * PATIENCE), 1)
        self.assertRegex(one.log(), r"logic0.yaml:\d+:\d+: store: .*password")
        self.assertNotIn("not-this-one", one.log())

    def test_uploads_in_another_folder_are_told_at_the_start(self):
        class Elsewhere(Apart):
            elsewhere = False

            def config(self, process):
                tree = super().config(process)
                if self.elsewhere and process.role == "worker":
                    tree["spool_dir"] = str(process.state / "own")
                return tree

        words = "this is not the folder that other processes use"
        with Elsewhere(counts={"api": 1, "logic": 2, "worker": 1}, name="elsewhere") as scene:
            self.assertNotIn(words, scene.log())
            worker = scene.processes["worker0"]
            scene.elsewhere = True
            worker.restart()
            self.assertIn(words, worker.log())
            self.assertIn(str(scene.folder / "uploads"), worker.log())
            # The same folder under another path is none that a task finds.
            (worker.state / "own").rename(worker.state / "before")
            (worker.state / "own").symlink_to(scene.folder / "uploads")
            worker.restart()
            self.assertEqual(worker.log().count(words), 2)

    def test_a_process_of_two_roles_is_one(self):
        """API and worker in one, the logic apart: one heartbeat, which goes with it."""
        class Mixed(Apart):
            def config(self, process):
                tree = super().config(process)
                if process.role == "api":
                    logic = super().config(self.of("logic")[0])
                    tree.update({"roles": ["api", "worker"],
                                 **{section: logic[section] for section in ("store", "queue", "vims", "spool_dir")}})
                return tree

        scene = Mixed(counts={"api": 1, "logic": 1, "worker": 0}, name="mixed")
        for one in scene.processes.values():
            one.role_words = ["--role", "logic"] if one.role == "logic" else []
        with scene:
            self.assertEqual(scene.create("networks", {"vim": "edge1", "name": unique("n")})["status"], "ACTIVE")

            def replicas():
                blocks = {block["block"]: block for block in scene.get("/v1/blocks").json["blocks"]}
                return [len(blocks[name]["replicas"]) for name in ("api", "logic", "worker")]

            wait_for(lambda: replicas() == [1, 1, 1], "one replica of each")
            scene.of("api")[0].restart()
            wait_for(lambda: replicas() == [1, 1, 1], "the one before to be gone")


if __name__ == "__main__":
    unittest.main(verbosity=2)

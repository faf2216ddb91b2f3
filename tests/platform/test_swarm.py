"""platform-swarm against a scripted Docker Engine, for what a real one does rarely. tests/swarm has a real one."""
import copy
import json
import os
import tempfile
import threading
import urllib.parse

from platform_tests import FOLDER, Client, Scripted, run


def task(name, wanted, state, error=None, at="10:00:00", container=None, slot=None, made=None):
    status = {"Timestamp": f"2024-11-26T{at}.123456789Z", "State": state}
    if error:
        status["Err"] = error
    if container:
        status["ContainerStatus"] = {"ContainerID": container}
    return {"ID": name, "Slot": slot or ord(name[0]), "DesiredState": wanted, "Status": status,
            "CreatedAt": f"2024-11-26T{made or at}.012345678Z"}


class Engine:
    """As much of the Engine API as a scaler sees; answers as Docker Engine 20.10 does."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="swarm-", dir=FOLDER)
        self.version = 7
        self.spec = {"Name": "web", "Labels": {"keep": "this"}, "Mode": {"Replicated": {"Replicas": 2}},
                     "TaskTemplate": {"Resources": {"Limits": {"NanoCPUs": 250000000}}, "ContainerSpec": {"Image": "web:1"}}}
        self.other = {"ID": "s2", "Version": {"Index": 1}, "Spec": {"Name": "web-2", "Mode": {"Replicated": {"Replicas": 1}}}}
        self.everywhere = {"ID": "s3", "Version": {"Index": 1}, "Spec": {"Name": "agent", "Mode": {"Global": {}}}}
        self.stale = 0  # so many writes come too late
        self.tasks = [task("t1", "running", "running", container="c1"),
                      task("t2", "running", "running", container="elsewhere")]
        self.written = []
        self.manager = True
        self.answer = None  # instead of everything
        self.wait = None  # an event before which nothing is answered
        self.away_after_write = False
        self.look = None  # a barrier: figures are told once so many are asked for
        self.server = Scripted(self.script, unix=os.path.join(self.folder, "docker.sock"))

    @property
    def service(self):
        return {"ID": "s1", "Version": {"Index": self.version}, "Spec": copy.deepcopy(self.spec),
                "ServiceStatus": {"RunningTasks": len(self.tasks), "DesiredTasks": 2}}

    def script(self, method, path, headers, body):
        if self.wait:
            self.wait.wait(20)
        if self.answer:
            return self.answer
        if self.away_after_write and self.written:
            return 503, {"message": "away"}, {}
        url = urllib.parse.urlsplit(path)
        query = dict(urllib.parse.parse_qsl(url.query))
        filters = json.loads(query.get("filters", "{}"))
        where = url.path.removeprefix("/v1.41")
        if where == "/info":
            return 200, {"Swarm": {"ControlAvailable": self.manager}}, {}
        if where == "/services":
            prefix = filters.get("name", [""])[0]
            found = [s for s in (self.service, self.other, self.everywhere) if s["Spec"]["Name"].startswith(prefix)]
            return 200, found, {}
        if where == "/services/web":
            return 200, self.service, {}
        if where == "/services/agent":
            return 200, self.everywhere, {}
        if where == "/services/s1/update" and method == "POST":
            if self.stale or int(query["version"]) != self.version:
                self.stale -= 1
                self.version += 1
                return 500, {"message": "rpc error: code = Unknown desc = update out of sequence"}, {}
            self.spec = body
            self.version += 1
            self.written.append(body)
            return 200, {"Warnings": None}, {}
        if where == "/tasks":
            wanted = filters.get("desired-state")
            tasks = self.tasks if filters["service"] == ["web"] else []
            return 200, [t for t in tasks if not wanted or t["DesiredState"] in wanted], {}
        if where.startswith("/containers/c") and where.endswith("/stats"):
            if self.look:
                self.look.wait(20)
            return 200, {"cpu_stats": {"cpu_usage": {"total_usage": 1500000000},
                                       "throttling_data": {"periods": 40, "throttled_periods": 10}},
                         "memory_stats": {"usage": 1000, "stats": {"total_inactive_file": 400}}}, {}
        return 404, {"message": f"{where} not found"}, {}

    def client(self, **options):
        return Client("platform-swarm", {"socket": os.path.join(self.folder, "docker.sock"), **options})


def test_lists_replicated_services_only():
    engine = Engine()
    client = engine.client()
    assert [item["id"] for item in client("list")["items"]] == ["web", "web-2"]
    client.close()
    client = engine.client(services=["web"])
    assert [item["id"] for item in client("list")["items"]] == ["web"]
    answer = client("get", "web-2")
    assert answer["code"] == "not-found" and "services" in answer["text"], answer
    assert client("scale", "web-2", 3)["code"] == "not-found"
    client.close()


def test_a_name_is_not_a_prefix():
    engine = Engine()
    client = engine.client()
    body = client.body("get", "web")
    assert body == {"name": "web", "wanted": 2, "current": 2, "ready": 2, "starting": 0, "stopping": 0, "quota_cores": 0.25}, body
    client.close()


def test_scale_writes_the_whole_spec():
    engine = Engine()
    client = engine.client()
    body = client.body("scale", "web", 5)
    assert body["wanted"] == 5
    assert engine.written[0]["Labels"] == {"keep": "this"}
    assert engine.written[0]["TaskTemplate"]["ContainerSpec"] == {"Image": "web:1"}
    # The same again writes nothing.
    client.body("scale", "web", 5)
    assert len(engine.written) == 1
    client.close()


def test_what_has_come_through_has_not_failed():
    engine = Engine()
    client = engine.client()
    engine.away_after_write = True
    answer = client("scale", "web", 5)
    assert answer["code"] == "lost" and "has been given its size" in answer["text"], answer
    assert len(engine.written) == 1
    client.close()


def test_a_stale_version_is_read_again():
    engine = Engine()
    engine.stale = 3
    client = engine.client()
    assert client.body("scale", "web", 4)["wanted"] == 4
    assert len(engine.written) == 1
    engine.stale = 1000
    answer = client("scale", "web", 6)
    assert answer["code"] == "busy" and "out of sequence" in answer["text"], answer
    assert len(engine.written) == 1
    client.close()


def test_what_does_not_come_up_is_told():
    engine = Engine()
    engine.tasks.append(task("t3", "running", "pending", "no suitable node (insufficient resources on 1 node)"))
    client = engine.client()
    answer = client("get", "web")
    item = answer["items"][0]
    assert item["status"] == "ERROR" and item["pending"], item
    assert item["body"]["starting"] == 1 and item["body"]["ready"] == 2
    assert item["body"]["failed"].startswith("no suitable node"), item
    client.close()


def test_rejected_tasks_are_told():
    # As Docker Engine 20.10 tells of a service whose image is not there: none of its tasks is wanted "running".
    engine = Engine()
    engine.tasks = [task("a1", "shutdown", "rejected", "No such image: web:0", "10:00:01"),
                    task("a2", "ready", "rejected", "No such image: web:1", "10:00:06"),
                    task("b1", "shutdown", "rejected", "No such image: web:0", "10:00:01"),
                    task("b2", "ready", "assigned", at="10:00:06")]
    client = engine.client()
    answer = client("get", "web")
    body = answer["items"][0]["body"]
    assert (body["current"], body["ready"], body["starting"]) == (2, 0, 2), body
    assert body["failed"] == "No such image: web:1", body
    assert answer["items"][0]["status"] == "ERROR", answer
    client.close()


def test_tasks_that_end_at_once_are_told():
    engine = Engine()
    engine.tasks += [task("c1", "shutdown", "failed", "task: non-zero exit (1)", "10:00:01"),
                     task("c2", "shutdown", "failed", "task: non-zero exit (3)", "10:00:09"),
                     task("c3", "ready", "ready", at="10:00:10")]
    engine.spec["Mode"]["Replicated"]["Replicas"] = 3
    client = engine.client()
    body = client.body("get", "web")
    assert (body["current"], body["ready"], body["starting"]) == (3, 2, 1), body
    assert body["failed"] == "task: non-zero exit (3)", body
    # It has come up in the end.
    engine.tasks[-1] = task("c3", "running", "running", at="10:00:16")
    body = client.body("get", "web")
    assert body["ready"] == 3 and "failed" not in body, body
    client.close()


def test_what_failed_long_ago_is_over():
    engine = Engine()
    engine.tasks += [task("c1", "shutdown", "failed", "task: non-zero exit (1)", "10:00:01"),
                     task("t0", "shutdown", "failed", "task: non-zero exit (2)", "11:59:59"),  # of another slot
                     task("c2", "running", "preparing", at="12:00:01", made="12:00:00")]
    engine.spec["Mode"]["Replicated"]["Replicas"] = 3
    client = engine.client()
    body = client.body("get", "web")
    assert (body["ready"], body["starting"]) == (2, 1) and "failed" not in body, body
    client.close()


def test_tasks_that_are_not_made_yet_are_on_their_way():
    engine = Engine()
    client = engine.client()
    engine.spec["Mode"]["Replicated"]["Replicas"] = 5
    body = client.body("get", "web")
    assert (body["wanted"], body["ready"], body["starting"]) == (5, 2, 3), body
    client.close()


def test_samples_tell_what_is_known():
    engine = Engine()
    client = engine.client()
    answer = client("sample", "web")
    assert answer["code"] == "ok"
    here, elsewhere = answer["items"]
    assert here["parent"] == "web" and here["body"]["cpu_seconds"] == 1.5
    assert here["body"]["memory_bytes"] == 600 and here["body"]["throttled_periods"] == 10
    assert "cpu_seconds" not in elsewhere["body"] and elsewhere["body"]["ready"]
    client.close()


def test_containers_are_sampled_at_the_same_time():
    """An engine answers with its next look at a container, up to a second later: one after the other is too long."""
    engine = Engine()
    engine.tasks = [task(f"t{n}", "running", "running", container=f"c{n}")
                    for n in range(4)]
    engine.look = threading.Barrier(4)
    client = engine.client()
    for _ in range(2):
        answer = client("sample", "web")
        assert [item["body"].get("cpu_seconds") for item in answer["items"]] == [1.5] * 4, answer
    client.close()


def test_refusals():
    engine = Engine()
    client = engine.client()
    assert client("scale", "agent", 2)["code"] == "unsupported"
    assert client("scale", "web", 1001)["code"] == "invalid"
    assert client("scale", "web", -1)["code"] == "invalid"
    assert client("scale", "nope", 1)["code"] == "not-found"
    assert client("probe")["code"] == "ok"
    engine.manager = False
    answer = client("probe")
    assert answer["code"] == "unavailable" and "manager" in answer["text"], answer
    engine.answer = (500, b"<html>", {})
    assert client("get", "web")["code"] == "unavailable"
    engine.answer = (200, b"no json at all", {})
    assert client("get", "web")["code"] == "unavailable"
    engine.answer = (429, {"message": "slow down"}, {"Retry-After": "3"})
    assert client("get", "web")["code"] == "busy"
    engine.answer = (None, None, None)
    assert client("scale", "web", 3)["code"] in ("lost", "unavailable")
    engine.answer = None
    assert client.body("get", "web")["ready"] == 2
    engine.server.close()
    client.close()


def test_answers_that_tell_no_size():
    """Nothing is read into them: a size that is not known would be taken for one that is too small."""
    engine = Engine()
    client = engine.client()
    for answer in ({}, {"message": "no"}, "no", 7):
        engine.answer = (200, answer, {})
        assert client("get", "web")["code"] == "unavailable", answer
        assert client("list")["code"] == "unavailable", answer
    engine.answer = (200, b'[{"ID": "s1", "Spec": {"Name": "web", "Mode": {"Repl', {})  # cut off
    assert client("get", "web")["code"] == "unavailable"
    engine.answer = None
    for odd in ("2", -1, 2.5, [2], True, 10**12):
        engine.spec["Mode"]["Replicated"]["Replicas"] = odd
        answer = client("get", "web")
        assert answer["code"] == "unavailable" and "web" in answer["text"], (odd, answer)
        answer = client("scale", "web", 3)
        assert answer["code"] == "unavailable" and not engine.written, (odd, answer)
    engine.spec["Mode"]["Replicated"] = {}
    assert client.body("get", "web")["wanted"] == 1
    client.close()


def test_an_engine_that_takes_its_time():
    engine = Engine()
    slow = threading.Event()
    client = engine.client(timeout="300ms")
    engine.wait = slow
    answer = client("get", "web")
    assert answer["code"] == "timeout" and "no answer within the time that there was" in answer["text"], answer
    slow.set()
    assert client.body("get", "web")["wanted"] == 2
    client.close()


def test_an_engine_that_is_away():
    client = Client("platform-swarm", {"socket": "/nonexistent/docker.sock"})
    answer = client("get", "web")
    assert answer["code"] == "unavailable" and "/nonexistent/docker.sock" in answer["text"], answer
    client.close()


def test_options():
    assert "root" in Client("platform-swarm", {"url": "http://manager:2375"}).refusal()
    why = Client("platform-swarm", {"url": "https://me:sesame@manager:2376"}).refusal()
    assert "no user and password" in why and "sesame" not in why, why
    assert "not both" in Client("platform-swarm", {"url": "https://m:2376", "socket": "/x"}).refusal()
    assert "go together" in Client("platform-swarm", {"url": "https://m:2376", "key": "/x"}).refusal()


run(globals())

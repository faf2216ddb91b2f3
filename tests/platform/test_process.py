"""platform-process with real processes. Control groups are looked at where this user may make them."""
import os
import signal
import sys
import tempfile
import time

from platform_tests import CGROUP, FOLDER, Client, run, start_client, until

from guard import cgroups  # (platform_tests has named its folder)

# A replica: listens where it is told, ends at SIGTERM unless it is told to be stubborn.
PROGRAM = """
import os, signal, socket, sys, time
mode, path = sys.argv[1], sys.argv[2]
if mode == "broken":
    sys.exit(3)
if mode == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
with open(path + ".seen", "w") as file:
    file.write(os.environ["VIMD_REPLICA"] + " " + os.environ.get("NOTIFY_SOCKET", "none"))
if mode == "late":
    time.sleep(1.0)
server = socket.socket(socket.AF_UNIX)
if os.path.exists(path):
    os.unlink(path)
server.bind(path)
server.listen()
while mode == "busy":
    pass
while True:
    time.sleep(1)
"""


class Place:
    def __init__(self):
        self.folder = tempfile.mkdtemp(dir=FOLDER)
        self.program = os.path.join(self.folder, "replica.py")
        with open(self.program, "w") as file:
            file.write(PROGRAM)
        self.clients = []

    def group(self, name, mode="good"):
        return f'{name} {sys.executable} "{self.program}" {mode} {self.folder}/{name}-{{replica}}'

    def client(self, *groups, **options):
        names = [group.split()[0] for group in groups]
        client = Client("platform-process", {
            "groups": list(groups), "ready": [f"{name} unix:{self.folder}/{name}-{{replica}}" for name in names],
            "cgroup_name": CGROUP, "restart_delay": "100ms", "stop_timeout": "2s", **options})
        self.clients.append(client)
        return client

    def pids(self, client, name):
        found = {}
        for entry in os.listdir(os.path.join(client.folder, "platform")):
            group, _, number = entry.rpartition(".")
            if group == name and number.isdigit():
                with open(os.path.join(client.folder, "platform", entry)) as file:
                    found[int(number)] = int(file.read() or 0)
        return found


def folders():
    """Those of the control groups, in whatever hierarchy."""
    return [path for path in cgroups(CGROUP) if path.name == CGROUP]


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def ready(client, name, count):
    def look():
        body = client.body("get", name)
        return body["ready"] == count and body["current"] == count and body["stopping"] == 0
    until(f"{name} with {count} ready", look)


def end(client, *names):
    for name in names:
        client("scale", name, 0)
        until(f"{name} gone", lambda: not [entry for entry in os.listdir(os.path.join(client.folder, "platform"))
                                           if entry.startswith(name + ".") and not entry.endswith(".wanted")])
    client.close()


def test_out_and_in():
    place = Place()
    os.environ["NOTIFY_SOCKET"] = "/not/for/replicas"
    client = place.client(place.group("web"))
    del os.environ["NOTIFY_SOCKET"]
    assert client.body("get", "web") == {"name": "web", "wanted": 0, "current": 0, "ready": 0, "starting": 0, "stopping": 0}
    body = client.body("scale", "web", 3)
    assert body["wanted"] == 3 and body["starting"] == 3, body
    ready(client, "web", 3)
    pids = place.pids(client, "web")
    assert sorted(pids) == [1, 2, 3] and all(alive(pid) for pid in pids.values()), pids
    with open(f"{place.folder}/web-2.seen") as file:
        assert file.read() == "2 none"
    client("scale", "web", 1)
    ready(client, "web", 1)
    until("their files gone", lambda: place.pids(client, "web") == {1: pids[1]})
    assert alive(pids[1]) and not alive(pids[2]) and not alive(pids[3])
    end(client, "web")


def test_a_replica_is_ready_once_it_listens():
    place = Place()
    client = place.client(place.group("slow", "late"))
    client("scale", "slow", 1)
    until("it runs", lambda: client.body("get", "slow")["current"] == 1)
    item = client("get", "slow")["items"][0]
    assert item["body"]["ready"] in (0, 1)
    if item["body"]["ready"] == 0:
        assert item["pending"] and item["body"]["starting"] == 1, item
    ready(client, "slow", 1)
    assert not client("get", "slow")["items"][0]["pending"]
    end(client, "slow")


def test_what_ends_is_started_again():
    place = Place()
    client = place.client(place.group("web"))
    client("scale", "web", 2)
    ready(client, "web", 2)
    first = place.pids(client, "web")
    os.kill(first[2], signal.SIGKILL)
    until("another one", lambda: place.pids(client, "web").get(2) not in (None, 0, first[2]))
    ready(client, "web", 2)
    assert place.pids(client, "web")[1] == first[1]
    end(client, "web")


def test_replicas_outlive_the_daemon():
    place = Place()
    client = place.client(place.group("web"))
    client("scale", "web", 2)
    ready(client, "web", 2)
    pids = place.pids(client, "web")
    # Killed, not stopped: nothing can be told to anybody.
    client.process.kill()
    client.process.wait()
    assert all(alive(pid) for pid in pids.values())
    again = place.client(place.group("web"))
    again.close()  # opened a folder of its own; the one below is that of the first
    client.process = start_client("platform-process", os.path.join(client.folder, "options.yaml"), client.folder)
    ready(client, "web", 2)
    assert place.pids(client, "web") == pids
    end(client, "web")


def test_the_stubborn_are_killed():
    place = Place()
    client = place.client(place.group("web", "stubborn"), stop_timeout="300ms")
    client("scale", "web", 1)
    ready(client, "web", 1)
    pid = place.pids(client, "web")[1]
    client("scale", "web", 0)
    until("its end", lambda: not alive(pid))
    end(client, "web")


def test_what_does_not_start_is_told():
    place = Place()
    client = place.client(place.group("broken", "broken"), "missing /nonexistent/program")
    client("scale", "broken", 1)
    client("scale", "missing", 1)
    item = until("the failure", lambda: [i for i in client("get", "broken")["items"] if "failed" in i["body"]])[0]
    assert item["status"] == "ERROR" and "times in a row" in item["body"]["failed"], item
    item = until("the failure", lambda: [i for i in client("get", "missing")["items"] if "failed" in i["body"]])[0]
    assert "/nonexistent/program: No such file" in item["body"]["failed"], item
    end(client, "broken", "missing")


def test_samples():
    place = Place()
    client = place.client(place.group("web", "busy"), cgroup="off")
    client("scale", "web", 1)
    ready(client, "web", 1)

    def used():
        return client("sample", "web")["items"][0]["body"]
    first = used()
    assert first["ready"] and first["memory_bytes"] > 1e6 and first["address"].endswith("web-1"), first
    until("processor time", lambda: used()["cpu_seconds"] > first["cpu_seconds"] + 0.1)
    end(client, "web")


def test_a_share_of_the_processor():
    place = Place()
    try:
        client = place.client(place.group("web", "busy"), cpu=0.2, cpu_period="20ms")
        assert client("probe")["code"] == "ok"
    except (AssertionError, BrokenPipeError):
        print("      (no control groups may be made here)")
        return
    client("scale", "web", 2)
    ready(client, "web", 2)

    def bodies():
        return [item["body"] for item in client("sample", "web")["items"]]
    before = bodies()
    assert all(body["quota_cores"] == 0.2 for body in before), before
    until("throttling", lambda: all(body["throttled_periods"] > 10 for body in bodies()))
    start, began = bodies(), time.monotonic()
    time.sleep(1)
    ended, took = bodies(), time.monotonic() - began
    for a, b in zip(start, ended):
        # The share binds: what a busy replica got is not more than it, give or take a period.
        assert b["cpu_seconds"] - a["cpu_seconds"] < 0.2 * took + 0.1, (a, b, took)
    # What counts is what a replica has now, not what it was started with.
    for path in folders():
        for name, text in (("cpu.cfs_quota_us", "3000"), ("cpu.max", "3000 20000")):
            if os.path.exists(f"{path}/web-2/{name}"):
                with open(f"{path}/web-2/{name}", "w") as file:
                    file.write(text)
    assert sorted(body["quota_cores"] for body in bodies()) == [0.15, 0.2], bodies()
    end(client, "web")
    for path in folders():
        assert not [entry for entry in os.scandir(path) if entry.is_dir()], path


def test_a_share_that_was_taken_away():
    """A replica ended while the daemon was away, so its control group is still there, and limits nobody any more."""
    place = Place()
    try:
        client = place.client(place.group("web"), cpu=0.2)
        assert client("probe")["code"] == "ok"
    except (AssertionError, BrokenPipeError):
        print("      (no control groups may be made here)")
        return
    client("scale", "web", 1)
    ready(client, "web", 1)
    pid = place.pids(client, "web")[1]
    client.process.kill()
    client.process.wait()
    os.kill(pid, signal.SIGKILL)
    until("the end", lambda: not alive(pid))
    options = os.path.join(client.folder, "options.yaml")
    with open(options) as file:
        text = file.read()
    assert "0.2" in text, text
    with open(options, "w") as file:
        file.write(text.replace("0.2", "0"))
    client.process = start_client("platform-process", options, client.folder)
    ready(client, "web", 1)
    assert place.pids(client, "web")[1] != pid
    body = client("sample", "web")["items"][0]["body"]
    assert not body.get("quota_cores"), body
    end(client, "web")


def test_refusals():
    place = Place()
    client = place.client(place.group("web"))
    assert client("get", "nope")["code"] == "not-found"
    assert client("scale", "web", 5000)["code"] == "invalid"
    client.close()
    for groups, ready_at, words in ((["web"], [], "NAME COMMAND"), (["Web /bin/true"], [], "a-z"), (["web true"], [], "begin with /"),
                                    (["web /bin/true", "web /bin/true"], [], "already"), (["web /bin/true"], ["db :1"], "no such group"),
                                    (["web /bin/true"], ["web"], "ADDRESS:PORT")):
        refused = Client("platform-process", {"groups": groups, "ready": ready_at}).refusal()
        assert words in refused, (groups, refused)


run(globals())

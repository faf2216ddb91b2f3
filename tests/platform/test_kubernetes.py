"""platform-kubernetes against a scripted API server that answers as the real one does."""
import base64
import copy
import json
import os
import subprocess
import tempfile
import urllib.parse

from platform_tests import FOLDER, Client, Scripted, run


def status(code, reason, message):
    return code, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": message, "code": code}, {}


class Cluster:
    """Namespace "vimd" with the Deployments api and logic and the StatefulSet db."""

    def __init__(self, tls=None):
        self.folder = tempfile.mkdtemp(prefix="kubernetes-", dir=FOLDER)
        self.token_path = os.path.join(self.folder, "token")
        self.tokens = {"first"}
        self.write_token("first")
        self.resource_version = 100
        self.conflicts = 0  # so many writes lose to another one
        self.page = 500
        self.expire_pages = 0  # so many continued pages are 410 Gone
        self.metrics = None  # instead of figures
        self.away_after_write = False
        self.forbidden = False
        self.refuse_scale = None
        self.written = []
        container = {"name": "vimd", "resources": {"limits": {"cpu": "250m"}}}
        self.workloads = {}
        for plural, name, replicas in (("deployments", "api", 2), ("deployments", "logic", 3), ("statefulsets", "db", 1)):
            self.workloads[plural, name] = {
                "metadata": {"name": name, "generation": 4},
                "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}},
                         "template": {"spec": {"containers": [copy.deepcopy(container)]}}},
                "status": {"observedGeneration": 4, "replicas": replicas, "readyReplicas": replicas}}
        self.server = Scripted(self.script, tls=tls)

    def write_token(self, token):
        with open(self.token_path, "w") as file:
            file.write(token + "\n")

    def script(self, method, path, headers, body):
        url = urllib.parse.urlsplit(path)
        query = dict(urllib.parse.parse_qsl(url.query))
        if headers.get("Authorization", "").removeprefix("Bearer ") not in self.tokens:
            return status(401, "Unauthorized", "Unauthorized")
        if self.away_after_write and self.written:
            return status(503, "ServiceUnavailable", "away")
        if self.forbidden:
            return status(403, "Forbidden", 'deployments.apps is forbidden: User "vimd" cannot list resource "deployments"')
        parts = url.path.strip("/").split("/")
        if parts[:3] == ["apis", "apps", "v1"]:
            return self.apps(method, parts[5:], query, body)
        if parts[:3] == ["apis", "metrics.k8s.io", "v1beta1"]:
            if self.metrics:
                return self.metrics
            return 200, {"items": [{"metadata": {"name": "api-1"}, "containers": [
                {"usage": {"cpu": "123456789n", "memory": "64Mi"}}, {"usage": {"cpu": "1m", "memory": "1Ki"}}]}]}, {}
        if parts[:2] == ["api", "v1"]:
            assert query["labelSelector"] == "app=api", query
            ready = [{"type": "Ready", "status": "True"}]
            spec = {"containers": [{"resources": {"limits": {"cpu": "1.5"}}}]}
            return 200, {"items": [
                {"metadata": {"name": "api-1"}, "spec": spec, "status": {"phase": "Running", "podIP": "10.1.0.7", "conditions": ready}},
                {"metadata": {"name": "api-2"}, "spec": spec, "status": {"phase": "Pending", "conditions": []}},
                {"metadata": {"name": "api-0", "deletionTimestamp": "2026-01-01T00:00:00Z"}, "spec": spec, "status": {"phase": "Running"}}]}, {}
        return status(404, "NotFound", "not found")

    def apps(self, method, parts, query, body):
        plural = parts[0]
        if len(parts) == 1:
            return self.page_of(plural, query)
        workload = self.workloads.get((plural, parts[1]))
        if workload is None:
            return status(404, "NotFound", f'{plural}.apps "{parts[1]}" not found')
        if len(parts) == 2:
            return 200, workload, {}
        scale = {"kind": "Scale", "apiVersion": "autoscaling/v1",
                 "metadata": {"name": parts[1], "resourceVersion": str(self.resource_version)},
                 "spec": {"replicas": workload["spec"]["replicas"]}, "status": {"replicas": workload["status"]["replicas"]}}
        if workload["spec"]["replicas"] == 0:
            scale["spec"] = {}
        if method == "GET":
            return 200, scale, {}
        assert method == "PUT" and body["kind"] == "Scale", (method, body)
        if self.refuse_scale:
            return self.refuse_scale
        if self.conflicts or body["metadata"]["resourceVersion"] != str(self.resource_version):
            self.conflicts -= 1
            self.resource_version += 1
            return status(409, "Conflict", "the object has been modified; please apply your changes to the latest version")
        self.resource_version += 1
        workload["spec"]["replicas"] = body["spec"]["replicas"]
        workload["metadata"]["generation"] += 1
        self.written.append(body["spec"]["replicas"])
        return 200, {**scale, "spec": body["spec"]}, {}

    def page_of(self, plural, query):
        names = sorted(name for kind, name in self.workloads if kind == plural)
        start = int(query.get("continue", "0"))
        if start and self.expire_pages:
            self.expire_pages -= 1
            return status(410, "Expired", "The provided continue parameter is too old")
        size = min(self.page, int(query["limit"]))
        items = [self.workloads[plural, name] for name in names[start:start + size]]
        more = str(start + size) if start + size < len(names) else ""
        return 200, {"metadata": {"continue": more}, "items": items}, {}

    def client(self, **options):
        return Client("platform-kubernetes", {"server": f"http://127.0.0.1:{self.server.port}", "token_file": self.token_path,
                                              "namespace": "vimd", **options})


ALL = ["deployment/api", "deployment/logic", "statefulset/db"]


def test_lists_page_by_page():
    cluster = Cluster()
    cluster.page = 1
    client = cluster.client()
    assert [item["id"] for item in client("list")["items"]] == ALL
    cluster.expire_pages = 1
    answer = client("list")
    assert answer["code"] == "ok" and {item["id"] for item in answer["items"]} == set(ALL), answer
    cluster.expire_pages = 1000
    assert client("list")["code"] == "conflict"
    client.close()


def test_where_a_group_stands():
    cluster = Cluster()
    client = cluster.client()
    answer = client("get", "deployment/api")["items"][0]
    assert answer["status"] == "ACTIVE" and not answer["pending"], answer
    assert answer["body"] == {"name": "deployment/api", "wanted": 2, "current": 2, "ready": 2, "starting": 0, "stopping": 0,
                              "quota_cores": 0.25}, answer
    workload = cluster.workloads["deployments", "api"]
    workload["status"]["conditions"] = [{"type": "Progressing", "status": "False", "message": 'ReplicaSet "api-7" has timed out progressing.'}]
    workload["status"]["readyReplicas"] = 1
    item = client("get", "deployment/api")["items"][0]
    assert item["status"] == "ERROR" and item["body"]["starting"] == 1, item
    assert "timed out" in item["body"]["failed"]
    for unknown in ("deployment/nope", "api", "daemonset/api", "deployment/"):
        assert client("get", unknown)["code"] == "not-found", unknown
    client.close()


def test_a_new_size_counts_only_once_it_is_seen():
    cluster = Cluster()
    client = cluster.client()
    body = client.body("scale", "deployment/api", 4)
    assert cluster.written == [4] and body["wanted"] == 4 and body["starting"] == 2, body
    # Down: the controller has not looked yet, so the group is not settled although enough are ready.
    item = client("scale", "deployment/api", 2)["items"][0]
    assert item["pending"] and item["body"]["ready"] == 2, item
    cluster.workloads["deployments", "api"]["status"]["observedGeneration"] = 6
    assert not client("get", "deployment/api")["items"][0]["pending"]
    client.body("scale", "deployment/api", 2)
    assert cluster.written == [4, 2]
    client.close()


def test_from_none_and_to_none():
    cluster = Cluster()
    client = cluster.client()
    client.body("scale", "statefulset/db", 0)
    client.body("scale", "statefulset/db", 1)
    assert cluster.written == [0, 1]
    client.close()


def test_conflicts_are_read_again():
    cluster = Cluster()
    cluster.conflicts = 3
    client = cluster.client()
    client.body("scale", "deployment/api", 5)
    assert cluster.written == [5]
    cluster.conflicts = 1000
    answer = client("scale", "deployment/api", 6)
    assert answer["code"] == "busy" and "conflict" in answer["text"], answer
    assert cluster.written == [5]
    client.close()


def test_a_token_that_is_replaced():
    cluster = Cluster()
    client = cluster.client()
    assert client("probe")["code"] == "ok"
    cluster.tokens = {"second"}
    answer = client("probe")
    assert answer["code"] == "credential" and "Unauthorized" in answer["text"] and "first" not in answer["text"], answer
    cluster.write_token("second")
    assert client("probe")["code"] == "ok"
    os.remove(cluster.token_path)
    asked = len(cluster.server.requests)
    answer = client("probe")
    assert answer["code"] == "credential" and "token cannot be read" in answer["text"] and cluster.token_path in answer["text"], answer
    assert asked == len(cluster.server.requests), "nobody is asked without it"
    client.close()


def test_refusals():
    cluster = Cluster()
    client = cluster.client()
    cluster.refuse_scale = status(422, "Invalid", "spec.replicas: Invalid value")
    assert client("scale", "deployment/api", 9)["code"] == "invalid"
    cluster.refuse_scale = (429, {"message": "slow down"}, {"Retry-After": "1"})
    assert client("scale", "deployment/api", 9)["code"] == "busy"
    cluster.refuse_scale = (None, None, None)
    assert client("scale", "deployment/api", 9)["code"] in ("lost", "unavailable")
    cluster.forbidden = True
    answer = client("list")
    assert answer["code"] == "denied" and "cannot list" in answer["text"], answer
    cluster.server.close()
    for server in ("http://10.0.0.1:8080", "http://127.evil.example", "http://127.0.0.1.evil.example/", "http://localhost.example:80",
                   "http://[::1].example", "ftp://127.0.0.1", "127.0.0.1"):
        assert "https://" in Client("platform-kubernetes", {"server": server}).refusal(), server
    for server in ("http://127.0.0.1@evil.example", "http://localhost:80@evil.example", "https://me:sesame@evil.example/"):
        why = Client("platform-kubernetes", {"server": server}).refusal()
        assert "no user and password" in why and "sesame" not in why, (server, why)
    for server in ("http://127.3.2.1", "http://localhost/", "http://[::1]:80", "http://127.0.0.1:1/x@y"):
        Client("platform-kubernetes", {"server": server, "token_file": cluster.token_path}).close()
    client.close()


def test_answers_that_tell_no_size():
    """Nothing is read into them: a size that is not known would be taken for one that is too small."""
    cluster = Cluster()
    client = cluster.client()
    good = copy.deepcopy(cluster.workloads["deployments", "api"])
    assert client.body("get", "deployment/api")["wanted"] == 2
    odd = [{}, [], "no", 7, {"status": "ok"}, {**good, "spec": None}, {**good, "spec": [2]}, {**good, "metadata": {"name": "other"}}]
    odd += [{**good, "spec": {**good["spec"], "replicas": value}} for value in ("2", -1, 2.5, [2], True, 10**12)]
    odd += [{**good, "status": {"replicas": 2, "readyReplicas": value}} for value in ("2", -1, {})]
    for one in odd:
        cluster.workloads["deployments", "api"] = one
        answer = client("get", "deployment/api")
        assert answer["code"] == "unavailable" and "api" in answer["text"], (one, answer)
    cluster.workloads["deployments", "api"] = {**good, "spec": {**good["spec"], "replicas": "2"}}
    assert client("list")["code"] == "unavailable"
    for one in ("2", -1, [2]):
        cluster.workloads["deployments", "api"] = {**good, "spec": {**good["spec"], "replicas": one}}
        answer = client("scale", "deployment/api", 3)
        assert answer["code"] == "unavailable" and not cluster.written, (one, answer)
    # The controller has not told anything yet.
    cluster.workloads["deployments", "api"] = {**good, "status": {}}
    assert client.body("get", "deployment/api")["ready"] == 0
    client.close()


def test_samples():
    cluster = Cluster()
    client = cluster.client()
    first, second = client("sample", "deployment/api")["items"]
    assert abs(first["body"]["cpu_cores"] - 0.124456789) < 1e-9 and first["body"]["quota_cores"] == 1.5, first
    assert first["body"]["memory_bytes"] == 64 * 1048576 + 1024 and first["body"]["address"] == "10.1.0.7"
    assert second["pending"] and not second["body"]["ready"] and "cpu_cores" not in second["body"], second
    # No metrics server; or a role that may not read it.
    for refused in (status(404, "NotFound", "the server could not find the requested resource"),
                    status(403, "Forbidden", 'pods.metrics.k8s.io is forbidden: User "vimd" cannot list resource "pods"')):
        cluster.metrics = refused
        answer = client("sample", "deployment/api")
        assert answer["code"] == "ok", answer
        first = answer["items"][0]
        assert first["body"]["ready"] and "cpu_cores" not in first["body"], first
    client.close()


def test_what_may_have_come_through():
    """A size that was written, and whose answer got lost on the way, has not failed: the next look will tell."""
    cluster = Cluster()
    client = cluster.client()
    cluster.away_after_write = True
    answer = client("scale", "deployment/api", 7)
    assert answer["code"] == "lost" and "has been given its size" in answer["text"], answer
    assert cluster.written == [7]
    cluster.away_after_write = False
    assert client.body("get", "deployment/api")["wanted"] == 7
    cluster.refuse_scale = status(500, "InternalError", "etcdserver: request timed out")
    answer = client("scale", "deployment/api", 3)
    assert answer["code"] == "lost" and "etcdserver" in answer["text"], answer
    cluster.refuse_scale = status(503, "ServiceUnavailable", "shutting down")
    assert client("scale", "deployment/api", 3)["code"] == "unavailable"
    client.close()


def test_a_server_with_a_slash():
    cluster = Cluster()
    client = cluster.client(server=f"http://127.0.0.1:{cluster.server.port}/")
    assert client("probe")["code"] == "ok"
    client.close()


def kubeconfig(cluster, user, **extra):
    path = os.path.join(cluster.folder, "config")
    scheme = extra.pop("scheme", "http")
    with open(path, "w") as file:
        json.dump({"apiVersion": "v1", "kind": "Config", "current-context": "here",
                   "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "vimd"}}],
                   "clusters": [{"name": "c", "cluster": {"server": f"{scheme}://127.0.0.1:{cluster.server.port}", **extra}}],
                   "users": [{"name": "u", "user": user}]}, file)
    return path


def test_kubeconfig():
    cluster = Cluster()
    client = Client("platform-kubernetes", {"kubeconfig": kubeconfig(cluster, {"token": "first"})})
    assert len(client("list")["items"]) == 3
    client.close()
    refused = Client("platform-kubernetes", {"kubeconfig": kubeconfig(cluster, {"exec": {"command": "aws"}})}).refusal()
    assert "program" in refused, refused
    refused = Client("platform-kubernetes", {"kubeconfig": kubeconfig(cluster, {}), "context": "there"}).refusal()
    assert "there" in refused, refused
    # The file of a token is beside the kubeconfig, and what counts: it is renewed.
    path = kubeconfig(cluster, {"token": "outdated", "tokenFile": "token"})
    client = Client("platform-kubernetes", {"kubeconfig": path})
    assert client("probe")["code"] == "ok"
    cluster.tokens = {"second"}
    cluster.write_token("second")
    assert client("probe")["code"] == "ok"
    client.close()
    # What is not understood is said, and not left out.
    for user, cluster_has, word in (({"username": "u", "password": "geheim"}, {}, "password"),
                                    ({}, {"insecure-skip-tls-verify": True}, "insecure-skip-tls-verify"),
                                    ({}, {"proxy-url": "http://10.0.0.1:1"}, "proxy-url"),
                                    ({}, {"tls-server-name": "x"}, "tls-server-name")):
        refused = Client("platform-kubernetes", {"kubeconfig": kubeconfig(cluster, user, **cluster_has)}).refusal()
        assert word in refused and "here" in refused and "geheim" not in refused, refused
    path = kubeconfig(cluster, {})
    with open(path) as file:
        text = file.read().replace('"user": "u"', '"user": "nobody"')
    with open(path, "w") as file:
        file.write(text)
    refused = Client("platform-kubernetes", {"kubeconfig": path}).refusal()
    assert "user nobody" in refused, refused
    path = os.path.join(cluster.folder, "broken")
    with open(path, "w") as file:
        file.write("clusters: [\n")
    assert "broken:" in Client("platform-kubernetes", {"kubeconfig": path}).refusal()
    assert "belongs" in Client("platform-kubernetes", {"context": "x"}).refusal()


def test_tls_with_an_authority_of_its_own():
    folder = tempfile.mkdtemp(prefix="tls-", dir=FOLDER)
    certificate, key = os.path.join(folder, "crt"), os.path.join(folder, "key")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                    "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
                   check=True, capture_output=True)
    cluster = Cluster(tls=(certificate, key))
    with open(certificate, "rb") as file:
        data = base64.b64encode(file.read()).decode()
    path = kubeconfig(cluster, {"token": "first"}, scheme="https", **{"certificate-authority-data": data})
    before = {name for name in os.listdir("/tmp") if name.startswith("vimd-kubernetes-")}
    client = Client("platform-kubernetes", {"kubeconfig": path})
    assert client("probe")["code"] == "ok"
    client.close()
    # What was inline in the kubeconfig is not left behind in files.
    assert {name for name in os.listdir("/tmp") if name.startswith("vimd-kubernetes-")} <= before
    # Without the authority nobody is believed.
    client = Client("platform-kubernetes", {"kubeconfig": kubeconfig(cluster, {"token": "first"}, scheme="https")})
    answer = client("probe")
    assert answer["code"] == "unavailable", answer
    client.close()


run(globals())

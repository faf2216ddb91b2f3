"""What the HTTP front decides before the logic sees a request: methods, problems, broken requests."""
import socket
import threading
import time
import unittest

from vimd import Client, Scene, Vimd, many, mock, unique, wait_for


def send(port, data, seconds=5):
    """What comes back until the other side closes, or for so long."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        try:
            connection.sendall(data)
            while piece := connection.recv(65536):
                answer += piece
        except OSError:
            pass
    return answer


class Methods(Scene):
    def test_options_tells_what_is_offered(self):
        answer = self.vimd.request("OPTIONS", "/v1/networks")
        self.assertEqual((answer.status, answer.headers["Allow"], answer.body),
                         (204, "GET, HEAD, POST, OPTIONS", b""))
        self.assertEqual(self.vimd.request("OPTIONS", "/v1/nothing").status, 404)
        self.assertEqual(Client(self.vimd.port).request("OPTIONS", "/v1/networks").status, 401)
        self.assertEqual(Client(self.vimd.port).request("OPTIONS", "/healthz").status, 204)

    def test_other_methods_are_told_what_is_offered_here(self):
        for method in ("PUT", "TRACE", "BREW"):
            answer = self.vimd.request(method, "/v1/networks")
            self.assertEqual((answer.status, answer.headers["Allow"], answer.json["code"]),
                             (405, "GET, HEAD, POST, OPTIONS", "method-not-allowed"), method)
            self.assertEqual(self.vimd.request(method, "/v1/nothing").status, 404)

    def test_a_public_path_needs_no_token_to_say_no(self):
        self.assertEqual(Client(self.vimd.port).request("POST", "/healthz").status, 405)


class Problems(Scene):
    def test_instance_is_the_request_whoever_refuses(self):
        headers = {"X-Request-Id": "req-7"}
        for status, code, answer in (
                (401, "unauthenticated",
                 Client(self.vimd.port).get("/v1/networks", headers=headers)),
                (404, "not-found", self.vimd.get("/v1/nothing", headers=headers)),
                (400, "malformed", self.vimd.get("/v1/networks?%zz", headers=headers)),
                (414, "uri-too-long", self.vimd.get("/v1/networks?" + "a" * 9000,
                                                    headers=headers)),
                (413, "too-large", self.vimd.post("/v1/networks", {"name": "a" * (2 << 20)},
                                                  headers=headers)),
                (431, "too-large", self.vimd.get("/v1/networks",
                                                 headers={**headers, "X": "a" * 17000}))):
            self.assertEqual((answer.status, answer.json["code"], answer.json["instance"]),
                             (status, code, "req-7"))
            self.assertEqual(answer.headers["X-Request-Id"], "req-7")


class Broken(Scene):
    def test_what_never_becomes_a_request_leaves_nothing_behind(self):
        """A sanitizer's leak check at the daemon's end is the verdict."""
        for length in list(range(19000, 22000, 50)) + [20400] * 5:
            send(self.vimd.port, b"GET /healthz?" + b"a" * length + b" HTTP/1.1\r\nHost: x\r\n\r\n",
                 seconds=0.1)
        self.assertEqual(self.vimd.get("/healthz").status, 200)


class Room(Scene):
    settings = {"api": {"upload_max": "16384GiB"}}

    def test_an_upload_that_does_not_fit_is_refused_before_it_is_sent(self):
        """Whoever is refused in the middle of it sees a broken connection, and not why."""
        image = self.vimd.create("images", {"vim": "edge1", "name": unique(), "disk_format": "raw"})
        head = (f"PUT /v1/images/{image['id']}/data HTTP/1.1\r\nHost: x\r\n"
                f"Authorization: Bearer {self.vimd.token}\r\n"
                f"Content-Type: application/octet-stream\r\nContent-Length: {16 * 10**12}\r\n")
        for more in ("", "Expect: 100-continue\r\n"):
            answer = send(self.vimd.port, f"{head}{more}\r\n".encode())
            self.assertTrue(answer.startswith(b"HTTP/1.1 507 "), answer[:200])
            self.assertIn(b'"code":"no-space"', answer)
            self.assertIn(b'"title":"Insufficient Storage"', answer)


class Waits(Scene):
    """Of requests that wait for a task which takes longer than the test."""
    vims = [mock("edge1", build="10m")]
    settings = {"drain_timeout": "500ms"}

    @staticmethod
    def server(name):
        return {"vim": "edge1", "name": name, "image": "cirros", "flavor": "small"}

    def test_the_end_of_the_drain_answers_them_with_the_task(self):
        with Vimd(vims=self.vims, settings=self.settings, name="drainwaits") as daemon:
            answers = {}
            seeded(daemon)
            task = daemon.task_of(daemon.post("/v1/servers", self.server("first"), wait=0))

            def ask(name, call):
                client = Client(daemon.port, daemon.token)
                answers[name] = call(client)

            threads = [threading.Thread(target=ask, args=arguments) for arguments in (
                ("post", lambda client: client.post(
                    "/v1/servers", self.server("waits"), wait=30)),
                ("get", lambda client: client.get(f"/v1/tasks/{task}?wait=30")))]
            for thread in threads:
                thread.start()
            wait_for(lambda: in_flight(daemon) >= 3, "both to wait")
            wait_for(lambda: daemon.get("/v1/servers?name=waits").json["servers"], "the server")
            daemon.stop()
            for thread in threads:
                thread.join()
            self.assertEqual(answers["post"].status, 202, answers["post"])
            self.assertEqual(answers["post"].headers["Location"],
                             f"/v1/tasks/{answers['post'].json['id']}")
            self.assertEqual(answers["get"].status, 200, answers["get"])
            self.assertEqual(answers["get"].json["id"], task)

    def test_a_conflict_names_the_task_that_is_in_the_way(self):
        seeded(self.vimd)
        first = self.vimd.post("/v1/servers", self.server("busy"), wait=0)
        path = first.headers["Content-Location"]
        wait_for(lambda: self.vimd.get(path).json.get("backend_id"), "its id at the VIM")
        for answer in (self.vimd.delete(path), self.vimd.patch(path, {"name": "other"}),
                       self.vimd.post(path + "/actions", {"action": "stop"})):
            self.assertEqual((answer.status, answer.json["code"], answer.json["retryable"],
                              answer.json["task"]),
                             (409, "conflict", True, self.vimd.task_of(first)), answer)

    def test_a_client_that_left_is_not_waited_for(self):
        seeded(self.vimd)
        task = self.vimd.task_of(self.vimd.post("/v1/servers", self.server("left"), wait=0))
        head = (f"GET /v1/tasks/{task}?wait=60 HTTP/1.1\r\nHost: x\r\n"
                f"Authorization: Bearer {self.vimd.token}\r\n\r\n").encode()
        connections = []
        for _ in range(20):
            connections.append(socket.create_connection(("127.0.0.1", self.vimd.port)))
            connections[-1].sendall(head)
        wait_for(lambda: in_flight(self.vimd) >= 21, "all to wait")
        for connection in connections:
            connection.close()
        started = time.monotonic()
        wait_for(lambda: in_flight(self.vimd) <= 2, "none to wait", seconds=30)
        self.assertLess(time.monotonic() - started, 30)


def seeded(daemon):
    """Waits until the inventory has what a server needs."""
    for path in ("images?name=cirros", "flavors?name=small"):
        wait_for(lambda path=path: daemon.list(*path.split("?")), path)


def in_flight(daemon):
    """Requests in progress, with the one that asks."""
    for line in daemon.get("/metrics").body.decode().splitlines():
        if line.startswith("vimd_http_in_flight "):
            return int(float(line.split()[1]))
    raise AssertionError("no vimd_http_in_flight")


class DryRun(Scene):
    def test_a_key_does_not_stand_for_a_dry_run(self):
        body = {"vim": "edge1", "name": unique()}
        key = {"Idempotency-Key": unique()}
        dry = self.vimd.post("/v1/networks?dryRun=true", body, headers=key)
        self.assertEqual((dry.status, dry.json["valid"]), (200, True))
        self.assertEqual(self.vimd.post("/v1/networks", body, headers=key).status, 202)
        dry = self.vimd.post("/v1/networks?dryRun=true", body, headers=key)
        self.assertEqual((dry.status, dry.json["valid"]), (200, True))

    def test_what_is_never_read_back_is_not_in_the_verdict(self):
        flavor = self.vimd.create("flavors", {"vim": "edge1", "name": unique(), "vcpus": 1,
                                              "ram": 64})
        image = self.vimd.create("images", {"vim": "edge1", "name": unique(),
                                            "disk_format": "raw"})
        dry = self.vimd.post("/v1/servers?dryRun=true", {
            "vim": "edge1", "name": unique(), "flavor": flavor["id"], "image": image["id"],
            "user_data": "U0VDUkVU"})
        self.assertEqual((dry.status, dry.json["valid"]), (200, True))
        self.assertNotIn(b"user_data", dry.body)


class References(Scene):
    def test_operators_do_not_build_on_what_belongs_to_others(self):
        network = self.vimd.create("networks", {"vim": "edge1", "name": unique()})
        body = {"vim": "edge1", "name": unique(), "network": network["id"], "cidr": "10.1.0.0/24"}
        operator = self.vimd.user("operator", project="other")
        self.assertEqual(operator.get(f"/v1/networks/{network['id']}").status, 200)
        self.assertEqual(operator.post("/v1/subnets", body).status, 422)
        admin = self.vimd.user("admin", project="other")
        self.assertEqual(admin.post("/v1/subnets?dryRun=true", body).status, 200)


class Health(Scene):
    vims = [mock("edge1", call="5s", call_timeout="500ms")]

    def reachable(self):
        return self.vimd.get("/v1/vims/edge1").json["health"]["reachable"]

    def test_a_call_that_never_came_to_the_vim_tells_nothing_of_it(self):
        wait_for(lambda: not self.reachable(), "a call that is not answered")
        for _ in range(5):
            self.assertFalse(self.vimd.get("/v1/vims/edge1/check").json["ok"])
            self.assertFalse(self.reachable())


class Labels(Scene):
    def test_many_writers_at_once_all_get_through(self):
        network = self.vimd.create("networks", {"vim": "edge1", "name": unique()})
        path = f"/v1/networks/{network['id']}"
        answers = many(lambda i: self.vimd.patch(path, {"labels": {f"l{i}": "x"}}), range(40),
                       threads=20)
        self.assertEqual({answer.status for answer in answers}, {200})
        self.assertEqual(len(self.vimd.get(path).json["labels"]), 40)


if __name__ == "__main__":
    unittest.main()

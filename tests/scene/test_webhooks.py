"""Events sent to those who subscribed: order, signatures, repetition, dead letters; receivers that fail, hang,
redirect or are slow harm no other; addresses that must not be called are not; secrets do not come out."""
import hashlib
import hmac
import http.server
import json
import threading
import time
import unittest

from vimd import Scene, Vimd, mock, unique, wait_for

SECRET, OLDER = "a secret of enough bytes", "the one before, as long"
SETTINGS = {"webhooks": {"allow_http": True, "allow_networks": ["127.0.0.1/32"], "timeout": "1s",
                         "connect_timeout": "1s", "backoff_base": "20ms", "backoff_cap": "100ms",
                         "max_attempts": 5}}


class Receiver:
    """An HTTP server on loopback that does with each request what MANNER(receiver, handler) says: the status to
    answer, or None if it has answered itself."""

    def __init__(self, manner=None):
        self.requests, self.lock = [], threading.Lock()
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with receiver.lock:
                    receiver.requests.append((dict(self.headers), body))
                status = manner(receiver, self) if manner else 204
                if status:
                    self.send_response(status)
                    self.send_header("Content-Length", "0")
                    self.end_headers()

            do_GET = do_POST

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass  # connections are cut here on purpose

        self.server = Server(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_port}/hook?x=1"

    def events(self):
        with self.lock:
            return [json.loads(body) for _, body in self.requests]

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def check_signature(headers, body, secrets):
    parts = headers["Vimd-Signature"].split(",")
    seconds = parts[0].removeprefix("t=")
    assert abs(int(seconds) - time.time()) < 600
    wanted = [hmac.new(secret.encode(), seconds.encode() + b"." + body, hashlib.sha256).hexdigest()
              for secret in secrets]
    assert [part.removeprefix("v1=") for part in parts[1:]] == wanted, parts


class Webhooks(Scene):
    vims = [mock("edge1")]
    settings = SETTINGS

    def receiver(self, manner=None):
        receiver = Receiver(manner)
        self.addCleanup(receiver.close)
        return receiver

    def subscribe(self, url, **more):
        body = {"url": url, "secrets": [SECRET], "types": ["task.ended"], **more}
        answer = self.vimd.post("/v1/subscriptions", body)
        self.assertEqual(answer.status, 201, answer)
        identity = answer.json["id"]
        self.addCleanup(self.vimd.delete, f"/v1/subscriptions/{identity}")
        return identity

    def networks(self, count):
        """Makes some, one after the other, and returns the ids of their tasks."""
        tasks = []
        for _ in range(count):
            answer = self.vimd.post("/v1/networks", {"vim": "edge1", "name": unique("n")})
            tasks.append(self.vimd.task_of(answer))
            self.vimd.wait_task(tasks[-1])
        return tasks

    @staticmethod
    def tasks_of(receiver):
        return [event["data"]["task"] for event in receiver.events()]

    def state(self, identity):
        return self.vimd.get(f"/v1/subscriptions/{identity}").json["delivery"]

    def test_events_come_signed_and_in_order(self):
        receiver = self.receiver()
        identity = self.subscribe(receiver.url, name="all tasks")
        tasks = self.networks(5)
        wait_for(lambda: len(receiver.requests) >= 5, "five events")
        self.assertEqual(self.tasks_of(receiver), tasks)
        headers, body = receiver.requests[0]
        check_signature(headers, body, [SECRET])
        self.assertEqual(headers["Content-Type"], "application/cloudevents+json; charset=utf-8")
        self.assertEqual(headers["Vimd-Subscription"], identity)
        event = json.loads(body)
        self.assertEqual(event["specversion"], "1.0")
        self.assertEqual(event["source"], "urn:vimd")
        self.assertEqual(event["type"], "vimd.task.ended")
        self.assertEqual(event["id"], event["data"]["id"])
        self.assertEqual(event["subject"], "network/" + event["data"]["resource"])
        wait_for(lambda: self.state(identity).get("succeeded"), "the delivery's state")
        # Two secrets while one takes the place of the other.
        answer = self.vimd.patch(f"/v1/subscriptions/{identity}", {"secrets": [SECRET, OLDER]})
        self.assertEqual((answer.status, answer.json["secret_count"]), (200, 2))
        time.sleep(1)
        self.networks(1)
        wait_for(lambda: len(receiver.requests) >= 6, "another event")
        check_signature(*receiver.requests[-1], [SECRET, OLDER])
        for text in (answer.body, self.vimd.get("/v1/subscriptions").body,
                     self.vimd.get(f"/v1/subscriptions/{identity}").body):
            self.assertNotIn(SECRET.encode(), text)

    def test_what_fails_is_sent_again_and_nothing_overtakes(self):
        def two_of_three_fail(receiver, _):
            return 500 if len(receiver.requests) % 3 else 200
        receiver = self.receiver(two_of_three_fail)
        self.subscribe(receiver.url)
        tasks = self.networks(4)
        wait_for(lambda: len(receiver.requests) >= 12, "all of them")
        self.assertEqual(self.tasks_of(receiver), [task for task in tasks for _ in range(3)])

    def test_bad_receivers_harm_no_other(self):
        def hang(receiver, handler):
            time.sleep(5)
            handler.close_connection = True

        def redirect(receiver, handler):
            handler.send_response(307)
            handler.send_header("Location", target.url)
            handler.send_header("Content-Length", "0")
            handler.end_headers()

        def trickle(receiver, handler):
            handler.send_response(200)
            handler.send_header("Content-Length", "1000000")
            handler.end_headers()
            try:
                for _ in range(50):
                    handler.wfile.write(b"x")
                    time.sleep(0.1)
            except OSError:
                pass
            handler.close_connection = True

        def endless(write):
            def manner(_, handler):
                try:
                    while True:
                        write(handler)
                except OSError:
                    pass
                handler.close_connection = True
            return manner

        def body(handler):
            if not hasattr(handler, "begun"):
                handler.begun = True
                handler.wfile.write(b"HTTP/1.1 500 No\r\n\r\n")
            handler.wfile.write(b"x" * 65536)

        def headers(handler):
            if not hasattr(handler, "begun"):
                handler.begun = True
                handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
            handler.wfile.write(b"X-More: " + b"x" * 1000 + b"\r\n")

        def interim(handler):
            handler.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)

        def early(_, handler):
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nx")
            handler.close_connection = True

        def nonsense(_, handler):
            handler.wfile.write(b"\0\xff no HTTP\r\n\r\n")
            handler.close_connection = True

        target, good = self.receiver(), self.receiver()
        bad = {"body": self.receiver(endless(body)), "headers": self.receiver(endless(headers)),
               "interim": self.receiver(endless(interim)), "early": self.receiver(early),
               "nonsense": self.receiver(nonsense),"hang": self.receiver(hang), "redirect": self.receiver(redirect),
               "trickle": self.receiver(trickle), "fail": self.receiver(lambda *_: 500)}
        ids = {name: self.subscribe(receiver.url) for name, receiver in bad.items()}
        ids["closed"] = self.subscribe("http://127.0.0.1:1/")
        self.subscribe(good.url)
        began = time.monotonic()
        tasks = self.networks(3)
        wait_for(lambda: len(good.requests) >= 3, "events at the good one", seconds=20)
        self.assertEqual(self.tasks_of(good), tasks)
        self.assertLess(time.monotonic() - began, 20)
        for name, identity in ids.items():
            wait_for(lambda identity=identity: self.state(identity).get("error"), f"error of {name}")
        self.assertIn("headers without end", self.state(ids["headers"])["error"])
        self.assertIn("headers without end", self.state(ids["interim"])["error"])
        self.assertEqual(target.requests, [])
        self.assertIn("307", self.state(ids["redirect"])["error"])
        self.assertIn("redirections are not followed", self.state(ids["redirect"])["error"])

    def test_dead_letters_are_kept_and_sent_again(self):
        broken = {"on": True}
        receiver = self.receiver(lambda *_: 503 if broken["on"] else 200)
        identity = self.subscribe(receiver.url)
        task, = self.networks(1)

        def letters():
            return [one for one in self.vimd.list("dead-letters")
                    if one["subscription"] == identity]
        letter = wait_for(letters, "a dead letter")[0]
        self.assertEqual(letter["attempts"], 5)
        self.assertEqual(letter["data"]["task"], task)
        self.assertIn("503", letter["error"])
        self.assertEqual(self.state(identity)["dead_letters"], 1)
        # Sent again in vain, and then not.
        count = len(receiver.requests)
        path = f"/v1/dead-letters/{letter['id']}"
        self.assertEqual(self.vimd.post(path + "/resend").status, 204)
        wait_for(lambda: len(receiver.requests) > count, "another attempt")
        wait_for(lambda: self.vimd.get(path).json["attempts"] == 6, "the letter as it is now")
        broken["on"] = False
        self.assertEqual(self.vimd.post(path + "/resend").status, 204)
        wait_for(lambda: not letters(), "the letter's end")
        self.assertEqual(self.vimd.get(path).status, 404)
        self.assertEqual(self.tasks_of(receiver)[-1], task)
        # The next event had its turn all the same.
        task, = self.networks(1)
        wait_for(lambda: self.tasks_of(receiver)[-1] == task, "the next event")

    def test_addresses_that_must_not_be_called(self):
        for url in ("https://10.0.0.1/", "https://169.254.169.254/latest/meta-data", "https://[::1]/",
                    "http://127.0.0.2/", "ftp://127.0.0.1/", "http://user@127.0.0.1/", "x"):
            answer = self.vimd.post("/v1/subscriptions", {"url": url, "secrets": [SECRET]})
            self.assertEqual(answer.status, 422, url)
            self.assertEqual(answer.json["errors"][0]["pointer"], "/url")
        # A name is looked at when it has been resolved: 127.0.0.2 is loopback, too.
        identity = self.subscribe("http://127.2:9/")
        self.networks(1)
        wait_for(lambda: "must not be called" in self.state(identity).get("error", ""), "a refusal")

    def test_faults_are_told_at_once(self):
        answer = self.vimd.post("/v1/subscriptions", {
            "url": "http://127.0.0.1/", "secrets": ["short"], "types": ["task.end"], "kind": ["x"],
            "kinds": "server", "enabled": 1})
        self.assertEqual(answer.status, 422)
        self.assertEqual({error["pointer"] for error in answer.json["errors"]},
                         {"/secrets/0", "/types/0", "/kind", "/kinds", "/enabled"})
        self.assertEqual(self.vimd.post("/v1/subscriptions", {}).status, 422)

    def test_projects_are_apart(self):
        mine, theirs = self.receiver(), self.receiver()
        member = self.vimd.user("member", "other")
        identity = self.subscribe(mine.url)
        answer = member.post("/v1/subscriptions", {"url": theirs.url, "secrets": [SECRET],
                                                   "types": ["task.ended"]})
        self.assertEqual(answer.status, 201)
        self.addCleanup(member.delete, f"/v1/subscriptions/{answer.json['id']}")
        self.assertEqual(member.get(f"/v1/subscriptions/{identity}").status, 404)
        self.assertEqual(member.delete(f"/v1/subscriptions/{identity}").status, 404)
        self.assertEqual(len(member.list("subscriptions")), 1)
        self.assertEqual(member.post("/v1/subscriptions", {
            "url": theirs.url, "secrets": [SECRET], "all_projects": True}).status, 422)
        self.networks(2)
        wait_for(lambda: len(mine.requests) >= 2, "events")
        time.sleep(0.5)
        self.assertEqual(theirs.requests, [])

    def test_what_is_of_all_projects_is_not_for_members(self):
        """A member of the operator's project must not turn it to an address of their own, nor read what it
        could not deliver."""
        operator, member = self.vimd.user("operator"), self.vimd.user("member")
        stranger = self.vimd.user("member", "other")
        receiver, failing = self.receiver(), self.receiver(lambda *_: 500)
        answer = operator.post("/v1/subscriptions", {
            "url": failing.url, "secrets": [SECRET], "types": ["task.ended"], "all_projects": True})
        self.assertEqual(answer.status, 201, answer)
        query = "subscription=" + answer.json["id"]
        path = "/v1/subscriptions/" + answer.json["id"]
        self.addCleanup(self.vimd.delete, path)
        for change in ({"url": receiver.url}, {"secrets": ["a secret of a member"]},
                       {"all_projects": False}, {"enabled": False}):
            self.assertEqual(member.patch(path, change).status, 403, change)
        self.assertEqual(member.delete(path).status, 403)
        stranger.create("networks", {"vim": "edge1", "name": unique("n")})
        letters = wait_for(lambda: operator.list("dead-letters", query), "a dead letter")
        self.assertEqual(member.list("dead-letters", query), [])
        letter = "/v1/dead-letters/" + letters[0]["id"]
        for method, where in (("GET", letter), ("POST", letter + "/resend"), ("DELETE", letter)):
            self.assertEqual(member.request(method, where).status, 404, method)
        self.assertEqual(operator.post(letter + "/resend").status, 204)
        self.assertEqual(operator.delete(letter).status, 204)
        self.assertEqual(operator.patch(path, {"url": receiver.url}).status, 200)

    def test_disabled_is_quiet_and_enabled_goes_on(self):
        receiver = self.receiver()
        identity = self.subscribe(receiver.url, enabled=False)
        tasks = self.networks(2)
        time.sleep(1)
        self.assertEqual(receiver.requests, [])
        self.assertEqual(self.vimd.patch(f"/v1/subscriptions/{identity}", {"enabled": True}).status, 200)
        wait_for(lambda: len(receiver.requests) >= 2, "what was missed")
        self.assertEqual(self.tasks_of(receiver), tasks)


class Crowded(Scene):
    """More receivers that hang than there are requests at once."""
    vims = [mock("edge1")]
    settings = {"webhooks": {**SETTINGS["webhooks"], "concurrency": 4, "backoff_base": "1ms",
                             "backoff_cap": "1ms", "max_attempts": 1000}}

    def test_those_that_hang_leave_room_for_others(self):
        hang = Receiver(lambda *_: time.sleep(30))
        good = Receiver()
        try:
            for receiver in 12 * [hang] + [good]:
                answer = self.vimd.post("/v1/subscriptions", {
                    "url": receiver.url, "secrets": [SECRET], "types": ["task.ended"]})
                self.assertEqual(answer.status, 201)
            tasks = []
            for count in range(1, 6):
                answer = self.vimd.post("/v1/networks", {"vim": "edge1", "name": unique("n")})
                tasks.append(self.vimd.task_of(answer))
                self.vimd.wait_task(tasks[-1])
                wait_for(lambda count=count: len(good.requests) >= count, "the event", seconds=30)
            self.assertEqual([event["data"]["task"] for event in good.events()], tasks)
        finally:
            good.close()
            hang.close()


class Kills(unittest.TestCase):
    def test_a_kill_loses_no_event(self):
        receiver = Receiver()
        try:
            with Vimd(vims=[mock("edge1")], name="webhooks", settings=SETTINGS) as daemon:
                answer = daemon.post("/v1/subscriptions", {
                    "url": receiver.url, "secrets": [SECRET], "types": ["task.ended"]})
                self.assertEqual(answer.status, 201)
                daemon.secrets.append(SECRET)
                tasks = []
                for _ in range(3):
                    for _ in range(10):
                        answer = daemon.post("/v1/networks", {"vim": "edge1", "name": unique("n")})
                        tasks.append(daemon.task_of(answer))
                    daemon.kill()
                    daemon.start()

                def sent():
                    return [event["data"]["task"] for event in receiver.events()]
                wait_for(lambda: set(sent()) == set(tasks), "every task's end")
                # At least once, and in order: what is sent again is what came last.
                firsts = list(dict.fromkeys(event["id"] for event in receiver.events()))
                self.assertEqual(firsts, sorted(firsts))
        finally:
            receiver.close()


if __name__ == "__main__":
    unittest.main(verbosity=2)

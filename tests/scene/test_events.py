"""Events: listeners that miss none and get none twice, across restarts of the daemon; who sees what;
how streams end. LISTENERS=2000 makes it a crowd."""
import os
import socket
import time
import unittest

import vimd
from listeners import Crowd
from vimd import Vimd, Scene, mock, unique, wait_for

LISTENERS = int(os.environ.get("LISTENERS", "200"))


def all_events(client, query=""):
    """GET /v1/events from the first one on, all pages."""
    events, after = [], "0"
    while True:
        answer = client.get(f"/v1/events?after={after}&limit=1000{query}")
        assert answer.status == 200, answer
        if not answer.json["events"]:
            return events
        events += answer.json["events"]
        after = answer.headers["Last-Event-ID"]


def make_networks(client, count, name=None):
    for _ in range(count):
        answer = client.post("/v1/networks", {"vim": "edge1", "name": name or unique("n")})
        assert answer.status == 202, answer


class Restarts(unittest.TestCase):
    def test_no_listener_misses_or_doubles_an_event(self):
        settings = {"api": {"connections": 2 * LISTENERS + 200, "streams": LISTENERS + 100,
                            "connections_per_address": 2 * LISTENERS + 200}}
        with Vimd(vims=[mock("edge1")], name="events", settings=settings) as daemon:
            tokens = [daemon.token, daemon.make_token("reader", "demo"),
                      daemon.make_token("reader", "other")]
            clients = [vimd.Client(daemon.port, token) for token in tokens]
            with Crowd(daemon.port) as crowd:
                queries = ["", "?type=task.ended", "?kind=network&type=resource.changed,task.ended"]
                for index in range(LISTENERS):
                    crowd.add(tokens[index % 3], queries[index // 3 % 3], after="0")
                self.wait_connected(crowd, 1)
                make_networks(daemon, 10)
                daemon.restart()              # streams are ended cleanly
                make_networks(daemon, 10)
                self.wait_connected(crowd, 2)
                make_networks(daemon, 10)
                daemon.kill()                 # and now they are not
                daemon.start()
                make_networks(daemon, 10)
                self.wait_connected(crowd, 3)
                make_networks(daemon, 10)
                wait_for(lambda: len(all_events(daemon, "&type=task.ended")) == 50, "50 tasks")
                self.wait_quiet(daemon)
                self.check(crowd, clients, queries)

    def wait_connected(self, crowd, count):
        def done():
            crowd.check()
            return all(one.connections >= count for one in crowd.listeners)
        wait_for(done, f"connection {count} of all", seconds=120)

    def wait_quiet(self, daemon):
        """Nothing new for a second."""
        seen = {"last": None, "since": time.monotonic()}

        def quiet():
            last = daemon.get("/v1/events?sort=-id&limit=1").json["events"][0]["id"]
            if last != seen["last"]:
                seen.update(last=last, since=time.monotonic())
            return time.monotonic() - seen["since"] > 1
        wait_for(quiet, "quiet")

    def check(self, crowd, clients, queries):
        def wanted(client, query):
            events = all_events(client)
            if query:
                events = [event for event in events if event["type"] in query
                          and (event["kind"] == "network" or "kind" not in query)]
            return [event["id"] for event in events]
        for who, client in enumerate(clients):
            for which, query in enumerate(queries):
                ids = wanted(client, query)
                mine = [one for index, one in enumerate(crowd.listeners)
                        if index % 3 == who and index // 3 % 3 == which]
                wait_for(lambda ids=ids, mine=mine: all(len(one.events) >= len(ids)
                                                        for one in mine),
                         f"all events of {who} {query}")
                for one in mine:
                    self.assertEqual(one.ids, ids, (who, query))
                self.assertTrue(who == 2 or len(ids) >= 50, (who, query, len(ids)))
        crowd.check()
        # The clean end said when to come again.
        self.assertTrue(all(("end", {"reason": "shutdown"}) in one.others
                            for one in crowd.listeners))


class Streams(Scene):
    vims = [mock("edge1")]
    settings = {"api": {"heartbeat": "200ms", "send_timeout": "2s", "streams": 20}}

    def last(self):
        events = self.vimd.get("/v1/events?sort=-id&limit=1").json["events"]
        return events[0]["id"] if events else "0"

    def test_silence_is_broken_by_comments(self):
        with Crowd(self.vimd.port) as crowd:
            one = crowd.add(self.vimd.token)
            wait_for(lambda: one.comments >= 3, "heartbeats")
            self.assertEqual(one.connections, 1)

    def test_a_revoked_token_ends_its_streams(self):
        token = self.vimd.make_token("reader")
        with Crowd(self.vimd.port) as crowd:
            one, other = crowd.add(token), crowd.add(self.vimd.token)
            wait_for(lambda: one.connections and other.connections, "streams")
            name = token.split("_")[1]
            self.assertEqual(self.vimd.delete(f"/v1/tokens/{name}").status, 204)
            wait_for(lambda: one.others, "the end of the stream")
            self.assertEqual(one.others[0], ("end", {"reason": "token"}))
            wait_for(lambda: 401 in one.statuses, "a refusal")
            self.assertEqual(other.connections, 1)
            self.assertEqual(other.others, [])

    def test_an_expired_token_ends_its_streams(self):
        soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3))
        answer = self.vimd.post("/v1/tokens", {"name": "brief", "project": "demo",
                                               "role": "reader", "expires": soon})
        self.assertEqual(answer.status, 201)
        self.vimd.secrets.append(answer.json["token"])
        with Crowd(self.vimd.port) as crowd:
            one = crowd.add(answer.json["token"])
            wait_for(lambda: one.others, "the end of the stream")
            self.assertEqual(one.others[0], ("end", {"reason": "token"}))

    def test_who_comes_late_gets_what_was(self):
        make_networks(self.vimd, 5)
        wait_for(lambda: len(all_events(self.vimd, "&type=task.ended")) >= 5, "tasks")
        ids = [event["id"] for event in all_events(self.vimd)]
        with Crowd(self.vimd.port) as crowd:
            header = crowd.add(self.vimd.token, after=ids[1])
            query = crowd.add(self.vimd.token, f"?after={ids[2]}")
            none = crowd.add(self.vimd.token)
            wait_for(lambda: header.last and header.last >= ids[-1] and query.events, "a replay")
            self.assertEqual(header.ids[:len(ids) - 2], ids[2:])
            wait_for(lambda: len(query.ids) >= len(ids) - 3, "a replay")
            self.assertEqual(query.ids[:len(ids) - 3], ids[3:])
            wait_for(lambda: none.connections, "a stream")
            make_networks(self.vimd, 1)
            wait_for(lambda: none.events, "what is new")
            self.assertGreater(none.ids[0], ids[-1])

    def test_what_is_not_kept_is_a_gap(self):
        with Crowd(self.vimd.port) as crowd:
            one = crowd.add(self.vimd.token, after="9999999999")
            wait_for(lambda: one.others, "a gap")
            self.assertEqual(one.others[0][0], "gap")
            self.assertEqual(one.others[0][1]["first"], "0000000000000001")
            wait_for(lambda: one.events, "what there is")
            self.assertEqual(one.ids[0], "0000000000000001")

    def test_too_many_are_refused(self):
        with Crowd(self.vimd.port) as crowd:
            ones = [crowd.add(self.vimd.token) for _ in range(25)]
            wait_for(lambda: any(503 in one.statuses for one in ones), "a refusal")
            wait_for(lambda: sum(one.connections > 0 for one in ones) >= 20, "twenty streams")
        wait_for(lambda: self.metric("vimd_http_streams") == 0, "no streams")

    def metric(self, name):
        for line in self.vimd.get("/metrics").body.decode().splitlines():
            if line.startswith(name + " "):
                return float(line.split()[1])
        return None

    def test_head_tells_what_a_stream_is_like_and_no_length(self):
        raw = (f"HEAD /v1/events/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.vimd.token}\r\n\r\n").encode()
        heads = []
        for method in (b"HEAD", b"GET"):
            with socket.create_connection(("127.0.0.1", self.vimd.port), timeout=30 * vimd.PATIENCE) as plain:
                plain.sendall(raw.replace(b"HEAD", method))
                with plain.makefile("rb") as lines:
                    heads.append([line.strip().decode().lower() for line in iter(lines.readline, b"\r\n")])
                    if method == b"HEAD":
                        self.assertEqual(lines.read(), b"")  # and the connection is closed
        self.assertEqual(*(sorted(line for line in head if not line.startswith(("date:", "x-request-id:", "transfer-encoding:"))) for head in heads))
        self.assertEqual(heads[0][0], "http/1.1 200 ok")
        self.assertIn("content-type: text/event-stream", heads[0])
        self.assertFalse([line for line in heads[0] if line.startswith("content-length:")], heads[0])
        wait_for(lambda: self.metric("vimd_http_streams") == 0, "no streams")

    def test_faults_are_told(self):
        for query in ("?type=nonsense", "?kind=severs", "?after=x", "?limit=2", "?vim="):
            answer = self.vimd.get("/v1/events/stream" + query)
            self.assertEqual(answer.status, 400, query)
            self.assertIn("errors", answer.json)
        self.assertEqual(self.vimd.get("/v1/events/stream", token="x").status, 401)


class Slow(unittest.TestCase):
    def test_one_that_does_not_read_is_cut_off_and_harms_nobody(self):
        settings = {"api": {"send_timeout": "500ms", "heartbeat": "100ms"}}
        with Vimd(vims=[mock("edge1")], name="slow", settings=settings) as daemon:
            make_networks(daemon, 600, unique("n" * 200))
            wait_for(lambda: len(all_events(daemon)) > 1200, "events")
            with Crowd(daemon.port) as crowd:
                slow = crowd.add(daemon.token, after="0", reads=False)
                wait_for(lambda: slow.again == float("inf"), "a request")
                good = crowd.add(daemon.token, after="0")
                ids = [event["id"] for event in all_events(daemon)]
                wait_for(lambda: len(good.ids) >= len(ids), "all events", seconds=120)
                self.assertEqual(good.ids[:len(ids)], ids)
                wait_for(lambda: daemon.get("/metrics").body.decode().count(
                    "vimd_http_streams 1\n") == 1, "the cut")
                # It comes back with what it got.
                again = crowd.add(daemon.token, after=ids[-10])
                wait_for(lambda: again.last and again.last >= ids[-1], "the rest")
                self.assertEqual(again.ids[:9], ids[-9:])
                slow.sock_kept.close()


if __name__ == "__main__":
    unittest.main(verbosity=2)

"""Clients that mean harm, or are merely broken: they are answered or cut off, and a healthy client
that works all the while does not notice."""
import json
import os
import random
import select
import socket
import threading
import time
import unittest

import vimd
from vimd import PATIENCE, Broken, Scene, mock, unique

REQUEST = b"GET /v1/whoami HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"


class Raw:
    """A socket, and what was read from it."""

    def __init__(self, port):
        # An address of its own: limits per address are not the healthy client's.
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60 * PATIENCE,
                                               source_address=("127.0.0.2", 0))
        self.data = b""
        self.closed = False

    def send(self, data):
        """True if it could be sent; a server may have cut us off."""
        try:
            self.socket.sendall(data)
            return True
        except OSError:
            self.closed = True
            return False

    def half_close(self):
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            self.closed = True

    def read_some(self, seconds):
        """Reads what comes within a time; False once the other side has closed."""
        ready, _, _ = select.select([self.socket], [], [], seconds)
        if not ready:
            return True
        try:
            piece = self.socket.recv(65536)
        except OSError:
            piece = b""
        self.data += piece
        self.closed = self.closed or not piece
        return bool(piece)

    def read_until_closed(self, seconds=90):
        end = time.monotonic() + seconds * PATIENCE
        while self.read_some(0.5):
            if time.monotonic() > end:
                raise Broken(f"the connection was not cut within {seconds * PATIENCE:.0f} s; "
                             f"read {self.data[:200]!r}")
        return self.data

    def read_status(self, seconds=90):
        """The status of the next answer, or None if we were cut off without one."""
        end = time.monotonic() + seconds * PATIENCE
        while b"\r\n\r\n" not in self.data:
            if not self.read_some(0.5):
                break
            if time.monotonic() > end:
                raise Broken(f"no answer within {seconds * PATIENCE:.0f} s")
        return int(self.data.split()[1]) if self.data.startswith(b"HTTP/1.1 ") else None

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Healthy(threading.Thread):
    """A client that reads and writes until it is told to stop; everything has to succeed."""

    def __init__(self, client):
        super().__init__()
        self.client = client
        self.stopping = threading.Event()
        self.rounds = 0
        self.error = None

    def run(self):
        try:
            while not self.stopping.is_set():
                self.client.must(self.client.get("/v1/whoami"), 200)
                made = self.client.create("networks", {"vim": "edge1", "name": unique("healthy")})
                self.client.remove("networks", made["id"])
                self.rounds += 1
        except BaseException as error:  # told by the main thread
            self.error = error


class Hostile(Scene):
    vims = [mock("edge1", build="10ms")]
    settings = {"api": {"idle_timeout": "2s", "header_timeout": "2s", "body_timeout": "2s",
                        "send_timeout": "2s", "connections_per_address": 400}}

    def setUp(self):
        self.healthy = Healthy(vimd.Client(self.vimd.port, self.vimd.token))
        self.healthy.start()

    def tearDown(self):
        rounds = self.healthy.rounds
        # At least one whole round during or after what was done to the daemon.
        vimd.wait_for(lambda: self.healthy.rounds > rounds or self.healthy.error,
                      "the healthy client to get through")
        self.healthy.stopping.set()
        self.healthy.join()
        if self.healthy.error:
            raise self.healthy.error

    def raw(self):
        return Raw(self.vimd.port)

    @property
    def request_head(self):
        return REQUEST % self.vimd.token.encode()

    def refused(self, data, *statuses):
        """DATA is answered with one of STATUSES, or cut off without a word."""
        with self.raw() as raw:
            raw.send(data)
            status = raw.read_status()
            self.assertIn(status, (None, *statuses), raw.data[:300])
            return status

    def test_malformed(self):
        for data in (b"\r\n\r\n\r\n\r\n", b"GET\r\n\r\n", b"GARBAGE\x00\xff\xfe\r\n\r\n",
                     b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/1.1\r\n: x\r\n\r\n",
                     b"GET /%zz%00%ff HTTP/1.1\r\nHost: x\r\n\r\n",
                     b"GET " + b"/../" * 100 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
                     b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(200),
                     b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                     b"GET http://elsewhere/v1/whoami HTTP/1.1\r\nHost: x\r\n\r\n",
                     self.request_head + b"Content-Length: -1\r\n\r\n",
                     self.request_head + b"Content-Length: 99999999999999999999999\r\n\r\n",
                     self.request_head + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"):
            with self.subTest(data=data[:40]), self.raw() as raw:
                raw.send(data)
                raw.half_close()
                raw.read_until_closed()
                status = int(raw.data.split()[1]) if raw.data.startswith(b"HTTP/1.") else None
                self.assertIn(status, (None, 200, 400, 401, 404, 405, 413, 414, 431, 501, 505),
                              raw.data[:200])

    def test_smuggling(self):
        """Both a length and chunks: the two must never be taken for two requests."""
        body = b"0\r\n\r\nGET /v1/version HTTP/1.1\r\nHost: x\r\n\r\n"
        with self.raw() as raw:
            raw.send(b"POST /v1/networks HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "
                     + self.vimd.token.encode() + b"\r\nContent-Type: application/json\r\n"
                     + b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n" % len(body)
                     + body)
            raw.half_close()
            raw.read_until_closed()
            self.assertNotIn(b'"version"', raw.data)

    def test_names_of_headers_that_readers_take_differently(self):
        """A blank before the colon: who takes it for a length sees one request, who does not sees two."""
        inner = (b"GET /v1/version HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "
                 + self.vimd.token.encode() + b"\r\n\r\n")
        for name in (b"Content-Length ", b"Content-Length\t", b"Transfer-Encoding ", b"X(y)", b"X\x80"):
            with self.subTest(name=name), self.raw() as raw:
                value = b"chunked" if name.startswith(b"T") else b"%d" % len(inner)
                raw.send(b"GET /v1/whoami HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "
                         + self.vimd.token.encode() + b"\r\n" + name + b": " + value + b"\r\n\r\n"
                         + inner)
                raw.half_close()
                raw.read_until_closed()
                self.assertNotIn(b'"version"', raw.data)
                self.assertEqual(raw.data.split()[1], b"400", raw.data[:300])

    def test_large_header(self):
        for data in (self.request_head + b"X-Large: " + b"a" * 200000 + b"\r\n\r\n",
                     self.request_head + b"X-Many: 1\r\n" * 20000 + b"\r\n",
                     b"GET /v1/networks?name=" + b"a" * 200000 + b" HTTP/1.1\r\nHost: x\r\n\r\n"):
            self.refused(data, 400, 413, 414, 431)

    def test_large_body(self):
        head = (b"POST /v1/networks HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                b"Authorization: Bearer " + self.vimd.token.encode() + b"\r\n")
        self.assertIn(self.refused(head + b"Content-Length: 1099511627776\r\n\r\n", 413), (413, None))
        # The same without telling the length.
        with self.raw() as raw:
            raw.send(head + b"Transfer-Encoding: chunked\r\n\r\n")
            piece = b"10000\r\n" + b"a" * 65536 + b"\r\n"
            for _ in range(1600):
                if not raw.send(piece) or not raw.read_some(0) or raw.data:
                    break
            else:
                raise Broken("100 MiB were taken for a JSON body")
            if raw.data:
                self.assertEqual(raw.read_status(), 413)

    def test_chunked_forever(self):
        """Pieces without end, slowly: a time limit or the size limit ends it; ours is the end of
        the test, when the connection is dropped with the request unfinished."""
        socks = []
        for _ in range(20):
            raw = self.raw()
            raw.send(b"POST /v1/networks HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                     b"Authorization: Bearer " + self.vimd.token.encode() +
                     b"\r\nTransfer-Encoding: chunked\r\n\r\n")
            socks.append(raw)
        for _ in range(50):
            for raw in socks:
                raw.closed or raw.send(b"1\r\n \r\n")
            time.sleep(0.02)
        for raw in socks:
            raw.send(b"zz\r\n")
            self.assertIn(raw.read_status(), (None, 400, 408, 413))
            raw.close()

    def test_deeply_nested(self):
        for text in ("[" * 500000, '{"a":' * 100000, "[" * 1000 + "]" * 1000,
                     '{"vim": "edge1", "name": "n", "metadata": ' + '{"a":' * 40 + "1" + "}" * 41):
            answer = self.vimd.request("POST", "/v1/networks", body=text,
                                       headers={"Content-Type": "application/json"})
            self.assertIn(answer.status, (400, 413, 422), text[:40])

    def test_hashes_that_collide_and_long_strings(self):
        wide = json.dumps({f"field{index}": index for index in range(20000)})
        answer = self.vimd.request("POST", "/v1/networks", body=wide,
                                   headers={"Content-Type": "application/json"})
        self.assertIn(answer.status, (400, 413, 422))
        self.assertLess(len(answer.body), 200000, "the list of errors is bounded")
        answer = self.vimd.request("POST", "/v1/networks", headers={
            "Content-Type": "application/json"}, body=json.dumps(
                {"vim": "edge1", "name": "\x7f\n" * 100, "description": "d" * 500000}))
        self.assertIn(answer.status, (400, 413, 422))

    def test_slow_headers_are_cut_off(self):
        """A byte now and then keeps no connection open for ever."""
        slow = [self.raw() for _ in range(30)]
        for raw in slow:
            raw.send(b"GET /v1/whoami HTTP/1.1\r\nX: ")
        silent = [self.raw() for _ in range(30)]
        for raw in silent:
            raw.read_until_closed()
            raw.close()
        for raw in slow:
            raw.read_until_closed()
            raw.close()

    def test_slow_body_is_cut_off(self):
        with self.raw() as raw:
            raw.send(b"POST /v1/networks HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                     b"Authorization: Bearer " + self.vimd.token.encode() +
                     b"\r\nContent-Length: 1000\r\n\r\n{")
            raw.read_until_closed()

    def test_a_write_after_idle_timeout(self):
        """The connection is closed by then; a client that looks before it writes needs no second try."""
        client = vimd.Client(self.vimd.port, self.vimd.token)
        self.assertEqual(client.get("/v1/whoami").status, 200)
        left = client.local.connection.sock
        vimd.wait_for(lambda: vimd.is_readable(left), "the end of a connection that nobody uses")
        client.create("networks", {"vim": "edge1", "name": unique("late")})
        client.close()

    def test_half_closed(self):
        with self.raw() as raw:
            raw.send(self.request_head + b"\r\n")
            raw.half_close()
            self.assertEqual(raw.read_status(), 200)
        with self.raw() as raw:
            raw.send(self.request_head)
            raw.half_close()
            raw.read_until_closed()
        # Those who wait for a task and go away.
        answer = self.vimd.post("/v1/networks", {"vim": "edge1", "name": unique("n")})
        task = self.vimd.task_of(answer)
        for _ in range(20):
            with self.raw() as raw:
                raw.send(b"GET /v1/tasks/%s?wait=30 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s"
                         b"\r\n\r\n" % (task.encode(), self.vimd.token.encode()))
        self.vimd.wait_task(task)

    def test_reset_in_the_middle_of_an_answer(self):
        for _ in range(50):
            raw = self.raw()
            raw.send((b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n") * 5)
            raw.read_some(0.01)
            raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            raw.close()

    def test_answers_that_nobody_reads(self):
        lazy = []
        for _ in range(20):
            raw = self.raw()
            raw.send(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 50)
            lazy.append(raw)
        self.assertEqual(self.vimd.get("/v1/whoami").status, 200)
        for raw in lazy:
            raw.close()

    def test_more_connections_than_allowed(self):
        crowd = []
        for _ in range(700):
            try:
                crowd.append(self.raw())
            except OSError:
                break
        for raw in crowd:
            raw.close()
        vimd.wait_for(lambda: self.answers(), "an answer when the crowd has gone")

    def answers(self):
        try:
            return vimd.Client(self.vimd.port).get("/healthz", timeout=10).status == 200
        except OSError:
            return False

    def test_pipelined(self):
        with self.raw() as raw:
            raw.send((self.request_head + b"\r\n") * 20)
            vimd.wait_for(lambda: (raw.read_some(0.2), raw.data.count(b"HTTP/1.1 200") == 20)[1],
                          "20 answers")

    def test_noise(self):
        """Mutations of a good request; only survival counts."""
        chance = random.Random(7)
        good = (b"POST /v1/networks?dryRun=true HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "
                + self.vimd.token.encode() + b"\r\nContent-Type: application/json\r\n"
                b"Content-Length: 29\r\n\r\n{\"vim\":\"edge1\",\"name\":\"noise\"}")
        for _ in range(300):
            data = bytearray(good)
            for _ in range(chance.randrange(1, 6)):
                at = chance.randrange(len(data))
                what = chance.randrange(3)
                if what == 0:
                    data[at] = chance.randrange(256)
                elif what == 1:
                    del data[at:at + chance.randrange(1, 9)]
                else:
                    data[at:at] = bytes(chance.randrange(256) for _ in range(4))
            with self.raw() as raw:
                raw.send(bytes(data))
                raw.read_some(0.002)


if __name__ == "__main__":
    unittest.main(verbosity=2)

"""Listeners to streams of events: many on one thread (selectors), which come back after each end with the
id of the last event that they got, as a browser does."""
import json
import selectors
import socket
import threading
import time


class Listener:
    def __init__(self, crowd, token, query="", after=None, reads=True):
        self.crowd, self.token, self.query, self.last = crowd, token, query, after
        self.reads = reads
        self.events = []          # of all connections, in order of arrival
        self.others = []          # (name, data) of gap and end
        self.comments = 0
        self.retry = None         # seconds
        self.connections = 0
        self.statuses = []
        self.sock = None
        self.again = 0.0          # time.monotonic(): not before

    # One connection

    def connect(self):
        self.sock = socket.socket()
        self.sock.setblocking(False)
        if not self.reads:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.sock.connect_ex(("127.0.0.1", self.crowd.port))
        header = f"Last-Event-ID: {self.last}\r\n" if self.last is not None else ""
        self.out = (f"GET /v1/events/stream{self.query} HTTP/1.1\r\nHost: x\r\n"
                    f"Authorization: Bearer {self.token}\r\n{header}\r\n").encode()
        self.raw, self.text, self.head = b"", b"", None
        self.crowd.selector.register(self.sock, selectors.EVENT_READ | selectors.EVENT_WRITE, self)

    def close(self, pause=0.05):
        if self.sock:
            self.crowd.selector.unregister(self.sock)
            self.sock.close()
            self.sock = None
        self.again = time.monotonic() + pause

    def on_write(self):
        try:
            self.out = self.out[self.sock.send(self.out):]
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        if not self.out:
            if self.reads:
                self.crowd.selector.modify(self.sock, selectors.EVENT_READ, self)
            else:
                self.crowd.selector.unregister(self.sock)
                self.sock_kept, self.sock = self.sock, None
                self.again = float("inf")

    def on_read(self):
        try:
            data = self.sock.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self.raw += data
        if self.head is None:
            head, found, rest = self.raw.partition(b"\r\n\r\n")
            if not found:
                return
            self.head, self.raw = head.decode(), rest
            self.statuses.append(int(self.head.split()[1]))
            if self.statuses[-1] != 200:
                self.close(pause=0.2)
                return
            self.connections += 1
        self.take_chunks()

    def take_chunks(self):
        while True:
            size, found, rest = self.raw.partition(b"\r\n")
            if not found or len(rest) < int(size, 16) + 2:
                break
            count = int(size, 16)
            self.text += rest[:count]
            self.raw = rest[count + 2:]
            if count == 0:
                self.take_blocks()
                self.close(pause=self.retry or 0.05)
                return
        self.take_blocks()

    def take_blocks(self):
        *blocks, self.text = self.text.split(b"\n\n")
        for block in blocks:
            fields = {}
            for line in block.decode().split("\n"):
                name, _, value = line.partition(": ")
                if line.startswith(":"):
                    self.comments += 1
                else:
                    fields[name] = value
            if "retry" in fields:
                self.retry = min(int(fields["retry"]) / 1000, self.crowd.retry_max)
            if "id" in fields:
                event = json.loads(fields["data"])
                assert event["id"] == fields["id"] and event["type"] == fields["event"]
                self.last = fields["id"]
                self.events.append(event)
            elif "event" in fields:
                self.others.append((fields["event"], json.loads(fields["data"])))

    @property
    def ids(self):
        return [event["id"] for event in self.events]


class Crowd:
    """Listeners, served by one thread until the end of the with block."""

    def __init__(self, port, retry_max=0.5):
        self.port, self.retry_max = port, retry_max
        self.selector = selectors.DefaultSelector()
        self.listeners, self.stopped, self.failure = [], False, None
        self.lock = threading.Lock()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def add(self, token, query="", after=None, reads=True):
        with self.lock:
            self.listeners.append(Listener(self, token, query, after, reads))
            return self.listeners[-1]

    def run(self):
        try:
            while not self.stopped:
                now = time.monotonic()
                with self.lock:
                    due = [one for one in self.listeners if not one.sock and one.again <= now][:200]
                for one in due:
                    one.connect()
                for key, mask in self.selector.select(0.02):
                    one = key.data
                    if mask & selectors.EVENT_WRITE and one.sock and one.out:
                        one.on_write()
                    elif mask & selectors.EVENT_READ and one.sock:
                        one.on_read()
        except BaseException as failure:  # told by check()
            self.failure = failure

    def check(self):
        if self.failure:
            raise self.failure

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopped = True
        self.thread.join()
        for one in self.listeners:
            one.close()
        self.selector.close()
        return False

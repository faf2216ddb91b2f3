"""Clients of the stack: create servers under an Idempotency-Key, read and list, until the file STOP exists.

    load.py HOST PORT CA-FILE STOP CLIENTS <token    (the token on standard input)

Prints one line of JSON: requests, failed (with the reasons), again (requests that a closing connection did not take and
that were sent once more, as every HTTP client does), servers accepted.
"""
import http.client
import json
import os
import socket
import ssl
import sys
import threading
import time
import uuid

host, port, ca, stop, clients = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4], int(sys.argv[5])
token = sys.stdin.readline().strip()
context = ssl.create_default_context(cafile=ca)
lock = threading.Lock()
totals = {"requests": 0, "again": 0, "failed": [], "accepted": []}


class Client(threading.Thread):
    def __init__(self, number):
        super().__init__(daemon=True)
        self.number = number
        self.connection = None

    def connect(self):
        self.connection = http.client.HTTPSConnection(host, port, timeout=60, context=context)

    def once(self, method, path, body, headers):
        if self.connection is None:
            self.connect()
        self.connection.request(method, path, body, headers)
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.will_close:
            self.connection.close()
            self.connection = None
        return answer.status, text

    def ask(self, method, path, document=None, key=None):
        headers = {"Authorization": f"Bearer {token}"}
        body = None
        if document is not None:
            body = json.dumps(document)
            headers["Content-Type"] = "application/json"
        if key:
            headers["Idempotency-Key"] = key
        again = 0
        while True:
            try:
                status, text = self.once(method, path, body, headers)
                problem = None if status < 300 else f"{method} {path}: {status} {text[:200]!r}"
                break
            except (OSError, http.client.HTTPException, socket.timeout) as error:
                if self.connection:
                    self.connection.close()
                self.connection = None
                # A kept-alive connection may be closed in the moment in which it is used; RFC 9110 section 9.2.2
                # has a client repeat what is idempotent. More than that is a failure.
                again += 1
                if again > 1:
                    status, text, problem = 0, b"", f"{method} {path}: {error!r}"
                    break
        with lock:
            totals["requests"] += 1
            totals["again"] += again
            if problem:
                totals["failed"].append(problem)
        return json.loads(text) if status and status < 300 and text else None

    def run(self):
        count = 0
        while not os.path.exists(stop):
            count += 1
            task = self.ask("POST", "/v1/servers", {"name": f"load-{self.number}-{count}", "image": "debian-12", "flavor": "small"},
                            key=str(uuid.uuid4()))
            if task:
                with lock:
                    totals["accepted"].append(task["target"]["id"] if isinstance(task.get("target"), dict) else task["target"])
            for _ in range(5):
                self.ask("GET", "/v1/servers?limit=20")
                if task:
                    self.ask("GET", f"/v1/tasks/{task['id']}")
            time.sleep(0.05)


threads = [Client(number) for number in range(clients)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
json.dump(totals, sys.stdout)

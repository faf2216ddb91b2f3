"""A stack that watches itself scales itself: the same on every platform.

A load of short requests rises and falls. The scaler, told to act, scales logic out, then the readers of the
database, and both in again when the load has gone. No request fails; each action has its reason, in the
decision log and in the scaler's own. The stack is there, with one replica of each, before this begins, and
its scaler watches it as the service `vimd` in mode `advise`.

    rise_and_fall.py URL WINDOW RATE TRACE LOG RESULTS [CA-FILE] <token    (the token on standard input)

URL is the API's, WINDOW the scaler's in seconds, by which all times here are reckoned; RATE how many requests per second come
at the most. TRACE is the file that the scaler records windows in; LOG a command that prints its log.
RESULTS-load.csv, RESULTS-trace.csv and RESULTS.png are written. Ends with 0 if all went well.
"""
import contextlib
import http.client
import json
import pathlib
import shutil
import ssl
import subprocess
import sys
import threading
import time
import urllib.parse

import picture

HERE = pathlib.Path(__file__).resolve().parent
SERVERS = 60  # that each request lists
LOW = 10  # requests per second
RISE, TOP, FALL = 45, 10, 15  # windows
# What has just been started has much to do once: connections, statements, caches. That is no load.
SETTLE = 12
AGAIN = 90  # windows, and more than the policy looks back, until those that are not needed have gone


class Client:
    """One user of the API."""

    def __init__(self, url, ca, token):
        parts = urllib.parse.urlsplit(url)
        self.place, self.token = (parts.hostname, parts.port), token
        self.context = ssl.create_default_context(cafile=ca) if parts.scheme == "https" else None

    def ask(self, method, path, document=None):
        if self.context:
            connection = http.client.HTTPSConnection(*self.place, timeout=60, context=self.context)
        else:
            connection = http.client.HTTPConnection(*self.place, timeout=60)
        with contextlib.closing(connection):
            headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
            connection.request(method, path, json.dumps(document) if document is not None else None, headers)
            answer = connection.getresponse()
            text = answer.read()
        if answer.status >= 300:
            raise OSError(f"{method} {path}: {answer.status} {text[:300]!r}")
        return json.loads(text)

    def service(self):
        return self.ask("GET", "/v1/services/vimd")

    def block(self, name):
        return next(one for one in self.service()["blocks"] if one["name"] == name)

    def done(self):
        """What was done, the oldest first."""
        return self.ask("GET", "/v1/services/vimd/decisions?state=done&sort=time&limit=1000")["decisions"]


class Checks:
    """Each is told, and counted."""

    def __init__(self):
        self.passed = self.failed = 0
        self.began = time.monotonic()

    def __call__(self, what, good, told=""):
        self.passed, self.failed = self.passed + bool(good), self.failed + (not good)
        print(f"{'ok   ' if good else 'FAIL '} {what}   ({time.monotonic() - self.began:.0f} s)", flush=True)
        if not good and told:
            print(told, flush=True)
        return good


class Load:
    """rising.py, whose rate goes up and down."""

    def __init__(self, url, ca, token, csv):
        self.process = subprocess.Popen([sys.executable, "-B", HERE / "rising.py", url, f"/v1/servers?limit={SERVERS}", csv, *([ca] if ca else [])],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.tell(token)
        self.tell(LOW)

    def tell(self, word):
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()

    def slope(self, first, last, seconds):
        for second in range(1, seconds + 1):
            self.tell(first + (last - first) * second // seconds)
            time.sleep(1)

    def end(self):
        """What came of it."""
        text, _ = self.process.communicate()
        return json.loads(text) if text else {"answers": 0, "again": 0, "slowest": 0, "failed": ["the load has no result"]}


def becomes(client, name, condition, seconds):
    """Waits for CONDITION of the replicas of block NAME that are wanted and ready. Returns "", or how it is instead."""
    end, shown = time.monotonic() + seconds, "nothing is known"
    while time.monotonic() < end:
        with contextlib.suppress(OSError, http.client.HTTPException):
            service = client.service()
            one = next(block for block in service["blocks"] if block["name"] == name)
            if condition(one.get("desired"), one.get("ready") or 0):
                return ""
            shown = json.dumps([service.get("decision"), service["blocks"]])
        time.sleep(0.5)
    return shown


def is_one(desired, ready):
    return desired == 1 and ready == 1


def make_servers(client):
    for number in range(SERVERS):
        client.ask("POST", "/v1/servers", {"name": f"s{number}", "image": "debian-12", "flavor": "small"})


def wait_watched(client):
    """Until what is measured is there."""
    for _ in range(100):
        with contextlib.suppress(OSError, KeyError):
            if client.service()["decision"]["verdict"] != "insufficient_data":
                return True
        time.sleep(0.5)
    return False


def go_up_and_down(client, load, window, rate, check):
    check("the scaler knows what is measured", wait_watched(client))
    before = len(client.done())
    time.sleep(SETTLE * window)
    check("unasked it has done nothing", len(client.done()) == before)
    client.ask("POST", "/v1/services/vimd/mode", {"mode": "act"})
    slope = threading.Thread(target=load.slope, args=(LOW, rate, RISE * window))
    slope.start()
    for what, name, windows in (("the load rises: logic is scaled out", "logic", RISE), ("then the readers of the database", "store", 2 * TOP + RISE)):
        shown = becomes(client, name, lambda desired, ready: ready > 1, windows * window)
        check(what, not shown, shown)
    slope.join()
    time.sleep(TOP * window)
    load.slope(rate, LOW, FALL * window)
    for what, name in (("the load falls: one logic again", "logic"), ("one reader again", "store")):
        shown = becomes(client, name, is_one, AGAIN * window)
        check(what, not shown, shown)


def judge_decisions(done, log, check):
    """What was done, and why, as the decision log has it and the scaler's own."""
    print("What was decided and done, and why:")
    for one in done:
        print(f"  {one['time'][11:19]}  {one['ruling'].get('block')} {one['from']} -> {one['to']}: {one['explanation']}")
    out = {name: [one["time"] for one in done if one["ruling"].get("block") == name and one["to"] > one["from"]] for name in ("logic", "store")}
    check("logic came first", out["logic"] and out["store"] and out["logic"][0] < out["store"][0], out)
    check("each with its reason", done and all(one["explanation"] for one in done))
    told = [line for line in log.splitlines() if 'event="a service is to be scaled"' in line]
    missing = [one for one in done if not any(f"decision={one['id']} " in line and one["explanation"] in line for line in told)]
    check("the scaler's log tells the same", not missing, f"not in the log: {missing}\n" + "\n".join(told))


def main(url, window, rate, trace, log, results, ca=None):
    token = sys.stdin.readline().strip()
    client, check = Client(url, ca, token), Checks()
    pathlib.Path(results).parent.mkdir(parents=True, exist_ok=True)
    make_servers(client)
    before = len(client.done())
    load = Load(url, ca, token, f"{results}-load.csv")
    try:
        go_up_and_down(client, load, int(window), int(rate), check)
    finally:
        came = load.end()
    shutil.copyfile(trace, f"{results}-trace.csv")
    picture.draw(f"{results}-load.csv", f"{results}-trace.csv", f"{results}.png")
    log = subprocess.run(log, shell=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False).stdout
    judge_decisions(client.done()[before:], log, check)
    print(f"{came['answers']} answers, {len(came['failed'])} failed, {came['again']} asked again, the slowest after {came['slowest']} s")
    check("no request failed", came["answers"] and not came["failed"], "\n".join(came["failed"][:5]))
    print(f"{check.passed} passed, {check.failed} failed")
    return check.failed != 0


if __name__ == "__main__":
    if not 7 <= len(sys.argv) <= 8:
        sys.exit(__doc__.strip())
    sys.exit(main(*sys.argv[1:]))

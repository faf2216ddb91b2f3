"""Readers of the stack, as many per second as they are told, until nobody tells them any more.

    rising.py URL PATH CSV [CA-FILE]

On standard input comes the token, then a line for each new rate per second, then the end. Requests begin at that rate whether the ones before were answered or not, as those of many
clients would, as long as fewer than CLIENTS are under way: so a stack that is overloaded is slow, and drowns in nothing.
Every answer counts. Prints one line of JSON: answers, failed (with the reasons), again (requests that a closing connection did not take
and that were sent once more, as every HTTP client does), and the slowest answer in seconds. Writes what was asked for, answered and failed in each second, and the 95th percentile of the answers' times, to CSV.
"""
import collections
import http.client
import json
import ssl
import sys
import threading
import time
import urllib.parse

CLIENTS = 64
LATE_MOST = 0.5  # what was not begun in time by so much is not made up for

url, path, csv = urllib.parse.urlsplit(sys.argv[1]), *sys.argv[2:4]
token = sys.stdin.readline().strip()
context = ssl.create_default_context(cafile=sys.argv[4]) if url.scheme == "https" else None


class Pace:
    """When the next request begins."""

    def __init__(self):
        self.lock, self.rate, self.next = threading.Lock(), 0.0, time.monotonic()
        self.rates = {}  # second: rate

    def turn(self):
        """Waits for a turn; False: it is over."""
        with self.lock:  # one waits for the next, the others for this one
            while self.rate >= 0:
                now = time.monotonic()
                if self.rate > 0:
                    self.next = max(self.next, now - LATE_MOST)
                    if now >= self.next:
                        self.next += 1 / self.rate
                        return True
                    time.sleep(min(0.05, self.next - now))
                else:
                    self.next = now
                    time.sleep(0.05)
        return False

    def listen(self):
        for line in sys.stdin:
            self.rate = float(line)
        self.rate = -1.0

    def follow(self):
        threading.Thread(target=self.listen, daemon=True).start()
        while self.rate >= 0:
            self.rates[int(time.time())] = self.rate
            time.sleep(0.1)


class Reader(threading.Thread):
    def __init__(self, pace):
        super().__init__()
        self.pace, self.connection = pace, None
        self.answers, self.failed = [], []  # second, duration; second, reason
        self.again = 0

    def once(self):
        if self.connection is None:
            self.connection = (http.client.HTTPSConnection(url.hostname, url.port, timeout=60, context=context) if context
                               else http.client.HTTPConnection(url.hostname, url.port, timeout=60))
        self.connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.will_close:
            self.leave()
        return answer.status, text

    def leave(self):
        if self.connection:
            self.connection.close()
        self.connection = None

    def ask(self):
        # A kept-alive connection may be closed in the moment in which it is used: once more then, on another one.
        for last in (False, True):
            try:
                status, text = self.once()
                return None if status == 200 else f"{status} {text[:200]!r}"
            except (OSError, http.client.HTTPException) as error:
                self.leave()
                if last:
                    return repr(error)
                self.again += 1
        return None

    def run(self):
        while self.pace.turn():
            began = time.monotonic()
            problem = self.ask()
            now = int(time.time())
            self.answers.append((now, time.monotonic() - began))
            if problem:
                self.failed.append((now, problem))
        self.leave()


def write_csv(rates, answers, failed):
    durations, failures = collections.defaultdict(list), collections.Counter(second for second, _ in failed)
    for second, duration in answers:
        durations[second].append(duration)
    with open(csv, "w", encoding="ascii") as file:
        file.write("time,asked_per_s,answers,failed,p95_ms\n")
        for second, rate in sorted(rates.items()):
            these = sorted(durations[second])
            p95 = round(1000 * these[int(0.95 * (len(these) - 1))], 1) if these else ""
            file.write(f"{second},{rate:g},{len(these)},{failures[second]},{p95}\n")


pace = Pace()
readers = [Reader(pace) for _ in range(CLIENTS)]
for reader in readers:
    reader.start()
pace.follow()
for reader in readers:
    reader.join()
answers = [answer for reader in readers for answer in reader.answers]
failed = [failure for reader in readers for failure in reader.failed]
write_csv(pace.rates, answers, failed)
json.dump({"answers": len(answers), "again": sum(reader.again for reader in readers), "slowest": round(max(duration for _, duration in answers), 2),
           "failed": [problem for _, problem in failed]}, sys.stdout)

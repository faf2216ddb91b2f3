"""What processes ask of the store though nobody has asked them for anything: it is counted, for each of their own heartbeats,
so that how quick the machine is tells nothing."""
import re
import unittest

from apart import Apart
from vimd import Client, mock, wait_for

CALLS = re.compile(r'^vimd_store_call_seconds_count\{operation="(get|scan|commit)"\} (\d+)$', re.MULTILINE)
PROCESSES = 5
BEATS = 12


def calls(process):
    """(reads, commits) of the store so far."""
    client = Client(process.health)
    try:
        text = client.get("/metrics").body.decode()
    finally:
        client.close()
    found = dict.fromkeys(("get", "scan", "commit"), 0)
    found.update((operation, int(count)) for operation, count in CALLS.findall(text))
    return found["get"] + found["scan"], found["commit"]


class Idle(unittest.TestCase):
    def asked(self, processes):
        """Reads of PROCESSES for each commit while nobody wants anything: what they write are heartbeats (of API processes, too)."""
        before = [calls(one) for one in processes]

        def beaten():
            now = [calls(one) for one in processes]
            return all(commits - was[1] >= BEATS for (_, commits), was in zip(now, before)) and now
        now = wait_for(beaten, "heartbeats", 300, pause=0.2)
        reads, commits = (sum(one[i] for one in now) - sum(one[i] for one in before) for i in (0, 1))
        print(f"\n{len(processes)} {processes[0].role}: {reads} reads beside {commits} heartbeats")
        return reads / commits

    def test_a_process_more_asks_for_little_more_than_who_is_there(self):
        # A VIM at which nothing goes on by itself.
        quiet = mock(poll={"poll_pending": "1s", "poll_idle": "1h", "poll_full": "1h"})
        with Apart(vims=[quiet], name="idle", settings={"heartbeat": "1s"},
                   counts={"api": 1, "logic": PROCESSES, "worker": PROCESSES}) as stack:
            logic, workers = stack.of("logic"), stack.of("worker")
            # Before that some read what there was when they began, or move what the start has brought about.
            wait_for(lambda: all(calls(one)[1] >= 10 for one in logic), "the first heartbeats", 300)
            # For each heartbeat a look at those of the others; and they share, with the workers, a read each second.
            self.assertLess(self.asked(logic), 1.4)
            # Of all workers some ten reads each second that they share, and four by each that polls something.
            self.assertLess(self.asked(workers), 10)


if __name__ == "__main__":
    unittest.main(verbosity=2)

"""A checker of linearizability over recorded histories: a register that is read and changed by
compare-and-set.

After Wing and Gong (1993), with Lowe's memory of what was tried: an order of the operations is looked for in which
each takes effect at one moment between its call and its return, and gives what the register would have
given. Every key is a register of its own, so each is looked at by itself. An operation whose answer was lost may
have taken effect at any moment after its call, or not at all.
"""
import dataclasses
import itertools
import threading
import time

READ, SET = "read", "set"
DONE, REFUSED, LOST = "done", "refused", "lost"
FOREVER = float("inf")


@dataclasses.dataclass
class Operation:
    """READ gives (tag, value). SET, if the tag is EXPECTED, makes the value VALUE; gives the new TAG."""
    kind: str
    called: float
    returned: float
    outcome: str = DONE
    tag: object = None
    value: object = None
    expected: object = None

    def __str__(self):
        end = "…" if self.returned == FOREVER else f"{self.returned:.4f}"
        if self.kind == READ:
            return f"[{self.called:.4f} {end}] read: {self.tag} {self.value}"
        return (f"[{self.called:.4f} {end}] set {self.value} if {self.expected}: {self.outcome}"
                + (f" {self.tag}" if self.tag is not None else ""))


def apply(state, operation, next_tag):
    """The state after OPERATION, or None if it cannot take effect here with what it gave."""
    tag, value = state
    if operation.kind == READ:
        return state if (operation.tag, operation.value) == state else None
    if operation.outcome == REFUSED:
        return state if tag != operation.expected else None
    if tag != operation.expected:
        # A set whose answer was lost may have come too late, and then done nothing.
        return state if operation.outcome == LOST else None
    new = next_tag(tag)
    if operation.outcome == DONE and operation.tag != new:
        return None
    return (new, operation.value)


def candidates(operations, done):
    """Those that can be next, the last called first: called before the first return of all that are left."""
    first, found = FOREVER, []
    i = (~done & done + 1).bit_length() - 1  # the first that is left
    while i < len(operations) and operations[i].called <= first:
        if not done >> i & 1:
            first = min(first, operations[i].returned)
            found.append(i)
        i += 1
    return [i for i in reversed(found) if operations[i].called <= first]


def check(operations, initial, next_tag, budget=2_000_000):
    """None if the history of one register is linearizable; else the operations among which no order can be
    found, as text. NEXT_TAG tells which tag follows on one."""
    operations = sorted(operations, key=lambda one: one.called)
    count = len(operations)
    must = sum(1 << i for i, one in enumerate(operations) if one.outcome != LOST)
    tried = set()
    stack = [(0, initial)]  # (those that have taken effect, state)
    best, best_state = 0, initial
    while stack:
        done, state = stack.pop()
        if done & must == must:
            return None
        if (done, state) in tried:
            continue
        tried.add((done, state))
        if len(tried) > budget:
            raise RuntimeError(f"{count} operations: no verdict after {budget} steps")
        if bin(done & must).count("1") > bin(best & must).count("1"):
            best, best_state = done, state
        for i in candidates(operations, done):
            new = apply(state, operations[i], next_tag)
            if new is not None:
                stack.append((done | 1 << i, new))
    left = [operations[i] for i in range(count) if not best >> i & 1]
    return (f"after {count - len(left)} operations the register is {best_state}, and none of these "
            "can be next:\n" + "\n".join(str(one) for one in itertools.islice(left, 12)))


class History:
    """Records operations of many threads, by key."""

    def __init__(self):
        self.lock = threading.Lock()
        self.by_key = {}

    def record(self, key, operation):
        with self.lock:
            self.by_key.setdefault(key, []).append(operation)

    def count(self, outcome=None):
        with self.lock:
            return sum(1 for all_of_key in self.by_key.values() for one in all_of_key
                       if outcome is None or one.kind == SET and one.outcome == outcome)


def now():
    return time.monotonic()

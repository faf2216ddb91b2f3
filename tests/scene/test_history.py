"""The checker itself: it must find what is wrong in histories, and nothing in those that are right."""
import random
import unittest

from history import DONE, FOREVER, LOST, READ, REFUSED, SET, Operation, check


def read(called, returned, tag, value):
    return Operation(READ, called, returned, DONE, tag, value)


def put(called, returned, expected, value, outcome=DONE, tag=None):
    tag = expected + 1 if outcome == DONE and tag is None else tag
    return Operation(SET, called, returned, outcome, tag, value, expected)


def verdict(*operations):
    return check(list(operations), (1, "a"), lambda tag: tag + 1)


class Checker(unittest.TestCase):
    def test_right(self):
        self.assertIsNone(verdict())
        self.assertIsNone(verdict(read(0, 1, 1, "a"), put(2, 3, 1, "b"), read(4, 5, 2, "b")))
        # Beside each other: either order may be what happened.
        self.assertIsNone(verdict(put(0, 10, 1, "b"), read(1, 2, 1, "a"), read(3, 4, 2, "b")))
        self.assertIsNone(verdict(put(0, 10, 1, "b"), put(0, 10, 1, "c", REFUSED),
                                  read(11, 12, 2, "b")))
        self.assertIsNone(verdict(put(0, 10, 2, "c"), put(0, 10, 1, "b"), read(11, 12, 3, "c")))

    def test_lost_answers(self):
        lost = put(0, FOREVER, 1, "b", LOST)
        self.assertIsNone(verdict(lost, read(5, 6, 1, "a")))
        self.assertIsNone(verdict(lost, read(5, 6, 2, "b")))
        self.assertIsNone(verdict(lost, read(5, 6, 1, "a"), read(7, 8, 2, "b")))
        self.assertIsNotNone(verdict(lost, read(5, 6, 2, "b"), read(7, 8, 1, "a")))

    def test_wrong(self):
        # A lost update: both were told that they had changed the first value.
        self.assertIsNotNone(verdict(put(0, 1, 1, "b"), put(2, 3, 1, "c", tag=2)))
        self.assertIsNotNone(verdict(put(0, 5, 1, "b"), put(1, 4, 1, "c", tag=2)))
        # A read of what was overwritten before it began.
        self.assertIsNotNone(verdict(put(0, 1, 1, "b"), read(2, 3, 1, "a")))
        # A read goes back behind another one.
        self.assertIsNotNone(verdict(put(0, 10, 1, "b"), read(1, 2, 2, "b"), read(3, 4, 1, "a")))
        # Refused, although nobody else was there.
        self.assertIsNotNone(verdict(put(0, 1, 1, "b", REFUSED)))
        # A value that nobody has written; a tag that does not belong to it.
        self.assertIsNotNone(verdict(read(0, 1, 1, "x")))
        self.assertIsNotNone(verdict(put(0, 1, 1, "b"), read(2, 3, 2, "a")))

    def test_random_histories(self):
        """A register that is right gives histories that are right; with one update lost, wrong."""
        for seed in range(60):
            chance = random.Random(seed)
            for lose in (False, True):
                history, state, lost_one = [], (1, "a"), False
                for step in range(120):
                    at = step * 1.0
                    called, returned = at - chance.random() * 4, at + chance.random() * 4
                    if chance.random() < 0.4:
                        history.append(read(called, returned, *state))
                        continue
                    expected = state[0] if chance.random() < 0.7 else state[0] - 1
                    outcome = LOST if not lose and chance.random() < 0.1 else DONE
                    if expected != state[0]:
                        history.append(put(called, returned, expected, step, REFUSED))
                    else:
                        history.append(put(called, FOREVER if outcome == LOST else returned,
                                           expected, step, outcome))
                        if lose and not lost_one and step > 60 and outcome == DONE:
                            lost_one = True  # told that it is done, and it is not
                        else:
                            state = (state[0] + 1, step)
                found = check(history, (1, "a"), lambda tag: tag + 1)
                if lose and lost_one:
                    self.assertIsNotNone(found, f"seed {seed}")
                elif not lose:
                    self.assertIsNone(found, f"seed {seed}")


if __name__ == "__main__":
    unittest.main(verbosity=2)

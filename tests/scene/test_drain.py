"""The end of the daemon: SIGTERM under load loses no task that was accepted."""
import threading
import unittest

import vimd
from vimd import Broken, Vimd, mock, unique, wait_for


class Drain(unittest.TestCase):
    def test_sigterm_under_load_loses_no_accepted_task(self):
        with Vimd(vims=[mock("edge1", build="50ms", call="5ms")], name="drain") as daemon:
            accepted, lock, stop = [], threading.Lock(), threading.Event()

            def load(_):
                client = vimd.Client(daemon.port, daemon.token)
                while not stop.is_set():
                    try:
                        answer = client.post("/v1/networks", {"vim": "edge1", "name": unique("n")})
                    except OSError:
                        return
                    if answer.status == 202:
                        with lock:
                            accepted.append(client.task_of(answer))
                    elif answer.status != 503:
                        raise Broken(f"{answer!r}")

            threads = [threading.Thread(target=load, args=(index,)) for index in range(6)]
            for thread in threads:
                thread.start()
            wait_for(lambda: len(accepted) > 100, "a hundred tasks")
            try:
                daemon.stop()
            finally:
                stop.set()
                for thread in threads:
                    thread.join()
            count = len(accepted)
            daemon.start()
            for task in accepted:
                self.assertEqual(daemon.wait_task(task)["state"], "succeeded")
            self.assertEqual(len(accepted), count)
            # The seed has networks of its own: count those that were asked for.
            self.assertEqual(len([thing for thing in daemon.things("network")
                                  if thing["name"].startswith("n-")]), count)
            self.assertEqual(daemon.orphans(), [])


if __name__ == "__main__":
    unittest.main(verbosity=2)

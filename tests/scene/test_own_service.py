"""docs/scaling.md, "Your own service, step by step": every block marked sh runs as printed, in one shell, and where an
answer is printed behind it, that is what comes out. Only the ports are the test's own."""
import os
import pathlib
import random
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import unittest

import vimd

BLOCK = re.compile(r"```sh\n(.*?)```\n(?:```\n(.*?)```\n)?", re.S)
MARK = "--- end of block ---"
CGROUPS = [pathlib.Path("/sys/fs/cgroup", name) for name in ("", "cpu", "cpuacct", "memory")]


def may_make_groups():
    return os.geteuid() == 0 and any(
        os.access(folder / name, os.W_OK)
        for folder, name in ((CGROUPS[0], "cgroup.subtree_control"), (CGROUPS[1], "cgroup.procs")))


def free_ports():
    """What 90 stands for in 9001 to 9004 and 9011 to 9014, with those ports free."""
    ports = vimd.port_range()
    for _ in range(1000):
        prefix = random.SystemRandom().randrange(ports.start // 100 + 1, ports.stop // 100)
        if all(vimd.hold_port(100 * prefix + number) for number in (*range(1, 5), *range(11, 15))):
            return str(prefix)
    raise vimd.Broken("no ports are free")


class OwnService(unittest.TestCase):
    def test_step_by_step(self):
        text = (vimd.SOURCE / "docs" / "scaling.md").read_text()
        blocks = BLOCK.findall(text.split("\n## Your own service", 1)[1].split("\n## ", 1)[0])
        self.assertGreaterEqual(len(blocks), 5)
        port, ports = vimd.free_port(), free_ports()
        with tempfile.TemporaryDirectory(prefix="vimd-own-") as folder:
            home = pathlib.Path(folder)
            (home / "examples").symlink_to(vimd.SOURCE / "examples")
            script = ["set -eu", "trap 'kill -9 $(jobs -p) $(cat $VIMD_STATE_DIR/here/web.[1-4]) 2>/dev/null || true' EXIT"]
            for commands, _ in blocks:
                commands = re.sub(r"\b90(0[1-4])\b", rf"{ports}\1", commands)
                script += [commands.replace("127.0.0.1:8780", f"127.0.0.1:{port}"),
                           f"echo {shlex.quote(MARK)}"]
            # A session of its own, so that a failure in the middle leaves no daemon behind.
            run = subprocess.Popen(
                ["bash"], cwd=home, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True, start_new_session=True,
                env=dict(os.environ, VIMD_LISTEN=f"127.0.0.1:{port}", PORTS=ports, TMPDIR=folder,
                         PWD=str(home), PATH=f"{vimd.BUILD / 'bin'}:{os.environ['PATH']}"))
            try:
                output, _ = run.communicate("\n".join(script), timeout=600 * vimd.PATIENCE)
            except subprocess.TimeoutExpired:
                # First TERM: the trap of the shell ends what is in sessions of its own.
                run.send_signal(signal.SIGTERM)
                output = run.communicate()[0]
            finally:
                try:
                    os.killpg(run.pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
                for group in CGROUPS:
                    for left in (*(group / f"vimd-{ports}").glob("web-*"), group / f"vimd-{ports}"):
                        if left.is_dir():
                            vimd.wait_for(lambda: not (left / "cgroup.procs").read_text(), left)
                            left.rmdir()
            log = home / "vimd.log"
            self.assertEqual(run.returncode, 0, output + (log.read_text() if log.exists() else ""))
            parts = output.split(MARK + "\n")
            self.assertEqual(len(parts), len(blocks) + 1)
            for (commands, expected), printed in zip(blocks, parts):
                if expected:
                    self.assertEqual(printed, expected, commands)
            self.assertIn("fewer than its minimum of 1", parts[0])
            self.assertIn("1 of 4 endpoints answer; ", parts[2])
            answers, failures = map(int, re.search(r"(\d+) answers, (\d+) failures", parts[3]).groups())
            self.assertEqual(answers + failures, 2400)
            self.assertLess(failures, 24, parts[3])
            self.assertIn("1 -> 2 replicas", parts[3])
            self.assertIn("1 of 2 replicas", parts[3])


if __name__ == "__main__":
    if not may_make_groups():
        print("skipped: no control groups may be made here")
        sys.exit(77)
    unittest.main(verbosity=2)

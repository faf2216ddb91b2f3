"""docs/scaling.md, "Your own service, step by step": every block marked sh runs as printed, in one shell, and where an
answer is printed behind it, that is what comes out. Only the ports are the test's own."""
import os
import pathlib
import random
import re
import sys
import tempfile
import unittest

import printed
import vimd

BLOCK = re.compile(r"```sh\n(.*?)```\n(?:```\n(.*?)```\n)?", re.S)
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
                script += [commands.replace("127.0.0.1:8780", f"127.0.0.1:{port}"), printed.END_OF_BLOCK]
            try:
                parts = printed.run(self, home, script, {
                    "VIMD_LISTEN": f"127.0.0.1:{port}", "PORTS": ports, "TMPDIR": folder, "PWD": str(home),
                    "PATH": f"{vimd.BUILD / 'bin'}:{os.environ['PATH']}"}, 600)
            finally:
                for group in CGROUPS:
                    for left in (*(group / f"vimd-{ports}").glob("web-*"), group / f"vimd-{ports}"):
                        if left.is_dir():
                            vimd.wait_for(lambda: not (left / "cgroup.procs").read_text(), left)
                            left.rmdir()
            for (commands, expected), answer in zip(blocks, parts):
                if expected:
                    self.assertEqual(answer, expected, commands)
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

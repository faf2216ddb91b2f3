"""The README: every block marked sh of the five minutes and of scaling runs as printed, in one shell,
and where the README prints an answer behind it, that is what comes out. Only the build and the port
are the test's own."""
import pathlib
import re
import tempfile
import unittest

import printed
import vimd

BLOCK = re.compile(r"```sh\n(.*?)```\n(?:```\n(.*?)```\n)?", re.S)


def tour():
    """Pairs of commands and what they print (None where the README does not say)."""
    text = (vimd.SOURCE / "README.md").read_text()
    sections = [text.split(f"\n## {title}", 1)[1].split("\n## ", 1)[0]
                for title in ("Five minutes", "Find what holds a service back")]
    return [(match[1], match[2]) for section in sections for match in BLOCK.finditer(section)]


class Readme(unittest.TestCase):
    def test_five_minutes(self):
        blocks = tour()
        self.assertGreaterEqual(len(blocks), 6)
        port = vimd.free_port()
        with tempfile.TemporaryDirectory(prefix="vimd-readme-") as folder:
            home = pathlib.Path(folder)
            (home / "etc").symlink_to(vimd.SOURCE / "etc")
            (home / "build").mkdir()
            (home / "build" / "dev").symlink_to(vimd.BUILD)
            script = ["set -eu", "trap 'kill -9 $(jobs -p) 2>/dev/null || true' EXIT",
                      "make() { :; }"]
            for commands, _ in blocks:
                script += [commands.replace("127.0.0.1:8780", f"127.0.0.1:{port}"), printed.END_OF_BLOCK]
            parts = printed.run(self, home, script, {"VIMD_LISTEN": f"127.0.0.1:{port}", "TMPDIR": folder}, 300, stderr=None)
            for (commands, expected), answer in zip(blocks, parts):
                if expected is not None:
                    self.assertEqual(answer, expected, commands)


if __name__ == "__main__":
    unittest.main(verbosity=2)

"""The examples of docs/rest-api.md: every block marked sh runs as printed, in one shell, against a
daemon with etc/vimd.yaml. No request may be refused, and where the page prints an answer as JSON
it has the members that really come. Only the build and the port are the test's own."""
import json
import os
import pathlib
import re
import tempfile
import unittest

import printed
import vimd

BLOCK = re.compile(r"```sh\n(.*?)```\n(?:```json\n(.*?)```\n)?", re.S)

# A task that ended before its cancel came is a conflict; nothing else may be refused.
START = r"""
set -eu -o pipefail
trap 'kill -9 $(jobs -p) 2>/dev/null || true' EXIT
curl() {
    command curl --fail-with-body "$@" || case "$*" in */cancel) ;; *) echo "refused: $*" >&2; exit 1 ;; esac
}
vimd --config etc/vimd.yaml 2>vimd.log &
command curl -sf --retry 60 --retry-delay 1 --retry-all-errors -o answer "http://$VIMD_LISTEN/readyz"
"""
END = "kill $!; wait $!"


class RestApi(unittest.TestCase):
    def test_examples(self):
        blocks = BLOCK.findall((vimd.SOURCE / "docs" / "rest-api.md").read_text())
        self.assertGreaterEqual(len(blocks), 12)
        port = vimd.free_port()
        with tempfile.TemporaryDirectory(prefix="vimd-rest-api-") as folder:
            home = pathlib.Path(folder)
            (home / "etc").symlink_to(vimd.SOURCE / "etc")
            script = [START]
            for commands, _ in blocks:
                script += [commands.replace("127.0.0.1:8780", f"127.0.0.1:{port}"), "echo", printed.END_OF_BLOCK]
            script.append(END)
            parts = printed.run(self, home, script, {
                "VIMD_LISTEN": f"127.0.0.1:{port}", "VIMD_STATE_DIR": str(home / "state"),
                "PATH": f"{vimd.BUILD / 'bin'}:{os.environ['PATH']}"}, 300)
            for (commands, expected), answer in zip(blocks, parts):
                if expected:
                    self.assertEqual(set(json.loads(expected)), set(json.loads(answer)), commands)


if __name__ == "__main__":
    unittest.main(verbosity=2)

"""Pages whose commands are run as they are printed, in one shell: what the tests of the README and of docs/ share."""
import os
import shlex
import signal
import subprocess

import vimd

MARK = "--- end of block ---"
END_OF_BLOCK = f"echo {shlex.quote(MARK)}"


def run(case, home, script, environment, seconds, stderr=subprocess.STDOUT):
    """What SCRIPT, lines with END_OF_BLOCK behind each block, prints block by block, in the folder HOME. It has to come to
    its end; else CASE fails, with vimd.log."""
    # A session of its own, so that a failure in the middle leaves no daemon behind.
    shell = subprocess.Popen(["bash"], cwd=home, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True,
                             start_new_session=True, env=dict(os.environ, **environment))
    try:
        output, _ = shell.communicate("\n".join(script), timeout=seconds * vimd.PATIENCE)
    except subprocess.TimeoutExpired:
        # First TERM: the trap of the shell ends what is in sessions of its own.
        shell.send_signal(signal.SIGTERM)
        output, _ = shell.communicate()
    finally:
        try:
            os.killpg(shell.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    log = home / "vimd.log"
    case.assertEqual(shell.returncode, 0, output + (log.read_text() if log.exists() else ""))
    parts = output.split(MARK + "\n")
    case.assertEqual(len(parts), script.count(END_OF_BLOCK) + 1)
    return parts

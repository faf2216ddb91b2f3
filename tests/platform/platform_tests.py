"""What the tests of scaling platforms share: the client, a scripted HTTP server, and checks."""
import http.server
import json
import os
import pathlib
import shlex
import shutil
import socketserver
import ssl
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "servers"))
from guard import end_of, guard, remove_cgroups  # noqa: E402  (the folder is named above)

BUILD = os.environ.get("VIMD_BUILD", os.path.join(os.path.dirname(__file__), "../../build/dev"))
PATIENCE = float(os.environ.get("VIMD_TEST_PATIENCE", "1"))
# Words in front of the client (valgrind, say), which may ask for the name of the test.
WRAPPER = shlex.split(os.environ.get("VIMD_TEST_WRAPPER", ""))
os.environ.setdefault("VIMD_TEST_NAME", pathlib.Path(sys.argv[0]).stem.replace("test_", "platform_"))

# All that is made is in it or has its name, so that it can be found when a test is cut off.
FOLDER = tempfile.mkdtemp(prefix="vimd-platform-")
CGROUP = os.path.basename(FOLDER)


def clean_up():
    end_of(FOLDER)
    remove_cgroups(CGROUP)
    shutil.rmtree(FOLDER, ignore_errors=True)


def start_client(name, path, folder):
    return subprocess.Popen(
        [*WRAPPER, os.path.join(BUILD, "bin/platform_client"), os.path.join(BUILD, "plugins"), name, path, folder],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


class Client:
    """Operations of one instance of a platform driver."""

    def __init__(self, name, options):
        self.folder = tempfile.mkdtemp(dir=FOLDER)
        path = os.path.join(self.folder, "options.yaml")
        with open(path, "w") as file:
            for key, value in options.items():
                file.write(f"{key}: {json.dumps(value)}\n")
        self.process = start_client(name, path, self.folder)

    def __call__(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(f"the client ended at {words}: {self.process.stderr.read()}")
        return json.loads(line)

    def body(self, *words):
        """The body of the only item that an operation has to give."""
        answer = self(*words)
        assert answer["code"] == "ok", answer
        assert len(answer["items"]) == 1, answer
        return answer["items"][0]["body"]

    def refusal(self):
        """Why the instance was not opened."""
        _, text = self.process.communicate()
        assert self.process.returncode == 1, self.process.returncode
        return text

    def close(self):
        """Ends it, as a stop of vimd does; nothing may be wrong on the way."""
        _, text = self.process.communicate()
        shutil.rmtree(self.folder, ignore_errors=True)
        assert self.process.returncode == 0, (self.process.returncode, text)


def until(what, condition, seconds=20):
    end = time.monotonic() + seconds * PATIENCE
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"never came: {what}"
        time.sleep(0.05)


class Scripted:
    """An HTTP server whose answers SCRIPT gives: script(method, path, headers, body) -> (status, document, headers)."""

    def __init__(self, script, unix=None, tls=None):
        outer = self
        self.requests = []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                outer.requests.append((self.command, self.path))
                status, document, headers = script(self.command, self.path, self.headers, body)
                if status is None:  # the line breaks
                    self.close_connection = True
                    self.connection.close()
                    return
                text = document if isinstance(document, bytes) else json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = do_PUT = do_PATCH = answer

            def address_string(self):
                return "peer"

            def log_message(self, *arguments):
                pass

            def handle(self):
                try:
                    super().handle()
                except (OSError, ValueError):
                    pass

        if unix:
            class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
                daemon_threads = True
            self.server = Server(unix, Handler)
        else:
            self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
            if tls:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(*tls)
                self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
            self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def run(cases):
    """Runs every function of CASES whose name begins with test_."""
    passed = failed = 0
    end = guard(clean_up)
    for name, case in list(cases.items()):
        if name.startswith("test_") and callable(case):
            try:
                case()
                passed += 1
                print(f"ok    {name}")
            except Exception:  # noqa: BLE001 - the next case is run all the same
                import traceback
                failed += 1
                print(f"FAIL  {name}")
                traceback.print_exc()
    end()
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed != 0 or passed == 0)

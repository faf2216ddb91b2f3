"""Endpoints of the source `prometheus` that are not what they should be: nothing that they say is believed, the service
is stale and says why, and what others tell goes on."""
import contextlib
import pathlib
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import unittest

from scaling import Scaled
from vimd import PATIENCE, wait_for

METRICS = b"# TYPE g gauge\ng 7\n"
SECRET = "sesame-of-the-endpoints"


def answer(body=METRICS, status="200 OK", headers=(), length=None):
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


class Endpoint:
    """Accepts connections; talk(connection) gets each after its request has come."""

    def __init__(self, talk, certificate=None):
        self.talk, self.requests = talk, []
        self.context = None
        if certificate:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(*certificate)
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            stack.callback(lambda: connection.close())
            connection.settimeout(30 * PATIENCE)
            if self.context:
                connection = self.context.wrap_socket(connection, server_side=True)
            request = b""
            while b"\r\n\r\n" not in request and request[:1] != b"\x16":  # or the beginning of TLS
                piece = connection.recv(4096)
                if not piece:
                    return
                request += piece
            if b"\r\n\r\n" in request:
                self.requests.append(request.decode())
            self.talk(connection)
            connection.shutdown(socket.SHUT_WR)

    def url(self, scheme="http", host="127.0.0.1"):
        return f"{scheme}://{host}:{self.port}/metrics"

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


def says(data):
    return lambda connection: connection.sendall(data)


def without_end(connection):
    connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    while True:
        connection.sendall(METRICS * 1000)


def headers_without_end(connection):
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.sendall(b"X-Padding: " + b"x" * 1000 + b"\r\n")


def trickle(connection):
    for byte in answer(METRICS + b"# more\n" * 10000):
        connection.sendall(bytes([byte]))
        time.sleep(0.05)


def chunks_cut_off(connection):
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\ng 70\n")


class Authority:
    """Certificates, by a CA of their own."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.ca = self.folder / "ca.pem"
        self.openssl("req", "-x509", *self.key("ca"), "-out", self.ca, "-subj", "/CN=ca of the scene", "-days", "2")

    def openssl(self, *words):
        subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)

    def key(self, name):
        return "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", self.folder / f"{name}.key"

    def sign(self, name, subject, days=2):
        request, extensions, signed = (self.folder / f"{name}.{end}" for end in ("csr", "ext", "pem"))
        extensions.write_text(f"subjectAltName={subject}\n")
        self.openssl("req", "-new", *self.key(name), "-out", request, "-subj", f"/CN={name}")
        self.openssl("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self.folder / "ca.key", "-CAcreateserial",
                     "-out", signed, "-days", days, "-extfile", extensions)
        return signed, self.folder / f"{name}.key"


class Endpoints(unittest.TestCase):
    @contextlib.contextmanager
    def watching(self, cases):
        """CASES: name -> (endpoints, more of the source). A vimd that watches each as a service."""
        services = [{
            "name": name, "mode": "advise", "interval": "1s", "window": "1s", "windows": 16,
            "policy": {"plugin": "faulty-policy"},
            "source": {"type": "prometheus", "endpoints": urls, "timeout": "600ms", "size_max": "64KiB", "token": SECRET, **more},
            "signals": {"in_flight": "sum(g)"}, "blocks": [{"name": "web"}],
        } for name, (urls, more) in cases.items()]
        with Scaled([], services) as vimd:
            vimd.secrets.append(SECRET)
            yield vimd

    def expect(self, vimd, name, part):
        shown = vimd.wait_service(lambda one: one["stale"] and one.get("source_error"), f"{name}'s trouble", name=name)
        self.assertRegex(shown["source_error"], part, name)
        self.assertIn("127.0.0.1", shown["source_error"])  # and at which endpoint
        self.assertFalse(any(value is not None for value in shown["trend"].get("in_flight", [])), name)

    def measured(self, vimd, name):
        return vimd.wait_service(lambda one: not one["stale"] and 7 in one["trend"].get("in_flight", []), f"{name}'s values", name=name)

    def test_tls(self):
        with tempfile.TemporaryDirectory(prefix="vimd-endpoints-") as folder, contextlib.ExitStack() as stack:
            authority = Authority(folder)
            certificates = {"good": authority.sign("good", "IP:127.0.0.1"),
                            "wrong-name": authority.sign("elsewhere", "DNS:elsewhere.example,IP:127.0.0.9"),
                            "expired": authority.sign("expired", "IP:127.0.0.1", days=-1)}
            certificates["unknown-ca"] = certificates["good"]
            endpoints = {name: stack.enter_context(contextlib.closing(Endpoint(says(answer()), certificate)))
                         for name, certificate in certificates.items()}
            endpoints["no-tls"] = stack.enter_context(contextlib.closing(Endpoint(says(answer()))))
            cases = {name: ([endpoint.url("https")], {} if name == "unknown-ca" else {"ca_file": str(authority.ca)})
                     for name, endpoint in endpoints.items()}
            with self.watching(cases) as vimd:
                self.measured(vimd, "good")
                for name, part in (("unknown-ca", "certificate"), ("wrong-name", "name|127.0.0.1'|match"), ("expired", "expired"),
                                   ("no-tls", "SSL|TLS|wrong version")):
                    self.expect(vimd, name, part)
                    self.assertEqual([], endpoints[name].requests, "nothing is asked of it, and no token sent")
                self.assertIn(f"Authorization: Bearer {SECRET}", endpoints["good"].requests[0])

    def test_answers(self):
        with contextlib.ExitStack() as stack:
            def serve(talk):
                return stack.enter_context(contextlib.closing(Endpoint(talk)))
            good = serve(says(answer()))
            elsewhere = serve(says(answer()))
            talks = {
                "redirect": (says(answer(b"", "302 Found", [f"Location: {elsewhere.url()}"])), "status 302"),
                "refusal": (says(answer(METRICS, "401 Unauthorized")), "status 401"),
                "without-end": (without_end, "more than 65536 bytes"),
                "headers": (headers_without_end, "headers without end"),
                "trickle": (trickle, "timed out"),
                "silent": (lambda connection: connection.recv(1), "timed out"),
                "closing": (lambda connection: None, "[Ee]mpty reply"),
                "cut-off": (says(answer(METRICS, length=1000)), "closed|outstanding|remaining"),
                "chunks": (chunks_cut_off, "closed|outstanding|remaining|chunk"),
                "no-http": (says(b"\x15\x03\x01\x00\x02\x02\x46garbage\r\n\r\n"), "HTTP/0.9|no sample|not supported"),
                "gzip": (says(answer(b"\x1f\x8b\x08\x00\x00\x00\x00\x00", headers=["Content-Encoding: gzip"])), "holds no sample"),
                "html": (says(answer(b"<html>\nno metrics\n</html>\n")), "holds no sample"),
            }
            endpoints = {name: serve(talk) for name, (talk, _) in talks.items()}
            cases = {name: ([endpoint.url()], {}) for name, endpoint in endpoints.items()}
            with socket.create_server(("127.0.0.1", 0)) as closed:
                port = closed.getsockname()[1]
            cases["nobody"] = ([f"http://127.0.0.1:{port}/metrics"], {})
            # One that answers beside those that do not.
            cases["some"] = ([good.url(), endpoints["silent"].url(), endpoints["without-end"].url(), cases["nobody"][0][0]], {})
            with self.watching(cases) as vimd:
                self.measured(vimd, "some")
                for name, (_, part) in talks.items():
                    self.expect(vimd, name, part)
                self.expect(vimd, "nobody", "[Cc]ould ?n.t connect|refused|connect")
                self.assertEqual([], elsewhere.requests, "nobody is followed")
                self.measured(vimd, "some")


if __name__ == "__main__":
    unittest.main(verbosity=2)

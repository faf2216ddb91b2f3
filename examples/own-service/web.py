#!/usr/bin/env python3
"""web PORT METRICS-PORT: a service to be scaled. Each request is 8 ms of work. What Prometheus asks for
has a port and a thread of its own: it is answered also while requests wait, which is when it is needed."""
import hashlib, http.server, signal, sys, threading, time

BOUNDS = (0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
SLOTS = threading.Semaphore(4)  # what is worked on at once; the rest waits here
lock, in_flight, seconds, buckets = threading.Lock(), 0, 0.0, [0] * (len(BOUNDS) + 1)

def work():
    until = time.thread_time() + 0.008
    while time.thread_time() < until:
        hashlib.pbkdf2_hmac("sha256", b"a", b"b", 500)  # lets other threads run meanwhile

class Web(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        global in_flight, seconds
        begun = time.monotonic()
        with lock:
            in_flight += 1
        try:
            with SLOTS:
                work()
            self.answer("hello\n")
        finally:
            took = time.monotonic() - begun
            with lock:
                in_flight -= 1
                seconds += took
                buckets[sum(took > bound for bound in BOUNDS)] += 1

    def answer(self, text):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass

class Metrics(Web):
    def do_GET(self):
        with lock:
            total, lines = 0, [f"http_requests_in_flight {in_flight}"]
            for bound, count in zip(BOUNDS + ("+Inf",), buckets):
                total += count
                lines.append(f'http_request_seconds_bucket{{le="{bound}"}} {total}')
            lines += [f"http_request_seconds_sum {seconds}", f"http_request_seconds_count {total}",
                      f'http_requests_total{{code="200"}} {total}',
                      f"process_cpu_seconds_total {time.process_time()}", ""]
        self.answer("\n".join(lines))

class Server(http.server.ThreadingHTTPServer):
    request_queue_size, daemon_threads, timeout = 256, False, 0.05

    def serve(self):
        """Until the end is asked for, and then whoever has connected already: nobody is turned away."""
        self.serve_forever(0.1)
        until, self.quiet = time.monotonic() + 2, False
        while not self.quiet and time.monotonic() < until:
            self.handle_request()
        self.server_close()

    def handle_timeout(self):
        self.quiet = True

servers = [Server(("127.0.0.1", int(port)), handler)
           for port, handler in zip(sys.argv[1:], (Web, Metrics))]
threads = [threading.Thread(target=server.serve) for server in servers]
signal.signal(signal.SIGTERM, lambda *_: [threading.Thread(target=server.shutdown).start() for server in servers])
for thread in threads:
    thread.start()

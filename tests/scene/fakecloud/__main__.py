"""The fake cloud's HTTP front: routing, tokens, faults, and the tests' own requests."""
import argparse
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import cinder
import glance
import keystone
import neutron
import nova
from state import Refusal, State, new_id

STATE = State()
SERVICES = [('/identity/', keystone), ('/compute/', nova), ('/network/', neutron),
            ('/image/', glance), ('/volume/', cinder)]


class Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    server_version = 'fakecloud'

    def setup(self):
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def log_message(self, *args):
        pass

    def json(self):
        try:
            return json.loads(self.data)
        except ValueError:
            raise Refusal(400, {'badRequest': {'code': 400, 'message': 'no JSON'}})

    def authenticate(self):
        with STATE.lock:
            expires = STATE.tokens.get(self.headers.get('X-Auth-Token'), 0)
        if expires < time.time():
            raise Refusal(401, {'error': {'code': 401, 'title': 'Unauthorized', 'message':
                                          'The request you have made requires authentication.'}})

    def serve(self):
        parts = urlsplit(self.raw_path)
        self.path, self.query = unquote(parts.path), parse_qs(parts.query)
        self.data = self.rfile.read(int(self.headers.get('Content-Length') or 0))
        if self.path.startswith('/_fake/'):
            return self.answer(200, self.control(), {})
        fault = STATE.fault(self.method, self.raw_path)
        do = fault['do'] if fault else None
        call = {'method': self.method, 'path': self.path, 'query': parts.query, 'status': 0,
                'fault': do, 'port': self.client_address[1],
                'request_id': self.headers.get('X-OpenStack-Request-Id')}
        with STATE.lock:
            STATE.calls.append(call)
        if do == 'cut':
            return self.hang_up()
        if do == 'late':
            threading.Timer(fault['seconds'], self.process_late, (call,)).start()
            return self.hang_up()
        if do == 'delay':
            time.sleep(fault['seconds'])
        if do == 'answer':
            status, body, headers, kind = fault['status'], fault.get('body', ''), \
                fault.get('headers', {}), fault.get('type', 'text/html')
        else:
            status, body, headers, kind = self.process()
        if do == 'garble':
            body, kind = fault['body'], 'text/html'
        call['status'] = status
        if do == 'lose':
            return self.hang_up()
        self.answer(status, body, headers, kind, do, (fault or {}).get('seconds', 0))

    def process_late(self, call):
        call['status'] = self.process()[0]

    def process(self):
        try:
            for prefix, service in SERVICES:
                if self.path.startswith(prefix):
                    return (*service.handle(STATE, self), 'application/json')
            raise Refusal(404, 'nothing here', kind='text/plain')
        except Refusal as refusal:
            return refusal.status, refusal.body, refusal.headers, refusal.kind

    def hang_up(self):
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def answer(self, status, body, headers, kind='application/json', do=None, seconds=0):
        text = b'' if body is None else body.encode() if isinstance(body, str) \
            else json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header('x-openstack-request-id', 'req-' + new_id())
        if status != 204:
            self.send_header('Content-Type', kind)
            self.send_header('Content-Length', str(len(text)))
        self.end_headers()
        if do == 'half':
            self.wfile.write(text[:len(text) // 2])
            return self.hang_up()
        if do == 'drip':
            for at in range(len(text)):
                self.wfile.write(text[at:at + 1])
                time.sleep(seconds)
            return None
        self.wfile.write(text)
        return None

    def control(self):
        what = self.path[len('/_fake/'):]
        body = json.loads(self.data) if self.data else {}
        if what == 'reset':
            STATE.reset(body)
        elif what == 'settings':
            with STATE.lock:
                STATE.settings.update(body)
        elif what == 'fault':
            with STATE.lock:
                STATE.faults.append(body)
        elif what == 'revoke':
            with STATE.lock:
                STATE.tokens.clear()
        elif what == 'fill':
            with STATE.lock:
                for number in range(body['servers']):
                    server = nova.add_server(STATE, {
                        'name': 'server-%d' % number, 'imageRef': 'image-0',
                        'flavorRef': 'flavor-0', 'networks': [{'uuid': 'net'}]})
                    nova.finish_build(STATE, server, False)
        elif what == 'calls':
            with STATE.lock:
                return list(STATE.calls)
        elif what == 'state':
            return STATE.count()
        else:
            return {'error': 'unknown'}
        return {}

    def dispatch(self):
        self.method, self.raw_path = self.command, self.path
        try:
            self.serve()
        except OSError:
            self.close_connection = True

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = dispatch


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


def certified(directory, name):
    """A TLS context with a new certificate for NAME, which is its own authority."""
    key, cert = os.path.join(directory, 'key.pem'), os.path.join(directory, 'cert.pem')
    subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt',
                    'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', '-subj', '/CN=fakecloud',
                    '-addext', 'subjectAltName=' + name, '-keyout', key, '-out', cert],
                   check=True, stderr=subprocess.DEVNULL)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context


def main():
    parser = argparse.ArgumentParser(description='a scripted fake cloud')
    parser.add_argument('--port', type=int, default=0)
    parser.add_argument('--tls', metavar='FOLDER', help='serve HTTPS; cert.pem is written there')
    parser.add_argument('--name', default='IP:127.0.0.1', help='whom the certificate is for')
    options = parser.parse_args()
    server = Server(('127.0.0.1', options.port), Handler)
    if options.tls:
        keystone.SCHEME = 'https'
        server.socket = certified(options.tls, options.name).wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False)
    print('port %d' % server.server_address[1], flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    # It lives as long as whoever started it holds its standard input open.
    while os.read(0, 4096):
        pass


if __name__ == '__main__':
    main()

import secrets
import time

from state import Refusal, stamp


SCHEME = 'http'


def error(status, message):
    return Refusal(status, {'error': {'code': status, 'message': message, 'title': 'error'}})


def handle(state, request):
    if request.path != '/identity/v3/auth/tokens' or request.method != 'POST':
        raise error(404, 'not found')
    auth = request.json().get('auth', {})
    identity = auth.get('identity', {})
    if identity.get('methods') == ['password']:
        user = identity['password']['user']
        good = (user.get('name'), user.get('password')) == ('admin', 'secret')
    else:
        credential = identity.get('application_credential', {})
        known = credential.get('id') == 'cred' or credential.get('name') == 'cred'
        good = known and credential.get('secret') == 'secret'
    if not good:
        raise error(401, 'The request you have made requires authentication.')
    ttl = state.settings['token_ttl']
    token = 'gAAAAA' + secrets.token_urlsafe(100)
    with state.lock:
        state.tokens[token] = time.time() + ttl
    now = time.time()
    body = {'token': {
        'methods': identity.get('methods'), 'issued_at': stamp(now)[:-1] + '.000000Z',
        'expires_at': stamp(now + ttl)[:-1] + '.000000Z'}}
    if 'domain' not in auth.get('scope', {}):
        body['token']['project'] = {'id': state.project, 'name': 'admin'}
    base = '%s://%s' % (SCHEME, request.headers['Host'])
    catalog = [('identity', '/identity/v3'), ('compute', '/compute/v2.1'),
               ('network', '/network'), ('image', '/image'),
               ('volumev3', '/volume/v3/' + state.project)]
    body['token']['catalog'] = [
        {'type': kind, 'name': kind, 'endpoints': [
            {'region_id': region, 'region': region, 'interface': interface,
             'url': base + path if region == 'RegionOne' else 'http://127.0.0.1:9/elsewhere'}
            for region in ('Elsewhere', 'RegionOne') for interface in ('internal', 'public')]}
        for kind, path in catalog]
    return 201, body, {'X-Subject-Token': token}

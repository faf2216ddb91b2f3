import json
import re

from state import Refusal, new_id, stamp

PENDING = {'creating': 'available', 'attaching': 'in-use', 'detaching': 'available'}


def error(status, message):
    name = {400: 'badRequest', 404: 'itemNotFound', 413: 'overLimit'}.get(status, 'computeFault')
    return Refusal(status, {name: {'code': status, 'message': message}})


def handle(state, request):
    request.authenticate()
    root = '/volume/v3/' + state.project
    if not request.path.startswith(root):
        raise error(404, 'The resource could not be found.')
    path = request.path[len(root):]
    with state.lock:
        if path == '/limits':
            return 200, {'limits': {'rate': [], 'absolute': {
                'maxTotalVolumes': state.settings['quota'].get('volumes', -1),
                'totalVolumesUsed': len(state.things['volumes'])}}}, {}
        if path == '/os-availability-zone':
            return 200, {'availabilityZoneInfo': [
                {'zoneName': 'nova', 'zoneState': {'available': True}}]}, {}
        if path == '/messages':
            return messages(state, request)
        match = re.fullmatch('/(volumes|snapshots)(/detail)?(?:/([^/]+))?(/action|/metadata)?', path)
        if match is None:
            raise error(404, 'The resource could not be found.')
        name, detail, key, more = match.groups()
        if request.method == 'POST' and key is None:
            return create(state, request, name)
        if key is None:
            return listing(state, request, name)
        thing = state.things[name].get(key)
        if thing is not None:
            thing = advance(state, name, thing)
        if thing is None:
            raise error(404, '%s %s could not be found.' % (name, key))
        if more == '/action':
            thing.update(size=request.json()['os-extend']['new_size'])
            return 202, None, {}
        if more == '/metadata':
            thing['metadata'] = request.json()['metadata']
        elif request.method == 'PUT':
            thing.update(request.json()[name[:-1]])
        elif request.method == 'DELETE':
            return delete(state, name, thing)
        return 200, {name[:-1]: thing}, {}


def advance(state, name, thing):
    """Moves on with every look at it."""
    if thing['_views'] > 0:
        thing['_views'] -= 1
    elif thing['status'] == 'deleting':
        del state.things[name][thing['id']]
        return None
    elif thing['status'] in PENDING:
        thing['status'] = PENDING[thing['status']]
        if thing['status'] == 'available' and state.settings['volumes_fail'] is not None:
            thing['status'] = 'error'
    return thing


def messages(state, request):
    """What went wrong: told a look later than the status has shown that something did."""
    if request.headers.get('OpenStack-API-Version') != 'volume 3.5':
        raise error(404, 'The resource could not be found.')
    key = request.query['resource_uuid'][0]
    thing, why = state.things['volumes'][key], state.settings['volumes_fail']
    told = [{'id': new_id(), 'event_id': 'VOLUME_VOLUME_001_003', 'resource_type': 'VOLUME',
             'resource_uuid': key, 'user_message': why, 'message_level': 'ERROR'}]
    told = told if why and thing.get('_asked') else []
    thing['_asked'] = True
    return 200, {'messages': told}, {}


def create(state, request, name):
    thing = dict(request.json()[name[:-1]])
    if state.over_quota(name):
        raise error(413, 'VolumeLimitExceeded: Maximum number of volumes allowed (1) exceeded for '
                    "quota 'volumes'.")
    if name == 'snapshots' and thing.get('volume_id') not in state.things['volumes']:
        raise error(404, 'Volume %s could not be found.' % thing.get('volume_id'))
    thing.update(id=new_id(), status='creating', created_at=stamp()[:-1] + '.000000',
                 updated_at=None, attachments=[], bootable='false', _views=1)
    if name == 'snapshots':
        thing['size'] = state.things['volumes'][thing['volume_id']]['size']
    state.things[name][thing['id']] = thing
    return 202, {name[:-1]: thing}, {}


def listing(state, request, name):
    things = [t for t in list(state.things[name].values()) if advance(state, name, t)]
    if 'metadata' in request.query:
        wanted = json.loads(request.query['metadata'][0])
        things = [t for t in things if wanted.items() <= t['metadata'].items()]
    page, more = state.page(things, request.query, 1000)
    body = {name: page}
    if page and more:
        query = '&'.join('%s=%s' % (k, v) for k, vs in request.query.items() if k != 'marker'
                         for v in vs)
        body[name + '_links'] = [{'rel': 'next', 'href': 'http://internal.invalid/x?%s&marker=%s'
                                  % (query, page[-1]['id'])}]
    return 200, body, {}


def delete(state, name, thing):
    used = any(s['volume_id'] == thing['id'] for s in state.things['snapshots'].values())
    if thing['status'] not in ('available', 'error') or (name == 'volumes' and used):
        raise error(400, 'Invalid volume: Volume status must be available or error and must not '
                    'be attached or have snapshots.')
    thing.update(status='deleting', _views=1)
    return 202, None, {}

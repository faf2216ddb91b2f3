import calendar
import re
import time

from state import Refusal, new_id, stamp

ROOT = '/compute/v2.1'


def error(status, message, name=None):
    name = name or {400: 'badRequest', 403: 'forbidden', 404: 'itemNotFound',
                    406: 'computeFault', 409: 'conflictingRequest'}.get(status, 'computeFault')
    return Refusal(status, {name: {'code': status, 'message': message}})


def handle(state, request):
    path = request.path[len(ROOT):]
    if path == '/':
        return 200, {'version': {'id': 'v2.1', 'min_version': '2.1',
                                 'version': state.settings['microversion']}}, {}
    request.authenticate()
    words = request.headers.get('OpenStack-API-Version', 'compute 2.1').split()
    asked = tuple(int(n) for n in (words[1] if words[0] == 'compute' else '2.1').split('.'))
    if asked > tuple(int(n) for n in state.settings['microversion'].split('.')):
        raise error(406, 'Version is not supported by the API.')
    with state.lock:
        for pattern, method, function in ROUTES:
            match = re.fullmatch(pattern, path)
            if match and method == request.method:
                return function(state, request, asked, *match.groups())
    raise Refusal(404, '<html><body><h1>404 Not Found</h1></body></html>', kind='text/html')


def listing(state, request, name, things, wrap=None):
    page, more = state.page(things, request.query, 1000)
    if page is None:
        raise error(400, 'marker not found')
    body = {name: [wrap(t) for t in page] if wrap else page}
    if page and more:
        query = '&'.join('%s=%s' % (k, v) for k, vs in request.query.items() if k != 'marker'
                         for v in vs)
        last = page[-1].get('id', page[-1].get('name'))
        # As a cloud behind a proxy writes it: a host that the client may not reach.
        body[name + '_links'] = [{'rel': 'next', 'href': 'http://internal.invalid%s?%s&marker=%s'
                                  % (request.path, query, last)}]
    return 200, body, {}


def show(state, server):
    view = {k: v for k, v in server.items() if not k.startswith('_')}
    view['OS-EXT-STS:task_state'] = server['_task']
    return view


def advance(state, server):
    """A server moves on with every look at it."""
    settings = state.settings
    if server['_task'] == 'deleting':
        server['_views'] -= 1
        if server['_views'] < 0:
            remove(state, server)
            return None
    elif server['status'] == 'BUILD':
        server['_views'] -= 1
        if server['_views'] < 0:
            finish_build(state, server, settings['no_valid_host'])
    elif server['status'] == 'ERROR':
        server['_views'] -= 1
        if server['_views'] < 0:
            server['fault'] = {'code': 500, 'message': 'No valid host was found. '}
    elif server['_task']:
        server['_views'] -= 1
        if server['_views'] < 0:
            server['status'], server['_task'] = server['_then'], None
            touch(server)
    return server


def touch(server):
    server['_updated'] = time.time()
    server['updated'] = stamp(server['_updated'])


def remove(state, server):
    del state.things['servers'][server['id']]
    for port in [p for p in state.things['ports'].values() if p['device_id'] == server['id']]:
        if port.get('made_by_nova'):
            del state.things['ports'][port['id']]
        else:
            port.update(device_id='', device_owner='', status='DOWN')
    for volume in list(state.things['volumes'].values()):
        if server['id'] in [each['server_id'] for each in volume['attachments']]:
            volume.update(status='available', attachments=[])
            if volume.get('_goes'):
                del state.things['volumes'][volume['id']]
    server.update(status='DELETED', _task=None)
    touch(server)
    state.deleted_servers[server['id']] = server


def finish_build(state, server, fail):
    server['_task'] = None
    touch(server)
    if fail:
        server['status'] = 'ERROR'
        server['_views'] = 0  # the reason is told later than the state
        return
    server['status'] = 'ACTIVE'
    server['OS-EXT-STS:power_state'] = 1
    for number, network in enumerate(server['_networks']):
        if 'port' in network:
            port = state.things['ports'].get(network['port'])
            if port:
                port.update(device_id=server['id'], device_owner='compute:nova', status='ACTIVE')
            continue
        port = {'id': new_id(), 'network_id': network['uuid'], 'device_id': server['id'],
                'device_owner': 'compute:nova', 'mac_address': 'fa:16:3e:00:00:%02x' % number,
                'fixed_ips': [{'subnet_id': 's', 'ip_address': network.get('fixed_ip', '10.0.0.9')}],
                'security_groups': ['sg-default'], 'status': 'ACTIVE', 'name': '',
                'project_id': state.project, 'description': '', 'admin_state_up': True,
                'made_by_nova': True}
        state.things['ports'][port['id']] = port


def create_server(state, request, asked):
    if asked < (2, 52):
        raise error(400, 'tags were unexpected')
    wanted = request.json()['server']
    if wanted.get('flavorRef') not in state.things['flavors']:
        raise error(400, 'Flavor %s could not be found.' % wanted.get('flavorRef'))
    disk = check_disk(state, wanted, asked)
    if disk is None and wanted.get('imageRef') not in state.things['images']:
        raise error(400, 'Can not find requested image')
    if state.over_quota('servers'):
        raise error(403, 'Quota exceeded for instances: Requested 1, but already used 1 of 1')
    wanted['_group'] = request.json().get('os:scheduler_hints', {}).get('group')
    made = add_server(state, wanted)
    add_disk(state, made, disk)
    return 202, {'server': {'id': made['id'], 'adminPass': 'top-secret', 'links': []}}, {}


def check_disk(state, wanted, asked):
    """The volume that it asks to boot from, as block_device_mapping_v2 has it; or None."""
    disk = wanted.get('block_device_mapping_v2', [None])[0]
    if disk is None:
        return None
    if 'imageRef' in wanted or disk['destination_type'] != 'volume' or disk['boot_index'] != 0:
        raise error(400, 'Block Device Mapping is Invalid.')
    if 'volume_type' in disk and asked < (2, 67):
        raise error(400, 'volume_type was unexpected')
    if disk['source_type'] == 'image':
        if disk['uuid'] not in state.things['images'] or 'volume_size' not in disk:
            raise error(400, 'Block Device Mapping is Invalid: no image or no size')
        if state.over_quota('volumes'):
            raise error(403, "VolumeLimitExceeded: Maximum number of volumes allowed exceeded for "
                        "quota 'volumes'.")
    elif find(state, 'volumes', disk['uuid'], 'Volume')['status'] != 'available':
        raise error(400, 'Invalid volume: volume %s status must be available.' % disk['uuid'])
    return disk


def add_disk(state, server, disk):
    if disk is None:
        return
    if disk['source_type'] == 'image':
        volume = {'id': new_id(), 'name': '', 'metadata': {}, 'size': disk['volume_size'],
                  'volume_type': disk.get('volume_type', '__DEFAULT__'), 'updated_at': None,
                  'created_at': stamp()[:-1] + '.000000'}
        state.things['volumes'][volume['id']] = volume
    else:
        volume = state.things['volumes'][disk['uuid']]
    volume.update(status='in-use', bootable='true', _views=0, _goes=disk['delete_on_termination'],
                  attachments=[{'server_id': server['id'], 'device': '/dev/vda'}])


def add_server(state, wanted):
    networks = wanted['networks']
    group = state.things['server_groups'].get(wanted.get('_group'))
    server = {
        'id': new_id(), 'name': wanted['name'], 'status': 'BUILD', 'tenant_id': state.project,
        'metadata': wanted.get('metadata', {}), 'tags': wanted.get('tags', []),
        'image': {'id': wanted['imageRef']} if 'imageRef' in wanted else '',
        'flavor': {'id': wanted['flavorRef']},
        'key_name': wanted.get('key_name'), 'created': stamp(), 'addresses': {},
        'OS-EXT-AZ:availability_zone': wanted.get('availability_zone', ''),
        'OS-EXT-SRV-ATTR:host': None, 'OS-EXT-STS:power_state': 0,
        '_task': 'scheduling', '_views': state.settings['build_views'],
        '_networks': networks if isinstance(networks, list) else []}
    touch(server)
    state.things['servers'][server['id']] = server
    if group:
        group['members'].append(server['id'])
    state.actions[server['id']] = [{'action': 'create'}]
    return server


def is_hidden(state, server):
    hidden = state.settings['hidden']
    return hidden != '' and re.search(hidden, server['name']) is not None


def list_names(state, request, asked):
    """The short list. Asked for all of it, a new Nova tells of the servers that it cannot reach."""
    servers = state.things['servers'].values()
    tells = asked >= (2, 69) and not set(request.query) - {'all_tenants'}
    return 200, {'servers': [
        {'id': s['id'], 'status': 'UNKNOWN', 'links': []} for s in servers
        if tells and is_hidden(state, s)] + [
        {'id': s['id'], 'name': s['name'], 'links': []} for s in servers
        if not is_hidden(state, s)]}, {}


def list_servers(state, request, asked):
    servers = [s for s in state.things['servers'].values() if not is_hidden(state, s)]
    since = request.query.get('changes-since', [None])[0]
    tags = request.query.get('tags', [None])[0]
    if since is not None:
        moment = calendar.timegm(time.strptime(since, '%Y-%m-%dT%H:%M:%SZ'))
        servers = servers + list(state.deleted_servers.values())
        servers = [s for s in servers if s['_updated'] >= moment]
    if tags is not None:
        servers = [s for s in servers if tags in s['tags']]
    servers = [s for s in servers if s['status'] == 'DELETED' or advance(state, s)]
    return listing(state, request, 'servers', servers, lambda s: show(state, s))


def find(state, collection, key, what):
    thing = state.things[collection].get(key)
    if thing is None:
        raise error(404, '%s %s could not be found.' % (what, key))
    return thing


def get_server(state, request, asked, key):
    if is_hidden(state, find(state, 'servers', key, 'Instance')):
        raise error(500, 'Cell is not responding and hence instance info is not available.')
    server = advance(state, find(state, 'servers', key, 'Instance'))
    if server is None:
        raise error(404, 'Instance %s could not be found.' % key)
    return 200, {'server': show(state, server)}, {}


def put_server(state, request, asked, key):
    server = find(state, 'servers', key, 'Instance')
    server['name'] = request.json()['server']['name']
    touch(server)
    return 200, {'server': show(state, server)}, {}


def put_metadata(state, request, asked, key):
    server = find(state, 'servers', key, 'Instance')
    server['metadata'] = request.json()['metadata']
    touch(server)
    return 200, {'metadata': server['metadata']}, {}


def delete_server(state, request, asked, key):
    server = find(state, 'servers', key, 'Instance')
    if server['_task'] != 'deleting':
        server['_task'], server['_views'] = 'deleting', state.settings['delete_views']
        touch(server)
    return 204, None, {}


def act(state, request, asked, key):
    server = find(state, 'servers', key, 'Instance')
    body = request.json()
    name = next(iter(body))
    if name == 'createImage':
        return create_image(state, server, body[name])
    if name == 'os-getConsoleOutput':
        return 200, {'output': 'FAKE CONSOLE OUTPUT'}, {}
    need, then, task, word = {
        'os-start': ('SHUTOFF', 'ACTIVE', 'powering-on', 'start'),
        'os-stop': ('ACTIVE', 'SHUTOFF', 'powering-off', 'stop'),
        'pause': ('ACTIVE', 'PAUSED', 'pausing', 'pause'),
        'unpause': ('PAUSED', 'ACTIVE', 'unpausing', 'unpause'),
        'suspend': ('ACTIVE', 'SUSPENDED', 'suspending', 'suspend'),
        'resume': ('SUSPENDED', 'ACTIVE', 'resuming', 'resume'),
        'rebuild': ('ACTIVE', 'ACTIVE', 'rebuilding', 'rebuild'),
        'resize': ('ACTIVE', 'VERIFY_RESIZE', 'resize_prep', 'resize'),
        'migrate': ('ACTIVE', 'VERIFY_RESIZE', 'resize_prep', 'migrate'),
        'os-migrateLive': ('ACTIVE', 'ACTIVE', 'migrating', 'live-migration'),
        'confirmResize': ('VERIFY_RESIZE', 'ACTIVE', None, 'confirmResize'),
        'revertResize': ('VERIFY_RESIZE', 'ACTIVE', 'resize_reverting', 'revertResize'),
        'reboot': ('ACTIVE', 'ACTIVE', 'rebooting', 'reboot')}[name]
    if server['status'] == need and not server['_task']:
        if name == 'resize':
            server['_old'] = server['flavor']
            server['flavor'] = {'id': body[name]['flavorRef']}
        elif name == 'revertResize' and '_old' in server:
            server['flavor'] = server['_old']
        elif name == 'confirmResize':
            server['status'] = then
            touch(server)
            return 204, None, {}
    if server['status'] != need or server['_task']:
        raise error(409, "Cannot '%s' instance %s while it is in vm_state %s"
                    % (word, key, server['status'].lower()))
    server.update(_task=task, _then=then, _views=state.settings['action_views'])
    state.actions[key].append({'action': word})
    touch(server)
    return 202, None, {}


def create_image(state, server, wanted):
    image = {'id': new_id(), 'name': wanted['name'], 'status': 'active', 'disk_format': 'raw',
             'container_format': 'bare', 'visibility': 'private', 'owner': state.project,
             'min_disk': 1, 'min_ram': 0, 'protected': False, 'size': 1048576, 'checksum': 'c',
             'created_at': stamp(), 'updated_at': stamp(), 'tags': []}
    image.update(wanted['metadata'])
    state.things['images'][image['id']] = image
    return 202, {'image_id': image['id']}, {}


def create_group(state, request, asked):
    group = dict(request.json()['server_group'], id=new_id(), members=[],
                 project_id=state.project)
    if state.over_quota('server_groups'):
        raise error(403, 'Quota exceeded, too many server groups.')
    group.setdefault('rules', {})
    state.things['server_groups'][group['id']] = group
    return 200, {'server_group': group}, {}


def list_groups(state, request, asked):
    groups = list(state.things['server_groups'].values())
    start = int(request.query.get('offset', ['0'])[0])
    limit = min(int(request.query.get('limit', ['1000'])[0]), state.settings['page_limit'])
    return 200, {'server_groups': groups[start:start + limit]}, {}


def get_group(state, request, asked, key):
    return 200, {'server_group': find(state, 'server_groups', key, 'Instance group')}, {}


def delete_group(state, request, asked, key):
    find(state, 'server_groups', key, 'Instance group')
    del state.things['server_groups'][key]
    return 204, None, {}


def attach(state, request, asked, key):
    server = find(state, 'servers', key, 'Instance')
    wanted = request.json()['volumeAttachment']
    volume = find(state, 'volumes', wanted['volumeId'], 'Volume')
    if volume['status'] != 'available':
        raise error(400, 'Invalid volume: volume %s status must be available.' % volume['id'])
    volume.update(status='attaching', _views=1, attachments=[
        {'server_id': server['id'], 'device': wanted.get('device', '/dev/vdb')}])
    return 200, {'volumeAttachment': {'volumeId': volume['id'], 'serverId': key}}, {}


def detach(state, request, asked, key, volume):
    find(state, 'servers', key, 'Instance')
    find(state, 'volumes', volume, 'Volume').update(status='detaching', attachments=[], _views=1)
    return 202, None, {}


def limits(state, request, asked):
    return 200, {'limits': {'rate': [], 'absolute': {
        'maxTotalInstances': state.settings['quota'].get('servers', -1),
        'totalInstancesUsed': len(state.things['servers']), 'maxTotalCores': 20,
        'totalCoresUsed': 2, 'maxTotalRAMSize': 51200, 'totalRAMUsed': 128,
        'maxTotalKeypairs': 100, 'maxServerGroups': 10, 'totalServerGroupsUsed': 0,
        'maxServerGroupMembers': 10}}}, {}


def zones(state, request, asked):
    return 200, {'availabilityZoneInfo': [
        {'zoneName': 'nova', 'zoneState': {'available': True}, 'hosts': None},
        {'zoneName': 'lost', 'zoneState': {'available': False}, 'hosts': None}]}, {}


def hypervisors(state, request, asked):
    return 200, {'hypervisors': [
        {'id': '1bb62a04-c576-402c-8147-9e89757a09e3', 'hypervisor_hostname': 'c1',
         'hypervisor_type': 'QEMU', 'state': 'up', 'status': 'enabled', 'vcpus': 16,
         'vcpus_used': 2, 'memory_mb': 65536, 'memory_mb_used': 512, 'local_gb': 100,
         'local_gb_used': 1, 'running_vms': 2, 'service': {'id': 's', 'host': 'c1'}}]}, {}


def console(state, request, asked, key):
    find(state, 'servers', key, 'Instance')
    wanted = request.json()['remote_console']
    return 200, {'remote_console': dict(wanted, url='http://console.invalid/?token=t')}, {}


def list_actions(state, request, asked, key):
    find(state, 'servers', key, 'Instance')
    return 200, {'instanceActions': state.actions[key]}, {}


def create_flavor(state, request, asked):
    flavor = request.json()['flavor']
    flavors = state.things['flavors']
    if flavor['id'] in flavors:
        raise error(409, 'Flavor with ID %s already exists.' % flavor['id'])
    if any(f['name'] == flavor['name'] for f in flavors.values()):
        raise error(409, 'Flavor with name %s already exists.' % flavor['name'])
    flavors[flavor['id']] = dict(flavor, extra_specs={}, swap=flavor.get('swap') or '')
    return 200, {'flavor': flavors[flavor['id']]}, {}


def get_flavor(state, request, asked, key):
    return 200, {'flavor': find(state, 'flavors', key, 'Flavor')}, {}


def delete_flavor(state, request, asked, key):
    find(state, 'flavors', key, 'Flavor')
    del state.things['flavors'][key]
    return 202, None, {}


def set_specs(state, request, asked, key):
    flavor = find(state, 'flavors', key, 'Flavor')
    flavor['extra_specs'].update(request.json()['extra_specs'])
    return 200, {'extra_specs': flavor['extra_specs']}, {}


def create_keypair(state, request, asked):
    keypair = request.json()['keypair']
    if keypair['name'] in state.things['keypairs']:
        raise error(409, "Key pair '%s' already exists." % keypair['name'])
    keypair['fingerprint'] = '00:11'
    state.things['keypairs'][keypair['name']] = keypair
    return 201, {'keypair': keypair}, {}


def get_keypair(state, request, asked, key):
    return 200, {'keypair': find(state, 'keypairs', key, 'Keypair')}, {}


def delete_keypair(state, request, asked, key):
    find(state, 'keypairs', key, 'Keypair')
    del state.things['keypairs'][key]
    return 204, None, {}


ROUTES = [
    ('/os-server-groups', 'POST', create_group),
    ('/os-server-groups', 'GET', list_groups),
    ('/os-server-groups/([^/]+)', 'GET', get_group),
    ('/os-server-groups/([^/]+)', 'DELETE', delete_group),
    ('/servers/([^/]+)/os-volume_attachments', 'POST', attach),
    ('/servers/([^/]+)/os-volume_attachments/([^/]+)', 'DELETE', detach),
    ('/servers/([^/]+)/remote-consoles', 'POST', console),
    ('/limits', 'GET', limits),
    ('/os-availability-zone', 'GET', zones),
    ('/os-hypervisors/detail', 'GET', hypervisors),
    ('/servers', 'POST', create_server),
    ('/servers', 'GET', list_names),
    ('/servers/detail', 'GET', list_servers),
    ('/servers/([^/]+)', 'GET', get_server),
    ('/servers/([^/]+)', 'PUT', put_server),
    ('/servers/([^/]+)', 'DELETE', delete_server),
    ('/servers/([^/]+)/metadata', 'PUT', put_metadata),
    ('/servers/([^/]+)/action', 'POST', act),
    ('/servers/([^/]+)/os-instance-actions', 'GET', list_actions),
    ('/flavors', 'POST', create_flavor),
    ('/flavors/detail', 'GET', lambda s, r, a: listing(
        s, r, 'flavors', list(s.things['flavors'].values()))),
    ('/flavors', 'GET', lambda s, r, a: listing(
        s, r, 'flavors', list(s.things['flavors'].values()))),
    ('/flavors/([^/]+)', 'GET', get_flavor),
    ('/flavors/([^/]+)', 'DELETE', delete_flavor),
    ('/flavors/([^/]+)/os-extra_specs', 'POST', set_specs),
    ('/os-keypairs', 'POST', create_keypair),
    ('/os-keypairs', 'GET', lambda s, r, a: listing(
        s, r, 'keypairs', list(s.things['keypairs'].values()), lambda k: {'keypair': k})),
    ('/os-keypairs/([^/]+)', 'GET', get_keypair),
    ('/os-keypairs/([^/]+)', 'DELETE', delete_keypair),
]

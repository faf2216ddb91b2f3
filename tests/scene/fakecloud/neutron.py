import re

from state import Refusal, new_id, stamp

ROOT = '/network/v2.0'
SINGULAR = {'networks': 'network', 'subnets': 'subnet', 'ports': 'port',
            'security_groups': 'security_group', 'routers': 'router', 'floatingips': 'floatingip'}
TITLE = {'networks': 'Network', 'subnets': 'Subnet', 'ports': 'Port',
         'security_groups': 'SecurityGroup', 'routers': 'Router', 'floatingips': 'FloatingIP'}


def error(status, kind, message):
    return Refusal(status, {'NeutronError': {'type': kind, 'message': message, 'detail': ''}})


def handle(state, request):
    request.authenticate()
    match = re.fullmatch('/routers/([^/]+)/(add|remove)_router_interface', request.path[len(ROOT):])
    if match and request.method == 'PUT':
        with state.lock:
            return interface(state, request, *match.groups())
    if request.path == ROOT + '/quotas/%s/details.json' % state.project:
        with state.lock:
            quota = {name: {'limit': state.settings['quota'].get(many, -1),
                            'used': len(state.things[many]), 'reserved': 0}
                     for many, name in SINGULAR.items()}
            quota['security_group_rule'] = {'limit': 100, 'used': 4, 'reserved': 1}
            return 200, {'quota': quota}, {}
    match = re.fullmatch('/([a-z-]+)(?:/([^/]+))?', request.path[len(ROOT):])
    if match is None:
        raise Refusal(404, 'The resource could not be found.', kind='text/plain')
    name, key = match.group(1).replace('-', '_'), match.group(2)
    with state.lock:
        if name == 'security_group_rules':
            return rules(state, request, key)
        if name not in SINGULAR:
            raise Refusal(404, 'The resource could not be found.', kind='text/plain')
        if request.method == 'POST':
            return create(state, request, name)
        if key is None:
            return listing(state, request, name)
        thing = state.things[name].get(key)
        if thing is None:
            raise error(404, TITLE[name] + 'NotFound', '%s %s could not be found.'
                        % (TITLE[name], key))
        if request.method == 'PUT' and name == 'floatingips':
            lead(state, thing, request.json()['floatingip'])
        elif request.method == 'PUT':
            thing.update(request.json()[SINGULAR[name]], updated_at=stamp())
        elif request.method == 'DELETE':
            return delete(state, name, thing)
        return 200, {SINGULAR[name]: thing}, {}


def listing(state, request, name):
    things = list(state.things[name].values())
    for key, values in request.query.items():
        if key not in ('limit', 'marker', 'fields', 'page_reverse'):
            things = [t for t in things if t.get(key) in values]
    page, more = state.page(things, request.query, 100000)
    if page is None:
        raise error(400, 'InvalidInput', 'marker')
    body = {name: page}
    if 'limit' in request.query and page:
        links = [{'rel': 'previous', 'href': 'http://internal.invalid/x?page_reverse=True'}]
        if more:
            query = '&'.join('%s=%s' % (k, v) for k, vs in request.query.items()
                             if k != 'marker' for v in vs)
            links.insert(0, {'rel': 'next', 'href': 'http://internal.invalid%s?%s&marker=%s'
                             % (request.path, query, page[-1]['id'])})
        body[name + '_links'] = links
    return 200, body, {}


def rule(group, wanted):
    return {'id': new_id(), 'security_group_id': group, 'direction': wanted['direction'],
            'ethertype': wanted.get('ethertype', 'IPv4'), 'protocol': wanted.get('protocol'),
            'port_range_min': wanted.get('port_range_min'),
            'port_range_max': wanted.get('port_range_max'),
            'remote_ip_prefix': wanted.get('remote_ip_prefix'),
            'remote_group_id': wanted.get('remote_group_id')}


def same(one, other):
    """As Neutron compares: everybody is the same as the whole address range."""
    def essence(rule):
        return {k: None if v in ('0.0.0.0/0', '::/0') else v for k, v in rule.items() if k != 'id'}
    return essence(one) == essence(other)


def create(state, request, name):
    thing = dict(request.json()[SINGULAR[name]])
    if state.over_quota(name):
        raise error(409, 'OverQuota', "Quota exceeded for resources: ['%s']." % SINGULAR[name])
    if name in ('subnets', 'ports') and thing.get('network_id') not in state.things['networks']:
        raise error(404, 'NetworkNotFound', 'Network %s could not be found.'
                    % thing.get('network_id'))
    thing.update(id=new_id(), project_id=state.project, created_at=stamp(), updated_at=stamp())
    if name == 'networks':
        for key, value in (('status', 'ACTIVE'), ('subnets', []), ('mtu', 1500), ('shared', False),
                           ('router:external', False), ('admin_state_up', True)):
            thing.setdefault(key, value)
    elif name == 'subnets':
        state.things['networks'][thing['network_id']]['subnets'].append(thing['id'])
        thing.setdefault('gateway_ip', '10.0.0.1')
    elif name == 'ports':
        for key, value in (('status', 'DOWN'), ('device_id', ''), ('device_owner', ''),
                           ('fixed_ips', []), ('security_groups', []),
                           ('mac_address', 'fa:16:3e:aa:bb:cc'), ('admin_state_up', True)):
            thing.setdefault(key, value)
    elif name == 'routers':
        thing.setdefault('status', 'ACTIVE')
        thing.setdefault('admin_state_up', True)
        if thing.get('external_gateway_info'):
            thing['external_gateway_info'].setdefault('enable_snat', True)
            thing['external_gateway_info']['external_fixed_ips'] = [
                {'subnet_id': 'outside', 'ip_address': '198.51.100.2'}]
    elif name == 'security_groups':
        thing.setdefault('stateful', True)
        thing['security_group_rules'] = [
            rule(thing['id'], {'direction': 'egress', 'ethertype': e}) for e in ('IPv4', 'IPv6')]
    if name == 'floatingips':
        thing.setdefault('floating_ip_address', '198.51.100.%d' % (len(state.things[name]) + 5))
        lead(state, thing, thing)
    state.things[name][thing['id']] = thing
    return 201, {SINGULAR[name]: thing}, {}


def lead(state, floating, wanted):
    """What Neutron does with the port of a floating IP."""
    port = state.things['ports'].get(wanted.get('port_id'))
    if 'port_id' in wanted and wanted['port_id'] is not None:
        subnets = [ip['subnet_id'] for ip in port['fixed_ips']] if port else []
        routers = [p['device_id'] for p in state.things['ports'].values()
                   if p['device_owner'] == 'network:router_interface'
                   and any(ip['subnet_id'] in subnets for ip in p['fixed_ips'])]
        if not routers:
            raise error(404, 'ExternalGatewayForFloatingIPNotFound', 'External network is not '
                        'reachable from subnet. Therefore, cannot associate Port with a Floating IP.')
        floating.update(router_id=routers[0], status='ACTIVE', port_id=wanted['port_id'],
                        fixed_ip_address=port['fixed_ips'][0]['ip_address'])
    elif 'port_id' in wanted or 'status' not in floating:
        floating.update(router_id=None, status='DOWN', port_id=None, fixed_ip_address=None)
    if 'description' in wanted:
        floating['description'] = wanted['description']


def interface(state, request, key, word):
    if key not in state.things['routers']:
        raise error(404, 'RouterNotFound', 'Router %s could not be found' % key)
    wanted = request.json()
    ports = state.things['ports']
    mine = [p for p in ports.values() if p['device_id'] == key]
    subnet = state.things['subnets'].get(wanted.get('subnet_id'))
    if word == 'remove':
        gone = [p for p in mine if p['id'] == wanted.get('port_id')
                or any(ip['subnet_id'] == wanted.get('subnet_id') for ip in p['fixed_ips'])]
        if not gone:
            raise error(404, 'RouterInterfaceNotFound', 'Router has no such interface')
        if any(f['router_id'] == key for f in state.things['floatingips'].values()):
            raise error(409, 'RouterInterfaceInUseByFloatingIP', 'Router interface is required by '
                        'one or more floating IPs.')
        for port in gone:
            del ports[port['id']]
        return 200, {'id': key}, {}
    if 'port_id' in wanted:
        port = ports.get(wanted['port_id'])
        if port is None:
            raise error(404, 'PortNotFound', 'Port could not be found')
        if port['device_id']:
            raise error(409, 'PortInUse', 'Unable to complete operation on port. Port is in use.')
    elif subnet is None:
        raise error(404, 'SubnetNotFound', 'Subnet could not be found')
    elif any(ip['subnet_id'] == subnet['id'] for p in mine for ip in p['fixed_ips']):
        raise error(400, 'BadRequest', 'Router already has a port on subnet')
    else:
        port = {'id': new_id(), 'network_id': subnet['network_id'], 'name': '', 'status': 'DOWN',
                'mac_address': 'fa:16:3e:00:01:00', 'project_id': state.project, 'description': '',
                'fixed_ips': [{'subnet_id': subnet['id'], 'ip_address': subnet['gateway_ip']}],
                'security_groups': [], 'admin_state_up': True}
        ports[port['id']] = port
    port.update(device_id=key, device_owner='network:router_interface')
    return 200, {'id': key, 'port_id': port['id']}, {}


def delete(state, name, thing):
    if name == 'networks' and any(p['network_id'] == thing['id']
                                  for p in state.things['ports'].values()):
        raise error(409, 'NetworkInUse', 'Unable to complete operation on network %s. There are '
                    'one or more ports still in use on the network.' % thing['id'])
    if name == 'routers' and any(p['device_id'] == thing['id']
                                 for p in state.things['ports'].values()):
        raise error(409, 'RouterInUse', 'Router %s still has ports' % thing['id'])
    if name == 'networks':
        for key in thing['subnets']:
            state.things['subnets'].pop(key, None)
    del state.things[name][thing['id']]
    return 204, None, {}


def rules(state, request, key):
    groups = state.things['security_groups']
    if request.method == 'DELETE':
        for group in groups.values():
            for one in group['security_group_rules']:
                if one['id'] == key:
                    group['security_group_rules'].remove(one)
                    return 204, None, {}
        raise error(404, 'SecurityGroupRuleNotFound', 'Security group rule %s does not exist' % key)
    made = []
    for wanted in request.json()['security_group_rules']:
        if wanted['security_group_id'] not in groups:
            raise error(404, 'SecurityGroupNotFound', 'Security group does not exist')
        one = rule(wanted['security_group_id'], wanted)
        if any(same(one, other) for other in
               made + groups[one['security_group_id']]['security_group_rules']):
            raise error(409, 'SecurityGroupRuleExists', 'Security group rule already exists.')
        made.append(one)
    for one in made:
        groups[one['security_group_id']]['security_group_rules'].append(one)
    return 201, {'security_group_rules': made}, {}

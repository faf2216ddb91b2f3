import re

from state import Refusal, new_id, stamp

ROOT = '/network/v2.0'
SINGULAR = {'networks': 'network', 'subnets': 'subnet', 'ports': 'port',
            'security_groups': 'security_group'}
TITLE = {'networks': 'Network', 'subnets': 'Subnet', 'ports': 'Port',
         'security_groups': 'SecurityGroup'}


def error(status, kind, message):
    return Refusal(status, {'NeutronError': {'type': kind, 'message': message, 'detail': ''}})


def handle(state, request):
    request.authenticate()
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
        if request.method == 'PUT':
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
    else:
        thing.setdefault('stateful', True)
        thing['security_group_rules'] = [
            rule(thing['id'], {'direction': 'egress', 'ethertype': e}) for e in ('IPv4', 'IPv6')]
    state.things[name][thing['id']] = thing
    return 201, {SINGULAR[name]: thing}, {}


def delete(state, name, thing):
    if name == 'networks' and any(p['network_id'] == thing['id']
                                  for p in state.things['ports'].values()):
        raise error(409, 'NetworkInUse', 'Unable to complete operation on network %s. There are '
                    'one or more ports still in use on the network.' % thing['id'])
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

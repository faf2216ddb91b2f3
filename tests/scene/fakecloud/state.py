"""What the fake cloud knows, and its script of faults."""
import re
import threading
import time
import uuid

DEFAULTS = {
    'token_ttl': 3600,        # seconds
    'page_limit': 1000,       # things per page at most
    'build_views': 1,         # how often a new server is seen in BUILD
    'delete_views': 1,        # how often a deleted server is still seen
    'action_views': 1,        # how often a server is seen with its task
    'no_valid_host': False,   # new servers end in ERROR
    'volumes_fail': None,     # text: new volumes end in error, and a message says so (not if empty)
    'hidden': '',             # servers whose name this expression fits are in a cell that is down
    'quota': {},              # collection -> how many there may be
    'microversion': '2.93',   # the highest
}


class Refusal(Exception):
    """An error answer, in the shape of the service that gives it."""

    def __init__(self, status, body, headers=None, kind='application/json'):
        super().__init__(str(status))
        self.status, self.body, self.headers, self.kind = status, body, headers or {}, kind


def stamp(moment=None):
    return time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(moment))


def new_id():
    return str(uuid.uuid4())


class State:
    def __init__(self):
        self.lock = threading.RLock()
        self.reset({})

    def reset(self, settings):
        with self.lock:
            self.settings = dict(DEFAULTS, **settings)
            self.faults, self.calls = [], []
            self.tokens = {}
            self.project = 'a' * 32
            self.things = {name: {} for name in (
                'servers', 'flavors', 'keypairs', 'networks', 'subnets', 'ports',
                'security_groups', 'images', 'routers', 'floatingips', 'server_groups', 'volumes',
                'snapshots')}
            self.deleted_servers = {}
            self.images_data = {}
            self.actions = {}
            self.things['flavors']['flavor-0'] = {
                'id': 'flavor-0', 'name': 'tiny', 'vcpus': 1, 'ram': 64, 'disk': 1, 'swap': '',
                'OS-FLV-EXT-DATA:ephemeral': 0, 'os-flavor-access:is_public': True,
                'description': None, 'extra_specs': {}}
            self.things['images']['image-0'] = {
                'id': 'image-0', 'name': 'base', 'status': 'active', 'disk_format': 'raw',
                'container_format': 'bare', 'visibility': 'public', 'owner': self.project,
                'min_disk': 0, 'min_ram': 0, 'protected': False, 'size': 3,
                'checksum': 'acbd18db4cc2f85cedef654fccc4a4d8',
                'created_at': stamp(), 'updated_at': stamp(), 'tags': []}

    def fault(self, method, path):
        """The fault that strikes this request, or None."""
        with self.lock:
            for fault in self.faults:
                if fault.get('method', method) != method or not re.search(fault['path'], path):
                    continue
                if fault.get('after', 0) > 0:
                    fault['after'] -= 1
                elif fault.get('times', 1) > 0:
                    fault['times'] = fault.get('times', 1) - 1
                    return fault
        return None

    def count(self):
        with self.lock:
            counts = {name: len(things) for name, things in self.things.items()}
            counts['rules'] = sum(len(g['security_group_rules'])
                                  for g in self.things['security_groups'].values())
            return counts

    def over_quota(self, name):
        limit = self.settings['quota'].get(name)
        return limit is not None and len(self.things[name]) >= limit

    def page(self, things, query, default):
        """One page: (things, whether there are more)."""
        wanted = int(query.get('limit', [default])[0])
        wanted = min(wanted, self.settings['page_limit'])
        marker = query.get('marker', [None])[0]
        start = 0
        if marker is not None:
            ids = [t.get('id', t.get('name')) for t in things]
            if marker not in ids:
                return None, False
            start = ids.index(marker) + 1
        return things[start:start + wanted], start + wanted < len(things)

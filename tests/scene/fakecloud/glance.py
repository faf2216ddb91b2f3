import hashlib
import re

from state import Refusal, new_id, stamp

ROOT = '/image/v2'


def error(status, message):
    return Refusal(status, {'message': message + '<br /><br />\n\n\n', 'code': str(status),
                            'title': 'refused'})


def handle(state, request):
    request.authenticate()
    match = re.fullmatch('/images(?:/([^/]+))?(/file)?', request.path[len(ROOT):])
    if match is None:
        raise error(404, 'The resource could not be found.')
    key, data = match.groups()
    with state.lock:
        images = state.things['images']
        if key is None:
            return create(state, request) if request.method == 'POST' else listing(state, request)
        image = images.get(key)
        if image is None:
            raise error(404, ('Failed to find image %s to delete' if request.method == 'DELETE'
                              else 'No image found with ID %s') % key)
        if data:
            return upload(state, request, image)
        if request.method == 'PATCH':
            return patch(request, image)
        if request.method == 'DELETE':
            if image['protected']:
                raise error(403, 'Image %s is protected and cannot be deleted.' % key)
            del images[key]
            return 204, None, {}
        return 200, image, {}


def create(state, request):
    image = request.json()
    image.setdefault('id', new_id())
    if image['id'] in state.things['images']:
        raise error(409, 'Image ID %s already exists!' % image['id'])
    if state.over_quota('images'):
        raise error(413, 'Request exceeds the image count quota')
    for name, value in (('status', 'queued'), ('size', None), ('checksum', None),
                        ('owner', state.project), ('min_disk', 0), ('min_ram', 0),
                        ('protected', False), ('tags', [])):
        image.setdefault(name, value)
    image.update(created_at=stamp(), updated_at=stamp())
    state.things['images'][image['id']] = image
    return 201, image, {}


def listing(state, request):
    page, more = state.page(list(state.things['images'].values()), request.query, 25)
    if page is None:
        raise error(400, 'marker')
    body = {'images': page, 'first': '/v2/images', 'schema': '/v2/schemas/images'}
    if more:
        body['next'] = '/v2/images?limit=%d&marker=%s' % (
            int(request.query.get('limit', [25])[0]), page[-1]['id'])
    return 200, body, {}


def patch(request, image):
    if request.headers.get('Content-Type') != 'application/openstack-images-v2.1-json-patch':
        raise error(415, 'Unsupported media type')
    for change in request.json():
        image[change['path'][1:]] = change['value']
    image['updated_at'] = stamp()
    return 200, image, {}


def upload(state, request, image):
    if request.headers.get('Content-Type') != 'application/octet-stream':
        raise error(415, 'Unsupported media type')
    if image['status'] != 'queued':
        raise error(409, 'Image status transition from %s to saving is not allowed'
                    % image['status'])
    data = request.data
    image.update(status='active', size=len(data), updated_at=stamp(),
                 checksum=hashlib.md5(data, usedforsecurity=False).hexdigest())
    return 204, None, {}

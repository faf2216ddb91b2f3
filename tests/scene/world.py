"""What scenes need again and again: one body per kind, and a small world to hang them on."""
from vimd import unique

KEY = ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJyMpHVvgcGYtrmJQYyXYz1aKTfzmEVYgYQ0pEHqbNDz "
       "scene@example.org")

# In the order in which they can be made; deleting goes the other way.
PLURALS = ["flavors", "images", "keypairs", "security-groups", "networks", "subnets", "ports",
           "servers"]

# What an update may change, and to what.
UPDATES = {
    "images": {"min_ram": 64},
    "security-groups": {"description": "changed"},
    "networks": {"description": "changed"},
    "subnets": {"description": "changed"},
    "ports": {"description": "changed"},
    "servers": {"metadata": {"changed": "yes"}},
}


class World:
    """A network with a subnet, a flavor and an image that a server can be made of."""

    def __init__(self, vimd, vim="edge1"):
        self.vimd, self.vim = vimd, vim
        self.network = vimd.create("networks", {"vim": vim, "name": unique("net")})
        self.subnet = vimd.create("subnets", {
            "vim": vim, "name": unique("sub"), "network": self.network["id"],
            "cidr": "10.20.0.0/16"})
        self.flavor = vimd.create("flavors", {
            "vim": vim, "name": unique("flavor"), "vcpus": 1, "ram": 64})
        self.image = vimd.create("images", {
            "vim": vim, "name": unique("image"), "disk_format": "raw"})
        upload(vimd, self.image["id"], b"x" * 1000)

    def body(self, plural, **more):
        """A create body of each kind; MORE is laid over it."""
        bodies = {
            "flavors": {"vcpus": 1, "ram": 64, "disk": 1},
            "images": {"disk_format": "raw", "properties": {"os": "none"}},
            "keypairs": {"public_key": KEY},
            "security-groups": {"description": "d", "rules": [
                {"direction": "ingress", "protocol": "tcp", "port_min": 22, "port_max": 22,
                 "remote_cidr": "10.0.0.0/8"},
                {"direction": "ingress", "protocol": "icmp"},
                {"direction": "egress", "ethertype": "IPv4"}]},
            "networks": {"description": "d"},
            "subnets": {"network": self.network["id"], "cidr": "10.21.0.0/24"},
            "ports": {"network": self.network["id"]},
            "servers": {"image": self.image["id"], "flavor": self.flavor["id"],
                        "networks": [{"network": self.network["id"]}]},
        }
        return {"vim": self.vim, "name": unique(plural[:-1]), **bodies[plural], **more}

    def server(self, **more):
        return self.body("servers", **more)


def upload(vimd, image, data):
    """Uploads an image's data and waits for it; returns the image."""
    answer = vimd.request("PUT", f"/v1/images/{image}/data", body=data,
                          headers={"Content-Type": "application/octet-stream",
                                   "Prefer": "respond-async"})
    task = vimd.wait_task(vimd.task_of(answer))
    assert task["state"] == "succeeded", task
    return vimd.must(vimd.get(f"/v1/images/{image}"), 200).json

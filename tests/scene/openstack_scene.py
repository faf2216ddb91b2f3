#!/usr/bin/env python3
"""vimd against a real OpenStack: openstack_scene.py CLOUDS_YAML [TEST]...

Creates through vimd and looks with other eyes (the `openstack` client, the services' own APIs);
changes things behind vimd's back; takes quota, flavor, token, API service and vimd itself away in the
middle; and leaves the cloud as empty as it was.
"""
import hashlib
import json
import sys
import unittest

import vimd
from cloud import Cloud, Doorkeeper
from vimd import Broken, Vimd, target_id, unique, wait_for
from world import KEY, PLURALS, upload

CLOUDS_YAML = None
CLEARED_FIRST = ["floating-ips", "routers", "snapshots", "servers", "volumes"]
ENDED_BADLY = ("failed", "rolled_back")


class OpenStack(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cloud = Cloud(CLOUDS_YAML)
        cls.before = cls.cloud.ids()
        cls.keeper = Doorkeeper(cls.cloud.auth["auth_url"])
        auth = cls.cloud.auth
        cls.vimd = Vimd(name="openstack", vims=[{
            "name": "real", "driver": "openstack", "project": vimd.PROJECT,
            "poll_pending": "200ms", "poll_idle": "1s", "poll_backoff": "3s",
            "options": {
                "auth_url": cls.keeper.url, "username": auth["username"],
                "password": "${env:SCENE_PASSWORD}", "project": auth["project_name"],
                "user_domain": auth["user_domain_name"],
                "project_domain": auth["project_domain_name"], "region": "RegionOne",
                "settle_time": "5s"}}],
            env={"SCENE_PASSWORD": auth["password"]})
        try:
            cls.vimd.start()
            cls.make_world()
        except BaseException:
            print(cls.vimd.log()[-4000:])
            cls.vimd.kill()
            raise

    @classmethod
    def make_world(cls):
        v = cls.vimd
        wait_for(lambda: [item for item in v.list("images") if item["name"] == "cirros"],
                 "the inventory to show the image of the cloud")
        cls.image = [item for item in v.list("images") if item["name"] == "cirros"][0]
        cls.flavor = [item for item in v.list("flavors") if item["name"] == "m1.nano"][0]
        cls.network = v.create("networks", {"vim": "real", "name": unique("scene-net")})
        cls.subnet = v.create("subnets", {"vim": "real", "name": unique("scene-sub"),
                                          "network": cls.network["id"], "cidr": "10.44.0.0/24"})

    @classmethod
    def tearDownClass(cls):
        try:
            # What a test that failed has left is in the way of the rest.
            for plural in [*CLEARED_FIRST, *reversed(PLURALS), "affinity-groups"]:
                for item in cls.vimd.list(plural):
                    if item["name"].startswith("scene-"):
                        cls.vimd.remove(plural, item["id"])
            cls.vimd.stop()
            cls.vimd.check_no_secrets()
            cls.vimd.check_log()
            log = cls.vimd.log()
            for token in cls.keeper.tokens:
                if token in log:
                    raise Broken("a token of the cloud stands in the log")
            wait_for(lambda: cls.cloud.ids() == cls.before,
                     "the cloud to be as empty as it was", 60, pause=1)
        except BaseException:
            print({kind: set(ids) ^ set(cls.before[kind])
                   for kind, ids in cls.cloud.ids().items() if ids != cls.before[kind]})
            print(cls.vimd.log()[-6000:])
            cls.vimd.kill()
            raise
        finally:
            cls.keeper.close()
        cls.vimd.close()

    def server_body(self, **more):
        return {"vim": "real", "name": unique("scene-server"), "image": self.image["id"],
                "flavor": self.flavor["id"], "networks": [{"network": self.network["id"]}], **more}

    def submit(self, **more):
        return self.vimd.task_of(self.vimd.post("/v1/servers", self.server_body(**more)))

    def remove(self, plural, *items):
        for item in items:
            self.vimd.remove(plural, item["id"])

    # Creates through vimd, seen by others

    def test_every_kind_is_seen_by_the_client(self):
        v, client = self.vimd, self.cloud.client
        key = v.create("keypairs", {"vim": "real", "name": unique("scene-key"), "public_key": KEY})
        self.assertEqual(client("keypair", "show", key["name"])["name"], key["name"])
        flavor = v.create("flavors", {"vim": "real", "name": unique("scene-flavor"), "vcpus": 1,
                                      "ram": 64, "disk": 1, "extra_specs": {"hw:a": "b"}})
        shown = client("flavor", "show", flavor["name"])
        self.assertEqual((shown["ram"], shown["vcpus"], shown["disk"]), (64, 1, 1))

        data = bytes(range(256)) * 2048
        image = v.create("images", {"vim": "real", "name": unique("scene-image"),
                                    "disk_format": "raw", "min_ram": 1})
        self.assertEqual(client("image", "show", image["name"])["status"], "queued")
        image = upload(v, image["id"], data)
        shown = client("image", "show", image["name"])
        self.assertEqual((shown["status"], shown["size"], shown["checksum"]),
                         ("active", len(data), hashlib.md5(data).hexdigest()))

        group = v.create("security-groups", {
            "vim": "real", "name": unique("scene-group"), "rules": [
                {"direction": "ingress", "protocol": "tcp", "port_min": 22, "port_max": 22,
                 "remote_cidr": "10.0.0.0/8"},
                {"direction": "egress", "ethertype": "IPv6"}]})
        rules = client("security", "group", "rule", "list", group["name"])
        self.assertEqual(len(rules), 2, rules)
        port = v.create("ports", {"vim": "real", "name": unique("scene-port"),
                                  "network": self.network["id"],
                                  "security_groups": [group["id"]],
                                  "fixed_ips": [{"ip_address": "10.44.0.77"}]})
        self.assertEqual(client("port", "show", port["name"])["fixed_ips"][0]["ip_address"],
                         "10.44.0.77")
        self.assertEqual(client("subnet", "show", self.subnet["name"])["cidr"], "10.44.0.0/24")

        server = v.create("servers", self.server_body(
            image=image["id"], flavor=flavor["id"], key=key["name"],
            networks=[{"port": port["id"]}, {"network": self.network["id"]}],
            metadata={"role": "upf"}, user_data="I2Nsb3VkLWNvbmZpZwo="), 120)
        self.assertEqual(server["status"], "ACTIVE")
        self.assertEqual(len(server["addresses"]), 2)
        shown = client("server", "show", server["name"])
        self.assertEqual(shown["status"], "ACTIVE")
        self.assertEqual(shown["key_name"], key["name"])
        self.assertIn("10.44.0.77", json.dumps(shown["addresses"]))

        changed = v.must(v.patch(f"/v1/networks/{self.network['id']}",
                                 {"description": "changed"}, wait=30), 200).json
        self.assertEqual(changed["description"], "changed")
        # The driver's own tag is behind it.
        shown = client("network", "show", self.network["name"])
        self.assertTrue(shown["description"].startswith("changed"), shown["description"])
        for action, status in (("stop", "SHUTOFF"), ("start", "ACTIVE"), ("reboot", "ACTIVE")):
            v.must(v.post(f"/v1/servers/{server['id']}/actions", {"action": action}, wait=60), 200)
            self.assertEqual(client("server", "show", server["name"])["status"], status)
        self.remove("servers", server)
        self.assertEqual(self.cloud.find("server", server["name"]), [])
        self.remove("ports", port)
        self.remove("security-groups", group)
        self.remove("images", image)
        self.remove("flavors", flavor)
        self.remove("keypairs", key)

    def act(self, plural, item, **body):
        return self.vimd.must(self.vimd.post(f"/v1/{plural}/{item['id']}/actions", body, wait=60),
                              200).json

    def test_topology_is_seen_by_the_client(self):
        v, client = self.vimd, self.cloud.client
        name = unique("scene-topology")
        # Asked for in one go: each waits for what it refers to.
        subnet, port, router = (v.post(f"/v1/{plural}", {"vim": "real", **body}) for plural, body in (
            ("subnets", {"name": name, "network": self.network["id"], "cidr": "10.45.0.0/24"}),
            ("ports", {"name": name, "network": self.network["id"],
                       "fixed_ips": [{"subnet": name}]}),
            ("routers", {"name": name, "external_network": "public",
                         "interfaces": [{"subnet": name}]})))
        for answer in (subnet, port, router):
            task = v.wait_task(v.task_of(answer), 60)
            self.assertEqual(task["state"], "succeeded", task)
        port, router = (v.list(plural, f"name={name}")[0] for plural in ("ports", "routers"))
        subnet = v.list("subnets", f"name={name}")[0]
        floating = v.create("floating-ips", {"vim": "real", "name": name, "network": "public",
                                             "port": port["id"]})
        shown = client("floating", "ip", "show", floating["address"])
        self.assertEqual(shown["port_id"], port["backend_id"])
        self.assertEqual(shown["router_id"], router["backend_id"])
        self.assertEqual(client("router", "show", name)["status"], "ACTIVE")

        group = v.create("affinity-groups", {"vim": "real", "name": name,
                                             "policy": "anti-affinity"})
        servers = [v.create("servers", self.server_body(affinity_group=group["id"]), 120)
                   for _ in range(2)]
        self.assertNotEqual(servers[0]["host"], servers[1]["host"])
        members = v.get(f"/v1/affinity-groups/{group['id']}?fresh=true").json["members"]
        self.assertEqual(sorted(members), sorted(server["id"] for server in servers))

        volume = v.create("volumes", {"vim": "real", "name": name, "size": 1}, 60)
        volume = self.act("volumes", volume, action="attach", server=servers[0]["id"])
        self.assertEqual(volume["server"], servers[0]["id"])
        self.assertEqual(client("volume", "show", name)["status"], "in-use")
        # What is attached stays; the delete says by what, and goes on when it is not any more.
        task = v.task_of(v.delete(f"/v1/volumes/{volume['id']}"))
        wait_for(lambda: "is attached to server" in
                 (v.get(f"/v1/volumes/{volume['id']}").json.get("status_reason") or ""),
                 "the volume to say what it is attached to")
        self.remove("servers", servers[0])
        self.assertEqual(v.wait_task(task, 120)["state"], "succeeded")
        self.assertEqual(self.cloud.find("volume", name), [])

        resized = self.act("servers", servers[1], action="resize", flavor="m1.micro")
        self.assertEqual(resized["backend_status"], "VERIFY_RESIZE")
        self.act("servers", servers[1], action="confirm_resize")
        image = v.must(v.post(f"/v1/servers/{servers[1]['id']}/actions",
                              {"action": "snapshot", "name": name}, wait=60), 201).json
        self.assertEqual(client("image", "show", name)["status"], "active")
        used = {quota["name"]: quota.get("used")
                for quota in v.get("/v1/vims/real/capacity").json["quotas"]}
        self.assertEqual(used["routers"], len(self.cloud.list("router")))
        self.remove("images", image)
        self.remove("servers", servers[1])
        self.remove("affinity-groups", group)
        self.remove("floating-ips", floating)
        self.remove("routers", router)
        self.remove("ports", port)
        self.remove("subnets", subnet)

    def test_synchronous_create(self):
        answer = self.vimd.post("/v1/servers", self.server_body(), wait=60)
        server = self.vimd.must(answer, 201).json
        self.assertEqual(server["status"], "ACTIVE")
        task = self.vimd.get("/v1/tasks?limit=1000").items
        mine = next(task_ for task_ in task if target_id(task_) == server["id"])
        steps = self.vimd.get(f"/v1/tasks/{mine['id']}").json["steps"]
        self.assertTrue(any("req-" in (step.get("backend_request_id") or "") for step in steps))
        self.vimd.must(self.vimd.delete(f"/v1/servers/{server['id']}", wait=60), 200, 204)

    # Behind vimd's back

    def test_made_and_deleted_outside(self):
        name = unique("scene-outside")
        status, body = self.cloud.call("POST", "network", "/networks", {"network": {"name": name}})
        self.assertEqual(status, 201, body)
        item = wait_for(lambda: self.vimd.list("networks", f"name={name}"),
                        "the outside network to appear")[0]
        self.assertEqual(item["backend_id"], body["network"]["id"])
        self.cloud.call("DELETE", "network", f"/networks/{item['backend_id']}")
        wait_for(lambda: self.vimd.get(f"/v1/networks/{item['id']}").status == 404,
                 "the deleted network to go")

    def test_server_deleted_outside(self):
        server = self.vimd.create("servers", self.server_body(), 120)
        self.cloud.call("DELETE", "compute", f"/servers/{server['backend_id']}")
        wait_for(lambda: self.vimd.get(f"/v1/servers/{server['id']}").status == 404,
                 "the deleted server to go")

    # What goes wrong in a cloud

    def test_quota(self):
        used = len(self.cloud.list("server"))
        path = f"/os-quota-sets/{self.cloud.project}"
        status, body = self.cloud.call("PUT", "compute", path,
                                       {"quota_set": {"instances": used + 1, "force": True}})
        self.assertEqual(status, 200, body)
        try:
            ports = len(self.cloud.list("port"))
            first = self.vimd.create("servers", self.server_body(), 120)
            task = self.vimd.wait_task(self.submit(), 120)
            self.assertIn(task["state"], ENDED_BADLY, task)
            self.assertIn("quota", json.dumps(task["error"]).lower())
            self.remove("servers", first, {"id": target_id(task)})
            wait_for(lambda: len(self.cloud.list("port")) == ports, "no port to be left")
        finally:
            self.cloud.call("DELETE", "compute", path)

    def test_wrong_flavor(self):
        body = self.server_body(flavor="no-such-flavor")
        answer = self.vimd.post("/v1/servers", body)
        self.assertEqual(answer.status, 422, answer)
        self.assertEqual(answer.json["errors"][0]["pointer"], "/flavor")
        giant = self.vimd.create("flavors", {"vim": "real", "name": unique("scene-giant"),
                                             "vcpus": 1, "ram": 9000000})
        ports = len(self.cloud.list("port"))
        task = self.vimd.wait_task(self.submit(flavor=giant["id"]), 120)
        self.assertIn(task["state"], ENDED_BADLY, task)
        self.assertIn("host", json.dumps(task["error"]).lower())
        wait_for(lambda: len(self.cloud.list("port")) == ports, "no port to be left")
        shown = self.vimd.get(f"/v1/servers/{target_id(task)}").json
        self.assertEqual(shown["status"], "ERROR")
        self.assertNotIn("backend_id", shown)
        self.remove("servers", shown)
        self.remove("flavors", giant)

    def test_revoked_token(self):
        issued = len(self.keeper.tokens)
        self.assertGreater(issued, 0)
        for token in self.keeper.tokens[-1:]:
            self.cloud.revoke(token)
        self.cloud.forget_tokens()
        server = self.vimd.create("servers", self.server_body(), 120)
        self.remove("servers", server)
        self.assertGreater(len(self.keeper.tokens), issued, "a new token was fetched")

    def test_restart_of_nova_api_in_the_middle(self):
        tasks = [self.submit() for _ in range(3)]
        self.cloud.end_service("nova-api")
        tasks += [self.submit() for _ in range(2)]
        self.cloud.up()
        ended = [self.vimd.wait_task(task, 180) for task in tasks]
        self.assertEqual([task["state"] for task in ended], ["succeeded"] * 5, ended)
        servers = [self.vimd.get(f"/v1/servers/{target_id(task)}").json for task in ended]
        for server in servers:
            self.assertEqual(len(self.cloud.find("server", server["name"])), 1)
        self.remove("servers", *servers)

    def test_kill_9_in_the_middle_of_creates(self):
        for at in range(4, 16, 2):
            with self.subTest(at=at):
                self.vimd.stop()
                self.vimd.start(ready=False, env={"VIMD_TEST_KILL_AT_COMMIT": str(at + 20)})
                bodies = [self.server_body() for _ in range(2)]
                tasks = []
                try:
                    self.vimd.wait_ready()
                    for body in bodies:
                        tasks.append(self.vimd.task_of(self.vimd.post("/v1/servers", body)))
                    for task in tasks:
                        self.vimd.wait_task(task, 120)
                except (Broken, OSError):
                    # Its sockets are closed a moment before it has ended.
                    wait_for(lambda: not self.vimd.alive(), "vimd, which broke off, to end", 10)
                self.vimd.kill()
                self.vimd.start()
                for task in tasks:
                    self.assertEqual(self.vimd.wait_task(task, 120)["state"], "succeeded")
                wait_for(lambda: not [task for task in self.vimd.list("tasks")
                                      if task["state"] not in vimd.ENDED], "all tasks to end", 120)
                for body in bodies:
                    found = self.cloud.find("server", body["name"])
                    self.assertLessEqual(len(found), 1, "it was made once")
                    shown = self.vimd.list("servers", f"name={body['name']}")
                    self.assertEqual([item["backend_id"] for item in shown],
                                     [item["id"] for item in found])
                    self.remove("servers", *shown)

    def test_more_images_than_a_page(self):
        """More things than a page of Glance or a small limit holds, all there."""
        names = [unique("scene-page") for _ in range(30)]
        made = vimd.many(lambda name: self.vimd.create(
            "images", {"vim": "real", "name": name, "disk_format": "raw"}, 120), names, 4)
        self.assertLessEqual({image["id"] for image in made},
                             {item["id"] for item in self.vimd.list("images", limit=7)})
        vimd.many(lambda image: self.vimd.remove("images", image["id"]), made, 4)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    CLOUDS_YAML = sys.argv.pop(1)
    unittest.main(verbosity=2)

#!/usr/bin/env python3
"""Network services on a real OpenStack: openstack_services_scene.py CLOUDS_YAML [TEST]...

A service of six VNFs on three links, with a router, volumes and an affinity group, comes up, is scaled, loses a server
behind vimd's back and is healed, and is deleted; one that others take the quota from half-way is taken back; one that
has no room is not begun. The `openstack` client looks on, and sees the cloud as empty in the end as it was.
"""
import sys
import unittest

import vimd
from cloud import Cloud
from vimd import Vimd, target_id, unique, wait_for

CLOUDS_YAML = None
VNF = {"image": "cirros", "flavor": "m1.nano"}
# What a service is made of, as the client calls it, and as the services' own APIs do.
KINDS = {"server": "server", "network": "network", "subnet": "subnet", "port": "port",
         "router": "router", "floating ip": "floating-ip", "volume": "volume",
         "security group": "security-group", "server group": "affinity-group"}


def point(link, **more):
    return {"network": f"${{vl.{link}.id}}", **more}


def core(name):
    """Six VNFs on three links: a small core network."""
    return {
        "name": name, "vim": "real",
        "virtual_links": {
            "sbi": {"subnets": {"v4": {"cidr": "10.61.0.0/24"}}},
            "n4": {"subnets": {"v4": {"cidr": "10.62.0.0/24"}}},
            "n6": {"subnets": {"v4": {"cidr": "10.63.0.0/24"}},
                   "router": {"external_network": "public"}}},
        "security_groups": {"web": {"rules": [
            {"direction": "ingress", "protocol": "tcp", "port_min": 80, "port_max": 80}]}},
        "affinity_groups": {"apart": {"policy": "anti-affinity"}},
        "volumes": {"subscribers": {"size": 1, "attach": {"server": "${vnf.udm.id}"}}},
        "vnfs": {
            "amf": {**VNF, "affinity_group": "${group.apart.id}",
                    "connection_points": {"sbi": point("sbi")}},
            "smf": {**VNF, "affinity_group": "${group.apart.id}",
                    "connection_points": {"sbi": point("sbi"), "n4": point("n4")}},
            "udm": {"flavor": "m1.nano", "volumes": {"root": {"image": "cirros", "size": 1}},
                    "boot_volume": {"volume": "${vnf.udm.volume.root.id}"},
                    "connection_points": {"sbi": point("sbi", fixed_ip="10.61.0.77")}},
            "ausf": {**VNF, "connection_points": {"sbi": point("sbi")},
                     "metadata": {"udm": "${vnf.udm.address}"}},
            "pcf": {**VNF, "boot_volume": {"size": 1}, "connection_points": {"sbi": point("sbi")}},
            "upf": {**VNF, "count": 1, "volumes": {"data": {"size": 1}},
                    "connection_points": {"n4": point("n4"),
                                          "n6": point("n6", security_groups=["${sg.web.id}"])},
                    "floating_ips": {"out": {"network": "public", "connection_point": "n6"}},
                    "user_data": "I2Nsb3VkLWNvbmZpZwo="}}}


class Services(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cloud = Cloud(CLOUDS_YAML)
        cls.before = cls.cloud.ids()
        auth = cls.cloud.auth
        cls.vimd = Vimd(name="openstack-services", vims=[{
            "name": "real", "driver": "openstack", "project": vimd.PROJECT,
            "poll_pending": "500ms", "poll_idle": "2s", "poll_backoff": "3s",
            "options": {
                "auth_url": auth["auth_url"], "username": auth["username"],
                "password": "${env:SCENE_PASSWORD}", "project": auth["project_name"],
                "user_domain": auth["user_domain_name"],
                "project_domain": auth["project_domain_name"], "region": "RegionOne",
                "settle_time": "5s"}}],
            env={"SCENE_PASSWORD": auth["password"]})
        try:
            cls.vimd.start()
            wait_for(lambda: [item for item in cls.vimd.list("images") if item["name"] == "cirros"],
                     "the inventory to show the image of the cloud")
        except BaseException:
            print(cls.vimd.log()[-4000:])
            cls.vimd.kill()
            raise

    @classmethod
    def tearDownClass(cls):
        try:
            for each in cls.vimd.list("network-services"):
                cls.vimd.remove("network-services", each["id"])
            cls.vimd.stop()
            cls.vimd.check_no_secrets()
            cls.vimd.check_log()
        except BaseException:
            print(cls.vimd.log()[-6000:])
            cls.vimd.kill()
            raise
        cls.vimd.close()

    def tearDown(self):
        # What a test that failed has left behind is in the way of the next one.
        for each in self.vimd.list("network-services"):
            self.vimd.remove("network-services", each["id"])

    def ended(self, answer, state="succeeded"):
        task = self.vimd.wait_task(self.vimd.task_of(self.vimd.must(answer, 202)), 240)
        self.assertEqual(task["state"], state, task)
        return task

    def post(self, body):
        return target_id(self.ended(self.vimd.post("/v1/network-services", body)))

    def act(self, identity, **body):
        return self.ended(self.vimd.post(f"/v1/network-services/{identity}/actions", body))

    def nodes(self, identity):
        shown = self.vimd.must(self.vimd.get(f"/v1/network-services/{identity}"), 200).json
        return {node["name"]: node for node in shown["nodes"]}

    def servers(self, name):
        """What the client sees: status by what the server is called in the service."""
        return {server["Name"].removeprefix(f"{name}-"): server["Status"]
                for server in self.cloud.client("server", "list")
                if server["Name"].startswith(f"{name}-")}

    def expect_empty(self):
        """The client sees nothing of any kind that was not there before."""
        for words, kind in KINDS.items():
            seen = sorted(item["ID"] for item in self.cloud.client(*words.split(), "list"))
            self.assertEqual(seen, self.before[kind], words)
        self.assertEqual(self.cloud.ids(), self.before)

    def of(self, kind, node):
        """The resource of a node, by the services' own APIs."""
        identity = self.vimd.must(self.vimd.get(f"/v1/{kind}s/{node['id']}"), 200).json["backend_id"]
        return next(item for item in self.cloud.list(kind) if item["id"] == identity)

    def expect_whole(self, name, identity):
        """What hangs on what, as the cloud shows it."""
        client, nodes = self.cloud.client, self.nodes(identity)
        self.assertEqual({node["state"] for node in nodes.values()}, {"ready"}, nodes)
        booted = {each["image"] == "" for each in (self.of("server", nodes["vnf.udm.0"]),
                                                   self.of("server", nodes["vnf.pcf.0"]))}
        self.assertEqual(booted, {True}, "Nova shows no image of what boots from a volume")
        upf = self.of("server", nodes["vnf.upf.0"])
        udm = self.of("server", nodes["vnf.udm.0"])
        for volume, server in (("upf-0-data", upf), ("subscribers", udm), ("udm-0-root", udm)):
            shown = client("volume", "show", f"{name}-{volume}")
            self.assertEqual((shown["status"], [each["server_id"] for each in shown["attachments"]]),
                             ("in-use", [server["id"]]))
        floating = self.of("floating-ip", nodes["vnf.upf.0.fip.out"])
        self.assertEqual(floating["port_id"], self.of("port", nodes["vnf.upf.0.cp.n6"])["id"])
        self.assertEqual(floating["router_id"], self.of("router", nodes["vl.n6.router"])["id"])
        return nodes

    def test_life(self):
        cloud, name = self.cloud, unique("core")
        identity = self.post(core(name))
        six = {f"{vnf}-0": "ACTIVE" for vnf in ("amf", "smf", "udm", "ausf", "pcf", "upf")}
        self.assertEqual(self.servers(name), six)
        nodes = self.expect_whole(name, identity)
        hosts = {self.of("server", nodes[f"vnf.{vnf}.0"])["OS-EXT-SRV-ATTR:host"]
                 for vnf in ("amf", "smf")}
        self.assertEqual(len(hosts), 2, "the affinity group keeps them apart")
        # Behind its name is the driver's tag.
        group, = [item["Name"] for item in cloud.client("server", "group", "list")]
        self.assertTrue(group.startswith(f"{name}-apart "), group)
        shown = cloud.client("server", "show", f"{name}-ausf-0")
        self.assertIn("10.61.0.77", str(shown["properties"]))

        # One more has no other host to go to: the plan knows, and nothing is begun.
        answer = self.vimd.post(f"/v1/network-services/{identity}/actions",
                                {"action": "scale", "vnf": "amf", "count": 2})
        error, = self.vimd.must(answer, 409).json["errors"]
        self.assertEqual((error["pointer"], error["resource"], error["needed"], error["left"]),
                         ("/vnfs/amf/affinity_group", "hosts", 3, 2))

        self.act(identity, action="scale", vnf="upf", count=3)
        self.assertEqual(self.servers(name), {**six, "upf-1": "ACTIVE", "upf-2": "ACTIVE"})
        self.assertEqual(len([volume for volume in cloud.list("volume")
                              if volume["name"].startswith(f"{name}-upf-")]), 3)
        self.act(identity, action="scale", vnf="upf", count=1)
        self.assertEqual(self.servers(name), six)
        before = self.nodes(identity)

        cloud.command("server", "delete", "--wait", f"{name}-upf-0")
        # The disk of the one goes with it, that of the other stays.
        cloud.command("server", "delete", "--wait", f"{name}-pcf-0")
        cloud.command("server", "delete", "--wait", f"{name}-udm-0")
        self.act(identity, action="heal")
        self.assertEqual(self.servers(name), six)
        after = self.expect_whole(name, identity)
        self.assertEqual({node for node in after if after[node]["id"] != before[node]["id"]},
                         {"vnf.upf.0", "vnf.pcf.0", "vnf.udm.0"})

        self.ended(self.vimd.delete(f"/v1/network-services/{identity}"))
        self.expect_empty()
        self.assertEqual(self.vimd.get("/v1/orphans").items, [])

    def quota(self, **limits):
        path = f"/os-quota-sets/{self.cloud.project}"
        status, body = self.cloud.call("PUT", "compute", path,
                                       {"quota_set": {**limits, "force": True}})
        self.assertEqual(status, 200, body)
        self.addCleanup(self.cloud.call, "DELETE", "compute", path)

    def chain(self, name):
        """Three servers, one after the other, and what goes with them."""
        return {"name": name, "vim": "real",
                "virtual_links": {"l": {"subnets": {"v4": {"cidr": "10.64.0.0/24"}},
                                        "router": {"external_network": "public"}}},
                "volumes": {"v": {"size": 1, "attach": {"server": "${vnf.a.id}"}}},
                "vnfs": {"a": {**VNF, "boot_volume": {"size": 1},
                               "connection_points": {"l": point("l", port=True)}},
                         "b": {**VNF, "connection_points": {"l": point("l")},
                               "metadata": {"after": "${vnf.a.id}"}},
                         "c": {**VNF, "connection_points": {"l": point("l")},
                               "metadata": {"after": "${vnf.b.id}"}}}}

    def test_no_room(self):
        self.quota(instances=len(self.cloud.list("server")) + 2)
        body = self.chain(unique("room"))
        answer = self.vimd.must(self.vimd.post("/v1/network-services", body), 409)
        error, = answer.json["errors"]
        self.assertEqual((answer.json["code"], error["pointer"], error["resource"],
                          error["needed"], error["left"]), ("quota", "/vnfs", "servers", 3, 2))
        giant = self.vimd.create("flavors", {"vim": "real", "name": unique("giant"), "vcpus": 1,
                                             "ram": 9000000})
        body["vnfs"] = {"a": {**VNF, "flavor": giant["id"]},
                        "b": {**VNF, "zone": "nowhere"}}
        body["volumes"] = {}
        answer = self.vimd.must(self.vimd.post("/v1/network-services", body), 422)
        self.assertEqual({(error["pointer"], error.get("resource"))
                          for error in answer.json["errors"]},
                         {("/vnfs/a", "ram"), ("/vnfs/b/zone", None)})
        self.vimd.remove("flavors", giant["id"])
        self.assertEqual(self.cloud.ids(), self.before)

    def test_others_take_the_quota_half_way(self):
        self.quota(instances=len(self.cloud.list("server")) + 3)
        name = unique("late")
        plan = self.vimd.must(self.vimd.post("/v1/network-services?dryRun=true", self.chain(name)),
                              200).json
        self.assertEqual((plan["not_checked"], [each for each in plan["amounts"]
                                                if each["resource"] == "servers"]),
                         ([], [{"resource": "servers", "needed": 3, "left": 3}]))
        task = self.vimd.task_of(self.vimd.post("/v1/network-services", self.chain(name)))
        # While the first one is made and the third one waits, somebody else makes one.
        wait_for(lambda: self.cloud.find("server", f"{name}-a-0"), "the first server", 120)
        image, flavor = (self.vimd.list(plural, f"name={value}")[0]["backend_id"]
                         for plural, value in (("images", "cirros"), ("flavors", "m1.nano")))
        status, other = self.cloud.call("POST", "compute", "/servers", {"server": {
            "name": unique("other"), "imageRef": image, "flavorRef": flavor, "networks": "none"}})
        self.assertEqual(status, 202, other)
        try:
            task = self.vimd.wait_task(task, 240)
            self.assertEqual(task["state"], "rolled_back", task)
            self.assertIn("quota", task["error"]["detail"].lower())
            shown = self.vimd.get(f"/v1/network-services/{target_id(task)}").json
            self.assertEqual((shown["status"], shown["nodes"]), ("ERROR", []))
        finally:
            self.cloud.call("DELETE", "compute", f"/servers/{other['server']['id']}")
        wait_for(lambda: self.cloud.ids() == self.before, "the other server to be gone", 60, pause=1)
        self.assertEqual(self.servers(name), {})


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    CLOUDS_YAML = sys.argv.pop(1)
    unittest.main(verbosity=2)

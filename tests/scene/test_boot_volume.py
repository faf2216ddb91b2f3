"""Servers and VNFs that boot from volumes: their own, made on the way, or ones that outlive them."""
import unittest

from test_services import SETTINGS, delete, description, nodes, post, service, wait
from vimd import Scene, mock, unique, wait_for

SERVERS = "/v1/servers"
BASE = {"vim": "edge1", "flavor": "small"}


class Boot(Scene):
    vims = [mock("edge1", quotas={"volume": 4, "storage": 40})]
    settings = SETTINGS

    def things(self):
        return {kind: len(self.vimd.things(kind)) for kind in ("server", "volume", "port", "network")}

    def setUp(self):
        self.before = self.things()

    def tearDown(self):
        self.assertEqual(self.things(), self.before)
        self.assertEqual(self.vimd.orphans(), [])
        self.assertEqual(self.vimd.list("orphans"), [])

    def thing(self, kind, identity):
        """What the far side has of a resource."""
        backend = self.vimd.must(self.vimd.get(f"/v1/{kind}s/{identity}"), 200).json["backend_id"]
        return next((each for each in self.vimd.things(kind) if each["id"] == backend), None)

    def test_a_volume_made_on_the_way_goes_with_the_server(self):
        vimd = self.vimd
        server = vimd.create("servers", {**BASE, "name": "disk", "image": "cirros",
                                         "boot_volume": {"size": 7, "type": "fast"}})
        self.assertEqual(server["status"], "ACTIVE")
        self.assertNotIn("image", server)
        self.assertNotIn("boot_volume", server)
        disk = self.thing("server", server["id"])["volumes"]
        volume = next(each for each in vimd.things("volume") if each["id"] in disk)
        self.assertEqual((volume["size"], volume["type"], volume["device"], volume["bootable"]),
                         (7, "fast", "/dev/vda", True))
        # The inventory finds it, and both lists lead to each other.
        wait_for(lambda: vimd.must(vimd.get(f"{SERVERS}/{server['id']}/volumes"), 200).json["volumes"],
                 "the volume to be found")
        seen = vimd.get(f"{SERVERS}/{server['id']}/volumes").json["volumes"]
        self.assertEqual([each["backend_id"] for each in seen], disk)
        # It is the disk: it cannot be pulled out.
        task = vimd.wait_task(vimd.task_of(vimd.must(
            vimd.post(f"/v1/volumes/{seen[0]['id']}/actions", {"action": "detach"}), 202)))
        self.assertEqual((task["state"], task["error"]["code"]), ("failed", "invalid"))
        vimd.remove("servers", server["id"])

    def test_a_volume_that_there_is_stays(self):
        vimd = self.vimd
        volume = vimd.create("volumes", {"vim": "edge1", "name": unique("root"), "size": 3,
                                         "image": "cirros"})
        body = {**BASE, "name": "again", "boot_volume": {"volume": volume["name"]}}
        for _ in range(2):
            server = vimd.create("servers", body)
            self.assertEqual(self.thing("volume", volume["id"])["server"], server["backend_id"])
            # In use: neither deleted nor booted from a second time.
            task = vimd.wait_task(vimd.task_of(vimd.must(vimd.post(SERVERS, body), 202)))
            self.assertEqual((task["state"], task["error"]["code"]), ("failed", "invalid"))
            vimd.remove("servers", task["target"]["id"])
            vimd.remove("servers", server["id"])
            self.assertNotIn("server", self.thing("volume", volume["id"]))
        empty = vimd.create("volumes", {"vim": "edge1", "name": unique("empty"), "size": 1})
        task = vimd.wait_task(vimd.task_of(vimd.must(
            vimd.post(SERVERS, {**BASE, "name": "no", "boot_volume": {"volume": empty["id"]}}), 202)))
        self.assertEqual(task["state"], "failed")
        self.assertIn("not bootable", task["error"]["detail"])
        for plural, identity in (("servers", task["target"]["id"]), ("volumes", empty["id"]),
                                 ("volumes", volume["id"])):
            vimd.remove(plural, identity)

    def test_volume_and_server_in_one_go(self):
        """A reference to a volume that is still being made waits for it."""
        vimd = self.vimd
        volume = vimd.must(vimd.post("/v1/volumes", {"vim": "edge1", "name": unique("soon"),
                                                     "size": 2, "image": "cirros"}), 202)
        root = vimd.task_of(volume)
        root = vimd.must(vimd.get(f"/v1/tasks/{root}"), 200).json["target"]["id"]
        server = vimd.create("servers", {**BASE, "name": "quick", "boot_volume": {"volume": root}})
        self.assertEqual(server["status"], "ACTIVE")
        vimd.remove("servers", server["id"])
        vimd.remove("volumes", root)

    def test_what_makes_no_sense(self):
        vimd = self.vimd
        for boot, image, pointer in (
                ({}, "cirros", "/boot_volume"), ({"size": 1, "volume": "v"}, "cirros", "/boot_volume"),
                ({"size": 1}, None, "/image"), ({"size": 0}, "cirros", "/boot_volume/size"),
                ({"volume": "nowhere"}, None, "/boot_volume/volume"),
                ({"volume": "nowhere"}, "cirros", "/image"),
                ({"volume": "nowhere", "type": "fast"}, None, "/boot_volume/type"),
                ({"sise": 1}, "cirros", "/boot_volume/sise"), (None, None, "/image")):
            body = {**BASE, "name": "odd", "boot_volume": boot, "image": image}
            answer = vimd.must(vimd.post(SERVERS, {key: value for key, value in body.items()
                                                   if value is not None}), 422)
            self.assertIn(pointer, [error["pointer"] for error in answer.json["errors"]], boot)

    def test_undo_takes_the_disk_back(self):
        """Cancelled while it builds, or without room for its disk: nothing is left."""
        vimd = self.vimd
        body = {**BASE, "name": "back", "image": "cirros", "boot_volume": {"size": 30}}
        server = vimd.create("servers", body)
        task = vimd.wait_task(vimd.task_of(vimd.must(vimd.post(SERVERS, body), 202)))
        self.assertEqual((task["state"], task["error"]["code"]), ("failed", "quota"))
        vimd.remove("servers", task["target"]["id"])
        vimd.remove("servers", server["id"])
        for _ in range(5):
            task = vimd.task_of(vimd.must(vimd.post(SERVERS, body), 202))
            vimd.post(f"/v1/tasks/{task}/cancel")
            ended = vimd.wait_task(task)
            vimd.remove("servers", ended["target"]["id"])

    def vnfs(self, **more):
        return {"db": {"flavor": "small", "count": 2,
                       "volumes": {"root": {"image": "cirros", "size": 2}},
                       "boot_volume": {"volume": "${vnf.db.volume.root.id}"}, **more},
                "front": {"flavor": "small", "image": "cirros", "boot_volume": {"size": 1}}}

    def test_a_service_whose_servers_boot_from_their_own(self):
        vimd = self.vimd
        name = unique("boots")
        identity = post(vimd, description(name, vnfs=self.vnfs()))
        graph = nodes(vimd, identity)
        self.assertEqual(graph["vnf.db.1"]["needs"], ["vnf.db.1.volume.root"])
        for instance in range(2):
            volume = self.thing("volume", graph[f"vnf.db.{instance}.volume.root"]["id"])
            server = self.thing("server", graph[f"vnf.db.{instance}"]["id"])
            self.assertEqual((volume["server"], volume["device"]), (server["id"], "/dev/vda"))
        # What it is described by shows it, so that what was got can be put.
        shown = service(vimd, identity)["vnfs"]["db"]["boot_volume"]
        self.assertEqual(shown, {"volume": "${vnf.db.volume.root.id}"})
        # A server that is lost boots anew from what it had; another disk is no change but another VNF.
        root = graph["vnf.db.0.volume.root"]["id"]
        lost = self.thing("server", graph["vnf.db.0"]["id"])["id"]
        vimd.mock("delete", "server", lost)
        wait(vimd, vimd.post(f"/v1/network-services/{identity}/actions", {"action": "heal"}))
        graph = nodes(vimd, identity)
        self.assertEqual(graph["vnf.db.0.volume.root"]["id"], root)
        self.assertEqual(self.thing("volume", root)["server"],
                         self.thing("server", graph["vnf.db.0"]["id"])["id"])
        # With its disk lost as well both are made anew.
        for kind, node in (("server", "vnf.db.1"), ("volume", "vnf.db.1.volume.root")):
            vimd.mock("delete", kind, self.thing(kind, graph[node]["id"])["id"])
        wait(vimd, vimd.post(f"/v1/network-services/{identity}/actions", {"action": "heal"}))
        after = nodes(vimd, identity)
        self.assertEqual({name for name in graph if graph[name]["id"] != after[name]["id"]},
                         {"vnf.db.1", "vnf.db.1.volume.root"})
        graph = after
        answer = vimd.must(vimd.patch(f"/v1/network-services/{identity}",
                                      {"vnfs": {"front": {"boot_volume": {"size": 2}}}}), 422)
        self.assertEqual([error["pointer"] for error in answer.json["errors"]],
                         ["/vnfs/front/boot_volume"])
        wait(vimd, vimd.post(f"/v1/network-services/{identity}/actions",
                             {"action": "scale", "vnf": "db", "count": 1}))
        delete(vimd, identity)

    def test_one_volume_boots_one_server(self):
        def pointers(**body):
            answer = self.vimd.must(self.vimd.post("/v1/network-services",
                                                   description("odd", **body)), 422)
            return [error["pointer"] for error in answer.json["errors"]]

        shared = {"flavor": "small", "boot_volume": {"volume": "${volume.v.id}"}}
        root = {"size": 1, "image": "cirros"}
        self.assertEqual(pointers(volumes={"v": root}, vnfs={"a": {**shared, "count": 3}}),
                         ["/vnfs/a/boot_volume/volume"])
        self.assertEqual(pointers(volumes={"v": root}, vnfs={"a": shared, "b": shared}),
                         ["/vnfs/b/boot_volume/volume"])
        other = {"flavor": "small", "image": "cirros"}
        self.assertEqual(
            pointers(volumes={"v": {**root, "attach": {"server": "${vnf.b.id}"}}},
                     vnfs={"a": shared, "b": other}), ["/volumes/v/attach"])


class Room(Scene):
    """A disk takes of the quotas of volumes and storage."""
    vims = [mock("edge1", check_quota=True, quotas={"volume": 2, "storage": 9})]
    settings = SETTINGS

    def test_counted_before_anything_is_made(self):
        vnfs = {"a": {"flavor": "small", "image": "cirros", "count": 3, "boot_volume": {"size": 4}}}
        answer = self.vimd.must(self.vimd.post("/v1/network-services",
                                               description("disks", vnfs=vnfs)), 409)
        self.assertEqual({(each["resource"], each["needed"], each["left"])
                          for each in answer.json["errors"]}, {("volumes", 3, 2), ("storage", 12, 9)})


if __name__ == "__main__":
    unittest.main()

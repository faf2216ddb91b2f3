"""Has the VIM room for a network service? Told before anything is made; and PUT, which changes by difference."""
import unittest

from test_services import SETTINGS, delete, description, nodes, post, service, wait
from vimd import Scene, mock, unique

VNF = {"image": "cirros", "flavor": "small"}  # 1 processor, 512 MiB


def missing(answer):
    return {(error["pointer"], error.get("resource"), error.get("needed"), error.get("left"))
            for error in answer.json["errors"]}


class Room(Scene):
    """Four servers, six processors, 10 GiB of volumes, and four hosts of which each has two processors."""
    vims = [mock("edge1", check_quota=True, hosts=4, host_vcpus=2, quotas={
        "server": 4, "vcpus": 6, "storage": 10, "floating-ip": 0, "security-group": 2})]
    settings = SETTINGS

    def things(self):
        return {kind: len(self.vimd.things(kind)) for kind in ("server", "port", "network", "volume")}

    def setUp(self):
        self.before = self.things()

    def tearDown(self):
        for each in self.vimd.list("network-services"):
            delete(self.vimd, each["id"])
        self.assertEqual(self.things(), self.before)

    def refused(self, body, status=409, query=""):
        answer = self.vimd.must(self.vimd.post(f"/v1/network-services{query}", body), status)
        self.assertEqual(self.vimd.list("network-services"), [])
        return answer

    def test_all_that_is_missing_is_told_at_once(self):
        body = description(unique("much"), vnfs={
            "a": {**VNF, "count": 3, "volumes": {"data": {"size": 4}}},
            "b": {**VNF, "flavor": "medium", "count": 2, "floating_ips": {
                "out": {"network": "public", "connection_point": "x"}}, "connection_points": {
                    "x": {"network": "${vl.n3.id}"}}}})
        for query in ("", "?dryRun=true"):
            answer = self.refused(body, query=query)
            self.assertEqual(answer.json["code"], "quota")
            self.assertEqual(missing(answer), {
                ("/vnfs", "servers", 5, 4), ("/vnfs", "vcpus", 7, 6),
                ("/vnfs/a/volumes/data", "storage", 12, 10),
                ("/vnfs/b/floating_ips/out", "floating_ips", 2, 0)})
        # Together with what else is wrong.
        body["vnfs"]["a"]["metadata"] = {"x": "${vl.nowhere.id}"}
        answer = self.refused(body, 422)
        self.assertEqual(answer.json["code"], "validation")
        self.assertEqual({pointer for pointer, *_ in missing(answer)}, {
            "/vnfs/a/metadata/x", "/vnfs", "/vnfs/a/volumes/data", "/vnfs/b/floating_ips/out"})

    def test_capacity(self):
        body = description(unique("wide"), vnfs={
            "big": {**VNF, "flavor": "large"},
            "there": {**VNF, "zone": "az9"},
            "apart": {**VNF, "count": 2, "affinity_group": "${group.apart.id}"}},
            affinity_groups={"apart": {"policy": "anti-affinity"}})
        answer = self.refused(body, 422)
        self.assertEqual(missing(answer), {
            ("/vnfs", "vcpus", 7, 6), ("/vnfs/big", "vcpus", 4, 2),
            ("/vnfs/there/zone", None, None, None), ("/vnfs/there", "vcpus", 1, 0),
            ("/vnfs/there", "ram", 512, 0)})
        body["vnfs"] = {"apart": {**VNF, "count": 6, "affinity_group": "${group.apart.id}"}}
        self.assertIn(("/vnfs/apart/affinity_group", "hosts", 6, 4), missing(self.refused(body)))

    def test_what_fits_is_made_and_fills_it(self):
        vimd = self.vimd
        identity = post(vimd, description(unique("fits")))  # three servers
        answer = vimd.post(f"/v1/network-services/{identity}/actions",
                           {"action": "scale", "vnf": "upf", "count": 4})
        self.assertEqual(missing(vimd.must(answer, 409)), {("/vnfs/upf", "servers", 2, 1)})
        self.assertEqual(service(vimd, identity)["status"], "ACTIVE")
        wait(vimd, vimd.post(f"/v1/network-services/{identity}/actions",
                             {"action": "scale", "vnf": "upf", "count": 3}))
        # What a change takes away comes last, and does not make room for what is new.
        answer = vimd.patch(f"/v1/network-services/{identity}",
                            {"vnfs": {"dns": None, "new": VNF}})
        self.assertEqual(missing(vimd.must(answer, 409)), {("/vnfs/new", "servers", 1, 0)})
        # What needs nothing is not held up by what is full.
        wait(vimd, vimd.patch(f"/v1/network-services/{identity}", {"description": "full"}))

    def test_room_that_was_made_a_moment_ago_counts(self):
        vimd = self.vimd
        identity = post(vimd, description(unique("first")))
        second = description(unique("second"), vnfs={"a": {**VNF, "count": 4}})
        second["security_groups"] = {}
        self.refused_beside(second)
        delete(vimd, identity)
        delete(vimd, post(vimd, second))

    def refused_beside(self, body):
        answer = self.vimd.must(self.vimd.post("/v1/network-services", body), 409)
        self.assertEqual(missing(answer), {("/vnfs/a", "servers", 4, 1),
                                           ("/vnfs/a", "vcpus", 4, 3)})

    def test_plan(self):
        answer = self.vimd.must(self.vimd.post("/v1/network-services?dryRun=true",
                                               description(unique("dry"))), 200).json
        self.assertEqual(answer["checked"][-2:], ["quota", "capacity"])
        self.assertEqual(answer["not_checked"], [])
        amounts = {each["resource"]: each for each in answer["amounts"]}
        self.assertEqual(amounts["servers"], {"resource": "servers", "needed": 3, "left": 4})
        self.assertEqual(amounts["ports"], {"resource": "ports", "needed": 5, "left": None})
        self.assertEqual(amounts["ram"]["needed"], 3 * 512)

    def test_one_look_for_many(self):
        vimd = self.vimd
        before = vimd.calls("quota", "list")
        for _ in range(20):
            vimd.must(vimd.post("/v1/network-services?dryRun=true", description("dry")), 200)
        self.assertLess(vimd.calls("quota", "list") - before, 20)


class Alone(Scene):
    """The dry run of a single resource: held against the same, and answered with all that is wrong at once."""
    vims = [mock("edge1", check_quota=True, hosts=2, host_vcpus=2, quotas={
        "server": 1, "vcpus": 2, "volume": 1, "storage": 5, "network": 1, "keypair": 0}),
        mock("edge2", check_quota=False)]
    settings = SETTINGS

    def dry(self, plural, status, **body):
        before = self.vimd.counters()["calls"]
        answer = self.vimd.must(self.vimd.post(f"/v1/{plural}?dryRun=true",
                                               {"vim": "edge1", "name": "dry", **body}), status)
        after = self.vimd.counters()["calls"]
        self.assertEqual([after[kind]["create"] for kind in after],
                         [before[kind]["create"] for kind in before])
        self.assertEqual(self.vimd.list("tasks"), self.tasks)
        return answer

    def setUp(self):
        self.tasks = self.vimd.list("tasks")

    def test_verdict(self):
        verdict = self.dry("servers", 200, **VNF).json
        self.assertEqual((verdict["checked"], verdict["not_checked"]),
                         (["fields", "references", "capabilities", "quota", "capacity"], []))
        self.assertEqual({each["resource"]: (each["needed"], each["left"])
                          for each in verdict["amounts"]},
                         {"servers": (1, 1), "vcpus": (1, 2), "ram": (512, None)})
        # Nothing is counted of a flavor.
        self.assertEqual(self.dry("flavors", 200, vcpus=1, ram=1).json["amounts"], [])
        verdict = self.dry("servers", 200, vim="edge2", **VNF).json
        self.assertEqual((verdict["not_checked"], set(verdict["not_checked_because"].values())),
                         (["quota", "capacity"], {"check_quota of the VIM is off"}))

    def test_no_room(self):
        answer = self.dry("servers", 409, image="cirros", flavor="medium", boot_volume={"size": 9})
        self.assertEqual(answer.json["code"], "quota")
        self.assertEqual(missing(answer), {("/boot_volume/size", "storage", 9, 5)})
        answer = self.dry("servers", 409, image="cirros", flavor="large")
        self.assertEqual(missing(answer), {("/flavor", "vcpus", 4, 2), ("", "vcpus", 4, 2)})
        self.assertEqual(missing(self.dry("volumes", 409, size=6)), {("/size", "storage", 6, 5)})
        self.assertEqual(missing(self.dry("keypairs", 409, public_key="ssh-ed25519 AAAA")),
                         {("", "keypairs", 1, 0)})
        # The only network is the one that leads outside.
        self.assertEqual(missing(self.dry("networks", 409)), {("", "networks", 1, 0)})

    def test_all_at_once(self):
        answer = self.dry("servers", 422, image="nowhere", flavor="large", zone="az9",
                          networks=[{}, {"network": 3}], user_data="%", labels={"": 1}, bogus=1)
        self.assertEqual(answer.json["code"], "validation")
        self.assertEqual({pointer for pointer, *_ in missing(answer)},
                         {"/image", "/zone", "/networks/0", "/networks/1/network", "/user_data",
                          "/labels/", "/bogus", "/flavor", ""})

    def test_a_service_as_well(self):
        """A field that is wrong hides neither what contradicts another one nor that there is no room."""
        body = description(unique("wrong"), vim="edge1", vnfs={
            "a": {**VNF, "count": 9, "user_data": "%", "connection_points": {"x": {"network": 3}}},
            "b": {**VNF, "zone": 7, "boot_volume": {}}})
        body["virtual_links"]["n3"]["subnets"]["v4"] = {
            "cidr": "10.3.0.0/24", "enable_dhcp": "yes", "gateway_ip": "fd00::1"}
        body["affinity_groups"] = {"g": {"policy": "affinity", "max_per_host": -1}}
        answer = self.vimd.must(self.vimd.post("/v1/network-services?dryRun=true", body), 422)
        self.assertEqual(
            {pointer for pointer, *_ in missing(answer)},
            {"/vnfs/a/user_data", "/vnfs/a/connection_points/x/network", "/vnfs/b/zone",
             "/vnfs/b/boot_volume", "/virtual_links/n3/subnets/v4/enable_dhcp",
             "/virtual_links/n3/subnets/v4/gateway_ip", "/affinity_groups/g/max_per_host",
             "/vnfs", "/virtual_links"})
        self.assertIn(("/vnfs", "servers", 10, 1), missing(answer))


class Untold(Scene):
    """A VIM that fails when it is asked."""
    vims = [mock("edge1", check_quota=True, quotas={"server": 1},
                 faults=["list quota unavailable 1", "list host unavailable 1"])]
    settings = SETTINGS

    def test_what_is_not_told_does_not_refuse(self):
        vimd = self.vimd
        answer = vimd.must(vimd.post("/v1/network-services?dryRun=true", description("dry")),
                           200).json
        self.assertEqual(answer["not_checked"], ["quota", "capacity"])
        self.assertEqual(set(answer["not_checked_because"]), {"quota", "capacity"})
        self.assertNotIn("left", answer["amounts"][0])
        identity = post(vimd, description(unique("on-the-way")), "rolled_back")
        delete(vimd, identity)


class Replacement(Scene):
    vims = [mock("edge1")]
    settings = SETTINGS

    def test_put_changes_by_difference(self):
        vimd = self.vimd
        body = description(unique("put"), labels={"a": "1"}, description="first")
        identity = post(vimd, body)
        path = f"/v1/network-services/{identity}"
        before = nodes(vimd, identity)
        body = {**body, "vnfs": {"upf": {**body["vnfs"]["upf"], "count": 3}}, "labels": {"b": "2"}}
        del body["description"]
        plan = vimd.must(vimd.put(f"{path}?dryRun=true", body), 200).json
        self.assertEqual(next(each["needed"] for each in plan["amounts"]
                              if each["resource"] == "servers"), 1)
        tag = vimd.get(path).headers["ETag"]
        wait(vimd, vimd.put(path, body, headers={"If-Match": tag}))
        after, shown = nodes(vimd, identity), service(vimd, identity)
        self.assertEqual(set(after) - set(before), {"vnf.upf.2", "vnf.upf.2.cp.core"})
        self.assertEqual(set(before) - set(after), {"vnf.dns.0"})
        self.assertEqual({name for name in after if name in before
                          and after[name]["id"] != before[name]["id"]}, set())
        self.assertEqual(shown["labels"], {"b": "2"})
        self.assertNotIn("description", shown)
        self.assertEqual(vimd.put(path, body, headers={"If-Match": tag}).status, 412)
        # The same once more changes nothing.
        wait(vimd, vimd.put(path, body))
        self.assertEqual(nodes(vimd, identity).keys(), after.keys())
        for more, pointer in (({"name": "other"}, "/name"), ({"vim": "edge2"}, "/vim"),
                              ({"project": "other"}, "/project"), ({"status": "ACTIVE"}, "/status"),
                              ({"vnfs": {"upf": {**body["vnfs"]["upf"], "image": "other"}}},
                               "/vnfs/upf/image")):
            answer = vimd.must(vimd.put(path, {**body, **more}), 422)
            self.assertEqual([error["pointer"] for error in answer.json["errors"]], [pointer])
        delete(vimd, identity)


if __name__ == "__main__":
    unittest.main(verbosity=2)

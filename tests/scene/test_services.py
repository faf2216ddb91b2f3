"""Network services on the mock: made, shown, scaled, changed, healed, deleted, taken back."""
import unittest

from vimd import Scene, every, mock, target_id, unique, wait_for

SETTINGS = {"tasks": {"backoff_base": "10ms", "backoff_cap": "100ms", "sweep": every(200)}}


def description(name, vnfs=None, **more):
    """Two links, a security group, and VNFs on them."""
    vnf = {"image": "cirros", "flavor": "small"}
    return {
        "name": name,
        "virtual_links": {
            "n3": {"subnets": {"v4": {"cidr": "10.3.0.0/24"}}},
            "n6": {"subnets": {"v4": {"cidr": "10.6.0.0/24"}}},
        },
        "security_groups": {"web": {"rules": [
            {"direction": "ingress", "protocol": "tcp", "port_min": 80, "port_max": 80}]}},
        "vnfs": vnfs or {
            "upf": {**vnf, "count": 2, "connection_points": {
                "access": {"network": "${vl.n3.id}"},
                "core": {"network": "${vl.n6.id}", "security_groups": ["${sg.web.id}"]}}},
            "dns": {**vnf, "connection_points": {
                "in": {"network": "${vl.n6.id}", "fixed_ip": "10.6.0.53"}},
                "metadata": {"network": "${vl.n6.name}", "peer": "${vnf.upf.cp.core.mac_address}",
                             "plain": "$${HOME} and $${vl.n6"}},
        },
        **more}


def post(vimd, body, state="succeeded", **more):
    answer = vimd.must(vimd.post("/v1/network-services", body, **more), 202)
    task = vimd.wait_task(vimd.task_of(answer))
    if task["state"] != state:
        raise AssertionError(f"{task['state']} instead of {state}: {task}")
    return target_id(task)


def service(vimd, identity):
    return vimd.must(vimd.get(f"/v1/network-services/{identity}"), 200).json


def nodes(vimd, identity):
    return {node["name"]: node for node in service(vimd, identity)["nodes"]}


def wait(vimd, answer, state="succeeded"):
    task = vimd.wait_task(vimd.task_of(vimd.must(answer, 202)))
    if task["state"] != state:
        raise AssertionError(f"{task['state']} instead of {state}: {task}")
    return task


def delete(vimd, identity):
    wait(vimd, vimd.delete(f"/v1/network-services/{identity}"))


class Services(Scene):
    vims = [mock("edge1")]
    settings = SETTINGS

    def count(self, kind):
        return len(self.vimd.things(kind))

    def things(self):
        return {kind: self.count(kind) for kind in ("server", "port", "subnet", "network",
                                                    "security-group")}

    def setUp(self):
        self.before = self.things()

    def gone(self):
        self.assertEqual(self.things(), self.before)
        self.assertEqual(self.vimd.orphans(), [])

    def test_life(self):
        vimd = self.vimd
        name = unique("core")
        identity = post(vimd, description(name))
        shown = service(vimd, identity)
        self.assertEqual(shown["status"], "ACTIVE")
        graph = {node["name"]: node for node in shown["nodes"]}
        self.assertEqual(sorted(graph), ["sg.web", "vl.n3", "vl.n3.subnet.v4", "vl.n6",
                                         "vl.n6.subnet.v4", "vnf.dns.0", "vnf.upf.0",
                                         "vnf.upf.0.cp.core", "vnf.upf.1", "vnf.upf.1.cp.core"])
        self.assertEqual({node["state"] for node in graph.values()}, {"ready"})
        self.assertEqual({node["status"] for node in graph.values() if node["kind"] != "port"},
                         {"ACTIVE"})
        self.assertEqual(shown["node_count"], 10)
        # A point that a server can make by itself has no port of its own.
        upf = vimd.must(vimd.get(f"/v1/servers/{graph['vnf.upf.0']['id']}"), 200).json
        self.assertEqual(upf["name"], f"{name}-upf-0")
        self.assertEqual(len(upf["addresses"]), 2)
        dns = vimd.must(vimd.get(f"/v1/servers/{graph['vnf.dns.0']['id']}"), 200).json
        self.assertEqual([a["address"] for a in dns["addresses"]], ["10.6.0.53"])
        self.assertEqual(dns["metadata"]["network"], f"{name}-n6")
        self.assertEqual(dns["metadata"]["plain"], "${HOME} and ${vl.n6")
        self.assertEqual(dns["labels"], {"network-service": identity})
        port = vimd.must(vimd.get(f"/v1/ports/{graph['vnf.upf.0.cp.core']['id']}"), 200).json
        self.assertEqual(dns["metadata"]["peer"], port["mac_address"])
        self.assertEqual(port["security_groups"], [graph["sg.web"]["id"]])
        listed = vimd.list("network-services", f"name={name}")
        self.assertEqual([each["id"] for each in listed], [identity])
        self.assertNotIn("nodes", listed[0])
        history = vimd.must(vimd.get(f"/v1/network-services/{identity}/tasks"), 200).json["tasks"]
        self.assertEqual(len(history), 11)
        parent = [task for task in history if task["kind"] == "network-service.create"]
        self.assertEqual(len(parent), 1)
        self.assertEqual({task.get("parent") for task in history if task is not parent[0]},
                         {parent[0]["id"]})
        delete(vimd, identity)
        self.assertEqual(vimd.get(f"/v1/network-services/{identity}").status, 404)
        self.gone()

    def test_entity_tag(self):
        vimd = self.vimd
        identity = post(vimd, description(unique("tag")))
        answer = vimd.must(vimd.get(f"/v1/network-services/{identity}"), 200)
        tag = answer.headers["ETag"]
        same = vimd.get(f"/v1/network-services/{identity}", headers={"If-None-Match": tag})
        self.assertEqual(same.status, 304)
        patched = vimd.patch(f"/v1/network-services/{identity}", {"labels": {"a": "b"}},
                             headers={"If-Match": tag})
        self.assertEqual(patched.status, 200)
        self.assertEqual(patched.json["labels"], {"a": "b"})
        self.assertNotEqual(patched.headers["ETag"], tag)
        stale = vimd.delete(f"/v1/network-services/{identity}", headers={"If-Match": tag})
        self.assertEqual(stale.status, 412)
        delete(vimd, identity)
        self.gone()

    def test_idempotency_and_wait(self):
        vimd = self.vimd
        body, key = description(unique("key")), {"Idempotency-Key": unique("k")}
        first = vimd.must(vimd.post("/v1/network-services", body, wait=30, headers=key), 201)
        again = vimd.must(vimd.post("/v1/network-services", body, wait=30, headers=key), 201)
        self.assertEqual(first.json["id"], again.json["id"])
        self.assertEqual(len(first.json["nodes"]), 10)

        def tags():
            """Of an answer between two looks that show the same: a resource may still be settling."""
            looks = [vimd.get(f"/v1/network-services/{first.json['id']}").headers["ETag"]]
            answer = vimd.post("/v1/network-services", body, wait=30, headers=key).headers["ETag"]
            looks.append(vimd.get(f"/v1/network-services/{first.json['id']}").headers["ETag"])
            return (answer, looks[0]) if looks[0] == looks[1] else None

        self.assertEqual(*wait_for(tags, "two looks that show the same"))
        delete(vimd, first.json["id"])
        self.gone()

    def test_dry_run(self):
        vimd = self.vimd
        answer = vimd.must(vimd.post("/v1/network-services?dryRun=true", description("dry")), 200)
        plan = answer.json["plan"]
        self.assertEqual(plan["node_count"], 10)
        self.assertEqual(plan["creates"], {"network": 2, "subnet": 2, "security-group": 1,
                                           "port": 2, "server": 3})
        seen = set()
        for node in plan["nodes"]:
            self.assertLessEqual(set(node["needs"]), seen)
            seen.add(node["name"])
        self.assertEqual(plan["levels"], 4)
        self.gone()

    def test_every_problem_at_once(self):
        body = description("bad", vnfs={
            "a": {"image": "nothing", "flavor": "small", "colour": "red", "connection_points": {
                "x": {"network": "${vl.nowhere.id}"}, "y": {"network": "${sg.web.id}"}},
                "metadata": {"peer": "${vnf.b.id}", "odd": "${oops"}},
            "b": {"flavor": "small", "image": "cirros", "count": 2, "metadata": {
                "peer": "${vnf.a.id}"}, "connection_points": {
                    "x": {"network": "${vl.n3.id}", "fixed_ip": "10.3.0.7"},
                    "y": {"network": "${vl.n3.id}", "fixed_ip": "192.0.2.1"}}},
            "c": {"flavor": "small", "image": "cirros", "connection_points": {
                "x": {"network": "${vl.n3.id}", "fixed_ip": "10.3.0.7"}}}})
        body["virtual_links"]["n3"]["subnets"]["more"] = {"cidr": "10.3.0.128/25"}
        answer = self.vimd.must(self.vimd.post("/v1/network-services", body), 422)
        found = {(error["pointer"], error["detail"]) for error in answer.json["errors"]}
        pointers = {pointer for pointer, _ in found}
        self.assertEqual(pointers, {
            "/vnfs/a/image", "/vnfs/a/colour", "/vnfs/a/connection_points/x/network",
            "/vnfs/a/connection_points/y/network", "/vnfs/a/metadata/odd", "/vnfs/a",
            "/vnfs/b/connection_points/x/fixed_ip", "/vnfs/b/connection_points/y/fixed_ip",
            "/vnfs/c/connection_points/x/fixed_ip", "/virtual_links/n3/subnets/more/cidr"},
            sorted(found))
        self.assertTrue(any("goes round: " in detail for _, detail in found), sorted(found))
        self.gone()

    def test_scale(self):
        vimd = self.vimd
        identity = post(vimd, description(unique("scale")))
        before = nodes(vimd, identity)
        wait(vimd, vimd.post(f"/v1/network-services/{identity}/actions",
                             {"action": "scale", "vnf": "upf", "count": 4}))
        after = nodes(vimd, identity)
        self.assertEqual(len(after), 14)
        self.assertEqual({name: after[name]["id"] for name in before},
                         {name: before[name]["id"] for name in before})
        self.assertEqual(service(vimd, identity)["vnfs"]["upf"]["count"], 4)
        self.assertEqual(self.count("server"), self.before["server"] + 5)
        wait(vimd, vimd.post(f"/v1/network-services/{identity}/actions",
                             {"action": "scale", "vnf": "upf", "count": 1}))
        self.assertEqual(len(nodes(vimd, identity)), 8)
        self.assertEqual(self.count("server"), self.before["server"] + 2)
        delete(vimd, identity)
        self.gone()

    def test_change_by_difference(self):
        vimd = self.vimd
        identity = post(vimd, description(unique("diff")))
        before = nodes(vimd, identity)
        wait(vimd, vimd.patch(f"/v1/network-services/{identity}", {
            "virtual_links": {"n9": {"subnets": {"v4": {"cidr": "10.9.0.0/24"}}}},
            "security_groups": {"web": {"description": "for the web"}},
            "vnfs": {"dns": None, "log": {"image": "cirros", "flavor": "small",
                                          "connection_points": {"x": {"network": "${vl.n9.id}"}}},
                     "upf": {"metadata": {"peer": "log"}}}}))
        after = nodes(vimd, identity)
        self.assertEqual(set(after) - set(before), {"vl.n9", "vl.n9.subnet.v4", "vnf.log.0"})
        self.assertEqual(set(before) - set(after), {"vnf.dns.0"})
        group = vimd.get(f"/v1/security-groups/{after['sg.web']['id']}").json
        self.assertEqual(group["description"], "for the web")
        for number in (0, 1):
            server = vimd.get(f"/v1/servers/{after[f'vnf.upf.{number}']['id']}").json
            self.assertEqual(server["metadata"], {"peer": "log"})
            self.assertEqual(server["id"], before[f"vnf.upf.{number}"]["id"])
        refused = vimd.patch(f"/v1/network-services/{identity}",
                             {"vnfs": {"upf": {"image": "debian-12"}},
                              "virtual_links": {"n3": {"subnets": {"v4": {"cidr": "10.4.0.0/24"}}}}})
        self.assertEqual({error["pointer"] for error in vimd.must(refused, 422).json["errors"]},
                         {"/vnfs/upf/image", "/virtual_links/n3/subnets/v4/cidr"})
        delete(vimd, identity)
        self.gone()

    def test_heal(self):
        vimd = self.vimd
        identity = post(vimd, description(unique("heal")))
        before = nodes(vimd, identity)
        lost = vimd.get(f"/v1/servers/{before['vnf.upf.1']['id']}").json["backend_id"]
        vimd.mock("delete", "server", lost)
        wait(vimd, vimd.post(f"/v1/network-services/{identity}/actions", {"action": "heal"}))
        after = nodes(vimd, identity)
        self.assertEqual({name for name in before if after[name]["id"] != before[name]["id"]},
                         {"vnf.upf.1"})
        self.assertEqual(self.count("server"), self.before["server"] + 3)
        # Named, although well; what was made with it is made anew too.
        wait(vimd, vimd.post(f"/v1/network-services/{identity}/actions",
                             {"action": "heal", "nodes": ["vnf.upf.0.cp.core"]}))
        again = nodes(vimd, identity)
        self.assertEqual({name for name in after if after[name]["id"] != again[name]["id"]},
                         {"vnf.upf.0.cp.core", "vnf.upf.0"})
        # What only mentions it in a field that can be changed is changed.
        port = vimd.get(f"/v1/ports/{again['vnf.upf.0.cp.core']['id']}").json
        dns = vimd.get(f"/v1/servers/{again['vnf.dns.0']['id']}").json
        self.assertEqual(dns["metadata"]["peer"], port["mac_address"])
        self.assertEqual({node["state"] for node in again.values()}, {"ready"})
        refused = vimd.post(f"/v1/network-services/{identity}/actions",
                            {"action": "heal", "nodes": ["vnf.nobody.0"]})
        self.assertEqual(vimd.must(refused, 422).json["errors"][0]["pointer"], "/nodes/0")
        delete(vimd, identity)
        self.gone()


def everything(name):
    """A description with every kind of element."""
    body = description(name)
    body["virtual_links"]["n6"]["router"] = {"external_network": "public"}
    body["affinity_groups"] = {"apart": {"policy": "anti-affinity"}}
    body["routers"] = {"inner": {"interfaces": [{"subnet": "${vl.n3.subnet.v4.id}"}]}}
    body["volumes"] = {"shared": {"size": 3, "attach": {"server": "${vnf.dns.id}"}},
                       "loose": {"size": 1}}
    body["floating_ips"] = {"spare": {"network": "public"}}
    body["vnfs"]["upf"]["affinity_group"] = "${group.apart.id}"
    body["vnfs"]["upf"]["volumes"] = {"data": {"size": 2}}
    body["vnfs"]["upf"]["floating_ips"] = {"out": {"network": "public", "connection_point": "core"}}
    return body


KINDS = ("server", "port", "subnet", "network", "security-group", "router", "floating-ip", "volume",
         "affinity-group")


class Everything(Scene):
    vims = [mock("edge1")]
    settings = SETTINGS

    def things(self):
        return {kind: len(self.vimd.things(kind)) for kind in KINDS}

    def volume(self, graph, name):
        return self.vimd.must(self.vimd.get(f"/v1/volumes/{graph[name]['id']}?fresh=true"), 200).json

    def test_all_kinds(self):
        vimd = self.vimd
        before = self.things()
        identity = post(vimd, everything(unique("all")))
        graph = nodes(vimd, identity)
        self.assertEqual({node["state"] for node in graph.values()}, {"ready"})
        for number in (0, 1):
            volume = self.volume(graph, f"vnf.upf.{number}.volume.data")
            self.assertEqual(volume["server"], graph[f"vnf.upf.{number}"]["id"])
            address = vimd.get(f"/v1/floating-ips/{graph[f'vnf.upf.{number}.fip.out']['id']}").json
            self.assertEqual(address["port"], graph[f"vnf.upf.{number}.cp.core"]["id"])
        self.assertEqual(self.volume(graph, "volume.shared")["server"], graph["vnf.dns.0"]["id"])
        group = vimd.get(f"/v1/affinity-groups/{graph['group.apart']['id']}?fresh=true").json
        self.assertEqual(sorted(group["members"]),
                         sorted(graph[f"vnf.upf.{number}"]["id"] for number in (0, 1)))
        self.change(identity, graph)
        self.heal(identity)
        delete(vimd, identity)
        self.assertEqual(self.things(), before)
        self.assertEqual(vimd.orphans(), [])

    def change(self, identity, graph):
        """Resized, extended, plugged in elsewhere, led to another subnet."""
        vimd = self.vimd
        wait(vimd, vimd.patch(f"/v1/network-services/{identity}", {
            "vnfs": {"upf": {"flavor": "medium", "volumes": {"data": {"size": 5}}}},
            "volumes": {"shared": {"attach": None},
                        "loose": {"attach": {"server": "${vnf.dns.id}"}}},
            "virtual_links": {"n3": {"subnets": {"more": {"cidr": "10.33.0.0/24"}}}},
            "routers": {"inner": {"interfaces": [{"subnet": "${vl.n3.subnet.more.id}"}]}}}))
        medium = vimd.list("flavors", "name=medium")[0]["id"]
        after = nodes(vimd, identity)
        for number in (0, 1):
            server = vimd.get(f"/v1/servers/{after[f'vnf.upf.{number}']['id']}?fresh=true").json
            self.assertEqual((server["id"], server["flavor"], server["status"]),
                             (graph[f"vnf.upf.{number}"]["id"], medium, "ACTIVE"))
            self.assertNotEqual(server.get("backend_status"), "VERIFY_RESIZE")
            self.assertEqual(self.volume(after, f"vnf.upf.{number}.volume.data")["size"], 5)
        self.assertIsNone(self.volume(after, "volume.shared").get("server"))
        self.assertEqual(self.volume(after, "volume.loose")["server"], after["vnf.dns.0"]["id"])
        router = vimd.get(f"/v1/routers/{after['router.inner']['id']}?fresh=true").json
        self.assertEqual([each["subnet"] for each in router["interfaces"]],
                         [after["vl.n3.subnet.more"]["id"]])
        refused = vimd.patch(f"/v1/network-services/{identity}",
                             {"vnfs": {"upf": {"volumes": {"data": {"size": 1}}}}})
        self.assertEqual(vimd.must(refused, 422).json["errors"][0]["pointer"],
                         "/vnfs/upf/volumes/data/size")

    def heal(self, identity):
        """A server that is lost comes back with its volume and its address."""
        vimd = self.vimd
        before = nodes(vimd, identity)
        lost = vimd.get(f"/v1/servers/{before['vnf.upf.1']['id']}").json["backend_id"]
        vimd.mock("delete", "server", lost)
        wait(vimd, vimd.post(f"/v1/network-services/{identity}/actions", {"action": "heal"}))
        after = nodes(vimd, identity)
        self.assertEqual({name for name in before if after[name]["id"] != before[name]["id"]},
                         {"vnf.upf.1"})
        self.assertEqual(self.volume(after, "vnf.upf.1.volume.data")["server"],
                         after["vnf.upf.1"]["id"])

    def test_plan(self):
        plan = self.vimd.must(self.vimd.post("/v1/network-services?dryRun=true",
                                             everything("dry")), 200).json["plan"]
        needs = {node["name"]: node["needs"] for node in plan["nodes"]}
        self.assertIn("vl.n6.router", needs["vnf.upf.0.fip.out"])
        self.assertIn("vnf.upf.1", needs["vnf.upf.1.volume.data"])
        self.assertIn("group.apart", needs["vnf.upf.0"])


class Misfortune(Scene):
    """A VIM that takes four servers and no more."""
    vims = [mock("edge1", quotas={"server": 4})]
    settings = SETTINGS

    def things(self):
        return {kind: len(self.vimd.things(kind)) for kind in ("server", "port", "subnet",
                                                               "network", "security-group")}

    def setUp(self):
        self.before = self.things()

    def tearDown(self):
        for each in self.vimd.list("network-services"):
            delete(self.vimd, each["id"])
        self.assertEqual(self.things(), self.before)
        self.assertEqual(self.vimd.orphans(), [])

    def too_many(self, policy):
        body = description(unique(policy), on_failure=policy)
        body["vnfs"]["upf"]["count"] = 6
        return body

    def test_rolled_back(self):
        identity = post(self.vimd, self.too_many("rollback"), "rolled_back")
        shown = service(self.vimd, identity)
        self.assertEqual((shown["status"], shown["nodes"]), ("ERROR", []))
        self.assertIn("quota", shown["status_reason"].lower())
        self.assertEqual(self.things(), self.before)

    def test_update_rolled_back(self):
        vimd = self.vimd
        identity = post(vimd, description(unique("up")))
        before, shown = nodes(vimd, identity), service(vimd, identity)
        wait(vimd, vimd.patch(f"/v1/network-services/{identity}", {
            "vnfs": {"upf": {"count": 9, "metadata": {"more": "true"}}, "dns": None},
            "security_groups": {"web": {"description": "changed"}}}), "rolled_back")
        after = service(vimd, identity)
        self.assertEqual(after["status"], "ACTIVE")
        self.assertEqual(after["vnfs"], shown["vnfs"])
        self.assertEqual({node["name"]: (node["id"], node["state"]) for node in after["nodes"]},
                         {name: (node["id"], "ready") for name, node in before.items()})
        group = vimd.get(f"/v1/security-groups/{before['sg.web']['id']}").json
        self.assertEqual(group.get("description", ""), "")
        server = vimd.get(f"/v1/servers/{before['vnf.upf.0']['id']}").json
        self.assertEqual(server["metadata"], {})

    def test_kept(self):
        vimd = self.vimd
        identity = post(vimd, self.too_many("keep"), "failed")
        shown = service(vimd, identity)
        self.assertEqual(shown["status"], "ERROR")
        states = [node["state"] for node in shown["nodes"] if node["kind"] == "server"]
        self.assertEqual((states.count("ready"), states.count("failed")), (4, 3))

    def test_kept_and_completed(self):
        vimd = self.vimd
        other = self.three()
        identity = post(vimd, description(unique("kept"), on_failure="keep"), "failed")
        delete(vimd, other)
        wait(vimd, vimd.post(f"/v1/network-services/{identity}/actions", {"action": "heal"}))
        shown = service(vimd, identity)
        self.assertEqual((shown["status"], {node["state"] for node in shown["nodes"]}),
                         ("ACTIVE", {"ready"}))

    def three(self):
        return post(self.vimd, description(unique("other"), vnfs={
            "a": {"image": "cirros", "flavor": "small", "count": 3}}))

    def paused(self):
        answer = self.vimd.must(self.vimd.post("/v1/network-services", self.too_many("pause")), 202)
        task = self.vimd.task_of(answer)
        shown = wait_for(lambda: (lambda t: t["state"] == "waiting" and t)(
            self.vimd.get(f"/v1/tasks/{task}").json), "the pause")
        self.assertIn("quota", shown["error"]["detail"].lower())
        return task, target_id(shown)

    def test_paused_and_taken_back(self):
        task, identity = self.paused()
        self.vimd.must(self.vimd.post(f"/v1/tasks/{task}/rollback"), 202)
        self.assertEqual(self.vimd.wait_task(task)["state"], "rolled_back")
        self.assertEqual(service(self.vimd, identity)["nodes"], [])
        self.assertEqual(self.things(), self.before)

    def test_paused_and_tried_again(self):
        vimd = self.vimd
        other = self.three()
        body = description(unique("later"), on_failure="pause")
        task = vimd.task_of(vimd.must(vimd.post("/v1/network-services", body), 202))
        wait_for(lambda: vimd.get(f"/v1/tasks/{task}").json["state"] == "waiting", "the pause")
        delete(vimd, other)
        vimd.must(vimd.post(f"/v1/tasks/{task}/retry"), 202)
        self.assertEqual(vimd.wait_task(task)["state"], "succeeded")

    def test_cancelled_pause(self):
        task, identity = self.paused()
        self.vimd.must(self.vimd.post(f"/v1/tasks/{task}/cancel"), 202)
        self.assertEqual(self.vimd.wait_task(task)["state"], "cancelled")
        self.assertEqual(service(self.vimd, identity)["nodes"], [])


class Interrupted(Scene):
    """One server and no more, and what is done to volumes is not told."""
    vims = [mock("edge1", quotas={"server": 1}, faults=["action volume lost 1"])]
    settings = {"tasks": {**SETTINGS["tasks"], "backoff_base": "400ms", "backoff_cap": "800ms"}}

    def test_failure_while_a_volume_is_being_attached(self):
        vimd = self.vimd
        vnf = {"image": "cirros", "flavor": "small"}
        identity = post(vimd, {
            "name": unique("half"),
            "volumes": {"first": {"size": 1, "attach": {"server": "${vnf.a.id}"}}},
            "vnfs": {"a": {**vnf, "volumes": {f"v{i}": {"size": 1} for i in range(6)}},
                     "b": {**vnf, "metadata": {"after": "${volume.first.id}"}}}}, "rolled_back")
        self.assertEqual((vimd.things("server"), vimd.things("volume"), vimd.orphans()),
                         ([], [], []))
        delete(vimd, identity)


class Slow(Scene):
    vims = [mock("edge1", build="30s")]
    settings = SETTINGS

    def test_cancel(self):
        vimd = self.vimd
        answer = vimd.must(vimd.post("/v1/network-services", description(unique("slow"))), 202)
        task = vimd.task_of(answer)
        identity = target_id(vimd.get(f"/v1/tasks/{task}").json)
        wait_for(lambda: any(node["state"] == "making" and node["kind"] == "server"
                             for node in service(vimd, identity)["nodes"]), "a server in the making")
        busy = vimd.patch(f"/v1/network-services/{identity}", {"description": "x"})
        self.assertEqual((vimd.must(busy, 409).json["task"], busy.json["retryable"]), (task, True))
        vimd.must(vimd.post(f"/v1/tasks/{task}/cancel"), 202)
        self.assertEqual(vimd.wait_task(task)["state"], "cancelled")
        self.assertEqual((vimd.things("server"), len(vimd.things("network")), vimd.orphans()),
                         ([], 1, []))
        delete(vimd, identity)


if __name__ == "__main__":
    unittest.main(verbosity=2)

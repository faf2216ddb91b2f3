"""Network services at their edges: odd names, escapes, problems that stand in odd places, many writers, what blocks a
delete, cancels at any moment, large ones."""
import json
import time
import unittest

import vimd
from test_services import SETTINGS, delete, description, everything, nodes, post, service, wait
from vimd import Scene, mock, target_id, unique, wait_for

PATH = "/v1/network-services"
VNF = {"image": "cirros", "flavor": "small"}
KINDS = ("server", "port", "subnet", "network", "security-group", "router", "floating-ip", "volume",
         "affinity-group")


class Edges(Scene):
    vims = [mock("edge1")]
    settings = SETTINGS

    def things(self):
        return {kind: len(self.vimd.things(kind)) for kind in KINDS}

    def setUp(self):
        self.before = self.things()

    def gone(self):
        self.assertEqual(self.things(), self.before)
        self.assertEqual(self.vimd.orphans(), [])
        self.assertEqual(self.vimd.list("orphans"), [])

    def pointers(self, body):
        answer = self.vimd.must(self.vimd.post(PATH, body), 422)
        return sorted(error["pointer"] for error in answer.json["errors"])

    def test_pointers(self):
        body = description("odd", vnfs={
            "a": {**VNF, "metadata": {"x/y": "${vl.no.id}", "c~d": "${oops"},
                  "floating_ips": {"f": {"network": "public", "connection_point": "no"}}},
            "x/y": {**VNF, "metadata": {"k": "${vl.no.id}"}},
            "none": {**VNF, "count": 0, "metadata": {"k": "${vl.no.id}"}}})
        body["labels"] = {"a/b": 3}
        body["bogus~/"] = 1
        self.assertEqual(self.pointers(body), sorted([
            "/bogus~0~1", "/labels/a~1b", "/vnfs/a/metadata/x~1y", "/vnfs/a/metadata/c~0d",
            "/vnfs/a/floating_ips/f", "/vnfs/x~1y", "/vnfs/x~1y/metadata/k",
            "/vnfs/none/metadata/k"]))
        self.gone()

    def test_names_are_taken_as_they_are(self):
        for name in ("${vl.n3.id}", "a b/c%41", "ä-ß", "$${x}"):
            identity = post(self.vimd, description(name, vnfs={
                "0": {**VNF, "count": 2, "connection_points": {
                    "1": {"network": "${vl.n3.id}", "port": True}},
                    "metadata": {"home": "$${HOME}/${vl.n3.name}"}},
                "1": {**VNF, "metadata": {"second": "${vnf.0.1.cp.1.address}"}}}))
            graph = nodes(self.vimd, identity)
            server = self.vimd.get(f"/v1/servers/{graph['vnf.0.1']['id']}").json
            self.assertEqual(server["name"], f"{name}-0-1")
            self.assertEqual(server["metadata"]["home"], "${HOME}/" + name + "-n3")
            port = self.vimd.get(f"/v1/ports/{graph['vnf.0.1.cp.1']['id']}").json
            other = self.vimd.get(f"/v1/servers/{graph['vnf.1.0']['id']}").json
            self.assertEqual(other["metadata"]["second"], port["fixed_ips"][0]["ip_address"])
            # Planned again it is what it was.
            wait(self.vimd, self.vimd.patch(f"{PATH}/{identity}", {"description": "more"}))
            self.assertEqual({key: node["id"] for key, node in nodes(self.vimd, identity).items()},
                             {key: node["id"] for key, node in graph.items()})
            delete(self.vimd, identity)
        self.gone()

    def test_writers_at_once(self):
        """Of those that have seen the same state one gets through; the others are told."""
        identity = post(self.vimd, description(unique("many")))

        def send(body, tag=None):
            headers = {"If-Match": tag} if tag else {}
            return self.vimd.client.patch(f"{PATH}/{identity}", body, headers=headers)

        tag = self.vimd.get(f"{PATH}/{identity}").headers["ETag"]
        answers = vimd.many(lambda number: send({"labels": {f"k{number}": "x"}}, tag), range(8))
        self.assertEqual(sorted(answer.status for answer in answers), [200] + 7 * [412])
        self.assertEqual(len(service(self.vimd, identity)["labels"]), 1)
        # Without a tag nobody loses.
        answers = vimd.many(lambda number: send({"labels": {f"n{number}": "x"}}), range(8))
        self.assertEqual({answer.status for answer in answers}, {200})
        self.assertEqual(len(service(self.vimd, identity)["labels"]), 9)
        tag = self.vimd.get(f"{PATH}/{identity}").headers["ETag"]
        answers = vimd.many(lambda number: send(
            {"vnfs": {"dns": {"metadata": {"by": str(number)}}}}, tag), range(8))
        self.assertEqual(sum(answer.status == 202 for answer in answers), 1)
        self.assertLessEqual({answer.status for answer in answers}, {202, 409, 412})
        for answer in answers:
            if answer.status == 202:
                wait(self.vimd, answer)
        delete(self.vimd, identity)
        self.gone()

    def test_what_blocks_a_delete_is_told(self):
        identity = post(self.vimd, description(unique("blocked")))
        network = self.vimd.get(
            f"/v1/networks/{nodes(self.vimd, identity)['vl.n3']['id']}").json["backend_id"]
        stranger = json.loads(self.vimd.mock("create", "port", json.dumps(
            {"name": "stranger", "network": network})))["id"]
        answer = self.vimd.must(self.vimd.delete(f"{PATH}/{identity}"), 202)
        told = wait_for(lambda: [node["error"] for node in service(self.vimd, identity)["nodes"]
                                 if "error" in node], "what blocks it")
        self.assertIn(stranger, told[0])
        self.vimd.mock("delete", "port", stranger)
        self.assertEqual(self.vimd.wait_task(self.vimd.task_of(answer))["state"], "succeeded")
        self.gone()


class Cancelled(Scene):
    """Cancelled at any moment it is what it was before, or what was asked for, and nothing in between."""
    vims = [mock("edge1", build="30ms", delete="20ms")]
    settings = SETTINGS

    def things(self):
        return {kind: len(self.vimd.things(kind)) for kind in KINDS}

    def cancelled(self, answer, after_ms):
        task = self.vimd.task_of(self.vimd.must(answer, 202))
        time.sleep(after_ms / 1000)
        self.vimd.must(self.vimd.post(f"/v1/tasks/{task}/cancel"), 202, 409)
        return self.vimd.wait_task(task)

    def test_creates(self):
        before = self.things()
        ends = []
        for after in range(0, 400, 40):
            ended = self.cancelled(self.vimd.post(PATH, everything(unique("c"))), after)
            ends.append(ended["state"])
            identity = target_id(ended)
            if ended["state"] == "cancelled":
                self.assertEqual(service(self.vimd, identity)["nodes"], [])
                self.assertEqual(self.things(), before)
            else:
                self.assertEqual(ended["state"], "succeeded")
            delete(self.vimd, identity)
            self.assertEqual(self.things(), before)
        self.assertIn("cancelled", ends)
        self.assertEqual(self.vimd.orphans(), [])

    def as_before(self, graph):
        """At the VIM, too."""
        for number in (0, 1):
            server = self.vimd.get(f"/v1/servers/{graph[f'vnf.upf.{number}']['id']}?fresh=true").json
            self.assertEqual(server["flavor"], self.small)
            self.assertEqual(server["backend_status"], "ACTIVE")
        router = self.vimd.get(f"/v1/routers/{graph['router.inner']['id']}?fresh=true").json
        self.assertEqual([each["subnet"] for each in router["interfaces"]],
                         [graph["vl.n3.subnet.v4"]["id"]])
        group = self.vimd.get(f"/v1/security-groups/{graph['sg.web']['id']}?fresh=true").json
        self.assertEqual(group.get("description", ""), "")

    def test_changes_and_deletes(self):
        before = self.things()
        identity = post(self.vimd, everything(unique("u")))
        self.small = self.vimd.list("flavors", "name=small")[0]["id"]
        shown, graph, there = service(self.vimd, identity), nodes(self.vimd, identity), self.things()
        patch = {"vnfs": {"upf": {"count": 3, "flavor": "medium"}, "dns": {"metadata": {"n": "1"}}},
                 "virtual_links": {"n9": {"subnets": {"v4": {"cidr": "10.9.0.0/24"}}}},
                 "security_groups": {"web": {"description": "new"}},
                 "routers": {"inner": {"interfaces": [{"subnet": "${vl.n9.subnet.v4.id}"}]}}}
        for after in range(0, 700, 50):
            ended = self.cancelled(self.vimd.patch(f"{PATH}/{identity}", patch), after)
            now = service(self.vimd, identity)
            self.assertEqual({node["state"] for node in now["nodes"]}, {"ready"}, now)
            self.assertEqual(now["status"], "ACTIVE")
            if ended["state"] == "succeeded":
                break
            self.assertEqual(ended["state"], "cancelled")
            self.assertEqual(now["vnfs"], shown["vnfs"])
            self.assertEqual(self.things(), there)
            self.as_before(graph)
            self.assertEqual({name: node["id"] for name, node in nodes(self.vimd, identity).items()},
                             {name: node["id"] for name, node in graph.items()})
        for after in range(0, 200, 40):
            answer = self.vimd.delete(f"{PATH}/{identity}")
            if answer.status == 404:
                break
            self.cancelled(answer, after)
        if self.vimd.get(f"{PATH}/{identity}").status == 200:
            delete(self.vimd, identity)
        self.assertEqual(self.things(), before)
        self.assertEqual(self.vimd.orphans(), [])

    def test_who_follows_events_knows_what_there_is(self):
        """Each resource that events have told of is told to be gone."""
        last = self.vimd.get("/v1/events?sort=-id&limit=1").json["events"]
        after = last[0]["id"] if last else "0"
        for moment in (0, 40, 80):
            ended = self.cancelled(self.vimd.post(PATH, everything(unique("told"))), moment)
            delete(self.vimd, target_id(ended))

        def left():
            known = {}
            for event in self.vimd.list("events", f"after={after}"):
                if event["type"] in ("resource.changed", "resource.found"):
                    known[event["resource"]] = event
                elif event["type"] == "resource.deleted":
                    known.pop(event["resource"], None)
            return known
        try:
            wait_for(lambda: not left(), "the last of them", seconds=10)
        except vimd.Broken:
            self.fail(f"nobody told that these are gone: {left()}")
        self.assertEqual(self.vimd.orphans(), [])


class Vanished(Scene):
    """The first network that is made is gone after a while, with all that is on it still there."""
    vims = [mock("edge1", faults=["create network vanish @1 2500"])]
    settings = SETTINGS

    def test_heal(self):
        vm = self.vimd
        before = {kind: len(vm.things(kind)) for kind in KINDS}
        identity = post(vm, {
            "name": unique("v"),
            "virtual_links": {"lost": {"subnets": {"v4": {"cidr": "10.1.0.0/24"}}}},
            "vnfs": {"on": {**VNF, "count": 2, "connection_points": {
                "x": {"network": "${vl.lost.id}", "port": True}}},
                     "off": {**VNF}}})
        graph = nodes(vm, identity)
        network = f"/v1/networks/{graph['vl.lost']['id']}"
        wait_for(lambda: vm.get(network).status == 404, "the network to vanish")
        wait(vm, vm.post(f"{PATH}/{identity}/actions", {"action": "heal"}))
        after = nodes(vm, identity)
        self.assertEqual({node["state"] for node in after.values()}, {"ready"})
        self.assertEqual({name for name in graph if graph[name]["id"] == after[name]["id"]},
                         {"vnf.off.0"})
        for name in ("vnf.on.0", "vnf.on.1"):
            server = vm.must(vm.get(f"/v1/servers/{after[name]['id']}?fresh=true"), 200).json
            self.assertEqual([each["network"] for each in server["addresses"]],
                             [after["vl.lost"]["id"]])
        delete(vm, identity)
        self.assertEqual({kind: len(vm.things(kind)) for kind in KINDS}, before)
        self.assertEqual(vm.orphans(), [])


if __name__ == "__main__":
    unittest.main(verbosity=2)

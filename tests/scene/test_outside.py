"""What happens at the infrastructure behind vimd's back is seen."""
import json
import unittest

import vimd
from vimd import mock, unique, wait_for


class Outside(vimd.Scene):
    vims = [mock("edge1", build="20ms", delete="10ms")]

    def make(self, kind, **body):
        return json.loads(self.vimd.mock("create", kind, json.dumps(body)))["id"]

    def item(self, plural, backend_id):
        return next((item for item in self.vimd.list(plural)
                     if item.get("backend_id") == backend_id), None)

    def test_created_outside_appears(self):
        backend_id = self.make("network", name=unique("outside"))
        shown = wait_for(lambda: self.item("networks", backend_id), "the network to appear")
        self.assertEqual(shown["project"], vimd.PROJECT)
        again = wait_for(lambda: self.item("networks", backend_id), "it to stay")
        self.assertEqual(shown["id"], again["id"])
        # It is as good as one of ours: changed and deleted through vimd.
        answer = self.vimd.patch(f"/v1/networks/{shown['id']}", {"description": "ours"}, wait=30)
        self.assertEqual(self.vimd.must(answer, 200).json["description"], "ours")
        self.vimd.remove("networks", shown["id"])
        self.assertNotIn(backend_id, [thing["id"] for thing in self.vimd.things("network")])

    def test_deleted_outside_disappears(self):
        network = self.vimd.create("networks", {"vim": "edge1", "name": unique("n")})
        self.vimd.mock("delete", "network", network["backend_id"])
        path = f"/v1/networks/{network['id']}"
        wait_for(lambda: self.vimd.get(path).status == 404, "the network to disappear")
        self.assertEqual(self.vimd.get(path + "?fresh=true").status, 404)

    def test_fresh_sees_it_at_once(self):
        network = self.vimd.create("networks", {"vim": "edge1", "name": unique("n")})
        self.vimd.mock("delete", "network", network["backend_id"])
        self.assertEqual(self.vimd.get(f"/v1/networks/{network['id']}?fresh=true").status, 404)

    def test_delete_of_what_is_gone_already(self):
        network = self.vimd.create("networks", {"vim": "edge1", "name": unique("n")})
        self.vimd.mock("delete", "network", network["backend_id"])
        self.vimd.remove("networks", network["id"])
        self.assertEqual(self.vimd.get(f"/v1/networks/{network['id']}").status, 404)

    def test_things_survive_a_restart_of_the_daemon(self):
        network = self.vimd.create("networks", {"vim": "edge1", "name": unique("n")})
        self.vimd.restart()
        shown = self.vimd.must(self.vimd.get(f"/v1/networks/{network['id']}"), 200).json
        self.assertEqual(shown["backend_id"], network["backend_id"])
        self.vimd.remove("networks", network["id"])


if __name__ == "__main__":
    unittest.main(verbosity=2)

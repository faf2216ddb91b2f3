"""Lists: filters, sorting, fields, changed_since, and pages that stay right while things come."""
import threading
import unittest
import urllib.parse

import vimd
from vimd import Scene, mock, next_link, unique
from world import World

COUNT = 60


class Lists(Scene):
    vims = [mock("edge1", build="20ms")]

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.group = unique("group")
        cls.networks = vimd.many(cls.make, range(COUNT))

    @classmethod
    def make(cls, index):
        return cls.vimd.create("networks", {
            "vim": "edge1", "name": f"{cls.group}-{index:03d}", "mtu": 1000 + index,
            "labels": {"group": cls.group, "parity": "even" if index % 2 == 0 else "odd"}})

    @property
    def mine(self):
        return f"label=group:{self.group}"

    def names(self, query):
        return [item["name"] for item in self.vimd.list("networks", query)]

    def filtered(self, expression):
        return self.names(f"{self.mine}&filter={urllib.parse.quote(expression)}")

    def test_simple_filters(self):
        self.assertEqual(len(self.names(self.mine)), COUNT)
        self.assertEqual(self.names(f"name={self.group}-007"), [f"{self.group}-007"])
        self.assertEqual(len(self.names(self.mine + "&label=parity:odd")), COUNT // 2)
        self.assertEqual(len(self.names(self.mine + "&status=ACTIVE&vim=edge1")), COUNT)
        self.assertEqual(self.names(self.mine + "&status=ERROR"), [])
        self.assertEqual(self.names(self.mine + "&vim=edge9"), [])
        self.assertEqual(len(self.filtered("(in,status,ERROR,ACTIVE)")), COUNT)

    def test_sol013_filters(self):
        name = f"{self.group}-010"
        self.assertEqual(self.filtered(f"(eq,name,{name})"), [name])
        self.assertEqual(len(self.filtered(f"(neq,name,{name})")), COUNT - 1)
        self.assertEqual(sorted(self.filtered("(gt,mtu,1057)")),
                         [f"{self.group}-058", f"{self.group}-059"])
        self.assertEqual(len(self.filtered("(gte,mtu,1057)")), 3)
        self.assertEqual(len(self.filtered("(lt,mtu,1010)")), 10)
        self.assertEqual(len(self.filtered("(lte,mtu,1010)")), 11)
        self.assertEqual(len(self.filtered("(gte,mtu,1010);(lt,mtu,1020)")), 10)
        self.assertEqual(len(self.filtered(f"(in,name,{name},{self.group}-011)")), 2)
        self.assertEqual(len(self.filtered(f"(nin,name,{name},{self.group}-011)")), COUNT - 2)
        self.assertEqual(len(self.filtered(f"(cont,name,{self.group}-01)")), 10)
        self.assertEqual(len(self.filtered(f"(ncont,name,{self.group}-01)")), COUNT - 10)
        for wrong in ("(eq,name", "eq,name,x", "(like,name,x)", "(eq,name)", "(eq,nowhere,1)", ")"):
            answer = self.vimd.get(f"/v1/networks?filter={urllib.parse.quote(wrong)}")
            self.assertEqual(answer.status, 400, wrong)
            self.assertEqual(answer.headers.get_content_type(), "application/problem+json")

    def test_unknown_parameters_are_told(self):
        for query in ("limit=0", "limit=1001", "limit=x", "colour=red", "sort=nowhere",
                      "page_token=garbage", "changed_since=yesterday", "fields=,,"):
            self.assertEqual(self.vimd.get(f"/v1/networks?{query}").status, 400, query)

    def test_sort(self):
        up = self.names(self.mine + "&sort=mtu")
        self.assertEqual(up, sorted(up))
        self.assertEqual(self.names(self.mine + "&sort=-mtu"), up[::-1])
        self.assertEqual(self.names(self.mine + "&sort=name"), up)
        by_parity = self.vimd.list("networks", self.mine + "&sort=-created")
        self.assertEqual(len(by_parity), COUNT)
        times = [item["created"] for item in by_parity]
        self.assertEqual(times, sorted(times, reverse=True))

    def test_sorted_pages(self):
        whole = self.names(self.mine + "&sort=-name")
        pages = [item["name"] for item in self.vimd.list("networks", self.mine + "&sort=-name",
                                                         limit=7)]
        self.assertEqual(pages, whole)

    def test_fields(self):
        item = self.vimd.list("networks", self.mine + "&fields=name,mtu")[0]
        self.assertLessEqual({"name", "mtu"}, set(item))
        self.assertLessEqual(set(item), {"name", "mtu", "id", "kind"})

    def test_changed_since(self):
        newest = max(item["updated"] for item in self.vimd.list("networks", self.mine))
        late = self.vimd.create("networks", {"vim": "edge1", "name": unique("late")})
        since = urllib.parse.quote(newest)
        found = [item["id"] for item in self.vimd.list("networks", f"changed_since={since}")]
        self.assertIn(late["id"], found)
        future = self.vimd.list("networks", "changed_since=2999-01-01T00:00:00Z")
        self.assertEqual(future, [])
        self.vimd.remove("networks", late["id"])

    def test_pages_of_every_size(self):
        whole = sorted(item["id"] for item in self.vimd.list("networks", self.mine))
        for limit in (1, 7, COUNT, 1000):
            paged = [item["id"] for item in self.vimd.list("networks", self.mine, limit=limit)]
            self.assertEqual(len(paged), len(set(paged)))
            self.assertEqual(sorted(paged), whole)

    def test_pages_are_stable_under_inserts_and_deletes(self):
        stop = threading.Event()
        errors = []

        def churn():
            try:
                while not stop.is_set():
                    made = self.vimd.create("networks", {"vim": "edge1", "name": unique("churn"),
                                                         "labels": {"group": self.group}})
                    self.vimd.remove("networks", made["id"])
            except Exception as error:  # told by the main thread
                errors.append(error)

        thread = threading.Thread(target=churn)
        thread.start()
        try:
            expected = {network["id"] for network in self.networks}
            for limit in (3, 5, 11, 25):
                seen = [item["id"] for item in self.vimd.list("networks", self.mine, limit=limit)]
                self.assertEqual(len(seen), len(set(seen)), "nothing twice")
                self.assertLessEqual(expected, set(seen), "what was there throughout is there")
        finally:
            stop.set()
            thread.join()
        self.assertEqual(errors, [])

    def test_a_page_token_is_for_its_list(self):
        answer = self.vimd.get(f"/v1/networks?{self.mine}&limit=5")
        follow = next_link(answer)
        self.assertIsNotNone(follow)
        other = follow.replace("/v1/networks?", "/v1/servers?")
        self.assertIn(self.vimd.get(other).status, (200, 400))
        self.assertEqual(self.vimd.get(follow).status, 200)
        last = self.vimd.get(f"/v1/networks?{self.mine}&limit=1000")
        self.assertIsNone(next_link(last), "the last page has no link")


if __name__ == "__main__":
    unittest.main(verbosity=2)

"""What carries a tag of vimd's and is nobody's, after the store was lost: adopted or deleted, and nothing else is
ever touched. What was changed outside: listed, accepted, repaired."""
import json
import sqlite3
import unittest

from vimd import Vimd, mock, unique, wait_for


class Orphans(unittest.TestCase):
    def test_after_the_store_was_lost(self):
        with Vimd(vims=[mock("edge1")], name="orphans") as daemon:
            names = [unique("net") for _ in range(3)]
            for name in names:
                answer = daemon.post("/v1/networks", {"vim": "edge1", "name": name},
                                     headers={"Prefer": "wait=30"})
                self.assertEqual(answer.status, 201)
            daemon.mock("create", "network", json.dumps({"name": "not ours"}))
            wait_for(lambda: any(one["name"] == "not ours" for one in daemon.list("networks")),
                     "the stranger")
            self.assertEqual(daemon.list("orphans"), [])  # all have owners
            daemon.stop()
            for file in daemon.state.rglob("store.db*"):
                file.unlink()
            daemon.token = None
            daemon.start()
            wait_for(lambda: {one["name"] for one in daemon.list("orphans")} == set(names),
                     "the orphans")
            orphans = {one["name"]: one for one in daemon.list("orphans")}
            self.assertTrue(all(one["tag"] and one["kind"] == "network" for one in orphans.values()))
            # What is not tagged is no orphan.
            stranger = next(one for one in daemon.list("networks") if one["name"] == "not ours")
            self.assertEqual(daemon.post(f"/v1/orphans/{stranger['id']}/delete").status, 409)
            self.assertEqual(daemon.post(f"/v1/orphans/{stranger['id']}/adopt").status, 409)
            # Others may look (they cannot even see), and change nothing.
            first, second, third = (orphans[name] for name in names)
            other = daemon.user("member", "other")
            self.assertEqual(other.list("orphans"), [])
            self.assertEqual(other.post(f"/v1/orphans/{first['id']}/delete").status, 404)
            reader = daemon.user("reader")
            self.assertEqual(len(reader.list("orphans")), 3)
            self.assertEqual(reader.post(f"/v1/orphans/{first['id']}/adopt").status, 403)
            # One is adopted, one deleted.
            self.assertEqual(daemon.post(f"/v1/orphans/{first['id']}/adopt").status, 204)
            self.assertEqual(daemon.post(f"/v1/orphans/{first['id']}/adopt").status, 409)
            answer = daemon.post(f"/v1/orphans/{second['id']}/delete")
            self.assertEqual(answer.status, 202, answer)
            self.assertEqual(daemon.wait_task(daemon.task_of(answer))["state"], "succeeded")
            self.assertEqual([one["id"] for one in daemon.list("orphans")], [third["id"]])
            left = {one["name"] for one in daemon.things("network")}
            self.assertTrue({first["name"], third["name"], "not ours"} <= left)
            self.assertNotIn(second["name"], left)
            adopted = daemon.get(f"/v1/networks/{first['id']}").json
            self.assertTrue(adopted["adopted"])
            self.assertNotIn("tag", adopted)
            self.assertEqual(daemon.get("/v1/orphans?limit=x").status, 400)
            self.drift(daemon, first["id"])

    def drift(self, daemon, network):
        """The adopted one is changed outside, and then deleted."""
        def rename(name):
            """What vimd takes for wanted, changed: the VIM then shows something else."""
            daemon.stop()
            with sqlite3.connect(next(daemon.state.rglob("store.db"))) as database:
                body, = database.execute("SELECT body FROM rows WHERE collection = 'network' AND "
                                         "id = ?", (network,)).fetchone()
                body = json.loads(body)
                body["name"] = name
                database.execute("UPDATE rows SET body = ? WHERE collection = 'network' AND id = ?",
                                 (json.dumps(body, separators=(",", ":")), network))
            daemon.start()
            return wait_for(lambda: daemon.list("drift"), "the drift")
        seen = daemon.get(f"/v1/networks/{network}").json["name"]
        self.assertEqual(daemon.list("drift"), [])
        one, = rename("wanted")
        self.assertEqual(one["drift"]["fields"], {"name": {"desired": "wanted", "seen": seen}})
        self.assertEqual(daemon.post(f"/v1/drift/{network}/accept").status, 204)
        self.assertEqual(daemon.list("drift"), [])
        self.assertEqual(daemon.post(f"/v1/drift/{network}/accept").status, 409)
        rename("wanted again")
        answer = daemon.post(f"/v1/drift/{network}/repair")
        self.assertEqual(answer.status, 202, answer)
        self.assertEqual(daemon.wait_task(daemon.task_of(answer))["state"], "succeeded")
        self.assertEqual(daemon.list("drift"), [])
        self.assertIn("wanted again", {one["name"] for one in daemon.things("network")})
        far = daemon.get(f"/v1/networks/{network}").json["backend_id"]
        daemon.mock("delete", "network", far)
        events = wait_for(lambda: daemon.list("events", "type=drift.deleted"), "its end as an event")
        self.assertEqual(events[0]["resource"], network)
        self.assertTrue(daemon.list("events", "type=drift.found"))
        self.assertTrue(daemon.list("events", "type=drift.settled"))


class Two(unittest.TestCase):
    """Two vimds with ids of their own at one VIM leave each other's things alone, also after one lost its store."""

    def test_ids_of_their_own(self):
        with Vimd(vims=[mock("edge1")], name="first", settings={"id": "site-a"}) as first:
            journal = first.mock_file("edge1", "journal")
            second = Vimd(vims=[mock("edge1")], name="second", settings={"id": "site-b"})
            for file in (journal, journal.with_suffix(".journal.lock")):
                place = second.state / file.relative_to(first.state)
                place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                place.symlink_to(file)
            with second:
                self.both(first, second)

    def both(self, first, second):
        names = {}
        for daemon in (first, second):
            name = unique("net")
            answer = daemon.post("/v1/networks", {"vim": "edge1", "name": name},
                                 headers={"Prefer": "wait=30"})
            self.assertEqual(answer.status, 201, answer)
            names[daemon] = name
        for daemon in (first, second):
            wait_for(lambda daemon=daemon: set(names.values()) <=
                     {one["name"] for one in daemon.list("networks")}, "both networks")
            self.assertEqual(daemon.list("orphans"), [])
        theirs = next(one for one in second.list("networks") if one["name"] == names[first])
        for verb in ("adopt", "delete"):
            self.assertEqual(second.post(f"/v1/orphans/{theirs['id']}/{verb}").status, 409)
        # Who has lost the store finds its own again, and nothing else.
        second.stop()
        for file in second.state.rglob("store.db*"):
            file.unlink()
        second.token = None
        second.start()
        wait_for(lambda: [one["name"] for one in second.list("orphans")] == [names[second]],
                 "its own orphan")
        orphan, = second.list("orphans")
        answer = second.post(f"/v1/orphans/{orphan['id']}/delete")
        self.assertEqual(second.wait_task(second.task_of(answer))["state"], "succeeded")
        self.assertIn(names[first], {one["name"] for one in first.things("network")})
        self.assertEqual(first.list("orphans"), [])


if __name__ == "__main__":
    unittest.main(verbosity=2)

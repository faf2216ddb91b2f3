"""What is made again under a name that was gone: where the name is the id, it must not be lost."""
import unittest

from vimd import Scene, unique, wait_for

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKv0h6O9BL0VwRHnYzQp9bJj8QBM3tc0OQKZrVf2pZ5r x"


class Again(Scene):
    def rounds(self):
        """Of looks at the keypairs that were complete."""
        return sum(float(line.rsplit(" ", 1)[1])
                   for line in self.vimd.get("/metrics").body.decode().splitlines()
                   if line.startswith("vimd_poll_rounds_total") and 'kind="keypair"' in line)

    def make_again(self, count):
        """Deletes and makes COUNT keypairs again, one after the other."""
        made = {}
        for _ in range(count):
            body = {"vim": "edge1", "name": unique("k"), "public_key": KEY}
            first = self.vimd.create("keypairs", body)
            self.vimd.remove("keypairs", first["id"])
            made[body["name"]] = self.vimd.create("keypairs", body)["id"]
        return made

    def test_a_keypair_made_again_stays(self):
        made = self.make_again(20)
        before = self.rounds()
        wait_for(lambda: self.rounds() >= before + 3, "three more looks at the keypairs")
        for name, identity in made.items():
            self.assertEqual(self.vimd.get(f"/v1/keypairs/{identity}").status, 200, name)
        there = sorted(thing["name"] for thing in self.vimd.things("keypair"))
        for name in made:
            self.assertEqual(there.count(name), 1)
        self.vimd.restart()
        before = self.rounds()
        wait_for(lambda: self.rounds() >= before + 3, "three more looks at the keypairs")
        for name, identity in made.items():
            self.assertEqual(self.vimd.get(f"/v1/keypairs/{identity}").status, 200, name)


class Keys(Scene):
    settings = {"tasks": {"retention": "1s", "sweep": "100ms"}}

    def test_a_key_outlives_the_retention_of_tasks(self):
        body = {"vim": "edge1", "name": unique()}
        key = {"Idempotency-Key": unique()}
        first = self.vimd.post("/v1/networks", body, headers=key).json["id"]
        other = self.vimd.task_of(self.vimd.post("/v1/networks", body))
        wait_for(lambda: self.vimd.get(f"/v1/tasks/{other}").status == 404, "the end of a task")
        answer = self.vimd.post("/v1/networks", body, headers=key)
        self.assertEqual((answer.status, answer.json.get("id")), (202, first))


if __name__ == "__main__":
    unittest.main()

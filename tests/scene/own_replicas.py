"""vimd whose scaler starts its other processes itself, as replicas of platform-process, each in a control group of its own."""
import contextlib
import sys

from apart import Apart
from vimd import PATIENCE, SOURCE, Broken, to_yaml

sys.path.insert(0, str(SOURCE / "tests" / "servers"))
from guard import end_of, guard, remove_cgroups  # noqa: E402  (the folder is named above)

BLOCKS = ("api", "logic", "worker", "store", "queue")
EDGES = ("api -> logic", "logic -> store", "logic -> queue", "worker -> store", "worker -> queue")


class OwnReplicas(Apart):
    """An API process, a scaler, and what the scaler starts."""

    counts = {"api": 1, "scaler": 1}
    unix = True

    def __init__(self, *arguments, **keywords):
        super().__init__(*arguments, **keywords)
        self.unguard = guard(self.clean_up)

    @property
    def config_path(self):
        return self.processes["scaler0"].config_path  # it names the store

    # --- For config() ---

    def config(self, process):
        tree = super().config(process)
        if process.role == "api":
            tree["link"]["logic"] = [f"unix:{self.folder}/logic-1.sock"]  # it knows of the others
        return tree

    def replica_config(self, role, tree, **link):
        """Writes the file of all replicas of ROLE, out of TREE, that of a process that has the store."""
        tree = {name: tree[name] for name in ("plugin_dir", "heartbeat", "log", "spool_dir", "store", "queue", "vims")}
        tree.update({"roles": [role], "state_dir": f"{self.folder}/{role}-" + "${env:VIMD_REPLICA}", "link": {
            "listen": [f"unix:{self.folder}/{role}-" + "${env:VIMD_REPLICA}.sock"], "secret": self.secret, **link}})
        path = self.folder / f"{role}.yaml"
        path.write_text(to_yaml(tree) + "\n")
        path.chmod(0o600)
        return path

    def own_group(self, role, tree, **link):
        """An entry of `groups`."""
        return f"{role} {self.program} --config {self.replica_config(role, tree, **link)}"

    def platform(self, name, groups, **options):
        return {"name": name, "driver": "platform-process", "options": {
            "groups": groups, "cgroup": "required", "cgroup_name": self.cgroup_name(name), **options}}

    def cgroup_name(self, platform):
        return f"vimd-{self.schema}-{platform}"

    def is_ready_at(self, role="logic"):
        """An entry of `ready`."""
        return f"{role} unix:{self.folder}/{role}-" + "{replica}.sock"

    # --- What it shows ---

    def service(self):
        """None: it is not watched yet, or too slow to answer."""
        with contextlib.suppress(OSError):
            answer = self.client.get("/v1/services/vimd", timeout=30)
            return answer.json if answer.status == 200 else None
        return None

    def block(self, name):
        service = self.service()
        return next((block for block in service["blocks"] if block["name"] == name), None) if service else None

    def done(self):
        """What the scaler did, the oldest first."""
        return self.client.list("services/vimd/decisions", "state=done&sort=time")

    # --- The end ---

    def clean_up(self):
        """When the scene is cut off: first who may start others."""
        end_of(self.folder)
        remove_cgroups(self.cgroup_name("*"))

    def close(self, keep=False):
        """Replicas outlive the scaler that started them, and so do their control groups."""
        self.kill()
        left = remove_cgroups(self.cgroup_name("*"), 20 * PATIENCE)
        super().close(keep)
        self.unguard()
        if left:
            raise Broken(f"not all ended in {left}")

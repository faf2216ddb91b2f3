"""A control group with a quota of processor time, for what a scene or a bench starts itself: of either hierarchy."""
import contextlib
import pathlib


class Group:
    base = pathlib.Path("/sys/fs/cgroup")

    def __init__(self, name, share, period_us=20000):
        quota = str(int(share * period_us))
        self.is_v1 = (self.base / "cpu").is_dir()
        # What limits and what counts are often, but not always, one hierarchy.
        self.paths = [self.base / "cpu" / name, self.base / "cpuacct" / name] if self.is_v1 else [self.base / name]
        for path in self.paths:
            path.mkdir(exist_ok=True)
        if self.is_v1:
            (self.paths[0] / "cpu.cfs_period_us").write_text(str(period_us))
            (self.paths[0] / "cpu.cfs_quota_us").write_text(quota)
        else:
            with contextlib.suppress(OSError):  # it is handed down already, and not ours to say
                (self.base / "cgroup.subtree_control").write_text("+cpu")
            (self.paths[0] / "cpu.max").write_text(f"{quota} {period_us}")

    def add(self, pid):
        for path in self.paths:
            (path / "cgroup.procs").write_text(str(pid))

    def seconds(self):
        """Of processor time, of all that was ever in it."""
        if self.is_v1:
            return int((self.paths[1] / "cpuacct.usage").read_text()) / 1e9
        words = (self.paths[0] / "cpu.stat").read_text().split()
        return int(words[words.index("usage_usec") + 1]) / 1e6

    def remove(self):
        """What is in it still goes on without a quota."""
        for path in self.paths:
            with contextlib.suppress(OSError):
                for pid in (path / "cgroup.procs").read_text().split():
                    with contextlib.suppress(OSError):
                        (path.parent / "cgroup.procs").write_text(pid)
                path.rmdir()


def postgres_pids(place):
    """Of the server in the folder PLACE (tests/servers/postgres), and of what it has forked."""
    first = (pathlib.Path(place) / "data" / "postmaster.pid").read_text().split("\n")[0]
    return [first, *pathlib.Path(f"/proc/{first}/task/{first}/children").read_text().split()]


def hold_postgres(place, group):
    """What is forked from now on is in the group as well."""
    for _ in range(2):
        for pid in postgres_pids(place):
            with contextlib.suppress(OSError):  # it has ended
                group.add(pid)

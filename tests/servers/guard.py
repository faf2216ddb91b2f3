"""When a test is cut off, even by SIGKILL, what outlives it is ended: processes and their control groups."""
import contextlib
import os
import pathlib
import signal
import time

CGROUPS = ("/sys/fs/cgroup", "/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpuacct")  # of either version


def guard(clean_up, *arguments):
    """Forks a process that calls CLEAN_UP when this one ends. Call it before there are threads, and what it returns
    to have it done now."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        os.close(writing)
        while os.read(reading, 1):
            pass
        clean_up(*arguments)
        os._exit(0)
    os.close(reading)

    def end():
        os.close(writing)
        os.waitpid(child, 0)
    return end


def kill(pid):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def end_of(folder):
    """Kills whoever has FOLDER, which no one else names, in its command line."""
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if os.fsencode(folder) in path.read_bytes() and int(path.parent.name) != os.getpid():
                kill(int(path.parent.name))


def cgroups(pattern):
    """The control groups whose names are like PATTERN, and those in them, the inner ones first."""
    found = [path for root in CGROUPS for path in pathlib.Path(root).glob(pattern) if path.is_dir()]
    return [inner for path in found for inner in [*path.glob("*/"), path]]


def remove_cgroups(pattern, seconds=20):
    """Kills what is in those control groups, and removes them. Returns those that are left."""
    end = time.monotonic() + seconds
    while True:
        for path in cgroups(pattern):
            with contextlib.suppress(OSError):
                for pid in (path / "cgroup.procs").read_text().split():
                    kill(int(pid))
                path.rmdir()
        left = cgroups(pattern)
        if not left or time.monotonic() > end:
            return left
        time.sleep(0.05)

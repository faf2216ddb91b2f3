"""Tasks per second through a Redis, three ways: queue-redis, a plain stream in C, BullMQ. Each is a
producer and a consumer, processes of their own, beside the same Redis."""
import os
import shutil
import subprocess
import sys
import time

from measure import HERE, PROGRAMS, Results, median, say, vimd

TASKS = int(os.environ.get("BENCH_TASKS", "60000"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
BULLMQ = HERE.parent / "build" / "bullmq"


def install_bullmq():
    """From npm, into the build folder, once. False if it cannot be had."""
    if (BULLMQ / "node_modules" / "bullmq").is_dir():
        return True
    BULLMQ.mkdir(parents=True, exist_ok=True)
    (BULLMQ / "package.json").write_text('{"private": true}\n')
    if shutil.which("npm") is None or shutil.which("node") is None:
        return False
    done = subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--silent",
                           "--ignore-scripts", "bullmq", "ioredis"], cwd=BULLMQ, check=False)
    return done.returncode == 0


def version():
    text = (BULLMQ / "node_modules" / "bullmq" / "package.json").read_text()
    return text.split('"version": "')[1].split('"')[0]


class Party:
    def __init__(self, command, role, concurrency):
        self.process = subprocess.Popen(
            [*command, role, str(TASKS), str(concurrency)], text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, start_new_session=True)
        self.hear("ready")

    def hear(self, word):
        line = self.process.stdout.readline().strip()
        if line != word:
            raise SystemExit(f"{self.process.args}: said {line!r} instead of {word!r}")

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def rate(command, concurrency):
    """Tasks per second, from the first push to the last done."""
    cli = ["redis-cli", "-p", os.environ["PORT"]]
    subprocess.run([*cli, "flushall"], check=True, stdout=subprocess.DEVNULL)
    consumer, producer = (Party(command, role, concurrency) for role in ("consume", "produce"))
    started = time.monotonic()
    producer.process.stdin.write("go\n")
    producer.process.stdin.flush()
    consumer.hear("done")
    taken = time.monotonic() - started
    producer.hear("pushed")
    for party in (consumer, producer):
        party.end()
    return TASKS / taken


def bench():
    results = Results("queue")
    plugin = vimd.BUILD / "plugins" / "queue-redis.so"
    ways = {"queue-redis": ([PROGRAMS / "queue_tasks", plugin], (16, 64)),
            "stream": ([PROGRAMS / "stream_tasks"], (16, 64))}
    if install_bullmq():
        ways["bullmq"] = (["node", str(HERE / "bullmq.mjs")], (64, 256))
    else:
        say("BullMQ cannot be installed (npm): left out")
    rates = {}
    for _ in range(ROUNDS):
        for name, (command, levels) in ways.items():
            for level in levels:
                rates.setdefault((name, level), []).append(rate(list(map(str, command)), level))
    best = {}
    for (name, level), values in rates.items():
        say(f"{name}, {level} at once: {median(values):.0f} tasks/s "
            f"({min(values):.0f} to {max(values):.0f})")
        best[name] = max(best.get(name, 0), median(values))
    results.add("tasks_per_second_next_to_plain_streams", best["queue-redis"], best["stream"])
    if "bullmq" in best:
        say(f"BullMQ {version()}")
        results.add("tasks_per_second_next_to_bullmq", best["queue-redis"], best["bullmq"], 3)
    return results.write()


def main():
    """Under tests/servers/with, which brings the Redis."""
    os.environ["PORT"] = os.environ["TEST_REDIS_PORT"]
    os.environ["REDISCLI_AUTH"] = os.environ["TEST_REDIS_PASSWORD"]
    os.environ["BULLMQ"] = str(BULLMQ)
    return 0 if bench() else 1


if __name__ == "__main__":
    sys.exit(main())

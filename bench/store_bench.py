"""Calls of store-postgres per second next to pgbench, which does the same in the same PostgreSQL:
the same statements, prepared and in a pipeline, one connection per client. And what more clients do
to it."""
import os
import pathlib
import subprocess
import sys
import tempfile

from measure import PROGRAMS, ROUNDS, Results, median, say, vimd

SECONDS = int(os.environ.get("BENCH_SECONDS", "3"))
THREADS = (1, 8, 32, 64)
ROW = "INSERT INTO bench.rows(collection,id,parent,state,due,revision,body) VALUES "
SCRIPTS = {
    "get": """\\set n random(0, 9999)
SELECT id,parent,state,due,revision,body FROM bench.rows
WHERE collection='server' AND id='row-'||:n;
""",
    "commit": "\\set a random(1, 1000000000000000)\n\\set b random(1, 1000000000000000)\n"
              "\\startpipeline\nBEGIN;\n" + "".join(
                  f"{ROW}('{collection}',:a||'-'||:b,'{parent}',1,{due},1,'{'x' * size}');\n"
                  for collection, parent, due, size in (
                      ("task", "demo", 1800000000000, 1500), ("server", "demo", 0, 900),
                      ("idempotency", "", 0, 120))) + "COMMIT;\n\\endpipeline\n",
    "hot": "UPDATE bench.rows SET parent='',state=0,due=0,revision=revision+1,body='"
           + "x" * 120 + "' WHERE collection='poll' AND id='hot';\n",
}
# Of pgbench's rate at the same number of clients.
TARGETS = {"get": 0.7, "commit": 0.7, "hot": 0.7}


def ours(what, threads, seconds=SECONDS):
    plugin = vimd.BUILD / "plugins" / "store-postgres.so"
    done = subprocess.run([PROGRAMS / "store_calls", plugin, what, str(threads), str(seconds)],
                          capture_output=True, text=True, check=False, start_new_session=True)
    if done.returncode:
        raise SystemExit(f"store_calls {what}: {done.stderr}")
    return float(done.stdout or 0)


def pgbench(what, clients, folder):
    script = pathlib.Path(folder, what)
    script.write_text(SCRIPTS[what])
    done = subprocess.run(["pgbench", "-h", "127.0.0.1", "-p", os.environ["PORT"], "-U", "vimd",
                           "-n", "-M", "prepared", "-c", str(clients), "-j", str(min(clients, 2)),
                           "-T", str(SECONDS), "-f", script, "postgres"], capture_output=True,
                          text=True, check=False, start_new_session=True)
    rates = [line for line in done.stdout.splitlines() if line.startswith("tps = ")]
    if done.returncode:
        raise SystemExit(f"pgbench {what}: {done.stderr}{done.stdout}")
    # Of 64 clients at one row it may be that none gets anywhere in time.
    return float(rates[0].split()[2]) if rates else 0


def clear():
    """What the commits before have left: all find tables of the same size."""
    subprocess.run(["psql", "-q", "-h", "127.0.0.1", "-p", os.environ["PORT"], "-U", "vimd",
                    "postgres", "-c",
                    "DELETE FROM bench.rows WHERE collection IN ('task','idempotency') OR "
                    "collection='server' AND id NOT LIKE 'row-%'", "-c", "VACUUM FULL bench.rows"],
                   check=True)


def bench():
    results = Results("store-postgres")
    ours("fill", 1)
    ours("hot", 1, 1)
    with tempfile.TemporaryDirectory(prefix="vimd-bench-") as folder:
        for what, target in TARGETS.items():
            rates = {}
            for _ in range(ROUNDS):
                for threads in THREADS:
                    clear()
                    rates.setdefault(("ours", threads), []).append(ours(what, threads))
                    clear()
                    rates.setdefault(("raw", threads), []).append(pgbench(what, threads, folder))
            for threads in THREADS:
                results.add(f"{what}_by_{threads}_per_second", median(rates["ours", threads]),
                            median(rates["raw", threads]), target if threads == 8 else None)
            best = max(median(rates["ours", threads]) for threads in THREADS)
            results.add(f"{what}_by_{THREADS[-1]}_of_the_best", median(rates["ours", THREADS[-1]]),
                        best, 0.9)
    return results.write()


def main():
    """Under tests/servers/with, which brings the PostgreSQL."""
    os.environ["PORT"] = os.environ["TEST_POSTGRES_PORT"]
    os.environ["PGPASSWORD"] = os.environ["TEST_POSTGRES_PASSWORD"]
    say("PostgreSQL does not wait for the disk: processors are what is measured")
    return 0 if bench() else 1


if __name__ == "__main__":
    sys.exit(main())

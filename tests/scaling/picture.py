"""Draws what rise_and_fall.py has measured: requests and their failures over time, and how many replicas served them.

    picture.py LOAD-CSV TRACE-CSV PNG    (needs gnuplot)
"""
import collections
import csv
import shutil
import subprocess
import sys

BLOCKS = {"logic": "logic", "store": "readers of the database"}


def rows(path):
    with open(path, newline="", encoding="ascii") as file:
        return list(csv.DictReader(file))


def draw(load_csv, trace_csv, png):
    if not shutil.which("gnuplot"):
        print("no gnuplot, no picture")
        return
    load = rows(load_csv)
    start, end = int(load[0]["time"]), int(load[-1]["time"])
    ready = collections.defaultdict(list)
    for row in rows(trace_csv):
        if row["scope"] == "block" and row["metric"] == "ready" and row["name"] in BLOCKS:
            second = int(row["t_ms"]) / 1000
            if start <= second <= end:
                ready[row["name"]].append(f"{second - start} {row['value']}")

    def block(name, lines):
        return f"${name} << END\n" + "\n".join(lines) + "\nEND\n"

    script = "".join(block(name, lines) for name, lines in ready.items())
    script += block("load", [f"{int(row['time']) - start} {row['asked_per_s']} {row['answers']} {row['failed']}" for row in load])
    script += (f"set terminal pngcairo size 900,600 font ',11'\nset output '{png}'\nset multiplot layout 2,1\n"
               f"set xrange [0:{end - start}]\nset yrange [0:*]\nset grid\nset key top right\nset lmargin 8\n"
               "set ylabel 'per second'\n"
               "plot $load using 1:2 with lines lw 2 title 'requests asked for', $load using 1:3 with lines title 'answers', "
               "$load using 1:4 with impulses lw 2 lc rgb 'red' title 'failed'\n"
               "set yrange [0:5]\nset ytics 1\nset ylabel 'replicas ready'\nset xlabel 'seconds'\nplot "
               + ", ".join(f"${name} using 1:2 with steps lw 2 title '{BLOCKS[name]}'" for name in ready)
               + "\nunset multiplot\n")
    subprocess.run(["gnuplot"], input=script.encode(), check=True)


if __name__ == "__main__":
    draw(*sys.argv[1:4])

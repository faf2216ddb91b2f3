#!/usr/bin/env python3
"""What the graph of a network service costs by itself: CPU time of the threads that run it, and its commits, per
node, from 50 to 5 000 nodes, at a mock cloud that makes everything at once. It has to stay flat. And a service of
500 VNFs on 200 links with subnets, as a whole: calls, time, memory.

Writes bench/results/graph.tsv. BENCH_GRAPH_NODES ("50 500 5000") says how many nodes.
"""
import os
import re
import sys
import time

from measure import Results, memory, say, vimd

NODES = [int(word) for word in os.environ.get("BENCH_GRAPH_NODES", "50 500 5000").split()]


def cloud(**more):
    poll = {"poll_pending": "500ms", "poll_idle": "1h", "poll_full": "1h"}
    return vimd.mock("edge1", poll=poll, server_ports="cloud", **more)


def description(name, vnfs, links, count=1, subnets=True):
    """VNFs of COUNT instances, each on two links."""
    def points(number):
        return {f"p{side}": {"network": f"${{vl.l{(number + side) % links}.id}}"} for side in (0, 1)}

    def link(number):
        cidr = f"10.{number // 250}.{number % 250}.0/24"
        return {"subnets": {"v4": {"cidr": cidr}}} if subnets else {}
    return {"name": name, "virtual_links": {f"l{i}": link(i) for i in range(links)},
            "vnfs": {f"v{i}": {"image": "cirros", "flavor": "small", "count": count,
                               "connection_points": points(i)} for i in range(vnfs)}}


def of_nodes(nodes):
    """One fifth links, the rest servers, ten of a sort."""
    links = nodes // 5
    return description("s", (nodes - links) // 10, links, count=10, subnets=False)


def metric(daemon, name):
    text = daemon.must(daemon.get("/metrics"), 200).body.decode()
    return sum(float(value) for value in re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, re.M))


def run(daemon, body):
    """Makes the service and deletes it; what each of them took."""
    took = []
    answer = daemon.must(daemon.post("/v1/network-services", body, timeout=120), 202)
    for _ in range(2):
        begun = metric(daemon, "vimd_graph_cpu_seconds_total"), metric(daemon, "vimd_graph_commits_total")
        start = time.monotonic()
        task = daemon.wait_task(daemon.task_of(answer), seconds=600)
        if task["state"] != "succeeded":
            raise vimd.Broken(f"{task}")
        took.append((metric(daemon, "vimd_graph_cpu_seconds_total") - begun[0],
                     metric(daemon, "vimd_graph_commits_total") - begun[1],
                     time.monotonic() - start))
        if len(took) == 1:
            answer = daemon.must(daemon.delete(f"/v1/network-services/{task['target']['id']}"), 202)
    return took


def main():
    results = Results("graph")
    settings = {"log": {"level": "warning"}}
    costs = {}
    for nodes in NODES:
        with vimd.Vimd(vims=[cloud(build="0ms", delete="0ms")], name="graph",
                       settings=settings) as daemon:
            made, deleted = run(daemon, of_nodes(nodes))
        costs[nodes] = made[0] / nodes
        say(f"{nodes} nodes: made in {made[2]:.2f} s, deleted in {deleted[2]:.2f} s")
        results.add(f"make-{nodes}-us-per-node", made[0] / nodes * 1e6)
        results.add(f"make-{nodes}-commits-per-node", made[1] / nodes, target=2, at_least=False)
        results.add(f"delete-{nodes}-us-per-node", deleted[0] / nodes * 1e6)
        results.add(f"delete-{nodes}-commits-per-node", deleted[1] / nodes, target=2, at_least=False)
    few, many = min(costs), max(costs)
    results.add(f"cost-of-a-node-{many}-to-{few}", costs[many] / costs[few], target=1.5,
                at_least=False)
    with vimd.Vimd(vims=[cloud(build="2s", delete="500ms")], name="graph",
                   settings=settings) as daemon:
        before = memory(daemon.process.pid)
        calls = sum(sum(verbs.values()) for verbs in daemon.counters()["calls"].values())
        made, deleted = run(daemon, description("large", 500, 200))
        calls = sum(sum(verbs.values()) for verbs in daemon.counters()["calls"].values()) - calls
        say(f"500 VNFs on 200 links: {made[2]:.2f} s to make, {deleted[2]:.2f} s to delete")
        results.add("500-vnfs-200-links-make-s", made[2])
        results.add("500-vnfs-200-links-delete-s", deleted[2])
        results.add("500-vnfs-200-links-calls-to-make-and-delete", calls)
        results.add("500-vnfs-200-links-more-memory-mib", (memory(daemon.process.pid) - before))
    return 0 if results.write() else 1


if __name__ == "__main__":
    sys.exit(main())

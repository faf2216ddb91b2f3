"""Three times as much as can be served: what is accepted, how long it takes, and how the rest is
refused. Against one process, or, under tests/servers/with, against API, logic and worker processes
with PostgreSQL and Redis."""
import sys

from measure import SECONDS, Results, catalogue, open_loop, quiet_mock, say, vimd, wrk

from apart import Apart  # (measure has named its folder)

CALM = {"log": {"level": "warning"}, "tasks": {"active_max": 10000000, "deadline": "1d"},
        "worker": {"threads": 1}}


# So many that a request finds one free when it is due, until there are as many as vimd takes.
CONNECTIONS = 4000


def http_request(method, target, token, body=""):
    return (f"{method} {target} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}").encode()


def offer(results, name, daemon, request, good, sustainable):
    """Three times the load that can be sustained, without waiting for answers. What is accepted stays
    quick and near to what can be done at all; the rest is told to come again."""
    load = open_loop(daemon.port, 3 * sustainable, SECONDS, CONNECTIONS, request)
    say(f"{name}: {load}")
    count, middle, late, most, _ = load.get(good, (0, 0, 0, 0, 0))
    shed = sum(load[status][0] for status in (429, 503) if status in load)
    told = sum(load[status][4] for status in (429, 503) if status in load)
    others = sum(answer[0] for status, answer in load.items()
                 if status not in (good, 429, 503, "unanswered", "seconds")) + load["unanswered"]
    results.add(f"{name}_offered_per_second", 3 * sustainable)
    results.add(f"{name}_accepted_per_second", count / load["seconds"], sustainable, 0.6)
    results.add(f"{name}_accepted_p50_ms", middle)
    # A second is what a request may wait for a thread; then it has to be worked on, too.
    results.add(f"{name}_accepted_p99_ms", late, target=2000, at_least=False)
    results.add(f"{name}_accepted_max_ms", most)
    results.add(f"{name}_refused_per_second", shed / load["seconds"])
    results.add(f"{name}_refused_with_retry_after", told, shed, 1)
    results.add(f"{name}_anything_else", others, target=0, at_least=False)


def offer_all(results, daemon):
    """Creates, and searches through what they have made."""
    flavor, image = catalogue(daemon)
    create = ('{"vim":"edge1","name":"NAME-########","image":"%s","flavor":"%s"}'
              % (image, flavor))
    # What can be sustained: as many as come one after the other on 64 connections.
    rate = wrk(f"http://127.0.0.1:{daemon.port}/v1/servers", threads=2, connections=64,
               script="post.lua", env={"TOKEN": daemon.token, "RUN": "calm",
                                       "BODY": create.replace("NAME-########", "NAME")}
               ).check().rate
    offer(results, "create", daemon,
          http_request("POST", "/v1/servers", daemon.token, create.replace("NAME", "storm")),
          202, rate)
    path = "/v1/servers?limit=1000&name=calm-0-7"
    rate = wrk(f"http://127.0.0.1:{daemon.port}{path}", threads=2, connections=8,
               script="list.lua", env={"TOKEN": daemon.token}).check().rate
    offer(results, "search", daemon, http_request("GET", path, daemon.token), 200, rate)


def offer_one_token(results):
    """One token that takes more than its share, next to one that does not."""
    with vimd.Vimd(vims=[quiet_mock()], name="bench", settings={
            "log": {"level": "warning"}, "api": {"rate": 1000, "rate_burst": 100}}) as daemon:
        load = open_loop(daemon.port, 3000, SECONDS, 200,
                         http_request("GET", "/v1/networks", daemon.token))
        say(f"one token: {load}")
        results.add("one_token_accepted_per_second", load[200][0] / SECONDS, 1000, 1.1,
                    at_least=False)
        results.add("one_token_refused_with_429", load[429][0])
        results.add("one_token_refused_with_retry_after", load[429][4], load[429][0], 1)


def bench_one():
    results = Results("overload")
    with vimd.Vimd(vims=[quiet_mock(build="1s", delete="1s")], name="bench",
                   settings={**CALM, "api": {"blocking_wait": "1s"}}) as daemon:
        offer_all(results, daemon)
        daemon.kill()
    offer_one_token(results)
    return results.write()


def bench_apart():
    results = Results("overload-apart")
    scene = Apart(vims=[quiet_mock(build="1s", delete="1s")], settings=CALM, name="bench",
                  counts={"api": 1, "logic": 2, "worker": 1})
    try:
        offer_all(results, scene.start())
    finally:
        scene.kill()
        scene.close()
    return results.write()


if __name__ == "__main__":
    sys.exit(0 if bench_apart() else 1)

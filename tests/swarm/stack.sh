# Sourced by what tests the stack of deploy/: an own swarm with images of the build $1 (default: build/release), which is taken down at
# the end whatever happens; checks, which are counted; and how to look at the stack.
# Each has a folder of its own, so that it runs beside any other; in SWARM_DIR, if it is set, nothing may be up.
runs=${TMPDIR:-/tmp}/vimd-swarm-run
work=$(mktemp -d "$runs.XXXXXX")
export SWARM_DIR=${SWARM_DIR:-$work/swarm}
. "$(dirname "$0")/lib.sh"
owner() { echo "$1 $(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20)"; } # a process, and when it was born
owner $$ >"$work/owner"
here=$(cd "$(dirname "$0")" && pwd) top=$(cd "$(dirname "$0")/../.." && pwd)
build=${1:-$top/build/release}
need jq jq
need openssl openssl
passed=0 failed=0 load='' # the load's process, which ends when it finds the file stop
check() {
    local what=$1
    shift
    if "$@"; then passed=$((passed + 1)); echo "ok    $what"; else failed=$((failed + 1)); echo "FAIL  $what"; fi
}
finish() {
    touch "$work/stop"
    [ -z "$load" ] || wait "$load" 2>/dev/null || true
    if [ $failed != 0 ]; then
        docker service ls || true
        for service in api logic worker scaler; do docker service logs --tail 20 "vimd_$service" 2>&1 | cut -c1-400 || true; done
    fi
    if "$here/down" >/dev/null; then rm -rf "$work"; fi
}
if pid=$(engine_pid); then
    rm -rf "$work"
    die "a swarm is up in $SWARM_DIR (engine pid $pid), and somebody may be at work with it: leave SWARM_DIR unset for one beside it, or take it down with SWARM_DIR=$SWARM_DIR $here/down"
fi
trap finish EXIT

# What a run left that was killed.
for left in "$runs".*/owner; do
    [ -e "$left" ] || continue
    read -r pid born <"$left" || continue
    if [ "$(owner "$pid")" != "$pid $born" ]; then
        SWARM_DIR=${left%/owner}/swarm "$here/down" >/dev/null && rm -rf "${left%/owner}"
    fi
done
"$here/up"
"$top/deploy/image/make-image" --build "$build" --tag vimd:test --output "$work/vimd.tar"
docker load --quiet --input "$work/vimd.tar"
"$here/server-images"
(cd "$work" && "$top/deploy/swarm/make-secrets" >/dev/null)
export VIMD_ENGINE_GROUP VIMD_ENGINE_SOCKET=$SWARM_SOCK
VIMD_ENGINE_GROUP=$(stat -c %g "$SWARM_SOCK")
export VIMD_IMAGE=vimd:test POSTGRES_IMAGE=vimd-test-postgres:1 REDIS_IMAGE=vimd-test-redis:1 HAPROXY_IMAGE=vimd-test-haproxy:1

stack=$top/deploy/swarm/stack.yaml
deploy() { docker stack deploy --compose-file "$stack" vimd >/dev/null 2>&1; }
# "name running/wanted" of every service.
counts() { docker service ls --format '{{.Name}} {{.Replicas}}'; }
settled() { # settled [SERVICE COUNT]...: all services run what they should, and these so many
    local _ line
    for _ in $(seq 600); do
        line=$(counts)
        if awk '{split($2, n, "/"); if (n[1] != n[2]) exit 1}' <<<"$line"; then
            local want=("$@") good=1
            while [ ${#want[@]} -ge 2 ]; do
                grep -q "^vimd_${want[0]} ${want[1]}/" <<<"$line" || good=0
                want=("${want[@]:2}")
            done
            [ $good = 1 ] && return
        fi
        sleep 0.2
    done
    counts
    return 1
}
container() { docker ps --quiet --filter "label=com.docker.swarm.service.name=vimd_$1" --filter status=running | head -1; }
make_token() { # make_token ROLE: of the project demo
    (umask 077; docker exec "$(container logic)" /usr/bin/vimd --config /etc/vimd/vimd.yaml token create --project demo --role "$1" --name test >"$work/token")
    printf 'Authorization: Bearer %s\n' "$(cat "$work/token")" >"$work/header"
}
ask() { # ask METHOD PATH [JSON]: of vimd, through the balancer
    "$here/enter" curl -sS --fail-with-body --max-time 30 --cacert "$work/vimd-api.crt" -H @"$work/header" -X "$1" \
        ${3:+-H 'Content-Type: application/json' --data-binary "$3"} "https://localhost:8780$2"
}
api_get() { ask GET "$1"; }
answers() { local _; for _ in $(seq 150); do api_get /v1/version >/dev/null 2>&1 && return; sleep 0.2; done; return 1; }

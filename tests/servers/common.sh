# Shared by `postgres` and `redis`: a private server in a folder of its own, on loopback alone.
die() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }

# Exit code for "the server is not installed": tests count it as skipped.
absent() { printf '%s: %s is not installed\n' "$(basename "$0")" "$1" >&2; exit 77; }

# One at which nobody listens, below those that the kernel hands out to connections: one of these could have taken it by the time
# that the server starts, or starts again. And above those that scenes choose (scene/vimd.py).
free_port() {
    local first least port _
    read -r first _ </proc/sys/net/ipv4/ip_local_port_range
    least=$((first / 2 < 10240 ? first / 2 : 10240))
    for _ in {1..1000}; do
        port=$(shuf -n 1 -i "$((least + (first - least) * 5 / 6))-$((first - 1))" --random-source=/dev/urandom)
        python3 -c 'import socket, sys; socket.socket().bind(("127.0.0.1", int(sys.argv[1])))' "$port" 2>/dev/null || continue
        echo "$port"
        return
    done
    die 'no port is free'
}

# End of the process with this id, waited for; killed if it takes too long.
end_process() {
    local pid=$1 signal=$2 i
    kill -CONT "$pid" 2>/dev/null
    kill -"$signal" "$pid" 2>/dev/null || return 0
    for ((i = 0; i < 300; i++)); do
        kill -0 "$pid" 2>/dev/null || return 0
        sleep 0.02
    done
    kill -KILL "$pid" 2>/dev/null
    return 0
}

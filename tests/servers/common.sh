# Shared by `postgres` and `redis`: a private server in a folder of its own, on loopback alone.
die() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }

# Exit code for "the server is not installed": tests count it as skipped.
absent() { printf '%s: %s is not installed\n' "$(basename "$0")" "$1" >&2; exit 77; }

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
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

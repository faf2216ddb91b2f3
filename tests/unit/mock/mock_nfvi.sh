#!/bin/sh
# usage: mock_nfvi.sh MOCK-NFVI - the command line tool, each command once.
set -eu
nfvi=$1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
state=$folder/m.journal

fail()
{
    echo "FAILED: $*"
    exit 1
}
id() { sed -n 's/.*"id":"\([^"]*\)".*/\1/p' | head -n 1; }
expect() { # COUNT KIND
    [ "$("$nfvi" "$state" list "$2" | wc -l)" = "$1" ] || fail "not $1 of $2"
}

"$nfvi" "$state" list 2>/dev/null && fail "made a cloud out of a mistyped name"
[ ! -e "$state" ] || fail "left a file behind"
: >"$state" # an empty journal is a new cloud
expect 3 flavor
network=$("$nfvi" "$state" create network '{"name":"n"}' | id)
"$nfvi" "$state" create subnet "{\"name\":\"s\",\"network\":\"$network\",\"cidr\":\"10.0.0.0/24\"}" >"$folder/out"
image=$("$nfvi" "$state" list image | id)
flavor=$("$nfvi" "$state" list flavor | id)
server=$("$nfvi" "$state" create server \
    "{\"name\":\"vm\",\"image\":\"$image\",\"flavor\":\"$flavor\",\"networks\":[{\"network\":\"$network\"}]}" | id)
"$nfvi" "$state" list server | grep -q '"status":"ACTIVE","pending":false' || fail "not ACTIVE at once"
expect 1 port
"$nfvi" "$state" delete network "$network" 2>"$folder/out" && fail "deleted a network with a port"
grep -q "409 in_use" "$folder/out" || fail "no reason given"
"$nfvi" "$state" orphans || fail "orphans on a tidy cloud"
"$nfvi" "$state" delete server "$server"
expect 0 server
expect 0 port
"$nfvi" "$state" delete network "$network"
"$nfvi" "$state" delete network "$network" 2>/dev/null && fail "deleted twice"
"$nfvi" "$state" create port "{\"name\":\"p\",\"network\":\"$("$nfvi" "$state" list network | id)\",\"owned\":true}" >"$folder/out"
"$nfvi" "$state" orphans >"$folder/out" && fail "did not see the orphan"
grep -q "made for a server that was not made" "$folder/out" || fail "orphan not explained"
"$nfvi" "$state" counters | tr -d ' \n' | grep -q '"server":{"list":0,"changes":0,"get":0,"create":0' ||
    fail "counted what was done from outside"
"$nfvi" "$state" create network '{"name":' 2>/dev/null && fail "took broken JSON"
"$nfvi" "$state" list colour 2>/dev/null && fail "took an unknown kind"
"$nfvi" "$state" shout 2>/dev/null && fail "took an unknown command"
exit 0

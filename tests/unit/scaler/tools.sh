#!/bin/sh
# tools.sh BIN PLUGINS: what vim-sim and vim-replay promise: the same seed, the same bytes, whatever the
# number of processes; the same trace, the same digest; the paper's shapes; clear errors.
set -eu
bin=$1 plugins=$2
folder=$(mktemp -d "${TMPDIR:-/tmp}/vimd-tools.XXXXXX")
trap 'rm -rf "$folder"' EXIT
cd "$folder"
sim() { "$bin/vim-sim" --plugins "$plugins" "$@"; }
replay() { "$bin/vim-replay" --plugins "$plugins" "$@"; }
fail() { echo "FAIL: $*" >&2; exit 1; }
# at_least FILE METRIC POLICY VALUE
at_least() {
    awk -F'\t' -v m="$2" -v p="$3" -v v="$4" '$1 == m && $2 == p && $3 + 0 >= v { found = 1 }
        END { exit !found }' "$1" || fail "$2 of $3 is not at least $4: $(grep "$2" "$1" || true)"
}

for experiment in find network loop; do
    sim $experiment --seed 3 --count 6 --jobs 1 --policy scaler-similarity --csv one.csv >one
    sim $experiment --seed 3 --count 6 --jobs 2 --policy scaler-similarity --csv two.csv >two
    cmp one two || fail "$experiment: the output depends on the number of processes"
    cmp one.csv two.csv || fail "$experiment: the details depend on the number of processes"
    sim $experiment --seed 4 --count 6 --jobs 2 --policy scaler-similarity >three
    ! cmp -s one three || fail "$experiment: the seed changes nothing"
done

sim testbed --seed 3 --count 20 >testbed
for figure in fig4 fig5 fig6 fig7_logic5 fig7_logic10; do
    at_least testbed shape_$figure - 100
done
at_least testbed fig4_peak_at_three - 100
sim eq3 --seed 3 --count 20 --policy scaler-similarity:mode=literal >eq3
at_least eq3 flips_where_it_should scaler-similarity:mode=literal 95
grep -q '^flips_where_it_should.opposite-sign.0$' eq3 || fail 'the opposite sign flips as well'
sim find --seed 3 --count 60 --policy scaler-similarity --policy scaler-threshold \
    --policy scaler-random >find
at_least find top1 scaler-similarity 90
sim climb --seed 3 --count 2 --policy scaler-similarity >climb
at_least climb reached_from_1_1 scaler-similarity 0.95

sim record --seed 3 --policy scaler-similarity --csv trace.csv --labels labels.csv
replay trace.csv --labels labels.csv --policy scaler-similarity --policy scaler-threshold >first
replay trace.csv --labels labels.csv --policy scaler-similarity --policy scaler-threshold >second
cmp first second || fail 'the same trace was decided differently'
[ "$(grep -c digest first)" = 2 ] || fail 'no digests'
awk -F'\t' '$3 == "scale_in" { n++; if ($5 >= 0 || index($6, $4 ":") != 1) exit 1 } END { exit !n }' first ||
    fail 'a block that is scaled in is not named'
# With the scores of its blocks a decision is the same; who is scaled out has a score and no gate.
replay --scores trace.csv --policy scaler-similarity >scores
[ "$(grep -v '	score	' scores)" = "$(grep 'scaler-similarity' first | sed 's/; right in [^;]*;/;/')" ] ||
    fail 'scores change decisions'
awk -F'\t' '$3 == "score" { if (NF != 11 || $1 != at) exit 1; if ($4 == block && ($5 == "nan" || $11 != "0")) exit 1; n++; next }
    { at = $1; block = $3 == "scale_out" ? $4 : "-" } END { exit !n }' scores || fail 'scores do not fit the decisions'
replay --quiet trace.csv --policy "$plugins/scaler-similarity.so:gate=0.5" >other
[ "$(grep -o 'digest.*' other)" != "$(grep -o 'digest.*' first | head -1)" ] ||
    fail 'other options give the same digest'

echo '5000,block,db,cpu,much' >broken.csv
! replay broken.csv --policy scaler-similarity 2>error || fail 'a broken trace is replayed'
grep -q '^broken.csv:1: value: not a number: much$' error || fail "no clear error: $(cat error)"
! replay none.csv --policy scaler-similarity 2>error || fail 'no trace is replayed'
grep -q '^none.csv: No such file' error || fail "no clear error: $(cat error)"
: >empty.csv
! replay empty.csv --policy scaler-similarity 2>error || fail 'an empty trace is replayed'
grep -q '^empty.csv: no window' error || fail "no clear error: $(cat error)"
# An interval of two windows: half as many decisions.
sed 's/,window_ms,5000$/&\n1763980205000,service,simulated,interval_ms,10000/;2q' trace.csv >every.csv
sed 1,2d trace.csv >>every.csv
replay --quiet every.csv --policy scaler-similarity >every
count() { grep -o '[0-9]* decisions' "$1" | cut -d' ' -f1; }
[ $(($(count every) * 2)) -le $(($(count other) + 2)) ] || fail "not every second window: $(cat every)"
# What was recommended minutes ago, and never followed, does not scale out a block that idles now.
awk 'BEGIN { for (i = 1; i <= 40; i++) { t = 5000 * i; c = i < 6 ? 2.1 : 0.3
    printf "%d,block,a,cpu,%g\n", t, c
    n = split("scalable,1 desired,2 ready,2 starting,0 minimum,1 maximum,9", s, " ")
    for (j = 1; j <= n; j++) printf "%d,block,a,%s\n", t, s[j] } }' >idle.csv
replay idle.csv --policy scaler-threshold >idle
[ "$(grep -c scale_out idle)" -gt 3 ] || fail 'the busy block is not scaled out'
! sed -n 15,40p idle | grep scale_ || fail 'an old recommendation moves an idle block'
echo '1763980205000,nobody' >broken-labels.csv
! replay trace.csv --labels broken-labels.csv --policy scaler-similarity 2>error ||
    fail 'labels of what is not in the trace are taken'
grep -q '^broken-labels.csv:1: the trace has no nobody$' error || fail "no clear error: $(cat error)"
echo 'later,db' >broken-labels.csv
! replay trace.csv --labels broken-labels.csv --policy scaler-similarity 2>error ||
    fail 'broken labels are taken'
grep -q '^broken-labels.csv:1: ' error || fail "no clear error: $(cat error)"
! sim find --policy scaler-similarity:gate=much 2>error || fail 'a wrong option is taken'
grep -q gate error || fail "no clear error: $(cat error)"
! sim find --policy no-such-policy 2>error || fail 'an unknown policy is taken'
grep -q no-such-policy error || fail "no clear error: $(cat error)"
# What could not be written is no result.
! sim record --seed 3 --policy scaler-random --csv /dev/full --labels full.csv 2>error || fail 'a full disk is well'
grep -q '/dev/full: No space left' error || fail "no clear error: $(cat error)"
! replay idle.csv --policy scaler-random 2>error >/dev/full || fail 'a full disk is well'
grep -q 'No space left' error || fail "no clear error: $(cat error)"
! sim nothing 2>error || fail 'an unknown experiment runs'
echo ok

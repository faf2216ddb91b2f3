#!/bin/sh
# usage: without-cmocka.sh SOURCE - the build of `make` needs nothing that only tests need, and a build of
# tests that lacks it says so at once.
set -eu
cd "$1"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/pkg-config" <<'END'
#!/bin/sh
case " $* " in *' cmocka '*) echo "Package cmocka was not found" >&2; exit 1 ;; esac
exec pkg-config "$@"
END
chmod 755 "$folder/pkg-config"
export PKG_CONFIG="$folder/pkg-config"

# The very command of the Makefile, in a folder of its own.
configure=$(make -n build | grep '^cmake --preset dev.* >/dev/null$')
sh -c "${configure% >/dev/null} -B '$folder/build'" >"$folder/log" 2>&1 ||
    { cat "$folder/log"; exit 1; }
if cmake --preset dev -B "$folder/tests" >"$folder/log" 2>&1; then
    echo 'a build of the tests was configured without cmocka'
    exit 1
fi
grep -q 'the tests need cmocka' "$folder/log" || { cat "$folder/log"; exit 1; }

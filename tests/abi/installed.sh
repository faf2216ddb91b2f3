#!/bin/sh
# usage: installed.sh CMAKE BUILD-DIR EXAMPLES CC - installs the headers into a folder of its own, and
# builds the example driver and the example policy against them only: by CMake, and by pkg-config and
# the compiler.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cmake=$1 build=$2 examples=$3 cc=$4
prefix=$(mktemp -d)
trap 'rm -rf "$prefix"' EXIT
"$cmake" --install "$build" --component headers --prefix "$prefix/usr" >"$prefix/log"

# from EXAMPLE NAME LIBRARIES: NAME.so, twice
from() {
    cp -r "$examples/$1" "$prefix/$1"
    "$cmake" -S "$prefix/$1" -B "$prefix/$1/build" -DCMAKE_PREFIX_PATH="$prefix/usr" \
        -DCMAKE_C_COMPILER="$cc" -DCMAKE_INSTALL_PREFIX="$prefix/usr" >>"$prefix/log" 2>&1 ||
        { cat "$prefix/log"; exit 1; }
    "$cmake" --build "$prefix/$1/build" >>"$prefix/log" 2>&1 || { cat "$prefix/log"; exit 1; }
    "$cmake" --install "$prefix/$1/build" >>"$prefix/log" 2>&1 || { cat "$prefix/log"; exit 1; }
    test -f "$(find "$prefix/usr" -path "*/vimd/plugins/$2.so")"

    cd "$prefix/$1"
    # shellcheck disable=SC2046,SC2086
    "$cc" -std=c11 -Wall -Wextra -Werror -shared -fPIC -fvisibility=hidden -o "$2.so" "$2.c" \
        $(pkg-config --cflags --libs vim $3) -lm
    sh "$here/exports.sh" "$prefix/$1/build/$2.so"
    sh "$here/exports.sh" "$prefix/$1/$2.so"
}
PKG_CONFIG_PATH=$(dirname "$(find "$prefix/usr" -name vim.pc)")
export PKG_CONFIG_PATH
from driver-skeleton skeleton jansson
from policy-skeleton busiest ''
"$build/bin/vim-plugin-check" "$prefix/policy-skeleton/busiest.so"

#!/bin/sh
# usage: installed.sh CMAKE BUILD-DIR EXAMPLE-DIR CC - installs the headers into a folder of its own,
# and builds the example driver against them only: by CMake, and by pkg-config and the compiler.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cmake=$1 build=$2 example=$3 cc=$4
prefix=$(mktemp -d)
trap 'rm -rf "$prefix"' EXIT
"$cmake" --install "$build" --component headers --prefix "$prefix/usr" >"$prefix/log"
cp -r "$example" "$prefix/example"

"$cmake" -S "$prefix/example" -B "$prefix/build" -DCMAKE_PREFIX_PATH="$prefix/usr" \
    -DCMAKE_C_COMPILER="$cc" -DCMAKE_INSTALL_PREFIX="$prefix/usr" >>"$prefix/log" 2>&1 ||
    { cat "$prefix/log"; exit 1; }
"$cmake" --build "$prefix/build" >>"$prefix/log" 2>&1 || { cat "$prefix/log"; exit 1; }
"$cmake" --install "$prefix/build" >>"$prefix/log" 2>&1 || { cat "$prefix/log"; exit 1; }
test -f "$prefix/build/skeleton.so"
test -f "$(find "$prefix/usr" -path '*/vimd/plugins/skeleton.so')"

pc=$(dirname "$(find "$prefix/usr" -name vim.pc)")
cd "$prefix/example"
PKG_CONFIG_PATH=$pc
export PKG_CONFIG_PATH
# shellcheck disable=SC2046
"$cc" -std=c11 -Wall -Wextra -Werror -shared -fPIC -fvisibility=hidden -o skeleton.so skeleton.c \
    $(pkg-config --cflags --libs vim jansson)
for so in "$prefix/build/skeleton.so" "$prefix/example/skeleton.so"; do
    sh "$here/exports.sh" "$so"
done

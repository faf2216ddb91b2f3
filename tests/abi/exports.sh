#!/bin/sh
# usage: exports.sh PLUGIN.so - fails unless the plugin exports vim_plugin_entry and nothing else.
# (__odr_asan... are AddressSanitizer's.)
set -eu
found=$(nm -D --defined-only "$1" | awk '{print $NF}' | grep -v '^__odr_asan' | sort | tr '\n' ' ')
if [ "$found" != "vim_plugin_entry " ]; then
    echo "$1 exports: $found"
    exit 1
fi

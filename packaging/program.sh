#!/usr/bin/env bash
# Builds the program for a machine (x86_64 or aarch64), static: with musl, and with zig as the compiler and the linker of what is C.
set -euo pipefail
cd "$(dirname "$0")/.."
. packaging/settings.sh

echo "building klines for $target (the first time takes about 15 minutes)"
# The C code sees the same date for every commit: another one would be a reason to compile it again.
SOURCE_DATE_EPOCH=0 CARGO_INCREMENTAL=0 cargo zigbuild --locked --profile dist -p klines --bin klines --target "$target"

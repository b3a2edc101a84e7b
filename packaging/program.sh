#!/usr/bin/env bash
# Builds the program for a machine (x86_64 or aarch64), static: with musl, and with zig as the compiler and the linker of what is C.
set -euo pipefail
cd "$(dirname "$0")/.."
. packaging/settings.sh

echo "building klines for $target (the first time takes about 15 minutes)"
CARGO_INCREMENTAL=0 cargo zigbuild --locked --profile dist -p klines --bin klines --target "$target"

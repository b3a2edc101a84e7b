#!/usr/bin/env bash
# Makes the Python wheel for a machine. The program is static, so that one wheel serves systems with glibc and with musl.
set -euo pipefail
cd "$(dirname "$0")/.."
. packaging/settings.sh

mkdir -p "$parts/wheel"
cp packaging/pyproject.toml LICENSE "$parts/THIRD-PARTY-NOTICES.txt" "$parts/wheel/"
cp packaging/pypi.md "$parts/wheel/README.md"
cd "$parts/wheel"
CARGO_INCREMENTAL=0 CARGO=$OLDPWD/packaging/zig-cargo maturin build --quiet --target "$target" --out "$out" --compatibility manylinux2014 musllinux_1_2

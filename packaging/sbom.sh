#!/usr/bin/env bash
# Writes the SBOM (CycloneDX): that of the wheel, which maturin makes from Cargo.lock. The packages contain the same program.
set -euo pipefail
cd "$(dirname "$0")/.."
. packaging/settings.sh

wheel=$(find "$out" -name '*.whl' | sort | tail -1)
name=$(python3 -m zipfile --list "$wheel" | grep -o '[^ ]*/sboms/[^ ]*\.json' | head -1)
unzip=$parts/sbom
rm -rf "$unzip"
python3 -m zipfile --extract "$wheel" "$unzip"
# It names the crates of the workspace by their folders.
sed "s#file://$PWD#file:///klines#g" "$unzip/$name" >"$out/klines-$version.cdx.json"

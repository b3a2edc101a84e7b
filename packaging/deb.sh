#!/usr/bin/env bash
# Makes the Debian package for a machine. What it contains is in runtime/Cargo.toml, [package.metadata.deb].
set -euo pipefail
cd "$(dirname "$0")/.."
. packaging/settings.sh

cargo deb --quiet --no-build --no-strip --locked -p klines --profile dist --target "$target" --output "$out/"

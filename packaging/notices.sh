#!/usr/bin/env bash
# Writes the notices of third parties, which every package contains: those of the crates by cargo-about, then those of what is not a
# crate. The crates are those of the whole workspace, because the shipped components are in the program as well.
set -euo pipefail
cd "$(dirname "$0")/.."
. packaging/settings.sh

notices=$parts/THIRD-PARTY-NOTICES.txt
if [[ ! -e $notices || -n $(find Cargo.lock packaging/notices -newer "$notices") ]]; then
  echo "reading the licences of the crates"
  cargo about generate --workspace --locked --fail --config packaging/notices/about.toml packaging/notices/about.hbs >"$notices.new"
  cat packaging/notices/libraries.txt >>"$notices.new"
  mv "$notices.new" "$notices"
fi
cp "$notices" "$out/"

#!/usr/bin/env bash
# Makes everything that is handed out, in target/dist, for the machines that are named (by default all), and the checksums of it.
set -euo pipefail
cd "$(dirname "$0")/.."
. packaging/settings.sh
machines=${*:-x86_64 aarch64}

packaging/tools.sh
rm -rf "$out"
packaging/notices.sh
for machine in $machines; do packaging/program.sh "$machine"; done
packaging/completions.sh
for machine in $machines; do
  for package in archive wheel deb image; do
    echo "packing the $package for $machine"
    "packaging/$package.sh" "$machine"
  done
done
packaging/sbom.sh
(cd "$out" && sha256sum -- * >SHA256SUMS.new && mv SHA256SUMS.new SHA256SUMS)
ls -l "$out"

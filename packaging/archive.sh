#!/usr/bin/env bash
# Makes the archive for a machine: the program in a folder with what belongs to it.
set -euo pipefail
cd "$(dirname "$0")/.."
. packaging/settings.sh

name=klines-$version-$machine-linux
rm -rf "${parts:?}/$name"
mkdir -p "$parts/$name"
install -m 0755 "$program" "$parts/$name/klines"
install -m 0644 LICENSE README.md CHANGELOG.md klines.example.toml .env.example "$parts/THIRD-PARTY-NOTICES.txt" "$parts/$name/"
cp -r "$parts/completions" "$parts/$name/"
tar --create --directory "$parts" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" \
  --mode=u=rwX,go=rX "$name" | gzip --no-name --best >"$out/$name.tar.gz"

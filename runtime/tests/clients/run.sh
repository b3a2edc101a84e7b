#!/usr/bin/env bash
# Stock clients, and abuse, against a running `klines`. Installs everything into target/clients; takes the
# path of the program, and the names of the tests to run (default: all).
set -euo pipefail
cd "$(dirname "$0")/../../.."
klines=$(realpath "${1:-target/release/klines}")
shift || true
here=runtime/tests/clients
private=target/clients
mkdir -p "$private"

if [[ ! -x $private/python/bin/pip ]] || ! cmp -s "$here/requirements.txt" "$private/requirements.txt"; then
  echo "installing pybit, ccxt, pandas and polars into $private/python"
  python3 -m venv --clear "$private/python"
  "$private/python/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"
  cp "$here/requirements.txt" "$private/requirements.txt"
fi
if [[ ! -x $private/sslyze/bin/sslyze ]]; then
  echo "installing sslyze into $private/sslyze"
  python3 -m venv --clear "$private/sslyze"
  "$private/sslyze/bin/pip" install --quiet --disable-pip-version-check sslyze==6.3.1
fi
if [[ ! -d $private/node_modules/playwright-core ]]; then
  command -v npm >/dev/null || { echo "npm is missing: install Node.js 20 or newer" >&2; exit 1; }
  echo "installing playwright-core into $private/node_modules"
  npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$private" playwright-core@1.65.1
fi
if ! command -v chromium >/dev/null; then
  echo "installing chromium"
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null; } || {
    echo "could not install it: type \`sudo apt-get install -y chromium\`" >&2
    exit 1
  }
fi

exec "$private/python/bin/python" -B -X faulthandler "$here/main.py" "$klines" "$@"

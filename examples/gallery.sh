#!/usr/bin/env bash
# The examples as a gallery: signs them, publishes them in a registry of its own on loopback, lists them in an index, and
# serves both until Ctrl-C. Takes the path of klines, the port, and the examples (default: all whose tools are there). Everything
# is in target/gallery.
set -euo pipefail
cd "$(dirname "$0")/.."
klines=$(realpath "$1")
port=$2
shift 2
examples=("$@")
((${#examples[@]})) || examples=(rust python typescript c go rsi-rust rsi-python rsi-typescript)
registry=$(command -v docker-registry || realpath target/docker-registry)

gallery=$PWD/target/gallery
rm -rf "$gallery"
mkdir -p "$gallery/operator" "$gallery/sources"
cat >"$gallery/registry.yml" <<YAML
version: 0.1
log: { level: error, accesslog: { disabled: true } }
storage: { filesystem: { rootdirectory: $gallery/registry } }
http: { addr: 127.0.0.1:$port }
YAML
"$registry" serve "$gallery/registry.yml" >"$gallery/registry.log" 2>&1 &
server=$!
trap 'kill "$server" 2>/dev/null || true' EXIT
trap exit INT TERM
until curl --silent --fail --output /dev/null "http://127.0.0.1:$port/v2/"; do
  kill -0 "$server" 2>/dev/null || { cat "$gallery/registry.log" >&2; exit 1; }
  sleep 0.1
done

# A new key each time. The key of a real publisher has a password that only the publisher knows.
(umask 077 && head -c 24 /dev/urandom | base64 >"$gallery/password")
"$klines" keygen --minisign "$gallery/gallery.key" --password-file "$gallery/password" 2>/dev/null >"$gallery/operator/klines.toml"

built=0
for example in "${examples[@]}"; do
  # Rust examples are members of the workspace; the others are built in a copy, so that the repository stays as it is.
  source=examples/$example
  if [[ $example != *rust ]]; then
    cp -r "$source" "$gallery/sources/"
    source=$gallery/sources/$example
  fi
  component=$gallery/$example.wasm
  if ! "$klines" consumer build "$source" -o "$component" >"$gallery/$example.log" 2>&1; then
    echo "$example is left out: $(tail -n 1 "$gallery/$example.log")"
    continue
  fi
  version=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$source/consumer.toml")
  "$klines" consumer publish "$component" "oci://127.0.0.1:$port/examples/$example:$version" \
    --key "$gallery/gallery.key" --password-file "$gallery/password" --index "$gallery/index.toml" 2>/dev/null
  built=$((built + 1))
done
((built)) || { echo "no example could be built" >&2; exit 1; }

cat <<TEXT

$built examples are published. In another terminal, where klines is $klines:
  cd $gallery/operator
  klines consumer search --index ../index.toml averages
  klines consumer add oci://127.0.0.1:$port/examples/rust:0.1.0 --name crossover
  klines run --demo --config klines.toml --intervals 1s
Ctrl-C ends the registry.
TEXT
wait "$server"

#!/usr/bin/env bash
# Installs what `make dist` needs: the Rust targets by rustup, zig (C compiler and linker), cargo-zigbuild and maturin from PyPI,
# cargo-deb and cargo-about from crates.io, all below target/tools; and buildah from Debian, if it is not there.
set -euo pipefail
cd "$(dirname "$0")/.."
. packaging/settings.sh

rustup target add x86_64-unknown-linux-musl aarch64-unknown-linux-musl
if ! cmp -s packaging/requirements.txt "$tools/requirements.txt"; then
  echo "installing zig, cargo-zigbuild and maturin into $tools/venv"
  python3 -m venv --clear "$tools/venv"
  "$tools/venv/bin/pip" install --quiet --disable-pip-version-check -r packaging/requirements.txt
  cp packaging/requirements.txt "$tools/requirements.txt"
fi

tool() { # NAME VERSION OPTIONS…
  grep -qs "^\"$1 $2 " "$tools/.crates.toml" && return
  echo "building $1 $2 into $tools"
  env -u RUSTFLAGS CARGO_TARGET_DIR="$tools/build" CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
    cargo install --quiet --locked --force --root "$tools" --version "$2" "${@:3}" "$1"
}
tool cargo-deb 3.8.0
tool cargo-about 0.9.3 --features cli
rm -rf "$tools/build"

if ! command -v buildah >/dev/null; then
  echo "installing buildah"
  as_root=; [[ $(id -u) = 0 ]] || as_root=sudo
  $as_root apt-get update -qq && $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends buildah >/dev/null || {
    echo "could not install it: type \`sudo apt-get install -y buildah\`" >&2
    exit 1
  }
fi

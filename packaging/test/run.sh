#!/usr/bin/env bash
# Installs each package of target/dist in a clean place and uses it. Takes the names of the tests to run (default: all). The places are
# below target/dist-test: a Debian from debootstrap, an emulator of arm64, clients from PyPI. Only podman, runc and systemd-nspawn are installed. Needs root.
set -euo pipefail
cd "$(dirname "$0")/../.."
place=target/dist-test
mkdir -p "$place"
[[ $(id -u) = 0 ]] || exec sudo --preserve-env=PATH "$0" "$@"

for package in podman runc systemd-container; do
  dpkg --status "$package" >/dev/null 2>&1 && continue
  echo "installing $package"
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package" >/dev/null
done
for package in debootstrap qemu-user-static; do
  [[ -d $place/$package ]] && continue
  echo "fetching $package"
  mkdir -p "$place/new"
  (cd "$place/new" && { apt-get download -qq "$package" || { apt-get update -qq && apt-get download -qq "$package"; }; } 2>/dev/null)
  dpkg-deb -x "$place"/new/"$package"_*.deb "$place/$package"
  rm -r "$place/new"
done
if [[ ! -x $place/python/bin/python ]]; then
  echo "installing the clients and uv"
  python3 -m venv "$place/python.new"
  "$place/python.new/bin/pip" install --quiet --disable-pip-version-check -r packaging/test/requirements.txt
  "$place/python.new/bin/pip" download --quiet --disable-pip-version-check --no-deps --dest "$place/wheels" uv==0.13.9
  mv "$place/python.new" "$place/python"
fi
if [[ ! -d $place/debian ]]; then
  # From where this machine gets its packages, if it is a Debian.
  mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Origin: Debian' 2>/dev/null | head -1)
  echo "making a Debian 12"
  rm -rf "$place/debian.new"
  DEBOOTSTRAP_DIR=$PWD/$place/debootstrap/usr/share/debootstrap "$place/debootstrap/usr/sbin/debootstrap" --variant=minbase \
    --include=adduser,procps,python3-venv,systemd-sysv bookworm "$place/debian.new" "${mirror:-http://deb.debian.org/debian}" >"$place/debootstrap.log"
  mv "$place/debian.new" "$place/debian"
fi

exec "$place/python/bin/python" -B -X faulthandler packaging/test/main.py "$@"

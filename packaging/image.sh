#!/usr/bin/env bash
# Makes the container image for a machine: an archive for `docker load` and `podman load`. Only the format of docker has a
# health check. The storage of buildah is a folder of its own, so that nothing is left among the images of the user.
set -euo pipefail
cd "$(dirname "$0")/.."
. packaging/settings.sh

name=klines:$version
archive=$out/klines-$version-$machine-image.tar
context=$parts/image-$machine
storage=$parts/containers

rm -rf "$context"
mkdir -p "$context/root/usr/bin" "$context/root/usr/share/doc/klines" "$context/root/etc" "$context/data"
install -m 0755 "$program" "$context/root/usr/bin/klines"
install -m 0644 LICENSE "$parts/THIRD-PARTY-NOTICES.txt" "$context/root/usr/share/doc/klines/"
echo 'klines:x:65532:65532:klines:/data:/sbin/nologin' >"$context/root/etc/passwd"
echo '127.0.0.1 localhost' >"$context/root/etc/hosts"
echo 'klines:x:65532:' >"$context/root/etc/group"

buildah() { command buildah --root "$storage/root" --runroot "$storage/run" --storage-driver vfs "$@"; }
buildah build --quiet --format docker --arch "$debian" --timestamp "$SOURCE_DATE_EPOCH" --tag "$name" \
  --label org.opencontainers.image.version="$version" --label org.opencontainers.image.revision="${KLINES_COMMIT%% *}" \
  --label org.opencontainers.image.licenses=MIT --file packaging/image/Containerfile "$context"
rm -f "$archive" "$archive.gz"
buildah push --quiet "$name" "docker-archive:$archive:$name"
gzip --no-name --best "$archive"
buildah rmi --all --force >/dev/null

# Sourced by the other scripts, which run from the root of the repository: what is built, from which commit, and where it goes.
# All times in what is built are that of the commit, so that the same commit gives the same files.

tools=$PWD/target/tools       # zig, maturin, cargo-deb and the like
build=$PWD/target/dist-build  # of cargo
parts=$PWD/target/dist-parts  # what more than one package contains
out=$PWD/target/dist          # what is handed out

version=$(sed -n '/^\[workspace.package\]/,/^$/s/^version = "\(.*\)"/\1/p' Cargo.toml)
SOURCE_DATE_EPOCH=$(packaging/commit --seconds)
KLINES_COMMIT=${KLINES_COMMIT:-$(packaging/commit)}
CARGO_TARGET_DIR=$build
PATH=$tools/bin:$tools/venv/bin:$PATH
export SOURCE_DATE_EPOCH KLINES_COMMIT CARGO_TARGET_DIR PATH
mkdir -p "$parts" "$out"

machine=${1:-} # x86_64 or aarch64, for the scripts that make a package for one
target=$machine-unknown-linux-musl
program=$build/$target/dist/klines
case $machine in
  x86_64) debian=amd64 ;;
  aarch64) debian=arm64 ;;
  '') ;;
  *) echo "$0: $machine is none of the machines that klines is built for: x86_64, aarch64" >&2 && exit 1 ;;
esac

# No path of the building machine is in the program: neither in its messages nor in what decides whether two builds are equal.
home=${CARGO_HOME:-$HOME/.cargo}
export RUSTFLAGS="--remap-path-prefix=$PWD=/klines --remap-path-prefix=$home=/cargo"
export "CFLAGS_${target//-/_}=-ffile-prefix-map=$PWD=/klines -ffile-prefix-map=$home=/cargo"

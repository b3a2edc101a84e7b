#!/usr/bin/env bash
# Writes the completions of the shells. The program for this machine prints them; they are the same for all.
set -euo pipefail
cd "$(dirname "$0")/.."
. packaging/settings.sh "$(uname -m)"

[[ -x $program ]] || packaging/program.sh "$machine"
mkdir -p "$parts/completions"
for shell in bash zsh fish; do "$program" completions "$shell" >"$parts/completions/klines.$shell"; done

#!/usr/bin/env bash
# The instructions of the hot paths, against those that are committed: fails where one is more than 3 % off, up or down.
#
#   bench/instructions.sh            compare with figures/instructions.json
#   bench/instructions.sh --accept   write it anew
#
# Each is the least of three runs: what is left of chance (the seeds of hash maps) then stays under 1 %. The figures hold
# for one compiler on x86-64; with another, compare a checkout of the commit before with this one.
# Needs: valgrind, python3, and `cargo install gungraun-runner --version 0.20.0 --locked`. BENCH_TARGET says where to build;
# the first build takes minutes.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
target=$(realpath -m "${BENCH_TARGET:-$here/../target/bench}")
for need in cargo python3 valgrind "${GUNGRAUN_RUNNER:-gungraun-runner}"; do
    command -v "$need" >/dev/null || { printf '%s is not there\n' "$need" >&2; exit 69; }
done
runs=$(mktemp)
trap 'rm -f "$runs"' EXIT
for _ in 1 2 3; do
    GUNGRAUN_HOME=$target/gungraun cargo bench --quiet --locked --manifest-path "$here/Cargo.toml" --target-dir "$target" \
        --bench instructions -- --output-format=json >>"$runs"
done
python3 "$here/instructions.py" "$runs" "$here/figures/instructions.json" "$(rustc --version)" "$@"

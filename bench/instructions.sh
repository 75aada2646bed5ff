#!/usr/bin/env bash
# Counts the instructions of the hot paths and compares them with the committed figures: fails if one differs by more
# than 3 %, in either direction.
#
#   bench/instructions.sh            compare with figures/instructions.json
#   bench/instructions.sh --accept   write it anew
#
# Each figure is the least of three runs, which keeps random variation (the seeds of hash maps) under 1 %. The figures
# hold for one compiler on x86-64; with another compiler, compare with a checkout of the previous commit instead. Needs
# valgrind and python3. BENCH_TARGET says where to build; the first build takes minutes.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
target=$(realpath -m "${BENCH_TARGET:-$here/../target/bench}")
for need in cargo python3 valgrind; do
    command -v "$need" >/dev/null || { printf '%s is not there\n' "$need" >&2; exit 69; }
done
cargo build --quiet --release --locked --manifest-path "$here/../Cargo.toml" --target-dir "$target" --example instructions
program=$target/release/examples/instructions
names=$("$program")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# By default jemalloc collects its thread caches by the clock, so a slower run collects more often. With this setting it
# goes by the bytes allocated instead.
export _RJEM_MALLOC_CONF=experimental_tcache_gc:false
for _ in 1 2 3; do
    for name in $names; do
        valgrind --tool=callgrind --toggle-collect='instructions::counted' --callgrind-out-file="$scratch/counted" \
            "$program" "$name" >"$scratch/log" 2>&1 || { cat "$scratch/log" >&2; exit 1; }
        printf '%s %s\n' "$name" "$(sed -n 's/^totals: //p' "$scratch/counted")" >>"$scratch/runs"
    done
done
python3 "$here/instructions.py" "$scratch/runs" "$here/figures/instructions.json" "$(rustc --version)" "$@"

#!/bin/sh
# Full load for so many minutes (10 unless said otherwise), then quiet: memory, descriptors, threads and tasks before the
# load, in its midst, and after it. Needs a release build and python3. Everything stays on loopback.
# Usage: bench/soak.sh [minutes]
set -eu
cd "$(dirname "$0")/.."
exec python3 bench/soak.py "${1:-10}" "${RELAY:-target/release/relay}"

#!/bin/sh
# Full load for so many minutes (10 unless said otherwise), then quiet for so many seconds (35, in which what the relay
# keeps grows too old): memory, descriptors, threads and tasks before the load, in its midst, and after it. Needs a
# release build and python3. Everything stays on loopback.
# Usage: bench/soak.sh [minutes [seconds]]
set -eu
cd "$(dirname "$0")/.."
exec python3 bench/soak.py "${1:-10}" "${2:-35}" "${RELAY:-target/release/relay}"

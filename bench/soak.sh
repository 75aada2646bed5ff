#!/bin/sh
# Runs the full load for some minutes (10 by default), then waits for some seconds (35 by default, so that retained
# messages expire). Shows memory, descriptors, threads and tasks before, during and after the load. Needs a release
# build and python3; everything stays on loopback.
#
# Usage: bench/soak.sh [minutes [seconds]]
set -eu
cd "$(dirname "$0")/.."
exec python3 bench/soak.py "${1:-10}" "${2:-35}" "${RELAY:-target/release/relay}"

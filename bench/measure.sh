#!/usr/bin/env bash
# Relay against its floors: what it costs, and whether that is within the bars.
#
#   bench/measure.sh path/to/relay [rounds] [group ...]
#
# Groups: fanout growth topics mixed publish sizes connects idle; all of them when none is named, which takes about three
# minutes a round. And stalled, which takes eight: what 5,000 readers that stop cost 2,000 others. Server on processor 0, load on processor 1, on loopback; each run has a fresh server, behind each
# floor's comes Relay's, and in every other round before it. Ends by itself, with 1 where a message was lost, a connection ended, or a bar is
# missed. RUNS=file keeps the lines of JSON that the table is made of; BENCH_TARGET says where to build.
# Needs: cargo, python3, taskset; two processors; 19,500 descriptors; ports 28700 to 28703 free.
set -euo pipefail

[ $# -ge 1 ] || { sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 64; }
relay=$(realpath "$1")
rounds=${2:-5}
shift $(($# > 1 ? 2 : 1))
groups=("$@")
[ ${#groups[@]} -gt 0 ] || groups=(fanout growth topics mixed publish sizes connects idle)
here=$(cd "$(dirname "$0")" && pwd)
target=${BENCH_TARGET:-$here/../target/bench}

for need in cargo python3 taskset; do
    command -v "$need" >/dev/null || { printf '%s is not there\n' "$need" >&2; exit 69; }
done
"$relay" --version >/dev/null || { printf '%s is no relay: cargo build --release\n' "$relay" >&2; exit 66; }
cargo build --quiet --release --locked --manifest-path "$here/Cargo.toml" --target-dir "$target" --bins
load=$target/release/load
floor=$target/release/floor
bare=$target/release/bare-hyper

# The servers' output goes outside of the working directory: Relay watches its configuration's directory, and each line
# written there would wake it.
work=$(mktemp -d)
out=$(mktemp)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$work" "$out"' EXIT
runs=${RUNS:-$work/runs}
: >"$runs"
cp "$here/relay.toml" "$here/bench.json" "$work"
"$target/release/certify" "$work"
{ cat "$here/relay.toml"; printf '[server.tls]\ncert = "cert.pem"\nkey = "key.pem"\n'; } >"$work/relay-tls.toml"
# The last table of relay.toml is [limits]. Nobody is closed for not reading while it is measured what that costs.
{ cat "$here/relay.toml"; printf 'write_stall = "1 h"\nping_interval = "1 h"\n'; } >"$work/relay-stalled.toml"

listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
for port in 28700 28701 28702 28703; do
    ! listens "$port" || { printf 'port %s is taken\n' "$port" >&2; exit 69; }
done

# Starts a server on processor 0 and waits until it listens.
start() {
    local port=$1
    shift
    taskset -c 0 "$@" >"$out" 2>&1 &
    server=$!
    for _ in $(seq 100); do
        if listens "$port"; then return; fi
        kill -0 "$server" 2>/dev/null || break
        sleep 0.05
    done
    cat "$out" >&2
    printf 'did not start: %s\n' "$*" >&2
    exit 1
}

# Runs one load against a fresh server: run <server> <scenario> <arguments of the load>
run() {
    local name=$1 scenario=$2 port config=relay.toml
    shift 2
    case $name in
    relay)
        port=28700
        case $scenario in
        idle-tls) config=relay-tls.toml ;;
        stalled-*) config=relay-stalled.toml ;;
        esac
        start "$port" "$relay" run --config "$work/$config"
        ;;
    floor) port=28702; start "$port" "$floor" "$port" ;;
    bare) port=28703; start "$port" "$bare" "$port" ;;
    esac
    if ! timeout 400 "$load" --address "127.0.0.1:$port" --pid "$server" --processor 1 --label "$name-$scenario" "$@" >>"$runs"; then
        tail -n 20 "$out" >&2
        printf 'failed: %s %s\n' "$name" "$scenario" >&2
        exit 1
    fi
    kill -0 "$server" 2>/dev/null || { tail -n 20 "$out" >&2; printf 'the server died\n' >&2; exit 1; }
    kill "$server"
    wait "$server" 2>/dev/null || true
    server=
}

# Runs the same load on a floor and on Relay, one directly after the other: the machine's speed drifts within a minute.
pair() {
    local under=$1
    shift
    if [ $((round % 2)) = 1 ]; then
        run "$under" "$@"
        run relay "$@"
    else
        run relay "$@"
        run "$under" "$@"
    fi
}

group() {
    local size window messages connections count
    case $1 in
    fanout)
        pair floor w1 fanout --messages 600 --warmup 60
        pair floor w8 fanout --window 8 --messages 2000 --warmup 200
        pair floor paced50 fanout --window 8 --rate 50 --messages 200 --warmup 20
        ;;
    growth)
        pair floor growth-1000 fanout --messages 300 --warmup 30
        pair floor growth-19000 fanout --connections 19000 --messages 60 --warmup 10
        ;;
    topics)
        pair floor topics-10 topics --topics 10 --messages 20000 --warmup 10000
        pair floor topics-10000 topics --topics 10000 --messages 20000 --warmup 10000
        ;;
    mixed)
        pair floor mixed-1 fanout --messages 300 --warmup 30
        pair floor mixed-200 mixed --messages 5000 --warmup 500
        ;;
    publish)
        for connections in 1 64; do
            pair bare "publish-$connections" publish --connections "$connections" --requests 50000 --warmup 5000
        done
        ;;
    sizes)
        for window in 1 8; do
            for size in 100 1024 16384 204800; do
                messages=$((size > 100000 ? 30 : size > 10000 ? 100 : 300))
                pair floor "size-$size-w$window" fanout --size "$size" --window "$window" \
                    --messages "$messages" --warmup $((messages / 10))
            done
        done
        ;;
    connects)
        pair floor connects connects
        ;;
    idle)
        # There is no floor to compare with, and further rounds would only add the machine's drift: one round is enough.
        if [ "$round" = 1 ]; then
            run relay idle idle
            run relay idle-tls idle --connections 4000 --hold 1 --tls "$work/cert.pem"
        fi
        ;;
    stalled)
        # Slow enough that the machine has time to spare, and enough messages to fill the window and the ring.
        # Until their sockets are full, those that stop cost what those cost that read: that is the warm-up.
        for count in 0 5000; do
            run relay "stalled-$count" fanout --connections 2000 --stalled "$count" --size 1024 --window 64 --rate 25 \
                --messages 5000 --warmup 250
        done
        ;;
    *)
        printf 'no such group: %s\n' "$1" >&2
        exit 64
        ;;
    esac
}

for round in $(seq "$rounds"); do
    for what in "${groups[@]}"; do group "$what"; done
done
python3 "$here/table.py" "$runs"

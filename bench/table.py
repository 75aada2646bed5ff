"""The table of bench/measure.sh: medians over the rounds, each ratio taken within its pair, beside their bars."""

import collections
import json
import statistics
import sys

runs = collections.defaultdict(list)
for line in open(sys.argv[1], encoding="utf-8"):
    run = json.loads(line)
    runs[run["label"]].append(run)

COST, USER, P99, RATE = "us_per_delivery", "user_us_per_delivery", "p99_us", "requests_per_s"
BYTES, CONNECTS, HELD, GROWN = "payload_bytes_per_s", "connects_per_s", "bytes_per_connection", "grown_bytes"


def plain(label, field, scale=1.0):
    return [run[field] / scale for run in runs[label]]


def ratio(over, under, field):
    return [a[field] / b[field] for a, b in zip(runs[over], runs[under])]


def against_floor(scenario, field, floor="floor"):
    return ratio(f"relay-{scenario}", f"{floor}-{scenario}", field)


def size(size):
    windows = [against_floor(f"size-{size}-w{window}", BYTES) for window in (1, 8)]
    return [min(pair) for pair in zip(*windows)]


def share(scenario, base, field):
    """What relay's figure grows by, and beside it what the floor's does."""
    return ratio(f"relay-{scenario}", f"relay-{base}", field), ratio(f"floor-{scenario}", f"floor-{base}", field)


def rows():
    def row(what, bar, limit, unit, values, beside=()):
        return what, bar, limit, unit, values, beside

    floors = lambda scenario: plain(f"floor-{scenario}", COST)
    yield row("w1: one message outstanding, 1,000 subscribers", "<=", 1.10, "x floor", against_floor("w1", COST), floors("w1"))
    yield row("w1: user time", "<=", 0.20, "us", plain("relay-w1", USER), plain("floor-w1", USER))
    yield row("paced50: it wakes up for each message", "<=", 1.12, "x floor", against_floor("paced50", COST), floors("paced50"))
    yield row("w8: bursts", "<=", 0.40, "x floor", against_floor("w8", COST), floors("w8"))
    yield row("w1: p99 latency", "<=", 1.15, "x floor", against_floor("w1", P99), plain("floor-w1", P99))
    yield row("paced50: p99 latency", "<=", 1.15, "x floor", against_floor("paced50", P99), plain("floor-paced50", P99))
    yield row("idle connection, plain", "<=", 2.5, "KiB", plain("relay-idle", HELD, 1024))
    yield row("idle connection, TLS", "<=", 12.0, "KiB", plain("relay-idle-tls", HELD, 1024))
    yield row("idle for a minute, 8,000 connections, pings on", "<=", 1.0, "% CPU", plain("relay-idle", "processor_percent"))
    yield row("19,000 subscribers: a delivery", "<=", 1.15, "x 1,000", *share("growth-19000", "growth-1000", COST))
    yield row("10,000 topics, one subscriber each: a publish", "<=", 1.25, "x 10", *share("topics-10000", "topics-10", "us_per_publish"))
    yield row("1,000 connections on 20 of 200 topics: a delivery", "<=", 1.50, "x w1", *share("mixed-200", "mixed-1", COST))
    for connections in (1, 64):
        floor = plain(f"bare-publish-{connections}", RATE)
        measured = against_floor(f"publish-{connections}", RATE, "bare")
        yield row(f"publishes, {connections} keep-alive: requests/s", ">=", 0.70, "x hyper", measured, floor)
    for bytes_, name in ((100, "100 B"), (1024, "1 KiB"), (16384, "16 KiB"), (204800, "200 KiB")):
        floor = [value / 1e6 for value in plain(f"floor-size-{bytes_}-w1", BYTES)]
        yield row(f"payloads of {name}: MB/s, the worse of w1 and w8", ">=", 0.80, "x floor", size(bytes_), floor)
    spared = zip(plain("relay-stalled-0", GROWN), plain("relay-stalled-5000", GROWN))
    yield row("5,000 readers that stop: memory for each", "<=", 2.0, "KiB", [(b - a) / 5000 / 1024 for a, b in spared])
    p99, alone = ratio("relay-stalled-5000", "relay-stalled-0", P99), plain("relay-stalled-0", P99)
    yield row("5,000 readers that stop: p99 of 2,000 others", "<=", 2.0, "x alone", p99, alone)
    floor = plain("floor-connects", CONNECTS)
    yield row("connects/s, handshake and subscription", ">=", 0.70, "x floor", against_floor("connects", CONNECTS), floor)


def short(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


missed = False
print(f"{'figure':52}{'bar':>16}{'relay':>9}{'from':>8}{'to':>8}{'floor':>10}")
for what, bar, limit, unit, values, beside in rows():
    if not values:
        continue
    middle = statistics.median(values)
    good = middle <= limit if bar == "<=" else middle >= limit
    missed |= not good
    floor = short(statistics.median(beside)) if beside else ""
    limits = f"{bar} {limit:.2f} {unit}"
    spread = f"{short(min(values)):>8}{short(max(values)):>8}"
    print(f"{what:52}{limits:>16}{short(middle):>9}{spread}{floor:>10}  {'ok' if good else 'MISSED'}")
sys.exit(1 if missed else 0)

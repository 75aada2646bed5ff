"""The load of bench/soak.sh: publishers without pause, WebSocket readers that read, that do not, and that come and go,
event streams, wrong requests, and reloads. Ends with 1 when something did not come back to its base."""

import asyncio
import base64
import json
import os
import re
import socket as socketlib
import sys
import tempfile
import time

MINUTES, QUIET, RELAY = float(sys.argv[1]), float(sys.argv[2]), os.path.abspath(sys.argv[3])
CONFIG = """version = 1
[server]
listen = "127.0.0.1:0"
admin = "127.0.0.1:0"
[log]
level = "info"
[topics.cats]
schema = "cat.json"
history = { count = 1000, bytes = "1 MiB", age = "20 s" }
[anonymous]
publish = ["cats"]
subscribe = ["cats"]
[limits]
outbound = "4 MiB"
window = "4 MiB"
send_buffer = "16 KiB"
write_stall = "10 s"
drain = "5 s"
"""
counts = dict.fromkeys(["published", "received", "events", "gone", "refused", "reloads", "opened"], 0)
stop = asyncio.Event()


def schema(n):
    return json.dumps({"type": "object", "properties": {"name": {"type": "string", "maxLength": 5000 + n % 7}}})


async def request(address, head, body=b""):
    reader, writer = await asyncio.open_connection(*address)
    try:
        writer.write(f"{head}\r\nHost: localhost\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
        answer = await asyncio.wait_for(reader.read(), 20)
        return int(answer.split(b" ", 2)[1]) if answer else 0, answer.partition(b"\r\n\r\n")[2]
    finally:
        writer.close()


async def publisher(address):
    body = json.dumps({"name": "x" * 200}).encode()
    head = "POST /publish/cats HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    text = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    while not stop.is_set():
        reader, writer = await asyncio.open_connection(*address)
        for _ in range(500):
            writer.write(text)
            header = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(re.search(rb"content-length: (\d+)", header).group(1)))
            counts["published" if b" 200 " in header[:20] else "refused"] += 1
            if stop.is_set():
                break
        writer.close()


def masked(text):
    mask, text = os.urandom(4), text.encode()
    return bytes([0x81, 0x80 | len(text)]) + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(text))


async def upgrade(address, narrow=False):
    socket = socketlib.socket()
    if narrow:
        # Keep the kernel from buffering much on behalf of a reader that does not read.
        socket.setsockopt(socketlib.SOL_SOCKET, socketlib.SO_RCVBUF, 4096)
    socket.setblocking(False)
    await asyncio.get_running_loop().sock_connect(socket, address)
    reader, writer = await asyncio.open_connection(sock=socket, limit=1024 if narrow else 1 << 16)
    key = base64.b64encode(os.urandom(16)).decode()
    writer.write(
        f"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
    )
    await reader.readuntil(b"\r\n\r\n")
    writer.write(masked('{"topics":["cats"]}'))
    counts["opened"] += 1
    return reader, writer


async def read_for(reader, seconds, what):
    end = time.monotonic() + seconds
    while not stop.is_set() and time.monotonic() < end:
        try:
            chunk = await asyncio.wait_for(reader.read(1 << 16), 1)
        except asyncio.TimeoutError:
            continue
        if not chunk:
            counts["gone"] += 1
            return
        counts[what] += len(chunk)


async def websocket(address, seconds):
    while not stop.is_set():
        reader, writer = await upgrade(address)
        await read_for(reader, seconds, "received")
        writer.close()


async def deaf(address):
    while not stop.is_set():
        reader, writer = await upgrade(address, narrow=True)
        reader._transport.pause_reading()
        try:
            await asyncio.wait_for(stop.wait(), 15)
        except asyncio.TimeoutError:
            pass
        writer.transport.abort()


async def stream(address):
    while not stop.is_set():
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"GET /events?topic=cats HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await read_for(reader, 10, "events")
        writer.close()


async def stranger(address):
    wrong = [
        ("POST /publish/cats HTTP/1.1\r\nContent-Type: application/json", b'{"name":1}'),
        ("POST /publish/dogs HTTP/1.1\r\nContent-Type: application/json", b"1"),
        ("GET /nowhere HTTP/1.1", b""),
        ("GET /topics HTTP/1.1\r\nAuthorization: Bearer wrong", b""),
    ]
    while not stop.is_set():
        for head, body in wrong:
            status, _ = await request(address, head, body)
            assert 400 <= status < 500, (status, head)
        await asyncio.sleep(0.05)


async def reloads(admin, directory):
    while not stop.is_set():
        counts["reloads"] += 1
        with open(f"{directory}/cat.json", "w") as file:
            file.write(schema(counts["reloads"]))
        status, body = await request(admin, "POST /reload HTTP/1.1")
        assert status == 200, body
        await asyncio.sleep(1)


async def figures(pid, admin):
    with open(f"/proc/{pid}/status") as file:
        status = dict(line.split(":", 1) for line in file)
    _, metrics = await request(admin, "GET /metrics HTTP/1.1")
    tasks = re.findall(r'relay_tasks\{task="([^"]+)"\} (\d+)', metrics.decode())
    value = lambda name: int(re.search(rf"^relay_{name} (\d+)", metrics.decode(), re.M).group(1))
    connections = re.findall(r"^relay_connections\{.*\} (\d+)", metrics.decode(), re.M)
    return {
        "rss_kib": int(status["VmRSS"].split()[0]),
        "fds": len(os.listdir(f"/proc/{pid}/fd")),
        "threads": int(status["Threads"]),
        "tasks": {name: int(n) for name, n in tasks},
        "connections": sum(map(int, connections)),
        "outbound": value("outbound_bytes"),
        "panics": value("panics_total"),
    }


async def load(address, admin, directory, seconds, pid):
    tasks = [publisher(address) for _ in range(4)]
    tasks += [websocket(address, 1e9) for _ in range(100)] + [websocket(address, 3) for _ in range(30)]
    tasks += [deaf(address) for _ in range(30)] + [stream(address) for _ in range(30)]
    tasks += [stranger(address), reloads(admin, directory)]
    tasks = [asyncio.ensure_future(task) for task in tasks]
    end = time.monotonic() + seconds
    middle = None
    try:
        while time.monotonic() < end:
            await asyncio.sleep(min(5, seconds / 4))
            for task in tasks:
                if task.done() and task.exception():
                    raise task.exception()
            middle = await figures(pid, admin)
    finally:
        stop.set()
        await asyncio.wait(tasks, timeout=30)
    return middle


async def main():
    with tempfile.TemporaryDirectory() as directory:
        for name, text in [("relay.toml", CONFIG), ("cat.json", schema(0))]:
            with open(f"{directory}/{name}", "w") as file:
                file.write(text)
        log = open(f"{directory}/log", "w+")
        relay = await asyncio.create_subprocess_exec(RELAY, "run", cwd=directory, stderr=log)
        try:
            return await soak(relay, log.name, directory)
        finally:
            if relay.returncode is None:
                relay.kill()
                await relay.wait()


async def soak(relay, log, directory):
    while "relay is running" not in open(log).read():
        assert relay.returncode is None, open(log).read()
        await asyncio.sleep(0.05)
    line = re.search(r'listen=(\S+) admin="(\S+)"', open(log).read())
    address, admin = [(place.rsplit(":", 1)[0], int(place.rsplit(":", 1)[1])) for place in line.groups()]
    # A short warm-up with the full load fills pools and caches; the figures after it are the base.
    await load(address, admin, directory, min(20, MINUTES * 6), relay.pid)
    stop.clear()
    await asyncio.sleep(QUIET)
    base = await figures(relay.pid, admin)
    counts.update(dict.fromkeys(counts, 0))
    began = time.monotonic()
    middle = await load(address, admin, directory, MINUTES * 60, relay.pid)
    took = time.monotonic() - began
    await asyncio.sleep(QUIET)
    end = await figures(relay.pid, admin)
    print(f"{took:.0f} s of load:", json.dumps(counts))
    for name, found in [("base", base), ("load", middle), ("end", end)]:
        print(name, json.dumps(found))
    relay.terminate()
    code = await asyncio.wait_for(relay.wait(), 20)
    sound = (
        code == 0
        and end["panics"] == 0
        and end["outbound"] == 0
        and end["fds"] <= base["fds"] + 2
        and end["tasks"] == base["tasks"]
        and end["rss_kib"] <= base["rss_kib"] * 1.2 + 4096
    )
    print("back at its base" if sound else f"NOT back at its base (exit code {code})")
    return 0 if sound else 1


sys.exit(asyncio.run(main()))

#!/usr/bin/python3
"""A publisher and a subscriber that exchange numbered messages until stdin ends, then say how it went as JSON.

Run inside the clients' namespace. Never connects again: what it counts is one connection's luck.
"""

import json
import pathlib
import select
import struct
import sys
import time

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[1] / "support")]

import harness
import wire

# Time between messages, seconds: some hundreds a second, so that a stop shows as a gap.
pause = 0.002


def main():
    router = harness.Router("pollux", None, 1, f"traffic-{sys.argv[1]}")
    subscriber = wire.connected(router, "subscriber")
    subscriber.send(wire.subscribe(router.topic("a"), 1))
    subscriber.packet()
    publisher = wire.connected(router, "publisher")
    print("running", flush=True)
    result = {"messages": 0, "longest_ms": 0.0, "error": None}
    try:
        while not select.select([sys.stdin], [], [], pause)[0]:
            exchange(router, publisher, subscriber, result)
    except (OSError, AssertionError, wire.Closed) as error:
        result["error"] = str(error) or type(error).__name__
    print(json.dumps(result), flush=True)


def exchange(router, publisher, subscriber, result):
    """One message of QoS 1 there, with all its acknowledgements."""
    start = time.monotonic()
    body = struct.pack(">I", result["messages"])
    publisher.send(wire.publish(router.topic("a"), body, 1))
    first, _ = publisher.packet()
    harness.equal(first, 0x40, "PUBACK")
    first, data = subscriber.packet()
    harness.expect(first == 0x32 and data.endswith(body), f"message {result['messages']}: 0x{first:02x} {data!r}")
    at = 2 + len(router.topic("a"))
    subscriber.send(wire.packet(0x40, data[at:at + 2]))
    result["messages"] += 1
    result["longest_ms"] = max(result["longest_ms"], (time.monotonic() - start) * 1000)


main()

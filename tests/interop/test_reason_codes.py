"""Reason codes and what comes with them: each code where the specification puts it, and nothing where it puts nothing."""

import os
import signal
import struct
import subprocess
import time

import wire
from harness import equal, eventually, expect, lab, state, test
from wire import Wire, connack, connected, packet, properties, take_properties, text, will

pollux = ("pollux",)


def disconnected(connection, seconds=5):
    """Reason code of the DISCONNECT before the end; None: there was none."""
    return [body[0] if body else 0 for first, body in connection.wait_closed(seconds) if first == 0xE0]


def acknowledged(connection, data):
    """Sends, and takes the answer apart: first byte, packet identifier, reason codes or b'', properties."""
    connection.send(data)
    first, body = connection.packet()
    if first in (0x90, 0xB0):
        found, codes = take_properties(body[2:])
        return first, body[:2], codes, found
    codes, rest = body[2:3], body[3:]
    return first, body[:2], codes, take_properties(rest)[0] if rest else []


@test(targets=pollux)
def no_properties(router):
    """Acknowledgements bear neither reason string nor user properties, whatever was asked for, CONNACK and DISCONNECT no user
    properties: so none can make a packet too large, and Request Problem Information 0 holds."""
    for asked in (b"", properties((0x17, 0)), properties((0x17, 1))):
        connection = Wire(router)
        _, reason, found = connack(connection, router.client_id("x"), properties=asked)
        equal((reason, 0x26 in found, 0x1F in found), (0, False, False), "CONNACK")
        cases = [
            (wire.publish(router.topic("nobody"), b"x", 1, 5, 1), (0x40, b"\0\1", b"\x10", [])),
            (wire.publish("$SYS/x", b"x", 1, 5, 2), (0x40, b"\0\2", b"\x87", [])),
            (wire.publish("$SYS/x", b"x", 2, 5, 3), (0x50, b"\0\3", b"\x87", [])),
            (wire.publish(router.topic("nobody"), b"x", 2, 5, 4), (0x50, b"\0\4", b"\x10", [])),
            (packet(0x62, b"\0\4"), (0x70, b"\0\4", b"", [])),
            (packet(0x62, b"\0\x09"), (0x70, b"\0\x09", b"\x92", [])),
            (packet(0x50, b"\0\x09"), (0x62, b"\0\x09", b"\x92", [])),
            (wire.subscribe("a/" * 200, 0, 5, 5), (0x90, b"\0\5", b"\x8f", [])),
            (packet(0xA2, b"\0\6\0" + text(router.topic("never"))), (0xB0, b"\0\6", b"\x11", [])),
        ]
        for data, wanted in cases:
            equal(acknowledged(connection, data), wanted, f"answer to {data[:30]!r}")
        connection.send(packet(0x30, text("a") + b"\x03\x23\x00\x00"))
        (first, body), = connection.wait_closed()
        equal((first, body[0]), (0xE0, 0x94), "DISCONNECT, topic alias invalid")
        found = dict(take_properties(body[1:])[0]) if len(body) > 1 else {}
        equal((0x26 in found, 0x1F in found), (False, asked == properties((0x17, 1))), "user property, reason string")


@test(targets=pollux)
def topic_beyond_the_bounds(router):
    """Well-formed, but not accepted here: 0x90 in PUBACK and PUBREC, in DISCONNECT where nothing is acknowledged."""
    deep = "/".join("x" * 200)
    connection = connected(router, "x", 5)
    for qos, first in ((1, 0x40), (2, 0x50)):
        equal(acknowledged(connection, wire.publish(deep, b"x", qos, 5, 7)), (first, b"\0\7", b"\x90", []), f"QoS {qos}")
    equal(acknowledged(connection, wire.publish(router.topic("a"), b"x", 2, 5, 7))[2], b"\x10", "the identifier is free")
    connection.send(wire.publish(deep, b"x", 0, 5))
    equal(disconnected(connection), [0x90], "QoS 0")
    old = connected(router, "old", 4)
    old.send(wire.publish(deep, b"x", 1))
    equal(old.wait_closed(), [], "3.1.1: the end")


@test(targets=pollux)
def receive_maximum(router):
    """With as many QoS 2 messages unreleased as Receive Maximum allows, QoS 1 is one too many as well: 0x93."""
    for qos in (1, 2):
        connection = Wire(router)
        allowed = connack(connection, router.client_id("x"))[2][0x21]
        for number in range(1, allowed + 1):
            connection.send(wire.publish(router.topic("a"), b"x", 2, 5, number))
        for number in range(1, allowed + 1):
            equal(connection.packet()[1][:2], struct.pack(">H", number), "PUBREC")
        again = wire.publish(router.topic("a"), b"x", 2, 5, 1)
        equal(acknowledged(connection, bytes([again[0] | 8]) + again[1:])[0], 0x50, "one sent again is none too many")
        connection.send(wire.publish(router.topic("a"), b"x", 0, 5) + wire.pingreq)
        equal(connection.packet(), (0xD0, b""), "QoS 0 does not count")
        connection.send(wire.publish(router.topic("a"), b"x", qos, 5, allowed + 1))
        equal(disconnected(connection), [0x93], f"one more of QoS {qos}")


@test()
def receive_maximum_before_5(router):
    """MQTT 3.1.1 has no Receive Maximum: a client may have more QoS 2 messages unreleased than a 5.0 client may."""
    connection = connected(router, "x", 4)
    numbers = range(1, 3001)
    for number in numbers:
        connection.send(wire.publish(router.topic("a"), b"x", 2, 4, number))
    for number in numbers:
        equal(connection.packet(), (0x50, struct.pack(">H", number)), "PUBREC")
    for number in numbers:
        connection.send(b"\x62\x02" + struct.pack(">H", number))
    for number in numbers:
        equal(connection.packet(), (0x70, struct.pack(">H", number)), "PUBCOMP")


@test(targets=pollux)
def no_receive_maximum_before_5(router):
    """Older clients are not told of a Receive Maximum and know none: they may have every identifier unreleased."""
    connection = connected(router, "x", 4)
    count = 65535
    for start in range(1, count + 1, 5000):
        numbers = range(start, min(start + 5000, count + 1))
        connection.send(b"".join(wire.publish(router.topic("a"), b"", 2, 4, number) for number in numbers))
        for number in numbers:
            equal(connection.packet(), (0x50, struct.pack(">H", number)), "PUBREC")
    connection.send(b"".join(packet(0x62, struct.pack(">H", number)) for number in range(1, count + 1)))
    for number in range(1, count + 1):
        equal(connection.packet(), (0x70, struct.pack(">H", number)), "PUBCOMP")


@test(targets=pollux)
def packet_too_large(router):
    """0x95, as soon as the length is there."""
    connection = Wire(router)
    largest = connack(connection, router.client_id("x"))[2][0x27]
    connection.send(bytes([0x30]) + wire.length(largest))
    equal(disconnected(connection), [0x95], "a packet larger than Maximum Packet Size")
    connection = connected(router, "x", 5)
    data = wire.publish(router.topic("a"), b"", 0, 5)
    payload = bytes(largest - len(data) - 2)
    connection.send(wire.publish(router.topic("a"), payload, 0, 5) + wire.pingreq)
    equal(len(wire.publish(router.topic("a"), payload, 0, 5)), largest, "size of the largest packet")
    equal(connection.packet(), (0xD0, b""), "the largest packet is taken")


@test(targets=pollux)
def keep_alive_timeout(router):
    connection = connected(router, "x", 5, keepalive=1)
    equal(disconnected(connection, 15), [0x8D], "silence")


@test(targets=pollux)
def administrative_action(router):
    connection = connected(router, "x", 5)
    subprocess.run([lab, "ctl", "kick", router.client_id("x")], check=True, capture_output=True, timeout=15)
    equal(disconnected(connection), [0x98], "kicked")


@test(targets=pollux)
def too_many_subscriptions(router):
    """0x97 in SUBACK from the first above mqtt.max-subscriptions on (10,000); 0x80 before 5.0; replacing one is always
    allowed."""
    for version, code in ((5, 0x97), (4, 0x80)):
        p = b"\0" if version == 5 else b""
        connection = connected(router, f"x{version}", version)
        names = [text(router.topic(f"s/{number}")) + b"\0" for number in range(10002)]
        connection.send(packet(0x82, b"\0\1" + p + b"".join(names)))
        body = connection.packet(20)[1][2 + len(p):]
        equal((set(body[:10000]), set(body[10000:])), ({0}, {code}), "reason codes")
        connection.send(packet(0x82, b"\0\2" + p + names[0]))
        equal(connection.packet()[1], b"\0\2" + p + b"\0", "one that is there already")


@test(targets=pollux)
def copies_have_their_own_identifiers(router):
    """A shared and a plain subscription of one client give a copy each, each with its own identifier [MQTT-3.3.4-5]."""
    connection = connected(router, "x", 5)
    for number, filter in ((11, router.topic("a")), (22, "$share/g/" + router.topic("a"))):
        equal(connection.subscribe(filter, 0, 5, properties=properties((0x0B, number))), b"\0", "SUBACK")
    connection.send(wire.publish(router.topic("a"), b"x", 0, 5))
    equal(sorted(connection.published(5).property(0x0B) for _ in range(2)), [[11], [22]], "subscription identifiers")
    connection.expect_nothing()


@test(version=[4, 5])
def longest_topic(router, version):
    """65,535 bytes, which is what the length field can say."""
    start = router.topic("")
    topic = start + "x" * (65535 - len(start))
    connection = connected(router, "x", version)
    connection.subscribe(topic, 0, version)
    connection.send(wire.publish(topic, b"x", 0, version))
    equal(connection.published(version).topic, topic, "topic")


@test()
def no_will_no_message(router):
    """3.1.1: without the will flag nothing is published when the connection breaks."""
    watcher = connected(router, "watcher")
    watcher.subscribe(router.topic("#"))
    connection = connected(router, "x")
    connection.send(packet(0x00))
    connection.wait_closed()
    connection = connected(router, "x")
    connection.socket.close()
    watcher.expect_nothing(0.5)


@test(targets=pollux)
def refused_as_usual(router):
    """3.1.1 can not say that a PUBLISH is refused: it is acknowledged, and goes nowhere [MQTT-3.3.5-2]."""
    watcher = connected(router, "watcher")
    watcher.subscribe("$SYS/mine")
    connection = connected(router, "x")
    connection.send(wire.publish("$SYS/mine", b"x", 1, identifier=3))
    equal(connection.packet(), (0x40, b"\0\3"), "PUBACK")
    connection.send(wire.publish("$SYS/mine", b"x", 2, identifier=4))
    equal(connection.packet(), (0x50, b"\0\4"), "PUBREC")
    connection.send(packet(0x62, b"\0\4"))
    equal(connection.packet(), (0x70, b"\0\4"), "PUBCOMP")
    watcher.expect_nothing(0.2)


@test(targets=pollux)
def only_clients_connect(router):
    """The router opens no connections itself: all there are, are to its listener."""
    clients = [connected(router, f"x{number}") for number in range(4)]
    found = router.show("connections")
    expect(len(found) >= len(clients), f"{len(found)} connections")
    equal({c["local-port"] for c in found}, {router.port}, "local ports")


@test(targets=pollux, timeout=60)
def server_shutting_down(router):
    """A dataplane that is stopped says so: 0x8B, and the connections end properly."""
    connection, old = connected(router, "x", 5), connected(router, "old", 4)
    pid = int((state / "dataplane.pid").read_text().split()[0])
    os.kill(pid, signal.SIGTERM)
    try:
        equal(disconnected(connection), [0x8B], "DISCONNECT")
        equal(old.wait_closed(), [], "3.1.1: the end")
        eventually(lambda: not os.path.exists(f"/proc/{pid}"), 10, "the dataplane has ended")
    finally:
        subprocess.run([lab, "start", "dataplane"], check=True, capture_output=True, timeout=60)
    eventually(lambda: subprocess.run([lab, "ctl", "wait", "ready"], capture_output=True, timeout=40).returncode == 0, 40,
               "the new dataplane routes")

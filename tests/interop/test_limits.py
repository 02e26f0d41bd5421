"""A router that offers less than the protocol has (limits.yaml): who is told, who is refused, and with which code."""

import struct

import wire
from harness import equal, test
from wire import Wire, connack, connected, packet, properties, will


def disconnected(connection):
    return [(first, body[:1]) for first, body in connection.wait_closed()]


@test(targets=["pollux"])
def not_offered(router):
    connection = Wire(router)
    found = connack(connection, router.client_id("x"))[2]
    equal([found.get(i) for i in (0x24, 0x25, 0x28, 0x2A)], [1, 0, 0, 0], "maximum QoS, retain, wildcards, shared")
    equal(connection.subscribe(router.topic("a"), 2, 5), b"\x01", "QoS 2 may be asked for, 1 is granted")
    cases = [
        ("QoS 2", wire.publish("a", b"x", 2, 5), b"\x9b"),
        ("retain", wire.publish("a", b"x", 0, 5, retain=True), b"\x9a"),
        ("wildcard", wire.subscribe("a/+", 0, 5), b"\xa2"),
        ("shared", wire.subscribe("$share/g/a", 0, 5), b"\x9e"),
    ]
    for name, data, code in cases:
        connection = connected(router, "x", 5)
        connection.send(data)
        equal(disconnected(connection), [(0xE0, code)], name)
    for name, flags, code in (("will QoS", 0x16, b"\0\x9b"), ("will retain", 0x26, b"\0\x9a")):
        connection = Wire(router)
        connection.send(wire.connect("x", 5, flags=flags, payload=will("a", "m")))
        equal([(first, body[:2]) for first, body in connection.wait_closed()], [(0x20, code)], name)
    old = connected(router, "old", 4)
    equal(old.subscribe("a/+"), b"\x80", "SUBACK to an older client")


@test(targets=["pollux"])
def payload_format(router):
    """A payload that says UTF-8 and is not is refused with 0x99; bytes are bytes."""
    says = properties((0x01, 1))
    subscriber = connected(router, "subscriber", 5)
    subscriber.subscribe(router.topic("a"), 1, 5)
    publisher = connected(router, "publisher", 5)
    for payload, indicator, code in ((b"gr\xc3\xbc\xc3\x9fe", says, b""), (b"a\0b", says, b""), (b"\xff\xfe", b"", b""),
                                     (b"\xff\xfe", says, b"\x99"), (b"a\0\xff", says, b"\x99")):
        publisher.send(wire.publish(router.topic("a"), payload, 1, 5, 7, properties=indicator))
        equal(publisher.packet(), (0x40, b"\0\x07" + code), f"PUBACK for {payload!r}")
        if not code:
            message = subscriber.published(5)
            equal(message.payload, payload, "payload")
            subscriber.send(packet(0x40, struct.pack(">H", message.identifier)))
    publisher.send(wire.publish(router.topic("a"), b"\xff", 0, 5, properties=says))
    equal(disconnected(publisher), [(0xE0, b"\x99")], "at QoS 0 the connection ends")
    connection = Wire(router)
    connection.send(wire.connect("x", 5, flags=0x06, payload=will("a", b"\xff", says)))
    equal([(first, body[:2]) for first, body in connection.wait_closed()], [(0x20, b"\0\x99")], "will")

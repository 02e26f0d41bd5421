"""A router that offers less than the protocol has (limits.yaml): who is told, who is refused, and with which code."""

import struct
import time

import wire
from harness import equal, eventually, expect, test
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
def response_information(router):
    """PREFIX/CLIENT-ID to who asks, if that is a topic and the client takes it."""
    name = router.client_id("x")
    for asked, client_id, wanted in (((), name, None), (((0x19, 0),), name, None), (((0x19, 1),), name, f"answers/{name}"),
                                     (((0x19, 1),), "a+b", None), (((0x19, 1),), "x/#", None),
                                     (((0x19, 1),), "x" * 1100, None), (((0x19, 1), (0x27, 40)), name, None)):
        flags, reason, found = connack(Wire(router), client_id, properties=properties(*asked))
        equal(reason, 0, "reason code")
        equal(found.get(0x1A), wanted.encode() if wanted else None, f"response information of {client_id[:40]}, asked by {asked}")
    flags, reason, found = connack(Wire(router), "", properties=properties((0x19, 1)))
    equal(found[0x1A], b"answers/" + found[0x12], "response information of an assigned identifier")


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


@test(targets=["pollux"])
def messages_in(router):
    """A publisher above its limit is slowed down, not cut off, and loses nothing; show clients tells."""
    publisher = connected(router, "publisher", 5)
    data = b"".join(wire.publish(router.topic("a"), b"x", 1, 5, number) for number in range(1, 151))
    start = time.monotonic()
    publisher.send(data)
    time.sleep(0.5)
    record = [r for r in router.show("clients") if r["id"] == router.client_id("publisher")]
    equal([r["limited"] for r in record], [True], "limited in show clients")
    for number in range(1, 151):
        equal(publisher.packet()[1][:2], struct.pack(">H", number), "PUBACK")
    seconds = time.monotonic() - start
    expect(1.8 <= seconds <= 3.5, f"150 messages at 50 a second after a burst of 50 take 2 s, not {seconds:.2f}")


@test(targets=["pollux"])
def messages_out(router):
    """What is above the subscriber's limit waits in its queue, in order."""
    subscriber = connected(router, "subscriber", 5)
    subscriber.subscribe(router.topic("a"), 1, 5)
    publishers = [connected(router, f"publisher{number}", 5) for number in range(6)]
    for publisher in publishers:
        publisher.send(b"".join(wire.publish(router.topic("a"), b"x", 1, 5, number) for number in range(1, 51)))
    start = time.monotonic()
    for _ in range(300):
        message = subscriber.published(5)
        subscriber.send(packet(0x40, struct.pack(">H", message.identifier)))
    seconds = time.monotonic() - start
    expect(1.7 <= seconds <= 3.5, f"300 messages at 100 a second after a burst of 100 take 2 s, not {seconds:.2f}")


@test(targets=["pollux"], timeout=60)
def max_sessions(router):
    """The bound is that of all workers together: the first client above it gets 0x97, before 5.0 return code 3, and one that
    has a session comes back to it."""
    def refusals():
        return next(c["value"] for c in router.show("counters", "--filter", "name=closed_limit"))

    there = len(router.show("clients"))
    clients = [connected(router, f"x{number}", 5) for number in range(100 - there)]
    before = refusals()
    for version, code in ((5, 0x97), (4, 3)) * 4:
        connection = Wire(router)
        connection.send(wire.connect(router.client_id(f"late{version}"), version))
        equal([(first, body[1]) for first, body in connection.wait_closed()], [(0x20, code)], f"one too many, version {version}")
    eventually(lambda: refusals() - before == 8, 5, "refusals are counted")
    equal(len(router.show("clients")), 100, "sessions")
    clients.append(connected(router, "x0", 5))
    clients[1].send(packet(0xE0))
    eventually(lambda: len(router.show("clients")) == 99, 5, "a session has ended")
    connected(router, "late5", 5)


@test(targets=["pollux"], timeout=60)
def max_connections(router):
    """The bound of a listener is that of all workers together: who is there stays, the next one is reset, and counted."""
    def listener():
        return router.show("listeners")[0]

    there, refused, accepted = (listener()[field] for field in ("connections", "refused", "accepted"))
    clients = [connected(router, f"x{number}", 5) for number in range(20)]
    clients += [Wire(router) for _ in range(100 - there)]
    eventually(lambda: listener()["connections"] == 120, 5, "as many as may be")
    for _ in range(8):
        try:
            equal(Wire(router).wait_closed(), [], "one too many")
        except ConnectionResetError:
            pass  # before connect() came back
    eventually(lambda: listener()["refused"] - refused == 8, 5, "refusals are counted")
    equal(listener()["connections"], 120, "connections")
    equal(listener()["accepted"] - accepted, 120 - there, "accepted, each once wherever it lives")
    clients[0].send(wire.pingreq)
    equal(clients[0].packet(), (0xD0, b""), "who is there notices nothing")
    clients.pop().socket.close()
    eventually(lambda: listener()["connections"] == 119, 5, "one has gone")
    connected(router, "late", 5)

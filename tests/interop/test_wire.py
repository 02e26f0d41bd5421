"""Bytes that no library sends: malformed packets, odd segmentation, keepalive that is let pass."""

import struct
import time

import wire
from harness import equal, expect, test
from wire import Closed, Wire, Witness, connected, length, packet, text

versions = [4, 5]


def malformed_before_connect():
    """Name and bytes of first packets that must not get a connection."""
    good = wire.connect("x")
    yield "publish first", wire.publish("a", b"x")
    yield "pingreq first", wire.pingreq
    yield "reserved packet type 0", packet(0x00)
    yield "connack from a client", packet(0x20, b"\0\0")
    yield "reserved flags of connect", bytes([0x11]) + good[1:]
    yield "protocol name", packet(0x10, text("MQTX") + b"\x04\x02\0\x3c" + text("x"))
    yield "empty protocol name", packet(0x10, text("") + b"\x04\x02\0\x3c" + text("x"))
    yield "reserved bit of the connect flags", packet(0x10, text("MQTT") + b"\x04\x03\0\x3c" + text("x"))
    yield "will qos 3", packet(0x10, text("MQTT") + b"\x04\x1e\0\x3c" + text("x") + text("w") + text("m"))
    yield "will flags without a will", packet(0x10, text("MQTT") + b"\x04\x22\0\x3c" + text("x"))
    yield "connect cut short", packet(0x10, text("MQTT") + b"\x04\x02")
    yield "client id longer than the packet", packet(0x10, text("MQTT") + b"\x04\x02\0\x3c\xff\xff" + b"x")
    yield "client id is no UTF-8", packet(0x10, text("MQTT") + b"\x04\x02\0\x3c" + text(b"\xff\xfe"))
    yield "bytes after the client id", packet(0x10, text("MQTT") + b"\x04\x02\0\x3c" + text("x") + b"rest")
    yield "packet length of five bytes", b"\x10\xff\xff\xff\xff\x01"


def malformed_after_connect(version):
    """Name and bytes of packets that end a connection."""
    p = b"\0" if version == 5 else b""
    yield "second connect", wire.connect("x", version)
    yield "packet type 0", packet(0x00)
    yield "connack", packet(0x20, b"\0\0" + p)
    yield "suback", packet(0x90, b"\0\x01" + p + b"\0")
    yield "pingresp", packet(0xD0)
    yield "qos 3", packet(0x36, text("a") + b"\0\x01" + p + b"x")
    yield "topic with +", wire.publish("a/+", b"x", version=version)
    yield "topic with #", wire.publish("#", b"x", version=version)
    yield "empty topic", wire.publish("", b"x", version=version)
    yield "topic with NUL", wire.publish("a\0b", b"x", version=version)
    yield "topic is no UTF-8", packet(0x30, text(b"\xc3\x28") + p + b"x")
    yield "topic with a surrogate", packet(0x30, text(b"\xed\xa0\x80") + p + b"x")
    yield "topic longer than the packet", packet(0x30, b"\xff\xffa")
    yield "packet identifier 0", packet(0x32, text("a") + b"\0\0" + p + b"x")
    yield "subscribe with flags 0", packet(0x80, b"\0\x01" + p + text("a") + b"\0")
    yield "subscribe without a filter", packet(0x82, b"\0\x01" + p)
    yield "subscribe with identifier 0", packet(0x82, b"\0\0" + p + text("a") + b"\0")
    yield "subscribe with qos 3", packet(0x82, b"\0\x01" + p + text("a") + b"\x03")
    yield "filter a/#/b", packet(0x82, b"\0\x01" + p + text("a/#/b") + b"\0")
    yield "filter a+", packet(0x82, b"\0\x01" + p + text("a+") + b"\0")
    yield "empty filter", packet(0x82, b"\0\x01" + p + text("") + b"\0")
    yield "unsubscribe without a filter", packet(0xA2, b"\0\x01" + p)
    yield "pubrel with flags 0", packet(0x60, b"\0\x01")
    yield "pingreq with flags", packet(0xC1)
    yield "disconnect with flags", packet(0xE1)
    yield "packet length of five bytes", b"\x30\xff\xff\xff\xff\x01"
    if version == 5:
        yield "unknown property", packet(0x30, text("a") + b"\x02\x7e\x00" + b"x")
        yield "property twice", packet(0x30, text("a") + b"\x04\x01\x00\x01\x00" + b"x")
        yield "properties longer than the packet", packet(0x30, text("a") + b"\x7f" + b"x")
        yield "topic alias 0", packet(0x30, text("a") + b"\x03\x23\x00\x00" + b"x")
        yield "reserved subscribe options", packet(0x82, b"\0\x01\0" + text("a") + b"\xc0")
        yield "retain handling 3", packet(0x82, b"\0\x01\0" + text("a") + b"\x30")
        yield "auth without a method", packet(0xF0, b"\x18\x00")


# What mosquitto 2.0 lets pass, and the specification does not.
mosquitto_lets_pass = {"suback", "pingresp", "pingreq with flags"}


def complaint(router, name, connection):
    """The router closes; before that there may be a CONNACK or DISCONNECT with a reason that is no success."""
    if router.target == "mosquitto" and name in mosquitto_lets_pass:
        return None
    try:
        said = connection.wait_closed(2)
    except AssertionError:
        return f"{name}: the connection stays open"
    for first, body in said:
        code = body[1] if first == 0x20 else body[0] if first == 0xE0 and body else None
        if not code:
            return f"{name}: answered by 0x{first:02x} {body!r}"
    return None


@test(timeout=120)
def malformed_first_packet(router):
    witness = Witness(router)
    complaints = []
    for name, data in malformed_before_connect():
        connection = Wire(router)
        connection.send(data)
        complaints.append(complaint(router, name, connection))
        connection.socket.close()
        witness.check()
    equal([one for one in complaints if one], [], "complaints")


@test(version=versions, timeout=120)
def malformed_packet(router, version):
    witness = Witness(router)
    complaints = []
    for number, (name, data) in enumerate(malformed_after_connect(version)):
        connection = connected(router, f"bad{number}", version)
        connection.send(data)
        complaints.append(complaint(router, name, connection))
        connection.socket.close()
        witness.check()
    equal([one for one in complaints if one], [], "complaints")


@test(version=versions)
def unknown_protocol_level(router, version):
    connection = Wire(router)
    connection.send(packet(0x10, text("MQTT") + bytes([9 if version == 5 else 2]) + b"\x02\0\x3c" + text("x")))
    found = connection.wait_closed()
    expect(len(found) <= 1, f"packets before the end: {found}")
    if found:
        expect(found[0][0] == 0x20 and found[0][1][1] in (0x01, 0x84), f"unsupported version, not {found[0]}")


@test()
def empty_client_id(router):
    equal(Wire(router).handshake("", flags=0x02)[1], 0, "clean session without a client id: reason code")
    connection = Wire(router)
    connection.send(wire.connect("", flags=0x00))
    equal(connection.wait_closed(), [(0x20, b"\0\x02")], "identifier rejected [MQTT-3.1.3-8]")


@test(version=versions)
def byte_by_byte(router, version):
    """A packet may come in any pieces."""
    connection = Wire(router)
    data = wire.connect(router.client_id("slow"), version) + wire.subscribe(router.topic("a"), 0, version) + \
        wire.publish(router.topic("a"), b"in pieces", 0, version)
    for byte in data:
        connection.send(bytes([byte]))
        time.sleep(0.001)
    equal([connection.packet()[0] for _ in range(3)], [0x20, 0x90, 0x30], "packet types")


@test(version=versions)
def all_in_one_segment(router, version):
    """CONNECT and all that follows without waiting for CONNACK, [MQTT-3.1.4-5] allows it."""
    connection = Wire(router)
    data = wire.connect(router.client_id("fast"), version) + wire.subscribe(router.topic("a"), 1, version)
    for number in range(1, 101):
        data += wire.publish(router.topic("a"), b"%d" % number, 1, version, number)
    connection.send(data + wire.pingreq)
    acknowledged, received = [], []
    while len(acknowledged) < 100 or len(received) < 100:
        first, body = connection.packet()
        if first == 0x40:
            acknowledged.append(struct.unpack(">H", body[:2])[0])
        elif first & 0xF0 == 0x30:
            at = 2 + len(router.topic("a"))
            received.append(int(body[at + 2 + (version == 5):]))
            connection.send(packet(0x40, body[at:at + 2]))
    equal(acknowledged, list(range(1, 101)), "PUBACKs, in the order of the PUBLISHes [MQTT-4.6.0-2]")
    equal(received, list(range(1, 101)), "messages, in order")


def run_subscribers(router, topic):
    """Connections that each want the same messages in another form: name, connection, version."""
    def subscriber(name, version, options=0, properties=b"", connect_properties=b""):
        connection = connected(router, name, version, properties=connect_properties)
        connection.subscribe(topic, options, version, properties=properties)
        return name, connection, version

    yield subscriber("old", 4)
    yield subscriber("new", 5)
    yield subscriber("qos 1", 4, 1)
    yield subscriber("retain as published", 5, 0x08)
    yield subscriber("identifier", 5, properties=wire.properties((0x0B, 7)))
    yield subscriber("small packets", 5, connect_properties=wire.properties((0x27, 70)))
    yield subscriber("aliases", 5, connect_properties=wire.properties((0x22, 5)))
    name, connection, version = subscriber("overlapping", 5)
    connection.subscribe(topic + "/#", 0, 5)
    yield name, connection, version


@test(version=versions)
def runs_of_messages(router, version):
    """Messages of one topic, back to back, in sizes that change: all arrive in order, whatever form they are wanted in."""
    topic = router.topic("a")
    subscribers = list(run_subscribers(router, topic))
    shared = [connected(router, f"member {number}") for number in range(2)]
    for member in shared:
        member.subscribe("$share/group/" + topic, 0)
    publisher = connected(router, "publisher", version)
    sent, data = [], b""
    for number in range(400):
        payload = b"%03d" % number + bytes(20 if number % 97 < 90 else number % 97)
        data += wire.publish(topic, payload, version=version)
        sent.append(payload)
    publisher.send(data)
    for name, connection, of_version in subscribers:
        wanted = [payload for payload in sent if name != "small packets" or len(payload) < 50]
        received = [connection.published(of_version) for _ in wanted]
        equal([message.payload for message in received], wanted, f"messages of '{name}', in order")
        equal({message.topic for message in received} - {""}, {topic}, f"topics of '{name}'")
        equal({tuple(message.property(0x0B)) for message in received}, {(7,) if name == "identifier" else ()}, name)
        connection.expect_nothing()
    got = [[], []]
    for turn in range(len(sent)):
        got[turn % 2].append(shared[turn % 2].published().payload)
    equal(sorted(got[0] + got[1]), sorted(sent), "each message to one member")
    expect(all(list(member) == sorted(member) for member in got), "and in order")


@test(version=versions)
def run_with_an_end_that_is_malformed(router, version):
    """What was right before it counts; what is wrong ends the connection and nothing else."""
    topic, subscriber = router.topic("a"), connected(router, "subscriber")
    subscriber.subscribe(topic)
    publisher = connected(router, "publisher", version)
    good = wire.publish(topic, b"0123456789", version=version)
    publisher.send(good * 20 + good.replace(b"0123456789", b"abcdefghij") + b"\x36" + good[1:])
    equal([subscriber.published().payload for _ in range(21)], [b"0123456789"] * 20 + [b"abcdefghij"], "messages")
    subscriber.expect_nothing()
    publisher.wait_closed()


@test()
def ping(router):
    connection = connected(router, "pinger")
    for _ in range(20):
        start = time.monotonic()
        connection.send(wire.pingreq)
        equal(connection.packet(), (0xD0, b""), "PINGRESP")
        expect(time.monotonic() - start < 0.5, "an answer within half a second")


@test(version=versions)
def keepalive_runs_out(router, version):
    """1.5 times the keepalive without a packet ends the connection and publishes its will, [MQTT-3.1.2-22]."""
    watcher = connected(router, "watcher")
    watcher.send(wire.subscribe(router.topic("will")))
    watcher.packet()
    will = (b"\0" if version == 5 else b"") + text(router.topic("will")) + text("silent")
    silent = connected(router, "silent", version, flags=0x06, keepalive=2, payload=will)
    start = time.monotonic()
    silent.wait_closed(10)
    seconds = time.monotonic() - start
    slack = 10 if router.target == "mosquitto" else 1.0  # mosquitto looks every few seconds
    expect(2.8 <= seconds <= 3 + slack, f"closed after 3 s, not after {seconds:.1f} s")
    equal(watcher.packet(), (0x30, text(router.topic("will")) + b"silent"), "will")


@test()
def qos2_duplicate_is_one_message(router):
    """A PUBLISH of QoS 2 sent twice before PUBREL is delivered once, [MQTT-4.3.3-10]."""
    subscriber = connected(router, "subscriber")
    subscriber.send(wire.subscribe(router.topic("a")))
    subscriber.packet()
    publisher = connected(router, "publisher")
    data = wire.publish(router.topic("a"), b"once", 2, identifier=7)
    for again in (data, bytes([data[0] | 0x08]) + data[1:]):
        publisher.send(again)
        equal(publisher.packet(), (0x50, b"\0\x07"), "PUBREC")
    publisher.send(packet(0x62, b"\0\x07"))
    equal(publisher.packet(), (0x70, b"\0\x07"), "PUBCOMP")
    publisher.send(wire.publish(router.topic("a"), b"end"))
    found = [subscriber.packet()[1][-4:], subscriber.packet()[1][-3:]]
    equal(found, [b"once", b"end"], "messages")


@test()
def unacknowledged_message_comes_again(router):
    """A message that was not acknowledged is sent again, with DUP, when the session is resumed, [MQTT-4.4.0-1]."""
    def forget():
        connected(router, "subscriber", flags=0x02).send(wire.disconnect)
    subscriber = connected(router, "subscriber", flags=0x00)
    router.at_end(forget)
    subscriber.send(wire.subscribe(router.topic("a"), 1))
    subscriber.packet()
    publisher = connected(router, "publisher")
    publisher.send(wire.publish(router.topic("a"), b"again", 1))
    first, body = subscriber.packet()
    equal(first, 0x32, "PUBLISH with QoS 1, no DUP")
    subscriber.socket.close()
    subscriber = Wire(router)
    equal(subscriber.handshake(router.client_id("subscriber"), flags=0x00), b"\x01\0", "session present, accepted")
    equal(subscriber.packet(), (0x3A, body), "the same PUBLISH with DUP and the same packet identifier")
    at = 2 + len(router.topic("a"))
    subscriber.send(packet(0x40, body[at:at + 2]))
    subscriber.send(wire.disconnect)


@test()
def packet_larger_than_allowed(router):
    """256 MiB announced: the connection ends, nobody else notices, and no memory is taken in advance."""
    if router.target == "mosquitto":
        return  # has no bound by default
    witness = Witness(router)
    connection = connected(router, "large")
    for number in range(6000):  # with many topics in use the router reads ahead in what has come
        connection.send(wire.publish(router.topic(f"many/{number}"), b""))
    try:
        connection.send(b"\x30" + length(268435455) + text("a") + bytes(65536))
        for _ in range(256):
            connection.send(bytes(65536))
    except (BrokenPipeError, ConnectionResetError):
        witness.check()
        return
    try:
        connection.wait_closed()
    except Closed:
        pass
    witness.check()


@test()
def half_a_packet_and_away(router):
    """Clients that leave in the middle of a packet."""
    witness = Witness(router)
    data = wire.connect(router.client_id("half")) + wire.publish(router.topic("a"), b"x" * 1000)
    for cut in list(range(1, 40, 3)) + [200, 1000]:
        connection = Wire(router)
        connection.send(data[:cut])
        connection.socket.close()
    witness.check()


@test(version=versions)
def many_filters_one_answer(router, version):
    """SUBSCRIBE and UNSUBSCRIBE of several filters: one answer, its identifier, and a code for each in order."""
    p = b"\0" if version == 5 else b""
    connection = connected(router, "client", version)
    filters = b"".join(text(router.topic(name)) + bytes([qos]) for name, qos in (("a", 2), ("b/+", 0), ("c/#", 1)))
    connection.send(packet(0x82, b"\x12\x34" + p + filters))
    equal(connection.packet(), (0x90, b"\x12\x34" + p + b"\x02\x00\x01"), "SUBACK")
    filters = b"".join(text(router.topic(name)) for name in ("c/#", "never", "a"))
    connection.send(packet(0xA2, b"\x43\x21" + p + filters))
    equal(connection.packet(), (0xB0, b"\x43\x21" + p + (b"\x00\x11\x00" if version == 5 else b"")), "UNSUBACK")
    connection.send(packet(0xA2, b"\0\x07" + p + text(router.topic("never"))))
    equal(connection.packet(), (0xB0, b"\0\x07" + p + (b"\x11" if version == 5 else b"")), "UNSUBACK of nothing")


@test(version=versions)
def identifiers_are_free_again(router, version):
    """After PUBACK and PUBCOMP the same identifier is a new message; DUP is not passed on; answers bear the identifier."""
    p = b"\0" if version == 5 else b""
    subscriber = connected(router, "subscriber", version)
    subscriber.send(wire.subscribe(router.topic("a"), 0, version))
    subscriber.packet()
    publisher = connected(router, "publisher", version)
    for number in range(2):
        data = wire.publish(router.topic("a"), b"one %d" % number, 1, version, 9)
        publisher.send(bytes([data[0] | 0x08]) + data[1:])
        first, body = publisher.packet()
        equal((first, body[:2]), (0x40, b"\0\x09"), "PUBACK")
        equal(subscriber.packet(), (0x30, text(router.topic("a")) + p + b"one %d" % number), "DUP is 0")
    for number in range(2):
        publisher.send(wire.publish(router.topic("a"), b"two %d" % number, 2, version, 9))
        first, body = publisher.packet()
        equal((first, body[:2]), (0x50, b"\0\x09"), "PUBREC")
        publisher.send(packet(0x62, b"\0\x09"))
        first, body = publisher.packet()
        equal((first, body[:2]), (0x70, b"\0\x09"), "PUBCOMP")
        equal(subscriber.packet(), (0x30, text(router.topic("a")) + p + b"two %d" % number), "message")


@test()
def alias_beyond_the_maximum(router):
    """A topic alias above what CONNACK allowed closes with 0x94."""
    connection = connected(router, "client", 5)
    connection.send(packet(0x30, text(router.topic("a")) + b"\x03\x23\xff\xff" + b"x"))
    found = connection.wait_closed()
    equal([(first, body[:1]) for first, body in found], [(0xE0, b"\x94")], "DISCONNECT")


@test(targets=["pollux"])
def alias_that_was_not_set(router):
    """An alias without a topic that this connection has not set closes with 0x82, that of another connection too."""
    known = connected(router, "known", 5)
    known.send(packet(0x32, text(router.topic("a")) + b"\0\1\x03\x23\0\1" + b"x"))
    equal(known.packet()[0], 0x40, "PUBACK")
    for qos, identifier in ((0, b""), (1, b"\0\1"), (2, b"\0\1")):
        connection = connected(router, "client", 5)
        connection.send(packet(0x30 | qos << 1, text("") + identifier + b"\x03\x23\0\1" + b"x"))
        found = connection.wait_closed()
        equal([(first, body[:1]) for first, body in found], [(0xE0, b"\x82")], f"DISCONNECT at QoS {qos}")
    known.send(packet(0x32, text("") + b"\0\2\x03\x23\0\1" + b"x"))
    equal(known.packet()[0], 0x40, "PUBACK")

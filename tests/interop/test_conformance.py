"""Statements of the specification that no client library shows: flows by hand, packet by packet."""

import struct
import time

import wire
from harness import equal, expect, test
from wire import Wire, connack, connected, packet, properties, take_properties, text, will


def acknowledge(connection, message, qos=1):
    connection.send(packet(0x40 if qos == 1 else 0x50, struct.pack(">H", message.identifier)))


@test(targets=["pollux"])
def connect_refusals(router):
    """Each is answered by its code, with no session present, and then closed."""
    authentication = properties((0x15, "NO-SUCH-METHOD"))
    cases = [
        ("authentication method", wire.connect("x", 5, properties=authentication), b"\0\x8c"),
        ("version 6", packet(0x10, text("MQTT") + b"\x06\x02\0\x3c\0" + text("x")), b"\0\x84"),
        ("version 3 with the name MQTT", packet(0x10, text("MQTT") + b"\x03\x02\0\x3c" + text("x")), b"\0\x01"),
        ("version 4 with the name MQIsdp", packet(0x10, text("MQIsdp") + b"\x04\x02\0\x3c" + text("x")), b"\0\x01"),
        ("MQTT 3.1 without a client id", packet(0x10, text("MQIsdp") + b"\x03\x02\0\x3c" + text("")), b"\0\x02"),
        ("will to $SYS/", wire.connect("x", 5, flags=0x06, payload=will("$SYS/x", "m")), b"\0\x90"),
        ("will topic with #", wire.connect("x", 5, flags=0x06, payload=will("a/#", "m")), b"\0\x90"),
        ("receive maximum 0", wire.connect("x", 5, properties=properties((0x21, 0))), b"\0\x82"),
        ("maximum packet size 0", wire.connect("x", 5, properties=properties((0x27, 0))), b"\0\x82"),
        ("reserved flag", wire.connect("x", 5, flags=0x03), b"\0\x81"),
    ]
    for name, data, wanted in cases:
        connection = Wire(router)
        connection.send(data)
        found = connection.wait_closed()
        equal([(first, body[:2]) for first, body in found], [(0x20, wanted)], name)


@test()
def password_alone(router):
    """MQTT 5.0 allows a password without a user name, MQTT 3.1.1 does not."""
    equal(Wire(router).handshake(router.client_id("x"), 5, flags=0x42, payload=text("secret"))[1], 0, "reason code")
    connection = Wire(router)
    connection.send(wire.connect(router.client_id("x"), 4, flags=0x42, payload=text("secret")))
    equal(connection.wait_closed(), [], "packets before the end")


@test(targets=["pollux"])
def session_present_in_31(router):
    """The byte is reserved in MQTT 3.1, so a client of that version must not see a bit in it."""
    data = packet(0x10, text("MQIsdp") + b"\x03\x00\0\x3c" + text(router.client_id("x")))
    for _ in range(2):
        connection = Wire(router)
        connection.send(data)
        equal(connection.packet(), (0x20, b"\0\0"), "CONNACK")
        connection.send(wire.disconnect)
        connection.socket.close()
    connected(router, "x", 4, flags=0x02).send(wire.disconnect)


@test(targets=["pollux"])
def maximum_packet_size(router):
    """No packet is larger than the client takes, not only no PUBLISH."""
    small = properties((0x27, 10))
    connection = Wire(router)
    connection.send(wire.connect(router.client_id("tiny"), 5, properties=small))
    equal(connection.wait_closed(), [], "a CONNACK larger than 10 bytes is not sent")
    connection = Wire(router)
    equal(connack(connection, router.client_id("small"), properties=properties((0x27, 40)))[1], 0, "reason code")
    filters = b"".join(text(router.topic(str(n))) + b"\0" for n in range(60))
    connection.send(packet(0x82, b"\0\x01\0" + filters))
    found = connection.wait_closed()
    equal(found, [(0xE0, b"\x95")], "SUBACK of 65 bytes for a client that takes 40")


@test()
def retained_after_subscribe(router):
    """What is published once a subscription is there comes by it, and not as a retained message as well, whether the
    publisher has waited for the SUBACK or not."""
    for waits in (False, True):
        client = connected(router, "client", 5)
        topics = [router.topic(f"{waits}{n}") for n in range(50)]
        router.at_end(lambda topics=topics: [
            connected(router, "cleaner", 5).send(wire.publish(topic, b"", 0, 5, retain=True)) for topic in topics])
        for topic in topics:
            subscribe, publish = wire.subscribe(topic, 1, 5, 1), wire.publish(topic, b"x", 1, 5, 2, True)
            client.send(subscribe if waits else subscribe + publish)
            expected = {0x90, 0x40, 0x32}  # SUBACK, PUBACK, the message without the retain flag
            if waits:
                equal(client.packet()[0], 0x90, "SUBACK")
                expected.remove(0x90)
                client.send(publish)
            while expected:
                first, body = client.packet()
                expect(first in expected, f"packet {first:#x} of {topic}, waiting {waits}, expected {expected}")
                expected.remove(first)
                if first == 0x32:
                    client.send(packet(0x40, body[2 + len(topic):4 + len(topic)]))
        client.expect_nothing(0.2)


@test(targets=["pollux"])
def reason_strings(router):
    """Sent to who asks for problem information, and never beyond the maximum packet size."""
    asks = (0x17, 1)
    for limits, wanted in (((asks,), True), ((), False), (((0x17, 0),), False), ((asks, (0x27, 22)), False)):
        connection = Wire(router)
        equal(connack(connection, router.client_id("x"), properties=properties(*limits))[1], 0, "reason code")
        connection.send(packet(0x30, text("a") + b"\x03\x23\x00\x00"))
        (first, body), = connection.wait_closed()
        equal((first, body[0]), (0xE0, 0x94), "DISCONNECT with topic alias invalid")
        found = dict(take_properties(body[1:])[0]) if len(body) > 1 else {}
        equal(0x1F in found, wanted, f"reason string for {limits}")
    connection = Wire(router)
    connection.send(wire.connect("x", 5, properties=properties(asks, (0x15, "NO-SUCH-METHOD"))))
    (_, body), = connection.wait_closed()
    equal(dict(take_properties(body[2:])[0]), {0x1F: b"Bad authentication method"}, "properties of the CONNACK")


@test()
def disconnect_reasons_and_will(router):
    """Only DISCONNECT with 0x00 takes the will back, [MQTT-3.1.2-8]."""
    watcher = connected(router, "watcher")
    watcher.subscribe(router.topic("will/#"))
    reasons = ((b"", False), (b"\0", False), (b"\x04", True), (b"\x80", True), (b"\x81", True), (b"\x82", True))
    for number, (body, published) in enumerate(reasons):
        if router.target == "mosquitto" and body not in (b"", b"\0", b"\x04"):
            continue
        topic = router.topic(f"will/{number}")
        connection = connected(router, f"x{number}", 5, flags=0x06, payload=will(topic, "gone"))
        connection.send(packet(0xE0, body))
        connection.wait_closed()
        if published:
            equal(watcher.published().topic, topic, f"will after DISCONNECT {body!r}")
        else:
            watcher.expect_nothing(0.1)


@test()
def will_delay(router):
    """The delay or the session's end, whichever is first; not at all when the client is back in time."""
    watcher = connected(router, "watcher", 5)
    watcher.subscribe(router.topic("will"), 1, 5)

    def lose(delay, expiry, name):
        options = properties((0x11, expiry))
        connection = connected(router, name, 5, flags=0x06, properties=options,
                               payload=will(router.topic("will"), name, properties((0x18, delay))))
        connection.socket.close()
        return time.monotonic()

    for delay, expiry, name in ((1, 60, "delay-first"), (60, 1, "session-first")):
        start = lose(delay, expiry, name)
        message = watcher.published(5, 10)
        seconds = time.monotonic() - start
        equal(message.payload, name.encode(), "will")
        slack = 6 if router.target == "mosquitto" else 0.5
        expect(0.9 <= seconds <= 1 + slack, f"{name}: after 1 s, not {seconds:.2f} s")
    lose(1, 60, "back")
    connected(router, "back", 5, flags=0x00, properties=properties((0x11, 60)))
    watcher.expect_nothing(1.5)
    lose(60, 60, "clean")
    connected(router, "clean", 5, flags=0x02)
    equal(watcher.published(5).payload, b"clean", "a clean start ends the session, and with it the delay")


@test(targets=["pollux"])
def will_properties(router):
    """They travel with the will, user properties in order; its expiry counts from its publication."""
    watcher = connected(router, "watcher", 5)
    watcher.subscribe(router.topic("will"), 1, 5)
    pairs = [("b", "1"), ("a", "2"), ("b", "3")]
    sent = properties((0x01, 1), (0x02, 100), (0x03, "text/plain"), (0x08, "answer/here"), (0x09, b"\x00\xff"),
                      *[(0x26, pair) for pair in pairs])
    connection = connected(router, "x", 5, flags=0x0E, payload=will(router.topic("will"), "last words", sent))
    time.sleep(1.2)
    connection.socket.close()
    message = watcher.published(5)
    equal((message.qos, message.payload), (1, b"last words"), "will")
    equal(message.property(0x26), [(a.encode(), b.encode()) for a, b in pairs], "user properties")
    equal([message.property(i) for i in (0x01, 0x02, 0x03, 0x08, 0x09)],
          [[1], [100], [b"text/plain"], [b"answer/here"], [b"\x00\xff"]], "the others")


@test()
def session_expiry_in_disconnect(router):
    """It may be changed in DISCONNECT, but not from 0."""
    connection = connected(router, "x", 5, properties=properties((0x11, 60)))
    connection.send(packet(0xE0, b"\0\x05" + properties((0x11, 0))))
    connection.wait_closed()
    connection = Wire(router)
    equal(connack(connection, router.client_id("x"), flags=0x00)[:2], (0, 0), "session present, code")
    connection.send(packet(0xE0, b"\0\x05" + properties((0x11, 60))))
    equal([(first, body[:1]) for first, body in connection.wait_closed()], [(0xE0, b"\x82")], "the answer")


@test(targets=["pollux"])
def receive_maximum_exceeded(router):
    """QoS 2 messages beyond the router's Receive Maximum close with 0x93, [MQTT-3.3.4-7]; those of an earlier connection
    do not count."""
    first = Wire(router)
    options = {"flags": 0x00, "properties": properties((0x11, 60))}
    limit = connack(first, router.client_id("x"), **options)[2][0x21]
    router.at_end(connected, router, "x", 5, flags=0x02)

    def fill(connection, start, count):
        for number in range(start, start + count):
            connection.send(wire.publish(router.topic("a"), b"", 2, 5, number))
        for number in range(start, start + count):
            found, body = connection.packet()
            equal((found, body[:2]), (0x50, struct.pack(">H", number)), "PUBREC")

    fill(first, 1, limit)
    first.socket.close()
    second = Wire(router)
    equal(connack(second, router.client_id("x"), **options)[0], 1, "session present")
    fill(second, 1, 1)  # again: known
    fill(second, 2000, limit)
    second.send(wire.publish(router.topic("a"), b"", 2, 5, 5000))
    equal([(code, body[:1]) for code, body in second.wait_closed()], [(0xE0, b"\x93")], "the answer")


@test(targets=["pollux"])
def expired_is_sent_again(router):
    """A message that was sent does not expire any more, [MQTT-4.3.3-7]."""
    options = {"flags": 0x00, "properties": properties((0x11, 60))}
    router.at_end(connected, router, "subscriber", 5, flags=0x02)
    subscriber = connected(router, "subscriber", 5, **options)
    subscriber.subscribe(router.topic("a"), 2, 5)
    publisher = connected(router, "publisher", 5)
    publisher.send(wire.publish(router.topic("a"), b"x", 2, 5, 1, properties=properties((0x02, 1))))
    message = subscriber.published(5)
    subscriber.socket.close()
    time.sleep(1.5)
    subscriber = connected(router, "subscriber", 5, **options)
    again = subscriber.published(5)
    equal((again.duplicate, again.identifier, again.payload), (True, message.identifier, b"x"), "sent again")


@test()
def qos2_resumes_where_it_was(router):
    """After PUBREC a reconnect brings PUBREL, not PUBLISH, [MQTT-4.3.3-6], in the order of old."""
    router.at_end(connected, router, "subscriber", 4, flags=0x02)
    subscriber = connected(router, "subscriber", 4, flags=0x00)
    subscriber.subscribe(router.topic("a"), 2)
    publisher = connected(router, "publisher")
    for number in (1, 2):
        publisher.send(wire.publish(router.topic("a"), b"%d" % number, 2, 4, number))
        publisher.packet()
        publisher.send(packet(0x62, struct.pack(">H", number)))
        publisher.packet()
    messages = [subscriber.published() for _ in range(2)]
    acknowledge(subscriber, messages[0], 2)
    released = (0x62, struct.pack(">H", messages[0].identifier))
    equal(subscriber.packet(), released, "PUBREL")
    subscriber.socket.close()
    subscriber = connected(router, "subscriber", 4, flags=0x00)
    equal(subscriber.packet(), released, "PUBREL again")
    again = subscriber.published()
    equal((again.duplicate, again.identifier), (True, messages[1].identifier), "PUBLISH again")
    subscriber.send(packet(0x70, released[1]))
    acknowledge(subscriber, again, 2)
    equal(subscriber.packet(), (0x62, struct.pack(">H", again.identifier)), "PUBREL of the second")
    subscriber.send(packet(0x70, struct.pack(">H", again.identifier)))
    subscriber.expect_nothing()


@test()
def unknown_identifiers(router):
    """PUBREC and PUBREL for what is not there are answered with 0x92; PUBACK and PUBCOMP are let pass."""
    connection = connected(router, "x", 5)
    if router.target == "pollux":
        connection.send(packet(0x50, b"\0\x07"))
        equal(connection.packet(), (0x62, b"\0\x07\x92"), "PUBREL")
    connection.send(packet(0x62, b"\0\x07"))
    first, body = connection.packet()
    equal((first, body[:2]), (0x70, b"\0\x07"), "PUBCOMP")
    connection.send(packet(0x40, b"\0\x07") + packet(0x70, b"\0\x07") + wire.pingreq)
    equal(connection.packet(), (0xD0, b""), "still there")


@test(targets=["pollux"])
def refused_message_is_done(router):
    """A PUBREC or PUBACK with an error ends the message and frees its place in the window."""
    subscriber = connected(router, "subscriber", 5, properties=properties((0x21, 1)))
    subscriber.subscribe(router.topic("a"), 2, 5)
    publisher = connected(router, "publisher", 5)
    for number in (1, 2, 3):
        publisher.send(wire.publish(router.topic("a"), b"%d" % number, 2, 5, number))
    for number in (1, 2, 3):
        message = subscriber.published(5)
        equal(message.payload, b"%d" % number, "payload")
        subscriber.expect_nothing(0.1)
        subscriber.send(packet(0x50, struct.pack(">H", message.identifier) + b"\x97"))
    subscriber.expect_nothing()


@test()
def no_matching_subscribers(router):
    publisher = connected(router, "publisher", 5)
    for qos, answer in ((1, 0x40), (2, 0x50)):
        publisher.send(wire.publish(router.topic("nobody"), b"x", qos, 5, qos))
        first, body = publisher.packet()
        equal((first, body[:3]), (answer, struct.pack(">HB", qos, 0x10)), "acknowledgement")


@test(targets=["pollux"])
def sys_is_the_routers(router):
    """What clients publish below $SYS/ goes nowhere; MQTT 5.0 clients are told."""
    watcher = connected(router, "watcher")
    watcher.subscribe("$SYS/" + router.topic("a"))
    publisher = connected(router, "publisher", 5)
    for qos, answer in ((1, 0x40), (2, 0x50)):
        for _ in range(2):
            publisher.send(wire.publish("$SYS/" + router.topic("a"), b"x", qos, 5, 7))
            equal(publisher.packet(), (answer, b"\0\x07\x87"), "acknowledgement: not authorized")
    old = connected(router, "old", 4)
    old.send(wire.publish("$SYS/" + router.topic("a"), b"x", 1, 4, 7))
    equal(old.packet(), (0x40, b"\0\x07"), "PUBACK")
    watcher.expect_nothing()


@test()
def overlapping_subscriptions(router):
    """One copy at the highest QoS with all identifiers, [MQTT-3.3.4-2] to [MQTT-3.3.4-4]."""
    subscriber = connected(router, "subscriber", 5)
    for number, (name, qos) in enumerate((("a/b", 0), ("a/+", 2), ("a/#", 1)), 1):
        subscriber.subscribe(router.topic(name), qos, 5, properties=properties((0x0B, number * 100)))
    publisher = connected(router, "publisher", 5)
    publisher.send(wire.publish(router.topic("a/b"), b"x", 2, 5, 1))
    found = [subscriber.published(5)]
    if router.target == "pollux":
        equal((found[0].qos, sorted(found[0].property(0x0B))), (2, [100, 200, 300]), "the one copy")
        subscriber.expect_nothing()


@test()
def retained(router):
    """The flag, the lower QoS, the identifier, the expiry that is left; an empty payload removes."""
    publisher = connected(router, "publisher", 5)
    topic = router.topic("a")
    router.at_end(lambda: connected(router, "cleaner").send(wire.publish(topic, b"", retain=True) + wire.disconnect))
    publisher.send(wire.publish(topic, b"kept", 2, 5, 1, True, properties((0x02, 100), (0x26, ("k", "v")))))
    publisher.packet()
    time.sleep(1.1)
    subscriber = connected(router, "subscriber", 5)
    subscriber.subscribe(topic, 1, 5, properties=properties((0x0B, 9)))
    message = subscriber.published(5)
    equal((message.retain, message.qos, message.payload), (True, 1, b"kept"), "message")
    equal((message.property(0x0B), message.property(0x26)), ([9], [(b"k", b"v")]), "properties")
    expect(98 <= message.property(0x02)[0] <= 99, f"expiry {message.property(0x02)}")
    publisher.send(wire.publish(topic, b"", 1, 5, 2, True))
    message = subscriber.published(5)
    equal((message.retain, message.payload), (False, b""), "the empty message itself is routed")
    late = connected(router, "late", 5)
    late.subscribe(topic, 1, 5)
    late.expect_nothing()


@test(targets=["pollux"])
def no_local_retained(router):
    """No Local holds for retained messages too, [MQTT-3.8.3-3]."""
    client = connected(router, "x", 5)
    topic = router.topic("a")
    router.at_end(lambda: connected(router, "cleaner").send(wire.publish(topic, b"", retain=True) + wire.disconnect))
    client.send(wire.publish(topic, b"own", 1, 5, 1, True))
    client.packet()
    client.subscribe(topic, 0x05, 5)
    client.expect_nothing()
    client.send(wire.disconnect)
    client.wait_closed()
    client = connected(router, "x", 5)
    client.subscribe(topic, 0x05, 5)
    client.expect_nothing()  # another session, the same client identifier
    client.subscribe(topic, 0x01, 5)
    equal(client.published(5).payload, b"own", "without No Local")


@test()
def dollar_topics(router):
    """Wildcards at the start do not match them, [MQTT-4.7.2-1]."""
    watcher = connected(router, "watcher")
    watcher.subscribe("+/" + router.topic("a"))
    watcher.subscribe("#", 0)
    other = connected(router, "other")
    other.subscribe("$test/#")
    publisher = connected(router, "publisher")
    publisher.send(wire.publish("$test/" + router.topic("a"), b"x"))
    equal(other.published().topic, "$test/" + router.topic("a"), "topic")
    publisher.send(wire.publish(router.topic("end"), b"x"))
    while True:
        topic = watcher.published().topic
        expect(not topic.startswith("$"), f"{topic} matched a wildcard at the start")
        if topic == router.topic("end"):
            break


@test(version=[4, 5])
def shared_filter_forms(router, version):
    """$share filters of no valid form are refused; a good one is not."""
    tail = b"\0" if version == 5 else b""
    for filter in ("$share/a+/b", "$share/#/b", "$share//b", "$share/a/", "$share/a"):
        connection = connected(router, "x", version)
        connection.send(packet(0x82, b"\0\x01" + tail + text(filter) + b"\0"))
        if router.target == "mosquitto":
            continue
        if version == 4:  # where shared subscriptions are an addition: refused alone, as any filter may be
            try:
                equal(connection.packet(), (0x90, b"\0\x01\x80"), f"SUBACK to {filter}")
            except wire.Closed:
                pass
            continue
        found = connection.wait_closed()
        expect(all(first == 0xE0 for first, _ in found), f"{filter}: {found}")
    connection = connected(router, "y", version)
    equal(connection.subscribe("$share/group/" + router.topic("a"), 1, version), b"\x01", "SUBACK")
    if version == 5:
        connection.send(packet(0x82, b"\0\x01\0" + text("$share/g/a") + b"\x04"))
        equal([(first, body[:1]) for first, body in connection.wait_closed()], [(0xE0, b"\x82")],
              "No Local on a shared subscription [MQTT-3.8.3-4]")


@test(targets=["pollux"])
def take_over_tells_why(router):
    """The older connection gets 0x8E and its will is published, [MQTT-3.1.4-3]."""
    watcher = connected(router, "watcher")
    watcher.subscribe(router.topic("will"))
    first = connected(router, "x", 5, flags=0x06, payload=will(router.topic("will"), "pushed out"))
    connected(router, "x", 5)
    equal(first.wait_closed(), [(0xE0, b"\x8e")], "what the older one is told")
    equal(watcher.published().payload, b"pushed out", "will")


@test(targets=["pollux"])
def aliases_out(router):
    """A client that allows topic aliases gets each topic once, then its alias; the least recently used is replaced."""
    publisher = connected(router, "publisher")

    def receive(subscriber, names):
        """What arrives for a message on each topic: (topic, alias)."""
        found = []
        for name in names:
            publisher.send(wire.publish(router.topic(name), name.encode()))
            message = subscriber.published(5)
            equal(message.payload, name.encode(), "payload")
            found.append((message.topic.removeprefix(router.topic("")), message.property(0x23)))
        return found

    subscriber = connected(router, "none", 5)
    subscriber.subscribe(router.topic("#"), 0, 5)
    equal(receive(subscriber, "aa"), [("a", [])] * 2, "without Topic Alias Maximum")
    subscriber.socket.close()
    subscriber = connected(router, "two", 5, properties=properties((0x22, 2)))
    subscriber.subscribe(router.topic("#"), 0, 5)
    found = receive(subscriber, "abab")
    first, second = found[0][1], found[1][1]
    equal(sorted(first + second), [1, 2], "two different aliases within the maximum")
    equal(found, [("a", first), ("b", second), ("", first), ("", second)], "topics, then aliases")
    equal(receive(subscriber, "acab"), [("", first), ("c", second), ("", first), ("b", second)], "the oldest is replaced")
    subscriber.socket.close()
    subscriber = connected(router, "two", 5, properties=properties((0x22, 2)))
    subscriber.subscribe(router.topic("#"), 0, 5)
    equal(receive(subscriber, "a")[0][0], "a", "aliases end with the connection")


@test(timeout=40)
def sys_topics(router):
    """Retained figures with the names of Mosquitto, published again when they change."""
    client = connected(router, "x")
    client.subscribe("$SYS/broker/#")
    found = {}
    while not {"$SYS/broker/load/bytes/sent/15min", "$SYS/broker/clients/maximum"} <= found.keys():
        message = client.published()
        found[message.topic] = message.payload.decode()
    while True:
        try:
            message = client.published(4, 0.5)
        except AssertionError:
            break
        found[message.topic] = message.payload.decode()
    for name in ("version", "uptime", "clients/total", "clients/connected", "clients/disconnected", "clients/expired",
                 "messages/received", "messages/sent", "publish/messages/received", "publish/messages/sent",
                 "publish/messages/dropped", "bytes/received", "bytes/sent", "retained messages/count",
                 "subscriptions/count", "load/messages/received/1min", "load/publish/sent/5min"):
        expect(f"$SYS/broker/{name}" in found or name == "clients/expired", f"{name} is not among {sorted(found)}")
    expect(found["$SYS/broker/uptime"].endswith(" seconds"), "uptime")
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        message = client.published(4, 15)
        if message.topic == "$SYS/broker/uptime":
            expect(not message.retain, "a new figure comes as a new message")
            return
    raise AssertionError("uptime was not published again")


@test(targets=["pollux"])
def shared_members(router):
    """Everybody connected gets a share; an offline member is passed over while another is there, on whichever worker."""
    topic, filter = router.topic("a"), "$share/group/" + router.topic("a")
    keep = properties((0x11, 60))
    names = [f"member{number}" for number in range(6)]
    members = [connected(router, name, 5, flags=0x02, properties=keep) for name in names]
    for name in names:
        router.at_end(connected, router, name, 5, flags=0x02)
    for member in members:
        member.subscribe(filter, 1, 5)
    publisher = connected(router, "publisher", 5)

    def publish(start, count):
        for number in range(start, start + count):
            publisher.send(wire.publish(topic, b"%d" % number, 1, 5, number))
            equal(publisher.packet(), (0x40, struct.pack(">H", number)), "PUBACK")

    def collect(connections):
        """All that comes, acknowledged: for each connection the numbers."""
        found = []
        for connection in connections:
            numbers = []
            while True:
                try:
                    message = connection.published(5, 0.3)
                except AssertionError:
                    break
                numbers.append(int(message.payload))
                acknowledge(connection, message)
            found.append(numbers)
        return found

    publish(1, 60)
    found = collect(members)
    equal(sorted(sum(found, [])), list(range(1, 61)), "each message went to one member")
    expect(all(found), f"each member got some: {found}")
    for member in members[1:]:
        member.send(wire.disconnect)
        member.wait_closed()
    publish(61, 30)
    # In any order: what another worker passes on comes later, and shared subscriptions are not ordered [MQTT-4.6.0-6].
    equal(sorted(collect(members[:1])[0]), list(range(61, 91)), "all to the one who is there")
    members[0].send(wire.disconnect)
    members[0].wait_closed()
    publish(91, 30)
    back = [connected(router, name, 5, flags=0x00, properties=keep) for name in names]
    equal(sorted(sum(collect(back), [])), list(range(91, 121)), "nobody was there: nothing is lost")


@test(targets=["pollux"])
def shared_unacknowledged(router):
    """What a member has not acknowledged is kept for its session, and for nobody else [MQTT-4.8.2-5]."""
    topic, filter = router.topic("a"), "$share/group/" + router.topic("a")
    keep = properties((0x11, 60))
    router.at_end(connected, router, "one", 5, flags=0x02)
    one = connected(router, "one", 5, properties=keep)
    one.subscribe(filter, 2, 5)
    publisher = connected(router, "publisher", 5)
    publisher.send(wire.publish(topic, b"kept", 2, 5, 1))
    message = one.published(5)
    one.socket.close()
    other = connected(router, "other", 5)
    other.subscribe(filter, 2, 5)
    other.expect_nothing(0.5)
    again = connected(router, "one", 5, flags=0x00, properties=keep).published(5)
    equal((again.duplicate, again.identifier, again.payload), (True, message.identifier, b"kept"), "sent again")


@test(targets=["pollux"])
def shared_qos(router):
    """The granted QoS of the member holds [MQTT-4.8.2-3]."""
    member = connected(router, "member", 5)
    member.subscribe("$share/group/" + router.topic("a"), 0, 5)
    publisher = connected(router, "publisher", 5)
    publisher.send(wire.publish(router.topic("a"), b"x", 2, 5, 1))
    equal(member.published(5).qos, 0, "QoS")

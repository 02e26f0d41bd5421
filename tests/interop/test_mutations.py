"""A hundred malformed packets of each type, made from good ones with a fixed seed: each costs its own connection at most, and
the router goes on serving others."""

import random

import wire
from harness import equal, expect, test
from mutations import mutate
from wire import Closed, Wire, Witness, packet, properties, take_properties, text

versions = [4, 5]
wanted = 100  # refused packets of each type
at_once = 20
types = ["CONNECT", "CONNACK", "PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP", "SUBSCRIBE", "SUBACK", "UNSUBSCRIBE",
         "UNSUBACK", "PINGREQ", "PINGRESP", "DISCONNECT", "AUTH"]


def good(router, kind, version):
    """First byte and body of a packet that is right, as much as its sender may send it."""
    v5 = version == 5
    user = properties((0x26, ("name", "value")))

    def with_length(data):
        return wire.length(len(data)) + data if v5 else b""

    topic = router.topic("t")
    if kind == "CONNECT":
        will = with_length(properties((0x18, 5), (0x03, "text"))) + text(topic) + text("gone")
        body = text("MQTT") + bytes([version, 0xCE]) + b"\0\x3c" + with_length(properties((0x11, 0), (0x21, 10)) + user)
        return 0x10, body + text(router.client_id("m")) + will + text("user") + text("password")
    if kind in ("PUBACK", "PUBREC", "PUBREL", "PUBCOMP"):
        first = 0x40 + 0x10 * (types.index(kind) - 3) + (2 if kind == "PUBREL" else 0)
        return first, b"\0\x07" + (b"\0" + with_length(properties((0x1F, "why")) + user) if v5 else b"")
    return {
        "CONNACK": (0x20, b"\0\0" + with_length(user)),
        "PUBLISH": (0x32, text(topic) + b"\0\x07" + with_length(properties((0x02, 60), (0x08, "answer")) + user) + b"payload"),
        "SUBSCRIBE": (0x82, b"\0\x07" + with_length(properties((0x0B, 3)) + user) + text(topic + "/+") + b"\x01" +
                      text(topic + "/x") + b"\x02"),
        "SUBACK": (0x90, b"\0\x07" + with_length(user) + b"\0\1"),
        "UNSUBSCRIBE": (0xA2, b"\0\x07" + with_length(user) + text(topic + "/+") + text(topic + "/x")),
        "UNSUBACK": (0xB0, b"\0\x07" + with_length(user) + b"\0"),
        "PINGREQ": (0xC0, b""),
        "PINGRESP": (0xD0, b""),
        "DISCONNECT": (0xE0, b"\0" + with_length(properties((0x1F, "why")) + user) if v5 else b""),
        "AUTH": (0xF0, b"\x18" + with_length(properties((0x15, "METHOD"), (0x16, b"data")) + user) if v5 else b""),
    }[kind]


def outcome(connection, version, kind, data):
    """True: refused; False: taken, the connection lives. What the router says has to be in order, too."""
    try:
        while True:
            first, body = connection.packet(10)
            if first == 0xD0:
                return False
            if first == 0xE0:
                expect(version == 5 and len(body) >= 1 and body[0] >= 0x80, f"{kind} {data!r}: DISCONNECT {body!r}")
            elif first == 0x20 and kind == "CONNECT":
                expect(len(body) >= 2, f"{kind} {data!r}: CONNACK {body!r}")
                if version == 5 and body[1] != 0x01:
                    take_properties(body[2:])
            else:
                expect(first >> 4 in (3, 4, 5, 6, 7, 9, 11), f"{kind} {data!r}: 0x{first:02x} {body!r}")
    except Closed:
        return True


def attack(router, version, kind, dice):
    """at_once mutations; returns how many were refused."""
    connections = []
    for number in range(at_once):
        connection = Wire(router)
        data = packet(*mutate(dice, *good(router, kind, version)))
        if kind != "CONNECT":
            connection.send(wire.connect(router.client_id(f"m{number}"), version))
        connections.append((connection, data))
    for connection, data in connections:
        if kind != "CONNECT":
            equal(connection.packet()[1][1], 0, "reason code of CONNACK")
        try:
            connection.send(data + wire.pingreq)
        except (BrokenPipeError, ConnectionResetError):
            pass
    refused = sum(outcome(connection, version, kind, data) for connection, data in connections)
    for connection, _ in connections:
        connection.socket.close()
    return refused


@test(version=versions, kind=types, timeout=60, targets=["pollux"])
def a_hundred(router, version, kind):
    witness = Witness(router)
    dice = random.Random(f"{kind} of version {version}")
    refused = rounds = 0
    while refused < wanted:
        rounds += 1
        expect(rounds <= 40, f"only {refused} of {(rounds - 1) * at_once} were refused")
        refused += attack(router, version, kind, dice)
        witness.check()

"""MQTT by hand: packets as bytes over plain sockets, for what no client library would send."""

import socket
import struct


def length(value):
    """Variable byte integer."""
    found = bytearray()
    while True:
        value, digit = divmod(value, 128)
        found.append(digit | (0x80 if value else 0))
        if not value:
            return bytes(found)


def text(value):
    data = value.encode() if isinstance(value, str) else value
    return struct.pack(">H", len(data)) + data


def packet(first_byte, body=b""):
    return bytes([first_byte]) + length(len(body)) + body


def connect(client_id, version=4, flags=0x02, keepalive=60, payload=b"", properties=b""):
    body = text("MQTT") + bytes([version, flags]) + struct.pack(">H", keepalive)
    if version == 5:
        body += length(len(properties)) + properties
    return packet(0x10, body + text(client_id) + payload)


def subscribe(topic, qos=0, version=4, identifier=1, properties=b""):
    """qos: the whole byte of subscription options."""
    properties = length(len(properties)) + properties if version == 5 else b""
    return packet(0x82, struct.pack(">H", identifier) + properties + text(topic) + bytes([qos]))


def publish(topic, payload, qos=0, version=4, identifier=1, retain=False, properties=b""):
    body = text(topic) + (struct.pack(">H", identifier) if qos else b"")
    body += length(len(properties)) + properties if version == 5 else b""
    return packet(0x30 | qos << 1 | retain, body + payload)


pingreq = packet(0xC0)
disconnect = packet(0xE0)


# Properties of MQTT 5.0, by identifier: how their values are written.
_property_forms = {0x01: ">B", 0x02: ">I", 0x11: ">I", 0x13: ">H", 0x17: ">B", 0x18: ">I", 0x19: ">B", 0x21: ">H", 0x22: ">H",
                   0x23: ">H", 0x24: ">B", 0x25: ">B", 0x27: ">I", 0x28: ">B", 0x29: ">B", 0x2A: ">B"}


def properties(*pairs):
    """Properties in wire form, without their length: properties((0x11, 60), (0x26, ("name", "value")), ...)."""
    found = b""
    for identifier, value in pairs:
        found += bytes([identifier])
        if identifier in _property_forms:
            found += struct.pack(_property_forms[identifier], value)
        elif identifier == 0x0B:
            found += length(value)
        elif identifier == 0x26:
            found += text(value[0]) + text(value[1])
        else:
            found += text(value)
    return found


def take_length(data):
    """A variable byte integer at the start of data: its value, and what follows."""
    value = shift = 0
    for at, digit in enumerate(data):
        value |= (digit & 0x7F) << shift
        shift += 7
        if not digit & 0x80:
            return value, data[at + 1:]
    raise AssertionError(f"no variable byte integer: {data!r}")


def take_text(data):
    size = struct.unpack(">H", data[:2])[0]
    return data[2:2 + size], data[2 + size:]


def take_properties(data):
    """Properties with their length at the start of data: a list of (identifier, value), and what follows."""
    size, data = take_length(data)
    rest, after = data[:size], data[size:]
    found = []
    while rest:
        identifier, rest = rest[0], rest[1:]
        if identifier in _property_forms:
            size = struct.calcsize(_property_forms[identifier])
            value, rest = struct.unpack(_property_forms[identifier], rest[:size])[0], rest[size:]
        elif identifier == 0x0B:
            value, rest = take_length(rest)
        elif identifier == 0x26:
            name, rest = take_text(rest)
            second, rest = take_text(rest)
            value = (name, second)
        else:
            value, rest = take_text(rest)
        found.append((identifier, value))
    return found, after


class Published:
    """A PUBLISH packet, taken apart."""

    def __init__(self, first, body, version):
        if first & 0xF0 != 0x30:
            raise AssertionError(f"0x{first:02x} {body!r} instead of PUBLISH")
        self.duplicate, self.qos, self.retain = bool(first & 8), first >> 1 & 3, bool(first & 1)
        topic, body = take_text(body)
        self.topic = topic.decode()
        self.identifier = struct.unpack(">H", body[:2])[0] if self.qos else 0
        body = body[2:] if self.qos else body
        self.properties, self.payload = take_properties(body) if version == 5 else ([], body)

    def property(self, identifier):
        return [value for found, value in self.properties if found == identifier]


class Closed(Exception):
    """The router has ended the connection."""


class Wire:
    """A connection that reads whole packets."""

    def __init__(self, router, address=None, receive_buffer=None):
        family = socket.AF_INET6 if ":" in (address or router.host) else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(5)
        self.socket.connect((address or router.host, router.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        router.at_end(self.socket.close)

    def send(self, data):
        self.socket.sendall(data)

    def bytes(self, count):
        data = b""
        while len(data) < count:
            try:
                more = self.socket.recv(count - len(data))
            except ConnectionResetError:
                raise Closed("reset") from None
            except socket.timeout:
                raise AssertionError(f"nothing came within {self.socket.gettimeout()} s") from None
            if not more:
                raise Closed("closed")
            data += more
        return data

    def packet(self, seconds=5):
        """The next packet: its first byte and its body."""
        self.socket.settimeout(seconds)
        first = self.bytes(1)[0]
        size = shift = 0
        while True:
            digit = self.bytes(1)[0]
            size |= (digit & 0x7F) << shift
            shift += 7
            if not digit & 0x80:
                return first, self.bytes(size)

    def published(self, version=4, seconds=5):
        """The next packet, which has to be a PUBLISH."""
        return Published(*self.packet(seconds), version)

    def expect_nothing(self, seconds=0.2):
        try:
            found = self.packet(seconds)
        except AssertionError:
            return
        raise AssertionError(f"a packet that should not come: {found}")

    def subscribe(self, topic, qos=0, version=4, **options):
        """SUBSCRIBE, and the reason codes of the SUBACK that has to follow."""
        self.send(subscribe(topic, qos, version, **options))
        first, body = self.packet()
        if first != 0x90:
            raise AssertionError(f"0x{first:02x} {body!r} instead of SUBACK")
        return take_properties(body[2:])[1] if version == 5 else body[2:]

    def wait_closed(self, seconds=5):
        """Reads until the router ends the connection; returns the packets that came before."""
        found = []
        while True:
            try:
                found.append(self.packet(seconds))
            except Closed:
                return found

    def handshake(self, client_id, version=4, **options):
        """CONNECT, and the body of the CONNACK that has to follow."""
        self.send(connect(client_id, version, **options))
        first, body = self.packet()
        if first != 0x20:
            raise AssertionError(f"0x{first:02x} instead of CONNACK")
        return body


def connected(router, name, version=4, **options):
    wire = Wire(router)
    body = wire.handshake(router.client_id(name), version, **options)
    if body[1] != 0:
        raise AssertionError(f"CONNACK with reason code {body[1]}")
    return wire


class Witness:
    """A connected client that must not notice what others do."""

    def __init__(self, router):
        self.topic = router.topic("witness")
        self.wire = connected(router, "witness")
        self.wire.send(subscribe(self.topic))
        if self.wire.packet()[0] != 0x90:
            raise AssertionError("no SUBACK to the witness")

    def check(self):
        self.wire.send(publish(self.topic, b"ping"))
        found = self.wire.packet()
        if found != (0x30, text(self.topic) + b"ping"):
            raise AssertionError(f"the witness gets {found} from itself")


def will(topic, payload, will_properties=b""):
    """The will's part of a CONNECT of MQTT 5.0."""
    return length(len(will_properties)) + will_properties + text(topic) + text(payload)


def connack(connection, client_id, version=5, **options):
    """Flags, reason code and properties of the CONNACK."""
    body = connection.handshake(client_id, version, **options)
    return body[0], body[1], dict(take_properties(body[2:])[0]) if version == 5 else {}

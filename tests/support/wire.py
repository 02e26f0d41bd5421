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


def subscribe(topic, qos=0, version=4, identifier=1):
    properties = b"\0" if version == 5 else b""
    return packet(0x82, struct.pack(">H", identifier) + properties + text(topic) + bytes([qos]))


def publish(topic, payload, qos=0, version=4, identifier=1, retain=False):
    body = text(topic) + (struct.pack(">H", identifier) if qos else b"") + (b"\0" if version == 5 else b"")
    return packet(0x30 | qos << 1 | retain, body + payload)


pingreq = packet(0xC0)
disconnect = packet(0xE0)


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

"""WebSocket by hand: requests and frames as bytes, for what no client library would send."""

import os
import struct

import wire

key = "dGhlIHNhbXBsZSBub25jZQ=="
accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455 section 1.3

continuation, text, binary, close, ping, pong = 0, 1, 2, 8, 9, 10


def request(line="GET /mqtt HTTP/1.1", **changed):
    """The request of a client; a field that is None is left out. Underscores in names are hyphens."""
    fields = {"Host": "router", "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": key,
              "Sec-WebSocket-Version": "13", "Sec-WebSocket-Protocol": "mqtt"}
    fields.update({name.replace("_", "-"): value for name, value in changed.items()})
    lines = [line] + [f"{name}: {value}" for name, value in fields.items() if value is not None]
    return "".join(f"{one}\r\n" for one in lines + [""]).encode()


def frame(payload=b"", opcode=binary, final=True, mask=None):
    mask = os.urandom(4) if mask is None else mask
    size = len(payload)
    first = bytes([(0x80 if final else 0) | opcode])
    if size < 126:
        head = bytes([0x80 | size])
    elif size < 65536:
        head = struct.pack(">BH", 0x80 | 126, size)
    else:
        head = struct.pack(">BQ", 0x80 | 127, size)
    repeated = (mask * (size // 4 + 1))[:size]
    masked = (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(size, "big")
    return first + head + mask + masked


class WebsocketWire(wire.Wire):
    """As wire.Wire; `send` makes a frame of what it is given, `raw` does not."""

    port = 8083

    def __init__(self, router, upgrade=True):
        class There:
            host, port, at_end = router.host, WebsocketWire.port, router.at_end
        super().__init__(There)
        self.payload = b""
        self.control = []
        self.frames = 0
        if upgrade:
            self.raw(request())
            self.upgraded()

    def raw(self, data):
        self.socket.sendall(data)

    def send(self, data):
        self.raw(frame(data))

    def answer(self):
        """Status, fields and body of the HTTP answer."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += super().bytes(1)
        first, *lines = head.decode().split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in lines if line)
        body = super().bytes(int(fields.get("content-length", 0)))
        return int(first.split()[1]), fields, body.decode()

    def upgraded(self):
        status, fields, body = self.answer()
        if status != 101 or fields["sec-websocket-accept"] != accept.lower() or fields["upgrade"] != "websocket":
            raise AssertionError(f"{status} {fields} {body}")
        self.subprotocol = fields.get("sec-websocket-protocol")

    def frame(self):
        """The next frame: opcode and payload."""
        first, second = super().bytes(2)
        if second == 126:
            second = struct.unpack(">H", super().bytes(2))[0]
        elif second == 127:
            second = struct.unpack(">Q", super().bytes(8))[0]
        if not first & 0x80 or first & 0x70:
            raise AssertionError(f"a frame that begins with {first:02x}")
        return first & 0x0F, super().bytes(second)

    def bytes(self, count):
        while len(self.payload) < count:
            opcode, payload = self.frame()
            if opcode == binary:
                self.payload += payload
                self.frames += 1
            else:
                self.control.append((opcode, payload))
        found, self.payload = self.payload[:count], self.payload[count:]
        return found

    def close_code(self):
        """After the end: the code of the close frame, None if there was none."""
        codes = [struct.unpack(">H", payload[:2])[0] for opcode, payload in self.control if opcode == close]
        return codes[0] if codes else None


def connected(router, name, version=4, **options):
    connection = WebsocketWire(router)
    body = connection.handshake(router.client_id(name), version, **options)
    if body[1] != 0:
        raise AssertionError(f"CONNACK with reason code {body[1]}")
    return connection

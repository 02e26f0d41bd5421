"""MQTT over WebSocket: client libraries, and by hand what requests and frames may look like and may not."""

import struct
import time

import test_messages
import wire
from client import open_connected
from harness import equal, eventually, expect, test
from websocket_wire import WebsocketWire, close, connected, continuation, frame, ping, pong, request, text

libraries = ["paho-ws", "mqttjs-ws"]
versions = [4, 5]


# ---- Client libraries.

@test(library=libraries, version=versions, qos=[0, 1, 2])
def publish_and_receive(router, library, version, qos):
    test_messages.publish_and_receive(router, library, version, qos)


# Paho 1.6 loses its place in a large frame that comes in pieces, whoever sends it: not with mosquitto either.
@test(library=["mqttjs-ws"], version=versions, qos=[0, 2], timeout=60)
def payload_sizes(router, library, version, qos):
    test_messages.payload_sizes(router, library, version, qos)


@test(library=libraries, version=versions, qos=[0, 1], timeout=60)
def everyone_to_everyone(router, library, version, qos):
    test_messages.everyone_to_everyone(router, library, version, qos)


@test(library=libraries, version=versions)
def to_and_from_tcp(router, library, version):
    there = open_connected(router, library, version, "websocket")
    here = open_connected(router, library.removesuffix("-ws"), version, "tcp")
    for one in (there, here):
        one.subscribe_one(router.topic("a"), 1)
    for number, publisher in enumerate([there, here] * 20):
        publisher.publish(router.topic("a"), f"{number}", 1)
    for one in (there, here):
        equal(sorted(int(message.payload) for message in one.receive_many(40)), list(range(40)), "messages")


# ---- The request.

refusals = {
    "request": (request("GET /mqtt HTTP/1.1", Host=None), 400, "request"),
    "not-http": (wire.connect("someone"), 400, "request"),
    "version": (request("GET /mqtt HTTP/1.0"), 505, "version"),
    "method": (request("POST /mqtt HTTP/1.1"), 405, "method"),
    "path": (request("GET /elsewhere HTTP/1.1"), 404, "path"),
    "page": (request("GET /mqtt HTTP/1.1", Upgrade=None, Connection="keep-alive"), 426, "upgrade"),
    "old": (request(Sec_WebSocket_Version="8"), 426, "protocol_version"),
    "key": (request(Sec_WebSocket_Key="short"), 400, "key"),
    "subprotocol": (request(Sec_WebSocket_Protocol="chat"), 400, "subprotocol"),
    "none": (request(Sec_WebSocket_Protocol=None), 400, "subprotocol"),
    "too-large": (request(Cookie="x" * 9000), 431, "too_large"),
}


def counter(router, name):
    return sum(one["value"] for one in router.show("counters", "--filter", f"name={name}"))


@test(case=list(refusals), targets=["pollux"])
def refused(router, case):
    sent, wanted, cause = refusals[case]
    before = counter(router, f"websocket_refused_{cause}")
    connection = WebsocketWire(router, upgrade=False)
    connection.raw(sent)
    status, fields, body = connection.answer()
    equal(status, wanted, "status")
    expect(len(body) > 20 and body.endswith("\n"), f"no help in {body!r}")
    equal(connection.socket.recv(1), b"", "what follows the answer")
    if status == 426:
        equal(fields["sec-websocket-version"], "13", "the version spoken here")
    if status == 405:
        equal(fields["allow"], "get", "the method allowed")
    eventually(lambda: counter(router, f"websocket_refused_{cause}") > before, 5, "it is counted")


@test(targets=["pollux"])
def request_in_time(router):
    """mqtt.connect-timeout is 10 s."""
    connection = WebsocketWire(router, upgrade=False)
    connection.raw(request()[:-1])
    connection.socket.settimeout(15)
    equal(connection.answer()[0], 408, "status")


@test(offer=["mqtt", "chat, mqtt", "mqttv3.1, mqtt", "mqttv3.1"])
def chosen_subprotocol(router, offer):
    connection = WebsocketWire(router, upgrade=False)
    connection.raw(request(Sec_WebSocket_Protocol=offer))
    connection.upgraded()
    if router.target == "pollux":
        equal(connection.subprotocol, "mqtt" if "mqtt" in offer.split(", ") else "mqttv3.1", "what the router chooses")
    connection.handshake(router.client_id("a"))


# ---- Frames.

def exchange(router, connection, version):
    """A message to itself."""
    topic, payload = router.topic("a"), bytes(range(256)) * 3
    equal(connection.subscribe(topic, 1, version), b"\x01", "granted")
    connection.send(wire.publish(topic, payload, 0, version))
    equal(connection.published(version).payload, payload, "payload")


@test(version=versions)
def byte_by_byte(router, version):
    """Each byte, of the request and of frames, in a segment of its own; each byte of MQTT in a frame of its own too."""
    connection = WebsocketWire(router, upgrade=False)
    for data in [request(), wire.connect(router.client_id("a"), version)]:
        for at in range(len(data)):
            one = data[at:at + 1]
            connection.raw(one) if data[:3] == b"GET" else [connection.raw(b) for b in split(frame(one))]
        if data[:3] == b"GET":
            connection.upgraded()
    equal(connection.packet()[1][1], 0, "CONNACK")
    topic = router.topic("a")
    for data in [wire.subscribe(topic, 0, version), wire.publish(topic, b"payload", 0, version)]:
        for one in split(frame(data)):
            connection.raw(one)
        if data[0] == 0x82:
            equal(connection.packet()[0], 0x90, "SUBACK")
    equal(connection.published(version).payload, b"payload", "payload")


def split(data):
    return [data[at:at + 1] for at in range(len(data))]


@test(version=versions)
def request_and_frames_at_once(router, version):
    connection = WebsocketWire(router, upgrade=False)
    connection.raw(request() + frame(wire.connect(router.client_id("a"), version)))
    connection.upgraded()
    equal(connection.packet()[1][1], 0, "CONNACK")
    exchange(router, connection, version)


@test(version=versions)
def many_packets_in_a_frame(router, version):
    connection = connected(router, "a", version)
    topic = router.topic("a")
    connection.subscribe(topic, 0, version)
    connection.frames = 0
    connection.send(b"".join(wire.publish(topic, b"%d" % i, 0, version) for i in range(300)))
    equal([int(connection.published(version).payload) for _ in range(300)], list(range(300)), "payloads")
    if router.target == "pollux":
        expect(connection.frames < 100, f"300 messages came in {connection.frames} frames")


@test(version=versions)
def fragments_with_pings_between(router, version):
    connection = connected(router, "a", version)
    topic, payload = router.topic("a"), bytes(range(256)) * 2000
    connection.subscribe(topic, 0, version)
    data = wire.publish(topic, payload, 0, version)
    connection.raw(frame(data[:1], final=False))
    connection.raw(frame(b"one", ping))
    connection.raw(frame(data[1:70000], continuation, final=False))
    connection.raw(frame(b"", continuation, final=False) + frame(b"two", ping))
    connection.raw(frame(data[70000:], continuation))
    equal(connection.published(version).payload, payload, "payload")
    connection.send(wire.pingreq)
    equal(connection.packet()[0], 0xD0, "PINGRESP")
    pongs = [data for opcode, data in connection.control if opcode == pong]
    expect(pongs and pongs[-1] == b"two" and set(pongs) <= {b"one", b"two"}, f"pongs {pongs}")


faults = {
    "unmasked": (b"\x82\x02\xc0\x00", 1002, "unmasked"),
    "text": (frame(b"text", text), 1003, "text"),
    "compressed": (b"\xc2\x82\0\0\0\0\xc0\x00", 1002, "reserved"),
    "opcode": (frame(b"", 3), 1002, "opcode"),
    "continues-nothing": (frame(b"", continuation), 1002, "fragment"),
    "begins-twice": (frame(b"\xc0", final=False) + frame(b"\0"), 1002, "fragment"),
    "ping-in-fragments": (frame(b"", ping, final=False), 1002, "control"),
    "long-ping": (frame(b"x" * 126, ping), 1002, "control"),
    "long-length": (b"\x82\xfe\0\x02\0\0\0\0\xc0\x00", 1002, "length"),
    "close-code": (frame(struct.pack(">H", 1005), close), 1002, "control"),
}


@test(case=list(faults), targets=["pollux"])
def fault(router, case):
    sent, code, cause = faults[case]
    before = counter(router, f"violated_frame_{cause}")
    witness = wire.Witness(router)
    connection = connected(router, "a")
    connection.send(wire.pingreq)
    connection.raw(frame(wire.pingreq) + sent)
    equal([first for first, _ in connection.wait_closed()], [0xD0, 0xD0], "packets before the end")
    equal(connection.close_code(), code, "close code")
    eventually(lambda: counter(router, f"violated_frame_{cause}") > before, 5, "it is counted")
    witness.check()


@test(version=versions, code=[1000, 1001, 4000])
def close_is_answered(router, version, code):
    connection = connected(router, "a", version)
    connection.raw(frame(struct.pack(">H", code) + b"bye", close))
    connection.wait_closed()
    equal(connection.close_code(), code, "close code")


@test(version=versions, targets=["pollux"])
def disconnect_closes_with_1000(router, version):
    connection = connected(router, "a", version)
    connection.send(wire.disconnect)
    connection.wait_closed()
    equal(connection.close_code(), 1000, "close code")


@test(version=versions, targets=["pollux"])
def malformed_packet_closes_with_1002(router, version):
    connection = connected(router, "a", version)
    connection.send(b"\x36\x00")
    equal([first for first, _ in connection.wait_closed()], [0xE0] if version == 5 else [], "packets before the end")
    equal(connection.close_code(), 1002, "close code")


@test(version=versions, targets=["pollux"])
def large_packet_closes_with_1009(router, version):
    """mqtt.max-packet-size is 1 MiB."""
    connection = connected(router, "a", version)
    connection.send(wire.packet(0x30, bytes(2 << 20))[:100])
    connection.wait_closed()
    equal(connection.close_code(), 1009, "close code")


@test(version=versions, targets=["pollux"])
def will_after_an_end_without_disconnect(router, version):
    watcher = wire.connected(router, "watcher")
    watcher.subscribe(router.topic("will"))
    payload = wire.will(router.topic("will"), b"gone") if version == 5 else wire.text(router.topic("will")) + wire.text(b"gone")
    connection = connected(router, "a", version, flags=0x06, payload=payload)
    connection.raw(frame(struct.pack(">H", 1000), close))
    equal(watcher.published().payload, b"gone", "the will")


@test(targets=["pollux"])
def pings_of_websocket_keep_no_mqtt_client_alive(router):
    connection = connected(router, "a", keepalive=1)
    begin = time.monotonic()
    try:
        while time.monotonic() - begin < 10:
            connection.raw(frame(b"", ping))
            time.sleep(0.2)
    except (BrokenPipeError, ConnectionResetError):
        pass
    connection.wait_closed()
    expect(time.monotonic() - begin < 12, "still connected")
    equal(connection.close_code(), 1008, "close code")


@test(targets=["pollux"])
def shown(router):
    connected(router, "a")
    [shown_client] = router.show("clients", "--filter", f"id={router.client_id('a')}")
    equal(shown_client["transport"], "websocket", "transport of the client")
    [shown_connection] = router.show("connections", "--filter", f"client={router.client_id('a')}")
    equal(shown_connection["transport"], "websocket", "transport of the connection")
    transports = {one["port"]: one["transport"] for one in router.show("listeners")}
    equal(transports, {1883: "tcp", 8083: "websocket"}, "transports of the listeners")

"""A router that sends its clients to another server."""

import json
import subprocess
import time

import wire
from harness import equal, eventually, expect, lab, test
from wire import Wire, connack, connected, properties, take_properties, will

pollux = ("pollux",)
other = "broker2.example.net:8883"


def drain(router, *words):
    done = subprocess.run([lab, "ctl", "--json", "drain", *words], capture_output=True, text=True, timeout=15)
    equal(done.returncode, 0, f"polluxctl drain: {done.stderr.strip()} exit status")
    return json.loads(done.stdout)["records"][0]


def start(router, *words):
    router.at_end(drain, router, "--stop")
    return drain(router, "--to", other, *words)


def goodbye(connection):
    """Packets before the end: first byte, reason code, properties."""
    return [(first, body[0], dict(take_properties(body[1:])[0]) if len(body) > 1 else {})
            for first, body in connection.wait_closed(10)]


@test(targets=pollux)
def connected_clients(router):
    """DISCONNECT with 0x9C and where to go; the session and the will are treated as for any end by the server."""
    watched = properties((0x11, 300))
    for permanent, code in (("", 0x9C), ("--permanent", 0x9D)):
        plain = connected(router, "plain", 5)
        asks = connected(router, "asks", 5, properties=properties((0x17, 1)))
        small = connected(router, "small", 5, properties=properties((0x27, 20)))
        keeps = connected(router, "keeps", 5, flags=0x04, properties=watched, payload=will(router.topic("w"), "m"))
        old = connected(router, "old", 4)
        start(router, *permanent.split())
        equal(goodbye(plain), [(0xE0, code, {0x1C: other.encode()})], "DISCONNECT with a server reference")
        (_, reason, found), = goodbye(asks)
        equal((reason, found[0x1C]), (code, other.encode()), "reason code and reference")
        expect(0x1F in found, "a reason string for who asks")
        equal(goodbye(small), [(0xE0, code, {})], "no reference beyond Maximum Packet Size")
        equal(goodbye(old), [], "3.1.1: no word")
        equal(goodbye(keeps)[0][1], code, "reason code")
        drain(router, "--stop")
        again = Wire(router)
        equal(again.handshake(router.client_id("keeps"), 5, flags=0x00)[:2], b"\x01\0", "the session is there")


@test(targets=pollux)
def new_clients(router):
    """CONNACK with the same, return code 3 before 5.0; after --stop they are welcome again."""
    for permanent, code in (("", 0x9C), ("--permanent", 0x9D)):
        start(router, *permanent.split())
        connection = Wire(router)
        flags, reason, found = connack(connection, router.client_id("a"))
        equal((flags, reason, found), (0, code, {0x1C: other.encode()}), "CONNACK")
        equal(connection.wait_closed(), [], "then the end")
        small = connack(Wire(router), router.client_id("a"), properties=properties((0x27, 20)))
        equal(small, (0, code, {}), "no reference beyond Maximum Packet Size")
        old = Wire(router)
        equal(old.handshake(router.client_id("a"), 4), b"\0\x03", "3.1.1: server unavailable")
        equal(old.wait_closed(), [], "then the end")
        drain(router, "--stop")
        connected(router, "a", 5).send(wire.disconnect)


@test(targets=pollux, timeout=60)
def paced(router):
    """No more than --rate clients a second leave; show drain counts down to nobody."""
    clients = [connected(router, f"c{number}", 5) for number in range(60)]
    record = start(router, "--rate", "20")
    equal((record["state"], record["to"], record["rate"]), ("draining", other, 20), "what polluxctl says")
    begun = time.monotonic()
    time.sleep(1)
    left = router.show("drain")[0]["connected"]
    expect(60 - left <= 20 * (time.monotonic() - begun) + 4, f"{60 - left} of 60 have gone after a second at 20 a second")
    expect(left < 60, "some have gone")
    for client in clients:
        equal(goodbye(client)[0][1], 0x9C, "reason code")
    expect(time.monotonic() - begun > 2, "60 at 20 a second take three seconds")
    eventually(lambda: router.show("drain")[0]["connected"] == 0, 5, "nobody is left")
    record = router.show("drain")[0]
    equal(record["disconnected"], 60, "clients sent away")
    equal(drain(router, "--stop")["state"], "off", "state after --stop")


@test(targets=pollux)
def without_control(router):
    """It goes on when pollux-control is restarted, which finds it as it was."""
    start(router)
    subprocess.run([lab, "kill", "control"], check=True, capture_output=True, timeout=30)
    try:
        equal(connack(Wire(router), router.client_id("a"))[1], 0x9C, "reason code without control")
    finally:
        subprocess.run([lab, "start", "control"], check=True, capture_output=True, timeout=30)

    def shown():
        try:
            return router.show("drain")[0]["state"]
        except AssertionError:
            return None

    eventually(lambda: shown() == "draining", 10, "the new control shows it")

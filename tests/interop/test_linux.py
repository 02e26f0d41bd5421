"""The router's TCP/IP against the Linux stack of the clients: ping, ways to end a connection, windows, refusals."""

import socket
import struct
import subprocess
import time

import wire
from harness import Skipped, equal, expect, test
from wire import Wire, connected

both = ["198.18.0.1", "2001:db8:18::1"]


def need_ipv6(address):
    if ":" in address and "2001:db8:18::2" not in subprocess.run(["ip", "-6", "address"], capture_output=True,
                                                                  text=True, check=True).stdout:
        raise Skipped("the kernel has no IPv6")


@test(address=both, size=[0, 56, 1400, 1473, 20000])
def ping(router, address, size):
    need_ipv6(address)
    done = subprocess.run(["ping", "-c", "20", "-i", "0.01", "-W", "1", "-s", str(size), address], capture_output=True,
                          text=True, check=False)
    expect(" 0% packet loss" in done.stdout, done.stdout)


@test(targets=["pollux"])
def link_of_the_port(router):
    """Up; nobody knows of a TAP device whose end is in the clients' namespace, where the router cannot look."""
    equal([port["link"] for port in router.show("ports")], ["unknown" if router.link == "tap" else "up"], "link")


@test(address=both)
def messages(router, address):
    need_ipv6(address)
    connection = Wire(router, address)
    connection.handshake(router.client_id("a"))
    connection.send(wire.subscribe(router.topic("a")))
    equal(connection.packet()[0], 0x90, "SUBACK")
    for size in (1, 1000, 100000):
        connection.send(wire.publish(router.topic("a"), b"x" * size))
        equal(len(connection.packet()[1]), 2 + len(router.topic("a")) + size, "length of the message")


@test(address=both)
def closed_port_refuses(router, address):
    need_ipv6(address)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(3)
        start = time.monotonic()
        try:
            probe.connect((address, 1884))
        except ConnectionRefusedError:
            expect(time.monotonic() - start < 0.5, "refused at once")
            return
    raise AssertionError("a port where nobody listens takes connections")


@test()
def half_close(router):
    """A client that has said everything and closes its side still has its last messages routed and its answers sent."""
    watcher = connected(router, "watcher")
    watcher.send(wire.subscribe(router.topic("a")))
    watcher.packet()
    client = connected(router, "client")
    client.send(wire.publish(router.topic("a"), b"last words", 1) + wire.disconnect)
    client.socket.shutdown(socket.SHUT_WR)
    equal(client.wait_closed(), [(0x40, b"\0\1")], "answers before the router closes its side too")
    expect(watcher.packet()[1].endswith(b"last words"), "the message arrived")


@test()
def reset_publishes_the_will(router):
    watcher = connected(router, "watcher")
    watcher.send(wire.subscribe(router.topic("will")))
    watcher.packet()
    client = connected(router, "client", flags=0x06, payload=wire.text(router.topic("will")) + wire.text("reset"))
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.socket.close()
    expect(watcher.packet()[1].endswith(b"reset"), "the will arrived")


@test()
def same_port_again(router):
    """A client that was reset connects again from the same port at once."""
    port = None
    for _ in range(5):
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        client.settimeout(3)
        client.bind(("198.18.0.2", port or 0))
        port = client.getsockname()[1]
        client.connect((router.host, router.port))
        client.sendall(wire.connect(router.client_id("a")))
        equal(client.recv(4), b"\x20\x02\0\0", "CONNACK")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()


@test(timeout=60)
def come_and_go(router):
    """2,000 connections one after the other: nothing may be used up by them."""
    for number in range(2000):
        client = socket.create_connection((router.host, router.port), 5)
        if number % 2:
            client.sendall(wire.connect(router.client_id("a")))
            equal(client.recv(4), b"\x20\x02\0\0", "CONNACK")
        client.close()
    connected(router, "last")


@test(timeout=60)
def slow_reader_gets_everything(router):
    """A subscriber that does not read closes its window; the others go on; all waits for it until it reads."""
    slow = Wire(router, receive_buffer=4096)
    slow.handshake(router.client_id("slow"))
    slow.send(wire.subscribe(router.topic("a"), 1))
    equal(slow.packet()[0], 0x90, "SUBACK")
    fast = connected(router, "fast")
    fast.send(wire.subscribe(router.topic("a"), 0))
    fast.packet()
    publisher = connected(router, "publisher")
    count = 50
    for number in range(count):
        publisher.send(wire.publish(router.topic("a"), struct.pack(">I", number) + bytes(40000), 1, identifier=number + 1))
        equal(publisher.packet(), (0x40, struct.pack(">H", number + 1)), "PUBACK")
        expect(fast.packet(5)[0] == 0x30, "the fast one gets it meanwhile")
    time.sleep(1)
    at = 2 + len(router.topic("a"))
    for number in range(count):
        first, body = slow.packet(10)
        equal((first, body[at + 2:at + 6], len(body)), (0x32, struct.pack(">I", number), at + 2 + 40004),
              "message to the slow one")
        slow.send(wire.packet(0x40, body[at:at + 2]))


@test(timeout=60)
def slow_reader_goes_on_publishing(router):
    """One whose window is closed publishes without hindrance: what the router acknowledges is acceptable to it."""
    slow = Wire(router, receive_buffer=4096)
    slow.handshake(router.client_id("slow"))
    slow.send(wire.subscribe(router.topic("to-slow")))
    slow.packet()
    listener = connected(router, "listener")
    listener.send(wire.subscribe(router.topic("from-slow")))
    listener.packet()
    publisher = connected(router, "publisher")
    publisher.send(wire.publish(router.topic("to-slow"), bytes(100000)))
    time.sleep(4)  # the window has closed, and the probes are seconds apart
    longest = 0
    for number in range(60):
        start = time.monotonic()
        slow.send(wire.publish(router.topic("from-slow"), struct.pack(">I", number) + bytes(1200)))
        first, body = listener.packet(20)
        longest = max(longest, time.monotonic() - start)
        equal((first, body[2 + len(router.topic("from-slow")):][:4]), (0x30, struct.pack(">I", number)), "message")
    expect(longest < 0.2, f"one message took {longest:.3f} s")
    equal(len(slow.packet(10)[1]), 2 + len(router.topic("to-slow")) + 100000, "what waited for it")


@test(timeout=60)
def bulk_both_ways(router):
    """16 MiB through one connection and back, every byte looked at."""
    client = connected(router, "bulk")
    client.send(wire.subscribe(router.topic("a")))
    client.packet()
    body = bytes(i * 31 >> 3 & 0xFF for i in range(131072))
    for number in range(128):
        client.send(wire.publish(router.topic("a"), struct.pack(">I", number) + body))
        _, found = client.packet(10)
        expect(found[2 + len(router.topic("a")):] == struct.pack(">I", number) + body, f"message {number} came changed")


@test()
def idle_router_answers_fast(router):
    """Nothing holds output back and an idle worker wakes up in time: half of all pings within 2 ms."""
    client = connected(router, "client")
    times = []
    for _ in range(100):
        time.sleep(0.005)
        start = time.monotonic()
        client.send(wire.pingreq)
        client.packet()
        times.append(time.monotonic() - start)
    times.sort()
    expect(times[50] < 0.002, f"median {times[50] * 1e6:.0f} us, p90 {times[90] * 1e6:.0f} us")

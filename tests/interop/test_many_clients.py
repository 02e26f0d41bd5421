"""10,000 clients at once, and what is left when they are gone: nothing."""

import resource
import select
import socket
import struct
import time

import wire
from harness import equal, eventually, expect, test

clients = 10000
connecting_at_once = 500


class Many:
    """Non-blocking clients on one epoll. Each subscribes to a topic of its own and sends one message to its neighbour's,
    so that each gets exactly one, whichever worker the two are on."""

    def __init__(self, router, count):
        self.router = router
        self.count = count
        self.epoll = select.epoll()
        self.sockets = {}
        self.numbers = {}
        self.buffers = {}
        self.done = 0

    def topic(self, number):
        return self.router.topic(str(number))

    def connect_all(self):
        """Every client gets its CONNACK and its SUBACK, some hundreds under way at a time."""
        started = 0
        wanted = bytes((0x20, 2, 0, 0, 0x90, 3, 0, 1, 1))
        self.done = 0
        while self.done < self.count:
            while started < self.count and started - self.done < connecting_at_once:
                self.start(started)
                started += 1
            self.step(wanted, "CONNACK and SUBACK")

    def start(self, number):
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex((self.router.host, self.router.port))
        self.sockets[number] = client
        self.numbers[client.fileno()] = number
        self.buffers[number] = b""
        self.epoll.register(client.fileno(), select.EPOLLOUT)

    def step(self, wanted, what):
        """Handles what is ready. A client is done when it has received `wanted`."""
        events = self.epoll.poll(10)
        expect(events, f"{self.done} of {self.count} got {what}, then nothing for 10 s")
        for descriptor, event in events:
            number = self.numbers[descriptor]
            client = self.sockets[number]
            if event & select.EPOLLOUT:
                name = self.router.client_id(str(number))
                client.send(wire.connect(name) + wire.subscribe(self.topic(number), 1))
                self.epoll.modify(descriptor, select.EPOLLIN)
                continue
            self.read(number, client, wanted(number) if callable(wanted) else wanted, what)

    def read(self, number, client, wanted, what):
        data = client.recv(4096)
        expect(data, f"client {number} was disconnected, waiting for {what}")
        self.buffers[number] += data
        expect(len(self.buffers[number]) <= len(wanted), f"client {number} got {self.buffers[number]!r}, not only {what}")
        if len(self.buffers[number]) == len(wanted):
            self.done += 1

    def exchange(self, round_number):
        """Each sends a QoS 1 message to the next; each gets a PUBACK and a message."""
        body = struct.pack(">I", round_number)
        for number in self.buffers:
            self.buffers[number] = b""
        self.done = 0
        sent = 0

        def wanted(number):
            puback = wire.packet(0x40, struct.pack(">H", round_number))
            return puback + wire.publish(self.topic(number), body, 1, identifier=round_number)

        while self.done < self.count:
            while sent < self.count and sent - self.done < connecting_at_once:
                target = self.topic((sent + 1) % self.count)
                self.sockets[sent].send(wire.publish(target, body, 1, identifier=round_number))
                sent += 1
            self.step(wanted, "PUBACK and message")
        for number, data in self.buffers.items():
            expect(data.count(body) >= 1, f"client {number} got {data!r}")
            at = data.index(wire.text(self.topic(number))) + 2 + len(self.topic(number))
            self.sockets[number].send(wire.packet(0x40, data[at:at + 2]))

    def leave_all(self):
        for client in self.sockets.values():
            client.send(wire.disconnect)
            client.close()


def held(router):
    """What the router holds for clients now: objects of all kinds that are there only because of clients."""
    wanted = ("connections", "sessions", "messages", "clients", "subscriptions")
    return {record["object"]: record["count"] for record in router.show("census")
            if record["worker"] == "all" and record["object"] in wanted and record["count"]}


@test(timeout=180)
def ten_thousand(router):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (clients + 100, max(hard, clients + 100)))
    before = held(router) if router.target == "pollux" else {}
    many = Many(router, clients)
    start = time.monotonic()
    many.connect_all()
    print(f"{clients} connected in {time.monotonic() - start:.1f} s")
    for round_number in (1, 2, 3):
        start = time.monotonic()
        many.exchange(round_number)
        print(f"{clients} messages in {time.monotonic() - start:.1f} s")
    time.sleep(1)  # stay
    many.exchange(4)
    many.leave_all()
    if router.target == "pollux":
        eventually(lambda: held(router) == before, 20, f"the census is what it was; now {held(router)}")

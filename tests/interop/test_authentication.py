"""Logging in: by user name and password, by SCRAM-SHA-256, again while connected, and without pollux-control."""

import base64
import hashlib
import hmac
import os
import random
import signal
import socket
import subprocess
import threading
import time

import wire
from harness import equal, eventually, expect, lab, state, test
from mutations import mutate
from wire import Closed, Wire, packet, take_properties, text

pollux = ("pollux",)
versions = [4, 5]
method = "SCRAM-SHA-256"


# ---- users and SCRAM -------------------------------------------------------------------------------------------------

def ctl(*words, said="", check=True):
    done = subprocess.run([lab, "ctl", *words], input=said, capture_output=True, text=True, timeout=15)
    if check:
        equal(done.returncode, 0, f"polluxctl {' '.join(words)}: {done.stderr.strip()} exit status")
    return done


def add_user(name="bee", password="honey"):
    ctl("user", "add", name, said=password + "\n")


class Scram:
    """The client's side of RFC 5802 with SHA-256."""

    def __init__(self, user="bee", password="honey", nonce=None):
        self.user, self.password = user.replace("=", "=3D").replace(",", "=2C"), password.encode()
        self.bare = f"n={self.user},r={nonce or base64.b64encode(os.urandom(18)).decode()}"

    def first(self):
        return f"n,,{self.bare}".encode()

    def final(self, challenge):
        challenge = challenge.decode()
        fields = dict(part.split("=", 1) for part in challenge.split(","))
        expect(fields["r"].startswith(self.bare.split(",r=")[1]), "the server's nonce begins with the client's")
        salted = hashlib.pbkdf2_hmac("sha256", self.password, base64.b64decode(fields["s"]), int(fields["i"]))
        key = hmac.digest(salted, b"Client Key", "sha256")
        without_proof = f"c=biws,r={fields['r']}"
        message = f"{self.bare},{challenge},{without_proof}".encode()
        signature = hmac.digest(hashlib.sha256(key).digest(), message, "sha256")
        proof = bytes(a ^ b for a, b in zip(key, signature))
        server_key = hmac.digest(salted, b"Server Key", "sha256")
        self.expected = b"v=" + base64.b64encode(hmac.digest(server_key, message, "sha256"))
        return f"{without_proof},p={base64.b64encode(proof).decode()}".encode()


def method_properties(data=None, name=method):
    return wire.properties((0x15, name), *([(0x16, data)] if data is not None else []))


def connect(client_id, data, name=method, more=b"", **options):
    return wire.connect(client_id, 5, properties=method_properties(data, name) + more, **options)


def auth(reason, data=None, name=method):
    properties = method_properties(data, name)
    return packet(0xF0, bytes([reason]) + wire.length(len(properties)) + properties)


def challenged(connection):
    """The AUTH packet that the router has to send now: its data."""
    first, body = connection.packet()
    equal((first, body[0]), (0xF0, 0x18), "AUTH, continue authentication")
    found, rest = take_properties(body[1:])
    equal(rest, b"", "bytes behind the properties")
    equal([p[0] for p in found], [0x15, 0x16], "properties of AUTH: method and data, nothing else")
    equal(found[0][1], method.encode(), "method")
    return found[1][1]


def log_in(connection, client_id, scram=None, **options):
    """Returns flags, reason code and properties of CONNACK."""
    scram = scram or Scram()
    connection.send(connect(client_id, scram.first(), **options))
    connection.send(auth(0x18, scram.final(challenged(connection))))
    first, body = connection.packet()
    equal(first, 0x20, "CONNACK")
    found = dict(take_properties(body[2:])[0])
    if body[1] == 0:
        equal(found.get(0x15), method.encode(), "method in CONNACK [MQTT-4.12.0-5]")
        equal(found.get(0x16), scram.expected, "server-final-message in CONNACK: the server knows the password too")
    return body[0], body[1], found


def refused(connection, code):
    """CONNACK with that code, and the end."""
    found = connection.wait_closed(15)
    equal([(first, body[0], body[1]) for first, body in found], [(0x20, 0, code)], "CONNACK, then the end")


def account(name=None, password=None):
    """Flags and payload of a CONNECT with user name and password."""
    flags = 0x02 | (0x80 if name is not None else 0) | (0x40 if password is not None else 0)
    payload = (text(name) if name is not None else b"") + (text(password) if password is not None else b"")
    return {"flags": flags, "payload": payload}


# ---- user name and password ------------------------------------------------------------------------------------------

@test(version=versions, targets=pollux)
def right_password(router, version):
    add_user()
    connection = Wire(router)
    body = connection.handshake(router.client_id("a"), version, **account("bee", "honey"))
    equal(body[:2], b"\0\0", "CONNACK")
    connection.send(wire.pingreq)
    equal(connection.packet(), (0xD0, b""), "PINGRESP")
    clients = [c for c in router.show("clients") if c["id"] == router.client_id("a")]
    equal([c["username"] for c in clients], ["bee"], "user that polluxctl shows")


@test(version=versions, targets=pollux)
def wrong_password(router, version):
    """0x86 or return code 4 for a wrong account, whichever part of it is wrong; 0x87 or 5 for none at all."""
    add_user()
    bad = 0x86 if version == 5 else 4
    accounts = [account("bee", "wax"), account("nobody", "honey"), account("bee"), account("", ""), account("bee", ""),
                account("bee", "x" * 5000), account("b" * 5000, "honey"), account("bee", "honey\0")]
    if version == 5:
        accounts.append(account(None, "honey"))
    for one in accounts:
        connection = Wire(router)
        connection.send(wire.connect(router.client_id("a"), version, **one))
        refused(connection, bad)
    connection = Wire(router)
    connection.send(wire.connect(router.client_id("a"), version))
    refused(connection, 0x87 if version == 5 else 5)


@test(version=versions, targets=pollux)
def packets_behind_connect(router, version):
    """What comes with CONNECT in one segment is handled after control has answered; of a refused one, never."""
    add_user()
    connection = Wire(router)
    data = wire.subscribe(router.topic("a"), 0, version) + wire.publish(router.topic("a"), b"x", 0, version) + wire.pingreq
    connection.send(wire.connect(router.client_id("a"), version, **account("bee", "honey")) + data)
    equal(connection.packet()[0], 0x20, "CONNACK comes first")
    equal(sorted(connection.packet()[0] for _ in range(3)), [0x30, 0x90, 0xD0], "answers")
    witness = Wire(router)
    witness.handshake(router.client_id("w"), version, **account("bee", "honey"))
    witness.subscribe(router.topic("b"), 0, version)
    other = Wire(router)
    other.send(wire.connect(router.client_id("b"), version, **account("bee", "wax")) +
               wire.publish(router.topic("b"), b"x", 0, version))
    refused(other, 0x86 if version == 5 else 4)
    witness.expect_nothing()


@test(targets=pollux)
def large_connect(router):
    """A CONNECT with a will of a quarter megabyte, which is put together and then waits for control."""
    add_user()
    will = text(router.topic("will")) + text(bytes(65535))
    one = account("bee", "honey")
    connection = Wire(router)
    body = connection.handshake(router.client_id("a"), 4, flags=one["flags"] | 0x04, payload=will + one["payload"])
    equal(body, b"\0\0", "CONNACK")


@test(targets=pollux)
def users_come_and_go(router):
    add_user("wasp", "one")
    equal(Wire(router).handshake(router.client_id("a"), 4, **account("wasp", "one")), b"\0\0", "CONNACK")
    add_user("wasp", "two")
    equal(Wire(router).handshake(router.client_id("a"), 4, **account("wasp", "one"))[1], 4, "old password: return code")
    equal(Wire(router).handshake(router.client_id("a"), 4, **account("wasp", "two"))[1], 0, "new password: return code")
    names = [line.split()[0] for line in ctl("user", "list").stdout.splitlines()]
    expect("wasp" in names, f"wasp in {names}")
    ctl("user", "delete", "wasp")
    equal(Wire(router).handshake(router.client_id("a"), 4, **account("wasp", "two"))[1], 4, "deleted user: return code")
    expect("no user 'wasp'" in ctl("user", "delete", "wasp", check=False).stderr, "deleting it again is refused")


@test(targets=pollux, timeout=60)
def many_at_once(router):
    """Two hundred clients that log in at the same time, more than may: each is let in or told that the router is busy,
    0x88 only to those that have waited for authentication.timeout, and a wrong one never gets in."""
    add_user()
    results = []
    early = []

    def one(number):
        password = "honey" if number % 4 else "wax"
        connection = Wire(router)
        start = time.monotonic()
        code = connection.handshake(router.client_id(str(number)), 5, **account("bee", password))[1]
        if code == 0x88 and time.monotonic() - start < 2.5:
            early.append(time.monotonic() - start)
        results.append((password, code))

    threads = [threading.Thread(target=one, args=(number,)) for number in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    equal(len(results), 200, "answers")
    equal(early, [], "told 0x88 before the three seconds were over")
    expect({code for password, code in results if password == "honey"} <= {0, 0x88, 0x89}, "right password: in, or too many")
    expect({code for password, code in results if password == "wax"} <= {0x86, 0x88, 0x89}, "wrong password: out, or too many")
    expect(sum(code == 0 for _, code in results) > 30, "many got in")


@test(targets=pollux)
def mosquitto_clients(router):
    add_user()

    def publish(*more):
        return subprocess.run(["mosquitto_pub", "-h", router.host, "-t", router.topic("a"), "-m", "x", *more],
                              capture_output=True, text=True, timeout=15)

    for version in ("mqttv31", "mqttv311", "mqttv5"):
        equal(publish("-V", version, "-u", "bee", "-P", "honey").returncode, 0, f"{version}: exit status")
        expect(publish("-V", version, "-u", "bee", "-P", "wax").returncode != 0, f"{version}: a wrong password is refused")
        expect(publish("-V", version).returncode != 0, f"{version}: no password is refused")


# ---- SCRAM ------------------------------------------------------------------------------------------------------------

@test(targets=pollux)
def scram(router):
    add_user()
    connection = Wire(router)
    flags, reason, found = log_in(connection, router.client_id("a"))
    equal((flags, reason), (0, 0), "CONNACK")
    connection.send(wire.subscribe(router.topic("a"), 0, 5) + wire.publish(router.topic("a"), b"x", 0, 5))
    equal(sorted(connection.packet()[0] for _ in range(2)), [0x30, 0x90], "it works like any other")
    equal([c["username"] for c in router.show("clients") if c["id"] == router.client_id("a")], ["bee"], "user")
    add_user("a=b,c", "x")
    equal(log_in(Wire(router), router.client_id("b"), Scram("a=b,c", "x"))[1], 0, "name with = and ,: reason code")


@test(targets=pollux)
def scram_and_an_old_session(router):
    """The session may live on another worker: the login goes there with the connection, and CONNACK is the same."""
    add_user()
    expiry = wire.properties((0x11, 300))
    for number in range(8):
        name = router.client_id(f"s{number}")
        for present in (0, 1):
            connection = Wire(router)
            flags, reason, _ = log_in(connection, name, flags=0x00, more=expiry)
            equal((flags, reason), (present, 0), f"session present of {name}, reason code")
            again = Scram()
            connection.send(auth(0x19, again.first()))
            connection.send(auth(0x18, again.final(challenged(connection))))
            equal(connection.packet()[1][0], 0, "re-authentication")
            connection.send(packet(0xE0, b"\x00\x05" + wire.properties((0x11, 0 if present else 300))))
            connection.wait_closed()


@test(targets=pollux)
def scram_wrong_proof(router):
    add_user()
    for who in (Scram("bee", "wax"), Scram("nobody", "honey")):
        connection = Wire(router)
        connection.send(connect(router.client_id("a"), who.first()))
        challenge = challenged(connection)
        expect(b",i=4096" in challenge, f"an unknown user's challenge looks like any: {challenge}")
        connection.send(auth(0x18, who.final(challenge)))
        refused(connection, 0x87)
    for data in (None, b"", b"nonsense", b"p=tls-unique,,n=bee,r=x", b"n,a=other,n=bee,r=x", b"x" * 3000):
        connection = Wire(router)
        connection.send(connect(router.client_id("a"), data))
        refused(connection, 0x87)


@test(targets=pollux)
def unknown_method(router):
    add_user()
    for name in ("SCRAM-SHA-1", "scram-sha-256", "PLAIN", "", "x" * 3000):
        connection = Wire(router)
        connection.send(connect(router.client_id("a"), Scram().first(), name))
        refused(connection, 0x8C)


@test(targets=pollux)
def out_of_turn(router):
    """Section 4.12: what is not AUTH, or not the AUTH that is due, ends the connection with 0x82."""
    add_user()
    before_connack = {
        "PINGREQ": wire.pingreq,
        "PUBLISH": wire.publish(router.topic("a"), b"x", 0, 5),
        "SUBSCRIBE": wire.subscribe(router.topic("a"), 0, 5),
        "CONNECT": wire.connect(router.client_id("b"), 5),
        "AUTH 0x19": auth(0x19, b"x"),
        "AUTH of another method": auth(0x18, b"x", "SCRAM-SHA-512"),
        "AUTH without a method": packet(0xF0, b"\x18\x00"),
    }
    for name, data in before_connack.items():
        connection = Wire(router)
        connection.send(connect(router.client_id("a"), Scram().first()))
        challenged(connection)
        connection.send(data)
        found = connection.wait_closed()
        equal([(first, body[1]) for first, body in found], [(0x20, 0x82)], f"{name} before CONNACK")
    connection = Wire(router)
    connection.send(connect(router.client_id("a"), Scram().first()))
    challenged(connection)
    connection.send(wire.disconnect)
    equal(connection.wait_closed(), [], "DISCONNECT before CONNACK")
    after_connack = {
        "AUTH 0x18": auth(0x18, b"x"),
        "AUTH of another method": auth(0x19, Scram().first(), "SCRAM-SHA-512"),
        "two AUTH 0x19": auth(0x19, Scram().first()) + auth(0x19, Scram().first()),
    }
    for name, data in after_connack.items():
        connection = Wire(router)
        log_in(connection, router.client_id("a"))
        connection.send(data)
        found = connection.wait_closed()
        equal([(first, body[0]) for first, body in found if first != 0xF0], [(0xE0, 0x82)], f"{name} after CONNACK")
    connection = Wire(router)
    connection.handshake(router.client_id("a"), 5, **account("bee", "honey"))
    connection.send(auth(0x19, Scram().first()))
    equal([(first, body[0]) for first, body in connection.wait_closed()], [(0xE0, 0x82)], "AUTH without a method")


@test(targets=pollux)
def small_packets_only(router):
    """AUTH and CONNACK above the client's Maximum Packet Size are not sent [MQTT-3.1.2-24]."""
    add_user()
    connection = Wire(router)
    connection.send(connect(router.client_id("a"), Scram().first(), more=wire.properties((0x27, 60))))
    equal(connection.wait_closed(), [], "nothing")


@test(targets=pollux)
def slow_client(router):
    """A client that does not go on with its login is refused after authentication.timeout."""
    add_user()
    connection = Wire(router)
    connection.send(connect(router.client_id("a"), Scram().first()))
    challenged(connection)
    start = time.monotonic()
    refused(connection, 0x87)
    expect(2 < time.monotonic() - start < 10, "after three seconds")


@test(targets=pollux, timeout=90)
def spoilt_packets(router):
    """Two hundred mutations of the AUTH that ends a login, and of the CONNECT that begins one: whatever they are, nobody gets
    in without the right proof, and nothing of them stays."""
    add_user()
    dice = random.Random("spoilt")
    for number in range(200):
        who, connection = Scram(nonce="client's"), Wire(router)
        good = connect(router.client_id("m"), who.first())
        if number % 2:
            connection.send(packet(*mutate(dice, good[0], good[2:])))
            connection.socket.close()
            continue
        connection.send(good)
        answer = who.final(challenged(connection))
        right = auth(0x18, answer)
        first, body = mutate(dice, right[0], right[2 if right[1] < 128 else 3:])
        connection.send(packet(first, body))
        connection.socket.shutdown(socket.SHUT_WR)
        found = connection.wait_closed(15)
        accepted = [one for one in found if one[0] == 0x20 and one[1][1] == 0]
        expect(not accepted or answer in body, f"{first:02x} {body!r} was accepted")
    eventually(lambda: logins_under_way(router) == 0, 10, "no login is left")


# ---- re-authentication -------------------------------------------------------------------------------------------------

@test(targets=pollux)
def renewal(router):
    """Re-authentication while messages flow."""
    add_user()
    connection = Wire(router)
    log_in(connection, router.client_id("a"))
    connection.subscribe(router.topic("a"), 0, 5)
    for _ in range(3):
        again = Scram()
        connection.send(wire.publish(router.topic("a"), b"1", 0, 5) + auth(0x19, again.first()) +
                        wire.publish(router.topic("a"), b"2", 0, 5) + wire.pingreq)
        found = [connection.packet() for _ in range(4)]
        equal(sorted(first for first, _ in found), [0x30, 0x30, 0xD0, 0xF0], "traffic goes on, and AUTH comes")
        body = [body for first, body in found if first == 0xF0][0]
        equal(body[0], 0x18, "continue authentication")
        connection.send(auth(0x18, again.final(dict(take_properties(body[1:])[0])[0x16])))
        first, body = connection.packet()
        equal((first, body[0]), (0xF0, 0x00), "AUTH, success")
        equal(dict(take_properties(body[1:])[0]), {0x15: method.encode(), 0x16: again.expected}, "method and data")


@test(targets=pollux)
def renewal_fails(router):
    """The password has changed, or somebody else tries: DISCONNECT with 0x87; the will is published."""
    add_user()
    add_user("wasp", "sting")
    watcher = Wire(router)
    watcher.handshake(router.client_id("watcher"), 5, **account("bee", "honey"))
    watcher.subscribe(router.topic("will"), 0, 5)
    for who in (Scram("bee", "wax"), Scram("wasp", "sting")):
        connection = Wire(router)
        log_in(connection, router.client_id("a"), flags=0x06, payload=wire.will(router.topic("will"), b"gone"))
        connection.send(auth(0x19, who.first()))
        connection.send(auth(0x18, who.final(challenged(connection))))
        equal([(first, body[0]) for first, body in connection.wait_closed()], [(0xE0, 0x87)], "DISCONNECT")
        equal(watcher.published(5).payload, b"gone", "will")


# ---- many ---------------------------------------------------------------------------------------------------------------

def logins_under_way(router):
    return sum(record["count"] for record in router.show("census") if record["object"] == "logins")


@test(targets=pollux)
def as_many_as_may(router):
    """authentication.max-logins at a time; who comes then is told that the router is busy, and who leaves makes room."""
    add_user()
    connections = []
    for number in range(200):
        connection = Wire(router)
        connection.send(connect(router.client_id(str(number)), Scram().first()))
        connections.append(connection)
    answers = [connection.packet() for connection in connections]
    equal(sum(first == 0xF0 for first, _ in answers), 64, "logins that were begun")
    equal({body[1] for first, body in answers if first == 0x20}, {0x89}, "reason codes of the others")
    equal(logins_under_way(router), 64, "logins in polluxctl show census")
    for connection in connections:
        connection.socket.close()
    eventually(lambda: logins_under_way(router) == 0, 5, "their logins are over")
    equal(log_in(Wire(router), router.client_id("a"))[1], 0, "reason code")


def whatever(router, dice, number):
    """One client that logs in somehow, or begins to. Returns a complaint, or None."""
    name = router.client_id(str(number % 12))
    connection = Wire(router)
    how = dice.randrange(7)
    version = dice.choice(versions)
    try:
        if how < 2:
            right = how == 0
            code = connection.handshake(name, version, **account("bee", "honey" if right else "wax"))[1]
            allowed = (0, 0x88, 0x89, 3) if right else (0x86, 4, 0x88, 0x89, 3)
            return None if code in allowed else f"password: {code}"
        if how == 2:
            connection.send(wire.connect(name, version, **account("bee", "honey")))
            return None
        who = Scram("bee", "wax" if how == 3 else "honey")
        connection.send(connect(name, who.first()))
        if how == 4:
            return None
        first, body = connection.packet()
        if first == 0x20:
            return None if body[1] in (0x88, 0x89) else f"CONNACK {body[1]} to a SCRAM that has just begun"
        if how == 5:
            return None
        connection.send(auth(0x18, who.final(dict(take_properties(body[1:])[0])[0x16])))
        code = connection.packet()[1][1]
        if code not in ((0x87, 0x88) if how == 3 else (0, 0x88)):
            return f"SCRAM: {code}"
        if code == 0 and dice.random() < 0.5:
            connection.send(auth(0x19, Scram().first()))
        return None
    except (Closed, BrokenPipeError, ConnectionResetError):
        return None  # another client with the same identifier has come
    finally:
        connection.socket.close()


@test(targets=pollux, timeout=90)
def anything_at_any_time(router):
    """Clients of all kinds that come, wait, leave and take one another's place, while pollux-control is killed and started:
    nobody gets in who should not, and nothing of a login stays."""
    add_user()
    complaints = []
    end = time.monotonic() + 6

    def run(seed):
        dice = random.Random(seed)
        while time.monotonic() < end:
            complaint = whatever(router, dice, dice.randrange(1000))
            if complaint:
                complaints.append(complaint)

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(16)]
    for thread in threads:
        thread.start()
    for _ in range(2):
        time.sleep(1.5)
        control("kill")
        time.sleep(0.3)
        control("start")
    for thread in threads:
        thread.join()
    equal(complaints, [], "complaints")
    wait_for_control()
    eventually(lambda: logins_under_way(router) == 0, 10, "no login is left")
    equal(log_in(Wire(router), router.client_id("a"))[1], 0, "reason code")


# ---- without control ---------------------------------------------------------------------------------------------------

def control(what):
    subprocess.run([lab, what, "control"], check=True, capture_output=True, timeout=30)


def wait_for_control():
    eventually(lambda: ctl("show", "clients", check=False).returncode == 0, 10, "control answers again")


@test(targets=pollux, timeout=60)
def control_is_gone(router):
    """Who is connected stays; who wants to log in is told that the server is unavailable; control returns, and so do
    logins."""
    add_user()
    connection, under_way = Wire(router), Wire(router)
    log_in(connection, router.client_id("a"))
    who = Scram()
    under_way.send(connect(router.client_id("b"), who.first()))
    answer = who.final(challenged(under_way))
    control("kill")
    try:
        under_way.send(auth(0x18, answer))
        refused(under_way, 0x88)
        for version, code in ((4, 3), (5, 0x88)):
            other = Wire(router)
            other.send(wire.connect(router.client_id("c"), version, **account("bee", "honey")))
            refused(other, code)
        connection.send(wire.pingreq)
        equal(connection.packet(), (0xD0, b""), "a connected client goes on")
    finally:
        control("start")
    wait_for_control()
    equal(log_in(Wire(router), router.client_id("b"))[1], 0, "reason code of a login at the new control")
    connection.send(wire.pingreq)
    equal(connection.packet(), (0xD0, b""), "a connected client went on")


@test(targets=pollux, timeout=60)
def control_hangs(router):
    """Logins end after authentication.timeout with 0x88, others go on, and when control wakes up nothing is confused."""
    add_user()
    connection = Wire(router)
    log_in(connection, router.client_id("a"))
    pid = int((state / "control.pid").read_text().split()[0])
    os.kill(pid, signal.SIGSTOP)
    try:
        start = time.monotonic()
        waiting = []
        for version, code in ((4, 3), (5, 0x88)):
            other = Wire(router)
            other.send(wire.connect(router.client_id(f"c{version}"), version, **account("bee", "honey")))
            waiting.append((other, code))
        for other, code in waiting:
            refused(other, code)
        expect(2 < time.monotonic() - start < 10, "after three seconds")
        connection.send(wire.pingreq)
        equal(connection.packet(), (0xD0, b""), "a connected client goes on")
    finally:
        os.kill(pid, signal.SIGCONT)
    equal(Wire(router).handshake(router.client_id("d"), 5, **account("bee", "honey"))[1], 0, "reason code afterwards")
    eventually(lambda: logins_under_way(router) == 0, 10, "no login is left")


@test(targets=pollux, timeout=60)
def control_restarts_in_the_middle(router):
    """A login that one control began is not finished by the next: it does not know the challenge."""
    add_user()
    under_way, who = Wire(router), Scram()
    under_way.send(connect(router.client_id("b"), who.first()))
    answer = who.final(challenged(under_way))
    begun = time.monotonic()
    control("kill")
    control("start")
    wait_for_control()
    try:
        under_way.send(auth(0x18, answer))
        refused(under_way, 0x88)
    except (AssertionError, BrokenPipeError):
        if time.monotonic() - begun < 2.5:  # else the client was late, on a machine with much to do
            raise


@test(targets=pollux, timeout=60)
def renewal_without_control(router):
    add_user()
    connection = Wire(router)
    log_in(connection, router.client_id("a"))
    control("kill")
    try:
        connection.send(auth(0x19, Scram().first()))
        equal([(first, body[0]) for first, body in connection.wait_closed()], [(0xE0, 0x89)], "DISCONNECT, server busy")
    finally:
        control("start")
    wait_for_control()

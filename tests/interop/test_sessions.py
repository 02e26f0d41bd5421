"""Sessions over both client libraries: will, take-over, persistent sessions with their queues, keepalive."""

import time

from client import Will, open_client, open_connected
from harness import equal, eventually, expect, test

libraries = ["paho", "mqttjs"]
versions = [4, 5]
qualities = [0, 1, 2]


def persistent(version):
    """What makes a session outlive its connection."""
    return {"clean": False, "session_expiry": 300 if version == 5 else None}


def forget_session(router, library, version, name):
    open_connected(router, library, version, name, clean=True).disconnect()


@test(library=libraries, version=versions, qos=qualities)
def will_after_abnormal_end(router, library, version, qos):
    watcher = open_connected(router, library, version, "watcher")
    watcher.subscribe_one(router.topic("will"), qos)
    client = open_connected(router, library, version, "mortal", will=Will(router.topic("will"), b"gone", qos))
    watcher.expect_nothing(0.1)
    client.abort()
    message = watcher.receive()
    equal((message.payload, message.qos, message.retain), (b"gone", qos, False), "will")
    watcher.expect_nothing(0.2)


@test(library=libraries, version=versions)
def no_will_after_disconnect(router, library, version):
    watcher = open_connected(router, library, version, "watcher")
    watcher.subscribe_one(router.topic("will"), 1)
    client = open_connected(router, library, version, "mortal", will=Will(router.topic("will"), b"gone", 1))
    client.disconnect()
    watcher.expect_nothing(0.5)


@test(library=libraries, version=versions)
def retained_will(router, library, version):
    cleaner = open_connected(router, library, version, "cleaner")
    router.at_end(cleaner.publish, router.topic("will"), b"", 1, True)
    cleaner.subscribe_one(router.topic("will"), 1)
    client = open_connected(router, library, version, "mortal", will=Will(router.topic("will"), b"gone", 1, True))
    client.abort()
    equal(cleaner.receive().payload, b"gone", "will")
    late = open_connected(router, library, version, "late")
    late.subscribe_one(router.topic("will"), 1)
    message = late.receive()
    equal((message.payload, message.retain), (b"gone", True), "retained will")


@test(library=libraries, version=versions)
def take_over(router, library, version):
    """The second connection with a client id ends the first; [MQTT-3.1.4-2], [MQTT-3.1.4-3]."""
    first = open_connected(router, library, version, "same")
    first.subscribe_one(router.topic("a"), 1)
    second = open_connected(router, library, version, "same")
    first.wait_closed()
    # mosquitto 2.0 ends it without a word; Paho 1.6 does not read a DISCONNECT that has a reason code and nothing else
    if version == 5 and router.target == "pollux" and library == "mqttjs":
        eventually(lambda: first.close_code is not None, 1, "reason code")
        equal(first.close_code, 0x8E, "reason code of the first connection's end")
    publisher = open_connected(router, library, version, "publisher")
    publisher.publish(router.topic("a"), b"old subscription", 1)
    second.subscribe_one(router.topic("b"), 1)
    publisher.publish(router.topic("b"), b"new subscription", 1)
    equal(second.receive().payload, b"new subscription", "payload")
    second.expect_nothing(0.1)


@test(library=libraries, version=versions)
def take_over_keeps_the_session(router, library, version):
    router.at_end(forget_session, router, library, version, "same")
    first = open_connected(router, library, version, "same", **persistent(version))
    first.subscribe_one(router.topic("a"), 1)
    second = open_client(router, library, version, "same")
    equal(second.connect(**persistent(version)), True, "session present")
    first.wait_closed()
    publisher = open_connected(router, library, version, "publisher")
    publisher.publish(router.topic("a"), b"x", 1)
    equal(second.receive().payload, b"x", "payload")


@test(library=libraries, version=versions, timeout=60)
def take_over_many_times(router, library, version):
    """Connections land on every worker, so the session moves between them; no message of QoS 1 is lost on the way."""
    router.at_end(forget_session, router, library, version, "same")
    publisher = open_connected(router, library, version, "publisher")
    current = open_connected(router, library, version, "same", **persistent(version))
    current.subscribe_one(router.topic("a"), 1)
    found = []
    rounds = 25
    for number in range(rounds):
        publisher.publish(router.topic("a"), str(number), 1)
        following = open_client(router, library, version, "same")
        equal(following.connect(**persistent(version)), True, f"session present in round {number}")
        current.wait_closed()
        found += drain(current)
        current = following
    publisher.publish(router.topic("a"), b"end", 1)
    while not found or found[-1] != b"end":
        found.append(current.receive().payload)
    missing = [i for i in range(rounds) if str(i).encode() not in found]
    equal(missing, [], "messages that never came")


def drain(client):
    found = []
    while not client.messages.empty():
        found.append(client.messages.get().payload)
    return found


@test(library=libraries, version=versions, qos=[1, 2])
def offline_queue(router, library, version, qos):
    router.at_end(forget_session, router, library, version, "sleeper")
    sleeper = open_client(router, library, version, "sleeper")
    equal(sleeper.connect(**persistent(version)), False, "session present at first")
    sleeper.subscribe_one(router.topic("#"), qos)
    sleeper.disconnect()
    publisher = open_connected(router, library, version, "publisher")
    wanted = [str(i).encode() for i in range(200)]
    publisher.publish_all([(router.topic(f"t{i % 3}"), str(i)) for i in range(200)], qos)
    sleeper = open_client(router, library, version, "sleeper")
    equal(sleeper.connect(**persistent(version)), True, "session present")
    found = sleeper.receive_many(len(wanted))
    equal([m.payload for m in found], wanted, "the messages, in order")
    expect(all(m.qos == qos for m in found), f"each with QoS {qos}")
    sleeper.expect_nothing(0.3)


@test(library=libraries, version=versions)
def clean_start_forgets(router, library, version):
    sleeper = open_connected(router, library, version, "sleeper", **persistent(version))
    sleeper.subscribe_one(router.topic("a"), 1)
    sleeper.disconnect()
    publisher = open_connected(router, library, version, "publisher")
    publisher.publish(router.topic("a"), b"lost", 1)
    sleeper = open_client(router, library, version, "sleeper")
    equal(sleeper.connect(clean=True), False, "session present")
    publisher.publish(router.topic("a"), b"not subscribed", 1)
    sleeper.expect_nothing(0.3)


@test(library=libraries, version=[5])
def session_expires(router, library, version):
    sleeper = open_connected(router, library, version, "sleeper", clean=False, session_expiry=1)
    sleeper.disconnect()
    time.sleep(2.5)
    sleeper = open_client(router, library, version, "sleeper")
    equal(sleeper.connect(clean=False, session_expiry=0), False, "session present after its expiry")


@test(library=libraries, version=versions)
def subscriptions_survive_an_abnormal_end(router, library, version):
    router.at_end(forget_session, router, library, version, "sleeper")
    sleeper = open_connected(router, library, version, "sleeper", **persistent(version))
    sleeper.subscribe_one(router.topic("a"), 1)
    sleeper.abort()
    publisher = open_connected(router, library, version, "publisher")
    publisher.publish(router.topic("a"), b"while away", 1)
    sleeper = open_client(router, library, version, "sleeper")
    equal(sleeper.connect(**persistent(version)), True, "session present")
    equal(sleeper.receive().payload, b"while away", "payload")


@test(library=libraries, version=versions)
def keepalive_keeps(router, library, version):
    """A quiet client that pings stays: the libraries do it by themselves."""
    client = open_connected(router, library, version, "quiet", keepalive=1)
    client.subscribe_one(router.topic("a"), 1)
    time.sleep(4)
    publisher = open_connected(router, library, version, "publisher")
    publisher.publish(router.topic("a"), b"still there", 1)
    equal(client.receive().payload, b"still there", "payload")

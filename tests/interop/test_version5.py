"""What MQTT 5.0 added, over both client libraries."""

import time

from client import Subscription, open_client, open_connected
from harness import equal, expect, test

libraries = ["paho", "mqttjs"]


@test(library=libraries)
def no_local(router, library):
    client = open_connected(router, library, 5, "both")
    client.subscribe_one(router.topic("a"), 1, no_local=True)
    other = open_connected(router, library, 5, "other")
    client.publish(router.topic("a"), b"own", 1)
    other.publish(router.topic("a"), b"other's", 1)
    equal(client.receive().payload, b"other's", "payload")
    client.expect_nothing(0.2)


@test(library=libraries)
def retain_as_published(router, library):
    publisher = open_connected(router, library, 5, "publisher")
    router.at_end(publisher.publish, router.topic("a"), b"", 1, True)
    keeps = open_connected(router, library, 5, "keeps")
    keeps.subscribe_one(router.topic("a"), 1, retain_as_published=True)
    clears = open_connected(router, library, 5, "clears")
    clears.subscribe_one(router.topic("a"), 1)
    publisher.publish(router.topic("a"), b"x", 1, retain=True)
    equal(keeps.receive().retain, True, "retain flag with retain-as-published")
    equal(clears.receive().retain, False, "retain flag without")


@test(library=libraries)
def retain_handling(router, library):
    publisher = open_connected(router, library, 5, "publisher")
    router.at_end(publisher.publish, router.topic("a"), b"", 1, True)
    publisher.publish(router.topic("a"), b"kept", 1, retain=True)
    for handling, first, second in ((0, True, True), (1, True, False), (2, False, False)):
        client = open_connected(router, library, 5, f"handling{handling}")
        for wanted in (first, second):
            client.subscribe_one(router.topic("a"), 1, retain_handling=handling)
            if wanted:
                equal(client.receive().payload, b"kept", f"retained with handling {handling}")
            else:
                client.expect_nothing(0.2)


@test(library=libraries)
def subscription_identifiers(router, library):
    client = open_connected(router, library, 5, "subscriber")
    client.subscribe([Subscription(router.topic("a"), 1)], identifier=7)
    client.subscribe([Subscription(router.topic("b"), 1)], identifier=268435455)
    publisher = open_connected(router, library, 5, "publisher")
    for name, identifier in (("a", 7), ("b", 268435455)):
        publisher.publish(router.topic(name), b"x", 1)
        equal(client.receive().properties.get("subscription_identifier"), [identifier], f"identifier for {name}")


@test(library=libraries)
def properties_pass_through(router, library):
    subscriber = open_connected(router, library, 5, "subscriber")
    subscriber.subscribe_one(router.topic("a"), 1)
    publisher = open_connected(router, library, 5, "publisher")
    # MQTT.js keeps user properties as an object, so only pairs of the same name have an order there.
    sent = {"content_type": "text/plain", "response_topic": "answers/here", "correlation_data": b"\x00\x01\xff",
            "payload_format_indicator": 1,
            "user_property": [("key", "1"), ("key", "2"), ("key", "1"), ("other", "drei äöü")]}
    publisher.publish(router.topic("a"), "grüße", 1, properties=sent)
    found = subscriber.receive().properties
    for name, value in sent.items():
        got = found.get(name)
        wanted = bool(value) if isinstance(got, bool) else value
        equal(got, wanted, name)


@test(library=libraries)
def message_expiry(router, library):
    """A queued message counts down while it waits, and is not delivered once it is over."""
    def forget():
        open_connected(router, library, 5, "sleeper", clean=True).disconnect()
    router.at_end(forget)
    sleeper = open_connected(router, library, 5, "sleeper", clean=False, session_expiry=300)
    sleeper.subscribe_one(router.topic("a"), 1)
    sleeper.disconnect()
    publisher = open_connected(router, library, 5, "publisher")
    publisher.publish(router.topic("a"), b"short", 1, properties={"message_expiry_interval": 1})
    publisher.publish(router.topic("a"), b"long", 1, properties={"message_expiry_interval": 100})
    time.sleep(2.2)
    sleeper = open_client(router, library, 5, "sleeper")
    sleeper.connect(clean=False, session_expiry=300)
    message = sleeper.receive()
    equal(message.payload, b"long", "payload")
    left = message.properties.get("message_expiry_interval")
    expect(left is not None and 96 <= left <= 98, f"100 s less the 2 s of waiting, not {left}")
    sleeper.expect_nothing(0.2)


@test(library=["paho"])
def reason_codes(router, library):
    client = open_connected(router, library, 5, "client")
    client.subscribe_one(router.topic("a"), 2)
    equal(client.unsubscribe([router.topic("a")]), [0x00], "unsubscribe")
    equal(client.unsubscribe([router.topic("a")]), [0x11], "unsubscribe of what is not subscribed")


@test(library=libraries)
def assigned_client_id(router, library):
    client = open_client(router, library, 5, "unused")
    client.client_id = ""
    client.connect(clean=True)
    assigned = client.connect_properties.get("assigned_client_identifier")
    expect(assigned, "CONNACK names the client id that the router chose")


@test(library=["paho"], timeout=60)
def receive_maximum(router, library):
    """With 2 allowed in flight everything still arrives, in order."""
    subscriber = open_connected(router, library, 5, "subscriber", properties={"receive_maximum": 2})
    subscriber.subscribe_one(router.topic("a"), 2)
    publisher = open_connected(router, library, 5, "publisher")
    publisher.publish_all([(router.topic("a"), str(i)) for i in range(100)], 2)
    found = subscriber.receive_many(100, 20)
    equal([int(m.payload) for m in found], list(range(100)), "the messages")


@test(library=["paho"])
def maximum_packet_size(router, library):
    """What is too large for a subscriber is not sent to it, and it stays connected."""
    subscriber = open_connected(router, library, 5, "subscriber", properties={"maximum_packet_size": 200})
    subscriber.subscribe_one(router.topic("a"), 1)
    publisher = open_connected(router, library, 5, "publisher")
    publisher.publish(router.topic("a"), b"x" * 1000, 1)
    publisher.publish(router.topic("a"), b"small", 1)
    equal(subscriber.receive().payload, b"small", "payload")


@test(library=["paho"])
def topic_alias(router, library):
    publisher = open_connected(router, library, 5, "publisher")
    allowed = publisher.connect_properties.get("topic_alias_maximum", 0)
    if allowed == 0:
        return
    subscriber = open_connected(router, library, 5, "subscriber")
    subscriber.subscribe_one(router.topic("#"), 1)
    publisher.publish(router.topic("a"), b"1", 1, properties={"topic_alias": 1})
    publisher.publish("", b"2", 1, properties={"topic_alias": 1})
    publisher.publish(router.topic("b"), b"3", 1, properties={"topic_alias": 1})
    publisher.publish("", b"4", 1, properties={"topic_alias": 1})
    found = [(m.topic, m.payload) for m in subscriber.receive_many(4)]
    a, b = router.topic("a"), router.topic("b")
    equal(found, [(a, b"1"), (a, b"2"), (b, b"3"), (b, b"4")], "messages")

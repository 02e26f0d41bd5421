"""Messages from publisher to subscriber, over both client libraries: QoS, wildcards, retained, sizes, order, workers."""

from client import Subscription, open_connected
from harness import equal, expect, test

libraries = ["paho", "mqttjs"]
versions = [4, 5]
qualities = [0, 1, 2]

# Around every border there is: packet length fields of 1, 2 and 3 bytes, TCP segments, the router's buffers.
sizes = [0, 1, 100, 127, 128, 129, 1400, 1460, 1461, 2048, 4096, 16383, 16384, 65535, 65536, 262144]


def pair(router, library, version):
    """A subscriber and a publisher."""
    return (open_connected(router, library, version, "subscriber"),
            open_connected(router, library, version, "publisher"))


def body(size):
    """Bytes that differ along the way, so that a piece lost, doubled or out of place shows."""
    return bytes((i * 131 + (i >> 8)) & 0xFF for i in range(size))


@test(library=libraries, version=versions, qos=qualities)
def publish_and_receive(router, library, version, qos):
    subscriber, publisher = pair(router, library, version)
    equal(subscriber.subscribe_one(router.topic("a"), qos), [qos], "granted")
    publisher.publish(router.topic("a"), b"hello", qos)
    message = subscriber.receive()
    equal((message.topic, message.payload, message.qos, message.retain), (router.topic("a"), b"hello", qos, False),
          "message")
    subscriber.expect_nothing()


@test(library=libraries, version=versions, published=qualities, granted=qualities)
def lower_quality_counts(router, library, version, published, granted):
    subscriber, publisher = pair(router, library, version)
    subscriber.subscribe_one(router.topic("a"), granted)
    publisher.publish(router.topic("a"), b"x", published)
    equal(subscriber.receive().qos, min(published, granted), "QoS of the message")
    subscriber.expect_nothing(0.1)


@test(library=libraries, version=versions)
def wildcards(router, library, version):
    matches = {
        "a/+": ["a/b", "a/"],
        "a/#": ["a", "a/b", "a/", "a/b/c"],  # "X/#" matches its parent X too
        "+/b": ["a/b"],
        "+/b/#": ["a/b", "a/b/c"],
        "a/+/c": ["a/b/c"],
        "+": ["a", "x"],
        "+/+": ["a/b", "a/", "/x", "ab/bc"],
        "#": ["a", "a/b", "a/", "a/b/c", "x", "/x", "ab/bc"],
    }
    topics = ["a", "a/b", "a/", "a/b/c", "x", "/x", "ab/bc"]
    publisher = open_connected(router, library, version, "publisher")
    end = f"{router.name}-end"
    for number, (filter, wanted) in enumerate(matches.items()):
        subscriber = open_connected(router, library, version, f"subscriber{number}")
        subscriber.subscribe([Subscription(router.topic(filter), 1), Subscription(end, 1)])
        for topic in topics:
            publisher.publish(router.topic(topic), b"x", 1)
        publisher.publish(end, b"x", 1)
        found = [subscriber.receive().topic]
        while found[-1] != end:
            found.append(subscriber.receive().topic)
        equal(found[:-1], [router.topic(topic) for topic in wanted], f"topics for {filter}")


@test(library=libraries, version=versions)
def dollar_topics_hidden_from_wildcards(router, library, version):
    subscriber = open_connected(router, library, version, "subscriber")
    subscriber.subscribe([Subscription("+/" + router.name), Subscription("#")])
    publisher = open_connected(router, library, version, "publisher")
    publisher.publish("$test/" + router.name, b"hidden", 1)
    publisher.publish(router.topic("seen"), b"seen", 1)
    while True:
        message = subscriber.receive()
        expect(not message.topic.startswith("$"), f"{message.topic} came through a wildcard")
        if message.payload == b"seen":
            return


@test(library=libraries, version=versions)
def unsubscribe_ends_delivery(router, library, version):
    subscriber, publisher = pair(router, library, version)
    subscriber.subscribe([Subscription(router.topic("a"), 1), Subscription(router.topic("b"), 1)])
    subscriber.unsubscribe([router.topic("a")])
    publisher.publish(router.topic("a"), b"no", 1)
    publisher.publish(router.topic("b"), b"yes", 1)
    equal(subscriber.receive().topic, router.topic("b"), "topic")
    subscriber.expect_nothing(0.2)


@test(library=libraries, version=versions)
def subscribing_again_replaces(router, library, version):
    subscriber, publisher = pair(router, library, version)
    subscriber.subscribe_one(router.topic("a"), 0)
    subscriber.subscribe_one(router.topic("a"), 2)
    publisher.publish(router.topic("a"), b"x", 2)
    equal(subscriber.receive().qos, 2, "QoS")
    subscriber.expect_nothing(0.2)


@test(library=libraries, version=versions, qos=qualities)
def retained(router, library, version, qos):
    publisher = open_connected(router, library, version, "publisher")
    router.at_end(publisher.publish, router.topic("r"), b"", 1, True)
    publisher.publish(router.topic("r"), b"old", qos, retain=True)
    publisher.publish(router.topic("r"), b"kept", qos, retain=True)
    publisher.publish(router.topic("r"), b"not kept", qos)
    publisher.publish(router.topic("barrier"), b"", 1)  # everything before is in place when this is acknowledged
    first = open_connected(router, library, version, "first")
    first.subscribe_one(router.topic("r"), qos)
    message = first.receive()
    equal((message.payload, message.qos, message.retain), (b"kept", qos, True), "retained message")
    first.expect_nothing(0.2)
    publisher.publish(router.topic("r"), b"live", qos, retain=True)
    message = first.receive()
    equal((message.payload, message.retain), (b"live", False), "the message to who is subscribed already")
    publisher.publish(router.topic("r"), b"", qos, retain=True)
    equal(first.receive().payload, b"", "the clearing message is passed on")
    publisher.publish(router.topic("barrier"), b"", 1)
    late = open_connected(router, library, version, "late")
    late.subscribe_one(router.topic("r"), qos)
    late.expect_nothing(0.4)


def clear_retained(publisher, names):
    for name in names[:-1]:
        publisher.publish(name, b"", 0, retain=True)
    publisher.publish(names[-1], b"", 1, retain=True)


@test(library=libraries, version=versions)
def retained_by_wildcard(router, library, version):
    publisher = open_connected(router, library, version, "publisher")
    names = [router.topic(f"{i % 10}/{i}") for i in range(300)]
    router.at_end(clear_retained, publisher, names)
    for name in names:
        publisher.publish(name, name.encode(), 0, retain=True)
    publisher.publish(router.topic("barrier"), b"", 1)
    subscriber = open_connected(router, library, version, "subscriber")
    subscriber.subscribe_one(router.topic("+/+"), 1)
    found = subscriber.receive_many(len(names))
    equal(sorted(m.topic for m in found), sorted(names), "topics")
    expect(all(m.retain and m.payload == m.topic.encode() for m in found), "each is retained, with its own payload")
    subscriber.expect_nothing(0.2)


@test(library=libraries, version=versions, qos=qualities, timeout=60)
def payload_sizes(router, library, version, qos):
    subscriber, publisher = pair(router, library, version)
    subscriber.subscribe_one(router.topic("+"), qos)
    for size in sizes:
        publisher.publish(router.topic(str(size)), body(size), qos)
        message = subscriber.receive(10)
        equal(message.topic, router.topic(str(size)), "topic")
        expect(message.payload == body(size), f"the payload of {size} bytes came changed, as {len(message.payload)}")


@test(library=libraries, version=versions, qos=qualities, timeout=60)
def order_kept_per_topic(router, library, version, qos):
    subscriber = open_connected(router, library, version, "subscriber")
    subscriber.subscribe_one(router.topic("#"), qos)
    count, topics = 300, 4
    publishers = [open_connected(router, library, version, f"publisher{i}") for i in range(2)]
    for start in range(0, count, 50):
        for number, publisher in enumerate(publishers):
            publisher.publish_all([(router.topic(f"{number}/{i % topics}"), str(i)) for i in range(start, start + 50)],
                                  qos)
    seen = {}
    for message in subscriber.receive_many(2 * count, 20):
        number = int(message.payload)
        last = seen.get(message.topic, -1)
        expect(number > last, f"{message.topic}: {number} after {last}")
        seen[message.topic] = number
    subscriber.expect_nothing(0.2)


@test(library=libraries, version=versions, timeout=60)
def many_topics(router, library, version):
    subscriber, publisher = pair(router, library, version)
    names = [router.topic(f"t{i}") for i in range(500)]
    for start in range(0, len(names), 100):
        subscriber.subscribe([Subscription(name, 1) for name in names[start:start + 100]])
    publisher.publish_all([(name, name) for name in names], 1)
    found = subscriber.receive_many(len(names), 20)
    equal([m.topic for m in found], names, "topics, in the order of publishing")
    expect(all(m.payload == m.topic.encode() for m in found), "each with its own payload")


@test(library=libraries, version=versions, qos=[0, 1, 2], timeout=60)
def everyone_to_everyone(router, library, version, qos):
    """As many clients as make it certain that every worker has some of both kinds."""
    subscribers = [open_connected(router, library, version, f"s{i}") for i in range(12)]
    publishers = [open_connected(router, library, version, f"p{i}") for i in range(12)]
    for subscriber in subscribers:
        subscriber.subscribe_one(router.topic("+"), qos)
    for number, publisher in enumerate(publishers):
        publisher.publish(router.topic(str(number)), str(number), qos)
    wanted = sorted(str(i) for i in range(len(publishers)))
    for subscriber in subscribers:
        found = subscriber.receive_many(len(publishers))
        equal(sorted(m.payload.decode() for m in found), wanted, f"what {subscriber.client_id} got")
    for subscriber in subscribers:
        subscriber.expect_nothing(0.02)


@test(library=libraries, version=versions)
def own_messages_come_back(router, library, version):
    client = open_connected(router, library, version, "only")
    client.subscribe_one(router.topic("a"), 1)
    client.publish(router.topic("a"), b"to myself", 1)
    equal(client.receive().payload, b"to myself", "payload")
    client.expect_nothing(0.1)


# mosquitto 2.0 gives a 3.1.1 client the QoS of whichever filter it finds first.
@test(library=libraries, version=versions, targets=["pollux"])
def overlapping_filters_give_the_highest_qos(router, library, version):
    """One copy or several, as [3.3.5] of the specification allows; the highest QoS is not optional."""
    subscriber, publisher = pair(router, library, version)
    filters = [("#", 0), ("a/+", 2), ("a/b", 1)]
    subscriber.subscribe([Subscription(router.topic(filter), qos) for filter, qos in filters])
    publisher.publish(router.topic("a/b"), b"x", 2)
    publisher.publish(router.topic("a/b"), b"end", 2)
    found = [subscriber.receive()]
    while sum(m.payload == b"x" for m in found) == 0 or found[-1].payload != b"end":
        found.append(subscriber.receive())
    copies = [m for m in found if m.payload == b"x"]
    equal(max(m.qos for m in copies), 2, "the highest QoS")
    expect(len(copies) <= len(filters), f"{len(copies)} copies for {len(filters)} filters")

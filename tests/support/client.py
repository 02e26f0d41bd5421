"""What the tests want of an MQTT client library, whichever it is: the same scenarios run over each.

`open_client(router, library, version, name)` gives a client that is not connected yet; it is closed when the test ends.
"""

import dataclasses
import queue
import time


@dataclasses.dataclass
class Message:
    """A message that arrived. Properties have MQTT 5's names in snake case; user properties are a list of pairs."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    properties: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Subscription:
    """A filter with its options; those after qos need MQTT 5."""

    filter: str
    qos: int = 0
    no_local: bool = False
    retain_as_published: bool = False
    retain_handling: int = 0


@dataclasses.dataclass
class Will:
    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    properties: dict = dataclasses.field(default_factory=dict)


class Refused(Exception):
    """CONNACK with a reason code that is no success."""

    def __init__(self, code):
        super().__init__(f"refused with reason code {code}")
        self.code = code


class Client:
    """The operations of a library's adapter. Messages wait in `messages`; `closed` is set when the connection ends."""

    def __init__(self, router, version, client_id):
        self.router = router
        self.version = version
        self.client_id = client_id
        self.messages = queue.Queue()

    # An adapter has: connect(clean, keepalive, will, session_expiry, properties) -> session present,
    # subscribe(subscriptions, identifier) -> reason codes, unsubscribe(filters), publish(...), disconnect(), abort(),
    # wait_closed(seconds), close(). Each returns when the router has acknowledged, or raises.

    def receive(self, seconds=5):
        try:
            return self.messages.get(timeout=seconds)
        except queue.Empty:
            raise AssertionError(f"{self.client_id}: no message within {seconds} s") from None

    def receive_many(self, count, seconds=10):
        """The next `count` messages, in the order of arrival, all within the time."""
        deadline = time.monotonic() + seconds
        found = []
        while len(found) < count:
            try:
                found.append(self.messages.get(timeout=max(0.0, deadline - time.monotonic())))
            except queue.Empty:
                raise AssertionError(f"{self.client_id}: {len(found)} of {count} messages in {seconds} s") from None
        return found

    def expect_nothing(self, seconds=0.3):
        try:
            message = self.messages.get(timeout=seconds)
        except queue.Empty:
            return
        raise AssertionError(f"{self.client_id}: a message that should not come: {message}")

    def subscribe_one(self, filter, qos=0, **options):
        return self.subscribe([Subscription(filter, qos, **options)])


def open_client(router, library, version, name):
    """library: paho or mqttjs; with -ws behind it, over WebSocket."""
    if library.startswith("paho"):
        from paho_client import PahoClient as kind
    else:
        from mqttjs_client import MqttjsClient as kind
    client = kind(router, version, router.client_id(name))
    client.websocket = library.endswith("-ws")
    router.at_end(client.close)
    return client


def open_connected(router, library, version, name, **options):
    client = open_client(router, library, version, name)
    client.connect(**options)
    return client

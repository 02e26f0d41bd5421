"""Paho for Python (Debian's python3-paho-mqtt, 1.6) as a client of the tests."""

import threading

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

import client

seconds_to_answer = 10


class PahoClient(client.Client):
    def __init__(self, router, version, client_id):
        super().__init__(router, version, client_id)
        self.connected = threading.Event()
        self.closed = threading.Event()
        self.answers = {}
        self.answered = threading.Condition()
        self.close_code = None
        self.paho = None

    def make(self, clean):
        protocol = paho.MQTTv5 if self.version == 5 else paho.MQTTv311
        named = {} if self.version == 5 else {"clean_session": clean}
        self.paho = paho.Client(self.client_id, protocol=protocol, reconnect_on_failure=False,
                                transport="websockets" if self.websocket else "tcp", **named)
        self.paho.max_inflight_messages_set(20)
        self.paho.on_connect = self.on_connect
        self.paho.on_disconnect = self.on_disconnect
        self.paho.on_message = self.on_message
        self.paho.on_subscribe = lambda c, u, mid, granted, p=None: self.answer(mid, [int_code(g) for g in granted])
        self.paho.on_unsubscribe = lambda c, u, mid, *rest: self.answer(mid, unsubscribe_codes(rest))

    def connect(self, clean=True, keepalive=60, will=None, session_expiry=None, properties=None):
        self.make(clean)
        self.connected.clear()
        self.closed.clear()
        named = {}
        if will:
            extra = {"properties": to_properties(PacketTypes.WILLMESSAGE, will.properties)} if self.version == 5 else {}
            self.paho.will_set(will.topic, will.payload, will.qos, will.retain, **extra)
        if self.version == 5:
            wanted = dict(properties or {})
            if session_expiry is not None:
                wanted["session_expiry_interval"] = session_expiry
            named = {"clean_start": clean, "properties": to_properties(PacketTypes.CONNECT, wanted)}
        port = self.router.websocket_port if self.websocket else self.router.port
        self.paho.connect(self.router.host, port, keepalive, **named)
        self.paho.loop_start()
        if not self.connected.wait(seconds_to_answer):
            raise AssertionError(f"{self.client_id}: no CONNACK")
        if self.connect_code != 0:
            raise client.Refused(self.connect_code)
        return self.session_present

    def on_connect(self, paho_client, user, flags, code, properties=None):
        self.connect_code = int_code(code)
        self.session_present = bool(flags["session present"])
        self.connect_properties = from_properties(properties)
        self.connected.set()

    def on_disconnect(self, paho_client, user, code, properties=None):
        # Called for the DISCONNECT, and once more for the connection that ends after it.
        if not self.closed.is_set():
            self.close_code = int_code(code)
        self.closed.set()

    def on_message(self, paho_client, user, m):
        properties = from_properties(getattr(m, "properties", None))
        self.messages.put(client.Message(m.topic, m.payload, m.qos, bool(m.retain), properties))

    def answer(self, mid, value):
        with self.answered:
            self.answers[mid] = value
            self.answered.notify_all()

    def wait_answer(self, mid, what):
        with self.answered:
            if not self.answered.wait_for(lambda: mid in self.answers, seconds_to_answer):
                raise AssertionError(f"{self.client_id}: no {what}")
            return self.answers.pop(mid)

    def subscribe(self, subscriptions, identifier=None):
        if self.version == 5:
            wanted = [(s.filter, SubscribeOptions(s.qos, s.no_local, s.retain_as_published, s.retain_handling))
                      for s in subscriptions]
            names = {"subscription_identifier": identifier} if identifier else {}
            _, mid = self.paho.subscribe(wanted, properties=to_properties(PacketTypes.SUBSCRIBE, names))
        else:
            _, mid = self.paho.subscribe([(s.filter, s.qos) for s in subscriptions])
        return self.wait_answer(mid, "SUBACK")

    def unsubscribe(self, filters):
        _, mid = self.paho.unsubscribe(filters)
        return self.wait_answer(mid, "UNSUBACK")

    def publish(self, topic, payload, qos=0, retain=False, properties=None):
        self.publish_start(topic, payload, qos, retain, properties).wait_for_publish(seconds_to_answer)

    def publish_start(self, topic, payload, qos=0, retain=False, properties=None):
        """Without waiting; the result has wait_for_publish(seconds)."""
        named = {"properties": to_properties(PacketTypes.PUBLISH, properties or {})} if self.version == 5 else {}
        return self.paho.publish(topic, payload, qos, retain, **named)

    def publish_all(self, messages, qos=0):
        """(topic, payload) pairs, in order, many under way at once; returns when all are acknowledged."""
        under_way = [self.publish_start(topic, payload, qos) for topic, payload in messages]
        for one in under_way:
            one.wait_for_publish(seconds_to_answer)
            if not one.is_published():
                raise AssertionError(f"{self.client_id}: a publish was not acknowledged")

    def wait_closed(self, seconds=5):
        if not self.closed.wait(seconds):
            raise AssertionError(f"{self.client_id}: still connected after {seconds} s")

    def disconnect(self):
        self.paho.disconnect()
        self.wait_closed()
        self.paho.loop_stop()

    def abort(self):
        """Ends the TCP connection without a DISCONNECT."""
        self.paho.loop_stop()
        socket = self.paho.socket()
        if socket:
            socket.close()
        self.closed.set()

    def close(self):
        if self.paho is not None:
            if not self.closed.is_set():
                self.paho.disconnect()
            self.paho.loop_stop()


def int_code(code):
    return code if isinstance(code, int) else code.value


def unsubscribe_codes(rest):
    """(properties, codes) with MQTT 5, nothing with 3.1.1; a single code comes without a list."""
    if len(rest) < 2:
        return []
    codes = rest[1] if isinstance(rest[1], list) else [rest[1]]
    return [int_code(code) for code in codes]


def camel(name):
    return "".join(part.capitalize() for part in name.split("_"))


def to_properties(packet_type, values):
    properties = Properties(packet_type)
    for name, value in values.items():
        if name == "user_property":
            for pair in value:
                properties.UserProperty = tuple(pair)
        else:
            setattr(properties, camel(name), value)
    return properties


def from_properties(properties):
    if properties is None:
        return {}
    found = {}
    for name, value in properties.__dict__.items():
        if name in ("packetType", "types", "names", "properties"):
            continue
        snake = "".join(("_" if i and c.isupper() else "") + c.lower() for i, c in enumerate(name))
        found[snake] = [tuple(pair) for pair in value] if snake == "user_property" else value
    return found

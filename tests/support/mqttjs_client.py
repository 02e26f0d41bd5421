"""MQTT.js as a client of the tests. One Node.js process runs all its clients: tests/interop/mqttjs/driver.js, which
takes a command a line and answers with its number; messages come in between."""

import atexit
import base64
import itertools
import json
import queue
import shutil
import subprocess
import threading

import client
from harness import root

seconds_to_answer = 10
directory = root / "tests" / "interop" / "mqttjs"


class Driver:
    def __init__(self):
        node = shutil.which("node")
        if node is None or not (directory / "node_modules" / "mqtt").is_dir():
            raise AssertionError("MQTT.js is missing: npm ci in tests/interop/mqttjs")
        self.process = subprocess.Popen([node, str(directory / "driver.js")], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.numbers = itertools.count(1)
        self.answers = {}
        self.clients = {}
        threading.Thread(target=self.read, daemon=True).start()
        atexit.register(self.process.kill)

    def read(self):
        for line in self.process.stdout:
            event = json.loads(line)
            if "answer" in event:
                self.answers.pop(event["answer"]).put(event)
            else:
                self.clients[event["client"]].on_event(event)

    def call(self, operation, key, **arguments):
        number = next(self.numbers)
        answer = self.answers[number] = queue.Queue()
        self.process.stdin.write(json.dumps({"number": number, "do": operation, "client": key, **arguments}) + "\n")
        self.process.stdin.flush()
        try:
            found = answer.get(timeout=seconds_to_answer)
        except queue.Empty:
            raise AssertionError(f"MQTT.js: no answer to {operation} within {seconds_to_answer} s") from None
        if "refused" in found:
            raise client.Refused(found["refused"])
        if "error" in found:
            raise AssertionError(f"MQTT.js {operation}: {found['error']}")
        return found.get("value")


class MqttjsClient(client.Client):
    driver = None
    keys = itertools.count(1)

    def __init__(self, router, version, client_id):
        super().__init__(router, version, client_id)
        if MqttjsClient.driver is None:
            MqttjsClient.driver = Driver()
        self.key = next(self.keys)
        self.closed = threading.Event()
        self.close_code = None
        self.opened = False
        self.driver.clients[self.key] = self

    def call(self, operation, **arguments):
        return self.driver.call(operation, self.key, **arguments)

    def connect(self, clean=True, keepalive=60, will=None, session_expiry=None, properties=None):
        self.closed.clear()
        self.opened = True
        wanted = dict(properties or {})
        if session_expiry is not None:
            wanted["session_expiry_interval"] = session_expiry
        options = {"protocolVersion": self.version, "clientId": self.client_id, "clean": clean, "keepalive": keepalive,
                   "properties": to_properties(wanted) if self.version == 5 else None}
        if will:
            options["will"] = {"topic": will.topic, "payload": encode(will.payload), "qos": will.qos,
                               "retain": will.retain, "properties": to_properties(will.properties)}
        if self.websocket:
            options.update(protocol="ws", path="/mqtt")
        port = self.router.websocket_port if self.websocket else self.router.port
        found = self.call("connect", host=self.router.host, port=port, options=options)
        self.connect_properties = from_properties(found["properties"])
        return found["sessionPresent"]

    def on_event(self, event):
        if event["event"] == "close":
            self.closed.set()
        elif event["event"] == "disconnect":
            self.close_code = event["code"]
        else:
            self.messages.put(client.Message(event["topic"], base64.b64decode(event["payload"]), event["qos"],
                                             event["retain"], from_properties(event["properties"])))

    def subscribe(self, subscriptions, identifier=None):
        filters = {s.filter: {"qos": s.qos, "nl": s.no_local, "rap": s.retain_as_published, "rh": s.retain_handling}
                   for s in subscriptions}
        return self.call("subscribe", filters=filters, identifier=identifier)

    def unsubscribe(self, filters):
        return self.call("unsubscribe", filters=filters)

    def publish(self, topic, payload, qos=0, retain=False, properties=None):
        self.call("publish", topic=topic, payload=encode(payload), qos=qos, retain=retain,
                  properties=to_properties(properties or {}))

    def publish_all(self, messages, qos=0):
        self.call("publish_all", messages=[[topic, encode(payload)] for topic, payload in messages], qos=qos)

    def wait_closed(self, seconds=5):
        if not self.closed.wait(seconds):
            raise AssertionError(f"{self.client_id}: still connected after {seconds} s")

    def disconnect(self):
        self.call("disconnect")

    def abort(self):
        self.call("abort")

    def close(self):
        if self.opened and not self.closed.is_set():
            self.call("disconnect")


def encode(payload):
    return base64.b64encode(payload.encode() if isinstance(payload, str) else payload).decode()


def to_properties(values):
    """Snake case to MQTT.js's camel case; user properties become an object of lists, bytes become base64."""
    found = {}
    for name, value in values.items():
        if name == "user_property":
            pairs = {}
            for key, item in value:
                pairs.setdefault(key, []).append(item)
            found["userProperties"] = pairs
        else:
            parts = name.split("_")
            value = bool(value) if name == "payload_format_indicator" else value
            found[parts[0] + "".join(p.capitalize() for p in parts[1:])] = (
                {"base64": encode(value)} if isinstance(value, bytes) else value)
    return found


def from_properties(values):
    found = {}
    for name, value in (values or {}).items():
        if name == "userProperties":
            found["user_property"] = [(key, item) for key, items in value.items()
                                      for item in (items if isinstance(items, list) else [items])]
        else:
            snake = "".join(("_" if c.isupper() else "") + c.lower() for c in name)
            if isinstance(value, dict) and "base64" in value:
                value = base64.b64decode(value["base64"])
            if snake == "subscription_identifier" and not isinstance(value, list):
                value = [value]
            found[snake] = value
    return found

"""A router above its level of memory (overload.yaml): nobody new is let in, and the counters say why."""

import wire
from harness import equal, test
from wire import Wire


@test(version=[4, 5], targets=["pollux"])
def new_clients_are_refused(router, version):
    connection = Wire(router)
    connection.send(wire.connect(router.client_id("x"), version))
    found = [(first, body[:2]) for first, body in connection.wait_closed()]
    equal(found, [(0x20, b"\0\x97" if version == 5 else b"\0\x03")], "quota exceeded, or server unavailable before 5.0")

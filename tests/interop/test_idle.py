"""An idle router: little of a CPU, and yet an answer within a millisecond (idle policy `adaptive`, the lab's default)."""

import os
import statistics
import time

from harness import expect, state, test
from wire import connected


def cpu_seconds(pid):
    fields = open(f"/proc/{pid}/stat", encoding="ascii").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@test(targets=("pollux",))
def uses_little_of_a_cpu(router):
    pid = int((state / "dataplane.pid").read_text(encoding="ascii").split()[0])
    client = connected(router, "idle")
    time.sleep(1)
    shares = []
    for _ in range(3):  # a hypervisor that takes the CPU away in between only adds: the lowest is what the router uses
        before, start = cpu_seconds(pid), time.monotonic()
        time.sleep(2)
        shares.append((cpu_seconds(pid) - before) / (time.monotonic() - start))
    expect(min(shares) < 0.05, ", ".join(f"{share:.1%}" for share in shares) + " of a CPU")


@test(targets=("pollux",))
def answers_within_a_millisecond(router):
    client = connected(router, "pinger")
    times = []
    for _ in range(30):
        time.sleep(0.05)
        start = time.monotonic()
        client.send(b"\xc0\x00")
        client.packet()
        times.append(time.monotonic() - start)
    expect(statistics.median(times) < 0.001, f"median of {statistics.median(times) * 1e6:.0f} us")

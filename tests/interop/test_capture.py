"""`polluxctl capture` and `show tcp` of a router with real clients; what was captured is read by tshark."""

import collections
import json
import os
import pathlib
import signal
import stat
import subprocess
import tempfile
import time

from harness import equal, eventually, expect, lab, test
from test_mosquitto_clients import pub

pollux = ("pollux",)


class Capture:
    """A `polluxctl capture` in the background."""

    def __init__(self, router, *words):
        self.folder = tempfile.TemporaryDirectory()
        self.file = pathlib.Path(self.folder.name, "a.pcapng")
        self.process = subprocess.Popen([lab, "ctl", "--json", "capture", "-w", str(self.file), *words],
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        router.at_end(self.process.kill)
        eventually(lambda: self.process.poll() is not None or self.size() > 0, 10, "begin of the capture")

    def size(self):
        return self.file.stat().st_size if self.file.exists() else 0

    def end(self, number=signal.SIGINT):
        """What polluxctl says of it."""
        if number:
            time.sleep(0.1)  # packets are held back until those of all workers are in order
            self.process.send_signal(number)
        out, complaint = self.process.communicate(timeout=15)
        equal((self.process.returncode, complaint), (0, ""), "exit status and complaint of polluxctl")
        return json.loads(out)

    def packets(self, *fields, only=""):
        """Those fields of each packet, as tshark reads them."""
        words = ["tshark", "-n", "-r", str(self.file), "-T", "fields", "-E", "separator=|"]
        for field in fields:
            words += ["-e", field]
        done = subprocess.run(words + (["-Y", only] if only else []), capture_output=True, text=True, timeout=60)
        equal(done.returncode, 0, f"tshark's exit status: {done.stderr}")
        return [tuple(line.split("|")) for line in done.stdout.splitlines()]


def publish(router, name, *more):
    pub(router, 4, "-i", router.client_id(name), "-t", router.topic("a"), "-m", "hello", "-q", "1", *more)


@test(targets=pollux)
def everything(router):
    capture = Capture(router)
    begun = time.time()
    for number in range(4):
        publish(router, f"dev{number}")
    summary = capture.end()
    equal(summary["ended"], "stopped", "why it ended")
    equal(summary["dropped"], 0, "missing packets")
    equal(stat.S_IMODE(capture.file.stat().st_mode), 0o600, "mode of the file")
    packets = capture.packets("frame.time_epoch", "frame.packet_flags_direction", "frame.interface_name",
                              "mqtt.msgtype", "ip.src", "frame.comment")
    equal(len(packets), summary["packets"], "packets")
    times = [float(packet[0]) for packet in packets]
    equal(times, sorted(times), "order of time")
    expect(begun - 1 < times[0] and times[-1] < time.time() + 1, f"{times[0]} is a time of now")
    equal({packet[2] for packet in packets}, {"lan0"}, "ports")
    for packet in packets:
        if packet[4]:
            equal(int(packet[1], 16) & 3, 2 if packet[4] == router.host else 1, f"direction of {packet}")
    mine = [packet for packet in packets if packet[5].startswith("client " + router.client_id("dev"))]
    for kind, what in (("1", "CONNECT"), ("2", "CONNACK"), ("3", "PUBLISH"), ("4", "PUBACK")):
        equal(sum(packet[3] == kind for packet in mine), 4, what)
    # Every segment once: none of them looks to tshark as if it had come twice.
    equal(capture.packets("frame.number", only="tcp.analysis.retransmission || tcp.analysis.duplicate_ack"), [],
          "repeated segments")


@test(targets=pollux)
def one_client(router):
    """It connects after the capture has begun; what others do is not in it."""
    capture = Capture(router, "--client", router.client_id("wanted"))
    publish(router, "other")
    publish(router, "wanted")
    publish(router, "another")
    capture.end()
    kinds = [packet[0] for packet in capture.packets("mqtt.msgtype", only="mqtt")]
    equal(kinds, ["1", "2", "3", "4", "14"], "MQTT packets")
    equal(len({packet for packet in capture.packets("tcp.stream")}), 1, "connections")
    equal(len(capture.packets("frame.number", only="tcp.flags.fin == 1")), 2, "FIN both ways")
    equal({packet[0] for packet in capture.packets("frame.comment")}, {"client " + router.client_id("wanted")},
          "comments")


@test(targets=pollux)
def by_address_port_and_direction(router):
    both = ["--address", router.host + "/24", "--port", "1883"]
    capture = Capture(router, *both, "--direction", "in", "--snap-length", "60")
    subprocess.run(["ping", "-c", "2", "-i", "0.01", router.host], capture_output=True, check=True)
    publish(router, "a")
    capture.end()
    packets = capture.packets("ip.dst", "tcp.dstport", "frame.cap_len", "frame.len")
    expect(len(packets) > 5, f"{len(packets)} packets")
    for packet in packets:
        equal(packet[:2], (router.host, "1883"), "to the router, no ping")
        equal(int(packet[2]), min(60, int(packet[3])), "bytes kept")
    capture = Capture(router, "--address", "198.18.0.77")
    publish(router, "a")
    equal(capture.end()["packets"], 0, "packets of somebody who is not there")


@test(targets=pollux)
def bounds(router):
    capture = Capture(router, "--packets", "7")
    publish(router, "a")
    publish(router, "a")
    summary = capture.end(number=None)
    equal((summary["ended"], summary["packets"], len(capture.packets("frame.number"))), ("packets", 7, 7), "the end")
    capture = Capture(router, "--bytes", "4KiB")
    for _ in range(5):
        publish(router, "a")
    equal(capture.end(number=None)["ended"], "bytes", "the end")
    expect(3000 < capture.size() <= 4096, f"{capture.size()} bytes")
    capture = Capture(router, "--seconds", "1")
    equal(capture.end(number=None)["ended"], "time", "the end")


@test(targets=pollux)
def into_a_pipe(router):
    pipe = subprocess.Popen(f"{lab} ctl capture -w - --port 1883 --packets 5 | tshark -n -r - -T fields -e tcp.port",
                            shell=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    router.at_end(pipe.kill)
    time.sleep(0.5)
    publish(router, "a")
    out, complaint = pipe.communicate(timeout=20)
    equal(len([line for line in out.splitlines() if "1883" in line]), 5, f"lines of tshark; {complaint}")
    expect("5 packets" in complaint, complaint)


@test(targets=pollux)
def its_reader_dies(router):
    """The next one begins at once, and messages never stopped."""
    capture = Capture(router)
    os.kill(capture.process.pid, signal.SIGKILL)
    capture.process.wait()
    publish(router, "a")

    def next_one():
        done = subprocess.run([lab, "ctl", "capture", "-w", "/dev/null", "--seconds", "1"], capture_output=True, text=True,
                              timeout=15)
        return done.returncode == 0
    eventually(next_one, 5, "another capture")


@test(targets=pollux)
def counters_of_the_stack(router):
    """Resets by cause, and handshakes, as they happen; nothing that did not."""
    def figures(*words):
        return {record["name"]: record["value"] for record in router.show("tcp", *words)}
    before = figures("--all")
    publish(router, "a")
    refused = subprocess.run(["mosquitto_pub", "-h", router.host, "-p", "1", "-t", "a", "-m", "b"], capture_output=True,
                             check=False)
    expect(refused.returncode != 0, "nobody listens there")

    def grown(name):
        return figures("--all")[name] - before[name]
    eventually(lambda: grown("tcp_passive_opens") >= 1 and grown("tcp_resets_unexpected") >= 1, 5, "both counted")
    expect(all(value > 0 for value in figures().values()), "only what happened, unless all are asked for")
    groups = {record["group"] for record in router.show("tcp", "--all")}
    expect({"handshake", "recovery", "closing", "acceptance", "fragments", "path_mtu"} <= groups, f"{groups}")


@test(targets=pollux)
def counters_of_the_match_cache(router):
    """A topic is matched when it comes for the first time, on each worker, and remembered then."""
    def figures():
        sums = collections.Counter()
        for record in router.show("counters", "--filter", "group=match_cache"):
            sums[record["name"]] += record["value"]
        return sums
    before = figures()

    def grown(name):
        return figures()[name] - before[name]
    for _ in range(5):
        publish(router, "match-cache/a")
    eventually(lambda: grown("misses") + grown("ahead") >= 1 and grown("hits") >= 3, 5, "one match a worker, then remembered")
    expect(figures()["room"] >= 1024, "room is shown")

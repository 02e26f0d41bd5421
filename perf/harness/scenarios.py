"""Scenarios: files NAME.conf in perf/scenarios, a comment that says what happens and a section [scenario].

load         what pollux-perf (or pollux-tcp-echo) is told to do
options      more of its options
program      mqtt (default), or echo: lib/net at both ends, no broker
measure      the figure that is compared (default delivered_per_s)
goal         what it is to reach on the two-CPU machine over vhost
connections  how many at most, where it is more than a few thousand
buffers      packet buffers at each end, where connections say too much: of an idle one nothing is on its way
seconds      how long it takes, where that is its own matter and not the measurement's
bounds       yes: the brokers keep their bounds on queues (default no: they are lifted)
links        the links it can run on (default all)
points       a sweep: the scenario is run with each of these words in place of {} in `options`
"""

import configparser
import pathlib

from .machine import Trouble

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "scenarios"
DEFAULT = ["p2p-50", "fanin-100", "fanout-100", "fanout-1000", "qos1-50", "qos2-50", "big-4k", "rtt", "connect-rate",
           "devices-10k", "devices-100k", "idle-1m"]
LESS_IS_BETTER = ("p50_us", "p99_us", "bytes_per_connection")
BUFFER = 2400  # bytes of a packet buffer with all that belongs to it


class Scenario:
    def __init__(self, name, point=None):
        path = FOLDER / f"{name}.conf"
        if not path.is_file():
            raise Trouble(f"there is no scenario '{name}': perf/bench --list names them")
        file = configparser.ConfigParser()
        file.read(path)
        section = file["scenario"]
        text = [line[1:].strip() for line in path.read_text().splitlines() if line.startswith("#")]
        self.name = name if point is None else f"{name}@{point}"
        self.points = section.get("points", "").split() if point is None else []
        self.about = " ".join(text)
        self.load = section["load"].split()
        self.options = section.get("options", "").format(point).split()
        self.is_echo = section.get("program", "mqtt") == "echo"
        self.measure = section.get("measure", "delivered_per_s")
        self.less_is_better = self.measure in LESS_IS_BETTER
        self.goal = section.getfloat("goal", None)
        self.connections = section.getint("connections", 4096)
        self.fixed_buffers = section.getint("buffers", 0)
        self.seconds = section.getfloat("seconds", 0)
        self.bounds = section.getboolean("bounds", False)
        self.links = section.get("links", "vhost af_xdp tap kernel").split()

    def buffers(self):
        """Packet buffers at each end: what is unacknowledged on every connection holds one."""
        if self.fixed_buffers > 0:
            return self.fixed_buffers
        return 65536 if self.connections <= 20000 else 262144 if self.connections <= 200000 else 1048576

    def generator_mib(self):
        return self.buffers() * BUFFER // 2**20 + 128

    def room(self):
        """Connections that the router is made for: those that were closed are remembered for a while."""
        return max(16384, self.connections * 5 // 4)

    def patience(self, seconds):
        """Seconds after which a run is given up: with all it does before and after its measurement."""
        return 45 + 2 * seconds + self.seconds + self.connections / 2000

    def payload(self):
        """Bytes, for what a link carries."""
        return 4096 if self.load[0].startswith("big") else 64

    def sources(self):
        """How many addresses the clients come from."""
        return -(-self.connections // 28000)


def load(name):
    """The scenario of this name, or those that its sweep is made of."""
    scenario = Scenario(name)
    return [Scenario(name, point) for point in scenario.points] or [scenario]


def names():
    return sorted(path.stem for path in FOLDER.glob("*.conf"))

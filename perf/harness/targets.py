"""What is measured: Pollux over a link, Debian's mosquitto over kernel loopback, any broker at HOST:PORT."""

import contextlib
import json
import pathlib
import socket
import subprocess

from . import machine
from .machine import STATE, Process, Trouble, program, run, wait_for
from .scenarios import BUFFER

# Bounds that drop messages are lifted on both sides, so that what is compared is work and not policy. The rest of
# mosquitto is as Debian ships it: Nagle's algorithm is on, which gives it twice the throughput.
MOSQUITTO_CONFIG = """\
listener {port} 127.0.0.1
allow_anonymous true
max_queued_messages 0
max_inflight_messages 0
persistence false
log_dest none
"""

POLLUX_CONFIG = """\
dataplane:
  workers: 1
  cores: [{broker_cpu}]
  main-core: {other_cpu}
  idle: busy
  hugepages: on
  packet-buffers: {buffers}
  memory-per-worker: {memory}MiB
ports:
  - name: lan0
    device: "{device}"
    addresses: ["198.18.0.1/{prefix}", "2001:db8:18::1/64"]
listeners:
  - name: mqtt
tcp:
  max-connections: {connections}
  send-buffer: 4MiB
mqtt:
  max-sessions: {connections}
  max-subscriptions: 1000000
  max-queued-messages: 1000000
  max-queued-bytes: 1GiB
"""


def perf_command(scenario, host, port, seconds):
    return [program("perf/pollux-perf"), *scenario.load, *scenario.options, "--json", "--quiet", "-h", host, "-p",
            str(port), "-d", str(seconds), "--warm-up", "0.5"]


def result_of(status, output, errors):
    """pollux-perf's line of JSON, or what went wrong."""
    if not output.strip():
        return {"error": errors or f"exit status {status}"}
    return json.loads(output.strip().splitlines()[-1])


class Remote:
    """A broker that runs already."""

    def __init__(self, address):
        self.name = address
        self.host, _, self.port = address.rpartition(":")
        self.host = self.host.strip("[]")
        if not self.host or not self.port.isdigit():
            raise Trouble(f"--against '{address}': mosquitto or HOST:PORT")

    def measure(self, scenario, seconds):
        command = perf_command(scenario, self.host, self.port, seconds)
        return result_of(*run(command, machine.cpus()[1]))


class Mosquitto:
    """Debian's mosquitto, started anew for each measurement."""

    name = "mosquitto"

    def measure(self, scenario, seconds):
        broker_cpu, generator_cpu = machine.cpus()
        port = free_port()
        config = STATE / "mosquitto.conf"
        config.write_text(MOSQUITTO_CONFIG.format(port=port))
        config.chmod(0o644)
        process = Process([program("mosquitto"), "-c", str(config)], STATE / "mosquitto.log", broker_cpu)
        try:
            wait_for(lambda: answers("127.0.0.1", port), 10, "mosquitto does not answer")
            command = perf_command(scenario, "127.0.0.1", port, seconds) + ["--broker-pid", str(process.pid)]
            if scenario.sources() > 1:
                command += ["--source", ",".join(f"127.0.{n // 200}.{n % 200 + 2}" for n in range(scenario.sources()))]
            return result_of(*run(command, generator_cpu))
        finally:
            process.stop()


class Vhost:
    """Pollux, its virtio-user port on the other side of the generator's vhost-user port. No kernel between them."""

    name = "pollux"
    link = "vhost"

    def memory(self, scenario):
        """MiB of huge pages: the generator's, and the router's as its start-up reckons them."""
        router = scenario.buffers() * BUFFER // 2**20 + connections_of(scenario) * 128 // 2**20 + 160
        return scenario.generator_mib() + router

    def measure(self, scenario, seconds):
        broker_cpu, other_cpu = machine.cpus()
        directory = STATE / "vhost"
        with contextlib.ExitStack() as stack:
            stack.callback(subprocess.run, ["rm", "-rf", str(directory)], check=False)
            directory.mkdir()
            vhost = directory / "vhost.sock"
            config = directory / "pollux.yaml"
            config.write_text(POLLUX_CONFIG.format(
                broker_cpu=broker_cpu, other_cpu=other_cpu, device=f"net_virtio_user0,path={vhost},queue_size=1024",
                prefix=16, **limits(scenario)))
            # The dataplane waits for its configuration, so it can be there, with a pid, before the port it will open.
            dataplane = Process([program("dataplane/pollux-dataplane"), "--run-dir", str(directory)],
                                STATE / "dataplane.log")
            stack.callback(dataplane.stop)
            generator = start_generator(scenario, vhost, dataplane.pid, seconds, other_cpu)
            stack.callback(generator.kill)
            wait_for(lambda: vhost.exists() or generator.poll() is not None, 20, "the generator does not start")
            control = Process([program("control/pollux-control"), "--config", str(config), "--run-dir", str(directory)],
                              STATE / "control.log", other_cpu)
            stack.callback(control.stop)
            output, errors = generator.communicate(timeout=600)
            lines = [line for line in errors.strip().splitlines() if line.startswith("pollux-perf:")]
            if not dataplane.running():
                return {"error": f"the router ended: {dataplane.last_words()}"}
            return result_of(generator.returncode, output, (lines or ["no result"])[-1])


def start_generator(scenario, vhost, broker, seconds, cpu):
    addresses = ",".join(f"198.18.{1 + n // 250}.{2 + n % 250}/16" for n in range(min(scenario.sources(), 8)))
    command = perf_command(scenario, "198.18.0.1", 1883, seconds)
    command += ["--dpdk", f"net_vhost0,iface={vhost}", "--address", addresses, "--buffers", str(scenario.buffers()),
                "--broker-pid", str(broker)]
    return subprocess.Popen(["nice", "-n", str(machine.NICE), "taskset", "-c", str(cpu)] + command,
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            preexec_fn=lambda: machine.libc.prctl(machine.PR_SET_PDEATHSIG, 9))


class Lab:
    """Pollux in a lab of its own (tools/lab): kernel clients in a network namespace, over AF_XDP, TAP or AF_PACKET."""

    name = "pollux"

    def __init__(self, link):
        self.link = link

    def memory(self, scenario):
        return 0  # the lab reserves its own

    def measure(self, scenario, seconds):
        config = STATE / "lab.yaml"
        broker_cpu, other_cpu = machine.cpus()
        text = POLLUX_CONFIG.format(broker_cpu=broker_cpu, other_cpu=other_cpu, device="${DEVICE}", prefix=24,
                                    **limits(scenario))
        config.write_text(text.replace("hugepages: on", "hugepages: ${HUGEPAGES}"))
        link = {"kernel": "af_packet"}.get(self.link, self.link)
        try:
            status, _, errors = run(lab("up", "--link", link, "--idle", "busy", "--config", str(config)))
            if status != 0:
                return {"error": f"the lab does not come up: {errors}"}
            broker = pathlib.Path("/run/pollux-bench-lab/dataplane.pid").read_text().split()[0]
            machine.set_group_nice(machine.NICE, broker)
            command = perf_command(scenario, "198.18.0.1", 1883, seconds) + ["--broker-pid", broker]
            return result_of(*run(lab("exec", "taskset", "-c", str(other_cpu), *command)))
        finally:
            run(lab("down"))


def lab(*arguments):
    return ["env", "POLLUX_LAB=pollux-bench-lab", f"POLLUX_BUILD={machine.BUILD}", str(machine.TREE / "tools/lab"),
            *arguments]


def limits(scenario):
    connections = connections_of(scenario)
    return {"connections": connections, "buffers": scenario.buffers(), "memory": 1024 + connections // 700}


def connections_of(scenario):
    """As many as the scenario opens, and some to spare: those that were closed are remembered for a while."""
    return max(16384, scenario.connections * 5 // 4)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(host, port):
    try:
        socket.create_connection((host, port), timeout=1).close()
        return True
    except OSError:
        return False

"""What is measured: Pollux over a link, Debian's mosquitto over kernel loopback, any broker at HOST:PORT."""

import contextlib
import json
import pathlib
import shutil
import socket
import subprocess

from . import machine
from .machine import STATE, Process, Trouble, finish, launch, program, run, wait_for
from .scenarios import BUFFER

PORT = 1883  # of the router; the further ones follow it
CONNECTIONS_OF_PORT = 8 * 32000  # from the generator's eight addresses
STARTED = 30  # seconds that a program has to start

# The rest of mosquitto is as Debian ships it: Nagle's algorithm is on, which gives it twice the throughput.
MOSQUITTO_CONFIG = """\
listener {port} 127.0.0.1
allow_anonymous true
persistence false
log_dest none
"""

# Bounds that drop messages are lifted on both sides, so that what is compared is work and not policy; a scenario that
# is about what happens at the bounds leaves them as they are delivered.
MOSQUITTO_UNBOUND = "max_queued_messages 0\nmax_inflight_messages 0\n"
POLLUX_UNBOUND = {"tcp.send-buffer": "4MiB", "mqtt.max-queued-messages": 1000000, "mqtt.max-queued-bytes": "1GiB"}


def perf_command(scenario, host, ports, seconds):
    return [program("perf/pollux-perf"), *scenario.load, *scenario.options, "--json", "--details", "--quiet", "-h", host,
            "-p", ",".join(map(str, ports)), "-d", seconds, "--warm-up", "0.5"]


def result_of(status, output, errors):
    """pollux-perf's line of JSON, or what went wrong."""
    lines = output.strip().splitlines()
    if not lines or not lines[-1].startswith("{"):
        return {"error": errors or f"pollux-perf ended with status {status} and no result"}
    return json.loads(lines[-1])


class Remote:
    """A broker that runs already."""

    def __init__(self, address):
        self.name = address
        self.host, _, self.port = address.rpartition(":")
        self.host = self.host.strip("[]")
        if not self.host or not self.port.isdigit():
            raise Trouble(f"--against '{address}': mosquitto, HOST:PORT or none")

    def measure(self, scenario, seconds):
        command = perf_command(scenario, self.host, [self.port], seconds)
        return result_of(*run(command, machine.cpus()[1], scenario.patience(seconds)))


class Mosquitto:
    """Debian's mosquitto, started anew for each measurement."""

    name = "mosquitto"

    def measure(self, scenario, seconds):
        broker_cpu, generator_cpu = machine.cpus()
        port = free_port()
        config, log = STATE / "mosquitto.conf", STATE / "mosquitto.log"
        config.write_text(MOSQUITTO_CONFIG.format(port=port) + ("" if scenario.bounds else MOSQUITTO_UNBOUND))
        config.chmod(0o644)
        process = Process([program("mosquitto"), "-c", config], log, broker_cpu)
        try:
            wait_for(lambda: answers("127.0.0.1", port), 10, "mosquitto does not answer")
            command = perf_command(scenario, "127.0.0.1", [port], seconds) + ["--broker-pid", process.pid]
            if scenario.sources() > 1:
                command += ["--source", ",".join(f"127.0.{n // 200}.{n % 200 + 2}" for n in range(scenario.sources()))]
            found = result_of(*run(command, generator_cpu, scenario.patience(seconds)))
            return found if process.running() else {"error": f"mosquitto ended: {process.last_words()}"}
        finally:
            process.stop()


class Vhost:
    """Pollux, its virtio-user port on the other side of the generator's vhost-user port. No kernel between them."""

    name = "pollux"
    link = "vhost"

    def __init__(self, settings=()):
        self.settings = settings

    def memory(self, scenario):
        """MiB of huge pages: the generator's, and the router's as its start-up reckons them."""
        router = scenario.buffers() * BUFFER // 2**20 + scenario.room() * 128 // 2**20 + 160
        return scenario.generator_mib() + router

    def measure(self, scenario, seconds):
        broker_cpu, other_cpu = machine.cpus()
        directory = STATE / "vhost"
        with contextlib.ExitStack() as stack:
            stack.callback(shutil.rmtree, directory, ignore_errors=True)
            directory.mkdir()
            vhost = directory / "vhost.sock"
            config = directory / "pollux.yaml"
            config.write_text(pollux_config(scenario, f"net_virtio_user0,path={vhost},queue_size=1024", "on", 16,
                                            self.settings))
            # The dataplane waits for its configuration, so it can be there, with a pid, before the port it will open.
            dataplane = Process([program("dataplane/pollux-dataplane"), "--run-dir", directory], STATE / "dataplane.log")
            stack.callback(dataplane.stop)
            generator = start_generator(scenario, vhost, dataplane.pid, seconds, other_cpu)
            stack.callback(generator.wait)
            stack.callback(generator.kill)
            wait_for(lambda: vhost.exists() or generator.poll() is not None, STARTED, "the generator does not start")
            control = Process([program("control/pollux-control"), "--config", config, "--run-dir", directory],
                              STATE / "control.log", other_cpu, nice=0)
            stack.callback(control.stop)
            wait_for(lambda: generator.poll() is not None or not dataplane.running() or not control.running(),
                     scenario.patience(seconds), "no result in time")
            for process in dataplane, control:
                if not process.running():
                    return {"error": f"the router ended: {process.last_words()}"}
            status, output, errors = finish(generator, 10)
            said = [line for line in errors.strip().splitlines() if line.startswith("pollux-perf:")]
            said = said[-1] if said else errors.strip()[-200:]
            return result_of(status, output, f"{said}; the router says: {dataplane.last_words()}" if status == 1 else said)


def start_generator(scenario, vhost, broker, seconds, cpu):
    addresses = ",".join(f"198.18.1.{2 + n}/16" for n in range(min(scenario.sources(), 8)))
    command = perf_command(scenario, "198.18.0.1", ports_of(scenario), seconds)
    command += ["--dpdk", f"net_vhost0,iface={vhost}", "--address", addresses, "--buffers", scenario.buffers(),
                "--broker-pid", broker]
    return launch(command, cpu, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


class Lab:
    """Pollux in a lab of its own (tools/lab): kernel clients in a network namespace, over AF_XDP, TAP or AF_PACKET."""

    name = "pollux"

    def __init__(self, link, settings=()):
        self.link = link
        self.settings = settings

    def measure(self, scenario, seconds):
        config = STATE / "lab.yaml"
        other_cpu = machine.cpus()[1]
        config.write_text(pollux_config(scenario, "${DEVICE}", "${HUGEPAGES}", 24, self.settings))
        link = {"kernel": "af_packet"}.get(self.link, self.link)
        try:
            run(lab("down"))  # of a run that was killed
            status, _, errors = run(lab("up", "--link", link, "--idle", "busy", "--config", config))
            if status != 0:
                return {"error": f"the lab does not come up: {errors}"}
            broker = pathlib.Path("/run/pollux-bench-lab/dataplane.pid").read_text(encoding="ascii").split()[0]
            machine.set_group_nice(machine.NICE, broker)
            command = perf_command(scenario, "198.18.0.1", ports_of(scenario), seconds) + ["--broker-pid", broker]
            return result_of(*run(lab("exec", "taskset", "-c", other_cpu, *command), None, scenario.patience(seconds)))
        finally:
            run(lab("down"))


def lab(*arguments):
    return ["env", "POLLUX_LAB=pollux-bench-lab", f"POLLUX_BUILD={machine.BUILD}", machine.TREE / "tools/lab", *arguments]


def ports_of(scenario):
    """Of the router: as many as it takes for the generator's addresses to open all connections."""
    return range(PORT, PORT + -(-scenario.connections // CONNECTIONS_OF_PORT))


def pollux_config(scenario, device, hugepages, prefix, settings=()):
    """The router's configuration file; JSON is YAML. `settings`: (section.name, value), in place of those here."""
    broker_cpu, other_cpu = machine.cpus()
    config = {
        "dataplane": {
            "workers": 1, "cores": [broker_cpu], "main-core": other_cpu, "idle": "busy", "hugepages": hugepages,
            "packet-buffers": scenario.buffers(), "memory-per-worker": f"{1024 + scenario.room() // 700}MiB",
            # Memory that is there from the start would not show what a connection takes.
            "memory-present": "on-use" if scenario.measure == "bytes_per_connection" else "at-start"},
        "ports": [{"name": "lan0", "device": device, "addresses": [f"198.18.0.1/{prefix}", "2001:db8:18::1/64"]}],
        "listeners": [{"name": f"mqtt{port}", "port": port} for port in ports_of(scenario)],
        "tcp": {"max-connections": scenario.room()},
        "mqtt": {"max-sessions": scenario.room(), "max-subscriptions": 1000000}}
    for name, value in [*([] if scenario.bounds else POLLUX_UNBOUND.items()), *settings]:
        section, _, leaf = name.partition(".")
        group = config.setdefault(section, {})
        (group[0] if isinstance(group, list) else group)[leaf] = value
    return json.dumps(config, indent=2)


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

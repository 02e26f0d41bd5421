"""lib/net against itself, and what the link carries without it: testpmd at both ends."""

import contextlib
import json
import re
import shutil
import time

from . import machine
from .machine import STATE, Process, Trouble, program, wait_for


class Echo:
    """pollux-tcp-echo at both ends of a vhost-user link, one CPU each."""

    name = "pollux"
    link = "vhost"

    def memory(self, scenario):
        return 2 * scenario.generator_mib()

    def measure(self, scenario, seconds):
        server_cpu, client_cpu = machine.cpus()
        tcp_echo = program("perf/pollux-tcp-echo")
        vhost = STATE / "echo.sock"
        buffers = ["--buffers", str(scenario.buffers())]
        sources = ",".join(f"198.18.0.{n}/24" for n in range(2, 10))
        with contextlib.ExitStack() as stack:
            stack.callback(vhost.unlink, missing_ok=True)
            client = Process([tcp_echo, *scenario.load, "--dpdk", f"net_vhost0,iface={vhost}", "--address", sources,
                              "--host", "198.18.0.1", "-d", str(seconds), *buffers], STATE / "echo.log", client_cpu)
            stack.callback(client.stop)
            wait_for(lambda: vhost.exists() or not client.running(), 20, "the echo client does not start")
            server = Process([tcp_echo, "serve", "--dpdk", f"net_virtio_user0,path={vhost},queue_size=1024",
                              "--address", "198.18.0.1/24", *buffers], STATE / "serve.log", server_cpu)
            stack.callback(server.stop)
            wait_for(lambda: not client.running(), scenario.patience(seconds), "the echo client does not end")
            output = [line for line in (STATE / "echo.log").read_text().splitlines() if line.startswith("{")]
            return json.loads(output[-1]) if output else {"error": client.last_words()}


def limit(seconds, size):
    """Round trips a second of frames of `size` bytes between two testpmd that send everything back."""
    testpmd = shutil.which("dpdk-testpmd")
    if testpmd is None:
        raise Trouble("--limit needs dpdk-testpmd: apt-get install dpdk")
    vhost = STATE / "limit.sock"
    near_cpu, far_cpu = machine.cpus()

    def command(name, device, own_cpu, other_cpu, *more):
        return [testpmd, "--lcores", f"0@{other_cpu},1@{own_cpu}", "--in-memory", "--single-file-segments",
                "--iova-mode=va", "--no-pci", "--no-telemetry", f"--file-prefix=pollux-bench-{name}", "--vdev", device,
                "--", "--forward-mode=macswap", "--auto-start", "--stats-period=1", "--total-num-mbufs=16384",
                "--txd=1024", "--rxd=1024", f"--txpkts={size}", *more]

    with contextlib.ExitStack() as stack:
        stack.callback(vhost.unlink, missing_ok=True)
        far = Process(command("far", f"net_vhost0,iface={vhost}", far_cpu, far_cpu), STATE / "limit-far.log")
        stack.callback(far.stop)
        wait_for(lambda: vhost.exists() or not far.running(), 20, "testpmd does not start")
        time.sleep(1)
        near = Process(command("near", f"net_virtio_user0,path={vhost},queue_size=1024", near_cpu, far_cpu,
                               "--tx-first"), STATE / "limit.log")
        stack.callback(near.stop)
        time.sleep(seconds + 3)
        rates = [int(rate) for rate in re.findall(r"Rx-pps:\s+(\d+)", (STATE / "limit.log").read_text(errors="replace"))]
        rates = rates[2:] or rates
        if not rates or max(rates) == 0:
            raise Trouble(f"testpmd forwards nothing: {near.last_words()}")
        return sorted(rates)[len(rates) // 2]

"""Either program may die at any moment: control without anyone noticing, the dataplane with its connections, the lab
as a whole without leaving anything."""

import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time

from harness import equal, eventually, expect, lab, root, state, test

build = pathlib.Path(os.environ.get("POLLUX_BUILD", root / "build"))
traffic_program = str(root / "tests" / "faults" / "traffic.py")


def run_lab(*arguments, check=True):
    done = subprocess.run([lab, *arguments], capture_output=True, text=True, timeout=60)
    if check:
        equal(done.returncode, 0, f"tools/lab {' '.join(arguments)}: {done.stderr.strip()} exit status")
    return done


class Traffic:
    """tests/faults/traffic.py in the clients' namespace."""

    def __init__(self, router, name):
        self.process = subprocess.Popen([lab, "exec", traffic_program, f"{router.name}-{name}"], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        router.at_end(self.process.kill)
        equal(self.process.stdout.readline().strip(), "running", "traffic starts")

    def end(self):
        self.process.stdin.close()
        return json.loads(self.process.stdout.readline())


def pid(program):
    return int((state / f"{program}.pid").read_text().split()[0])


def show(router, what):
    """Fails until control has found the dataplane."""
    try:
        return router.show(what)
    except AssertionError:
        return None


@test(timeout=60)
def control_is_killed(router):
    """Clients go on as if nothing had happened; a new control finds them again."""
    traffic = [Traffic(router, f"t{i}") for i in range(4)]
    before = pid("dataplane")
    run_lab("kill", "control")
    time.sleep(2)
    run_lab("start", "control")
    eventually(lambda: show(router, "clients") is not None, 10, "the new control answers")
    clients = router.show("clients")
    connected = [c for c in clients if c["state"] == "connected" and router.name in c["id"]]
    equal(len(connected), 8, "clients that the new control shows")
    time.sleep(0.5)
    for one in traffic:
        result = one.end()
        equal(result["error"], None, "what the clients noticed")
        expect(result["messages"] > 100, f"only {result['messages']} messages in 2.5 s")
        expect(result["longest_ms"] < 500, f"one message took {result['longest_ms']:.0f} ms")
    equal(pid("dataplane"), before, "pid of the dataplane")


@test(timeout=90)
def control_is_killed_again_and_again(router):
    traffic = Traffic(router, "t")
    for _ in range(5):
        run_lab("kill", "control")
        run_lab("start", "control")
        eventually(lambda: show(router, "runtime"), 10, "the new control answers")
    equal(traffic.end()["error"], None, "what the client noticed")


@test(timeout=120)
def control_is_killed_while_it_asks(router):
    """What a worker was being asked then does not keep it from answering the next control."""
    ask = f"for i in $(seq 100); do {lab} ctl show census || break; done"
    for _ in range(10):
        askers = [subprocess.Popen(ask, shell=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                  for _ in range(4)]
        time.sleep(0.3)
        run_lab("kill", "control")
        for asker in askers:
            asker.wait(30)
        run_lab("start", "control")
        run_lab("ctl", "wait", "ready")
        begun = time.monotonic()
        run_lab("ctl", "show", "census")
        expect(time.monotonic() - begun < 4, "every worker answers")


@test(timeout=90)
def dataplane_is_killed(router):
    """Control keeps answering and says so; a new dataplane is configured and taken in; clients can connect again."""
    traffic = Traffic(router, "t")
    control = pid("control")
    run_lab("kill", "dataplane")
    eventually(lambda: "down" in run_lab("ctl", "show", "runtime", check=False).stdout.lower(), 5,
               "control says that the dataplane is down")
    expect(run_lab("ctl", "show", "clients", check=False).returncode != 0, "no list of clients without a dataplane")
    expect(traffic.end()["error"], "the clients were disconnected")
    run_lab("start", "dataplane")
    again = Traffic(router, "again")
    eventually(lambda: show(router, "clients"), 10, "control shows the new dataplane's clients")
    time.sleep(0.5)
    result = again.end()
    equal(result["error"], None, "what clients of the new dataplane noticed")
    equal(pid("control"), control, "pid of control")


@test(timeout=60)
def hangup_ends_neither(router):
    """SIGHUP has other servers read their configuration again: who sends it here loses no client."""
    before = pid("control"), pid("dataplane")
    traffic = Traffic(router, "t")
    for program in before:
        os.kill(program, signal.SIGHUP)
    time.sleep(0.5)
    equal(traffic.end()["error"], None, "what the client noticed")
    expect(show(router, "version"), "control answers")
    equal((pid("control"), pid("dataplane")), before, "the programs' pids")


@test(timeout=30)
def a_core_that_is_not_there(router):
    """The dataplane names the setting, not DPDK's options."""
    with tempfile.TemporaryDirectory() as directory:
        config = pathlib.Path(directory, "pollux.yaml")
        config.write_text("dataplane: {cores: [1023]}\n"
                          "ports: [{name: lan0, device: net_null0, addresses: [198.18.0.1/24]}]\n"
                          "listeners: [{name: mqtt}]\n")
        control = subprocess.Popen([build / "control/pollux-control", "--config", config, "--run-dir", directory],
                                   stderr=subprocess.DEVNULL)
        router.at_end(control.kill)
        done = subprocess.run([build / "dataplane/pollux-dataplane", "--run-dir", directory], capture_output=True, text=True,
                              timeout=20, check=False)
        control.kill()
        control.wait()
    equal((done.returncode, done.stderr.strip()),
          (1, "pollux-dataplane: dataplane.cores: this machine has no core 1023 in use"), "what it says")


@test(timeout=120)
def both_are_killed(router):
    run_lab("kill", "control")
    run_lab("kill", "dataplane")
    run_lab("start", "control")
    run_lab("start", "dataplane")
    result = Traffic(router, "t")
    time.sleep(0.5)
    equal(result.end()["error"], None, "what the clients noticed")


def machine(dataplane):
    """What this lab, whose dataplane has that pid, could leave behind. Huge pages belong to all labs, so they count only
    while it is the only one."""
    def lines(*command):
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()

    namespaces = [line.split()[0] for line in lines("ip", "netns") if line]
    pages = pathlib.Path("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages")
    alone = all(name.startswith(state.name) for name in namespaces)
    return {
        "huge pages": pages.read_text().strip() if alone and pages.exists() else None,
        "links": sorted(line.split()[0] for line in lines("ip", "-brief", "link")),
        "namespaces": sorted(name for name in namespaces if name in (state.name, f"{state.name}-router")),
        "mounts": sorted(line.split()[1] for line in open("/proc/mounts") if f"{state}/" in line),
        "state": state.exists(),
        "DPDK": [str(path) for path in pathlib.Path("/run/dpdk").glob(f"pollux-{dataplane}")],
    }


@test(timeout=120, how=["down", "killed"])
def lab_leaves_nothing(router, how):
    """Also when its programs were killed with SIGKILL and clients still run in it. Brings the lab up again at the end."""
    options = (state / "options").read_text()
    words = dict(word.split("=", 1) for word in options.split())
    arguments = ["up", "--workers", words["workers"], "--link", words["link"].replace("auto", "af_xdp")]
    run_lab("down")
    before = machine(None)
    router.at_end(run_lab, *arguments)
    run_lab(*arguments)
    dataplane = pid("dataplane")
    expect(machine(dataplane) != before, "a lab that is up shows")
    sleeper = subprocess.Popen([lab, "exec", "sleep", "1000"])
    if how == "killed":
        run_lab("kill", "dataplane")
        run_lab("kill", "control")
    run_lab("down")
    equal(machine(dataplane), before, "the machine afterwards")
    expect(sleeper.wait(5) != 0, "programs in the lab are ended with it")
    equal(run_lab("down").returncode, 0, "down once more")

"""Runs tests against a router in the lab, one line each.

A test is a function with the decorator `test`; every list among the decorator's arguments multiplies it. Each runs in a
process group of its own, with a time limit, so that whatever a failed one leaves is ended with it. The lines are what
tools/test counts: `ok SECONDS NAME` or `FAIL SECONDS NAME`, and for a failure what the test said, indented.
"""

import argparse
import fnmatch
import itertools
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import traceback

root = pathlib.Path(__file__).resolve().parents[2]
lab = str(root / "tools" / "lab")
state = pathlib.Path("/run") / os.environ.get("POLLUX_LAB", "pollux-lab")
router_died = 66  # exit status of a suite in the namespace that could not go on
registered = []


class Skipped(Exception):
    """The machine or the target cannot do what the test is about."""


def test(timeout=30, targets=("pollux", "mosquitto"), **parameters):
    """Registers a function as tests, one for each combination of the parameters' values."""

    def register(function):
        for values in itertools.product(*parameters.values()):
            arguments = dict(zip(parameters, values))
            suffix = ",".join(label(name, value) for name, value in arguments.items())
            module = function.__module__.removeprefix("test_")
            name = f"{module}.{function.__name__}" + (f"[{suffix}]" if suffix else "")
            registered.append((name, function, arguments, timeout, targets))
        return function

    return register


def label(parameter, value):
    """A parameter's value in a test's name."""
    if parameter == "version":
        return {4: "3.1.1", 5: "5.0"}[value]
    return f"{parameter}{value}" if isinstance(value, int) else str(value)


class Router:
    """What a test knows of the router, and the names it may use there."""

    host = "198.18.0.1"
    host6 = "2001:db8:18::1"
    port = 1883
    websocket_port = 8083

    def __init__(self, target, link, workers, test_name):
        self.target = target
        self.link = link
        self.workers = workers
        # Every test has a part of the topic tree and of the client ids to itself.
        self.name = "".join(c if c.isalnum() else "-" for c in test_name)
        self.cleanups = []

    def topic(self, rest):
        return f"{self.name}/{rest}"

    def client_id(self, rest):
        return f"{self.name}-{rest}"

    def at_end(self, function, *arguments, **named):
        """Calls function when the test is over, however it ends; the last one registered first."""
        self.cleanups.append(lambda: function(*arguments, **named))

    def clean_up(self):
        failure = None
        for cleanup in reversed(self.cleanups):
            try:
                cleanup()
            except Exception as error:  # the others still have to run
                failure = error
        return failure

    def show(self, *what):
        """The records of `polluxctl --json show WHAT`."""
        done = subprocess.run([lab, "ctl", "--json", "show", *what], capture_output=True, text=True, timeout=15)
        if done.returncode != 0:
            raise AssertionError(f"polluxctl show {' '.join(what)}: {done.stderr.strip() or done.stdout.strip()}")
        return json.loads(done.stdout)["records"]


def expect(condition, message):
    if not condition:
        raise AssertionError(message)


def equal(found, wanted, what):
    if found != wanted:
        raise AssertionError(f"{what}: {shorten(found)}, expected {shorten(wanted)}")


def shorten(value, limit=2000):
    text = repr(value)
    return text if len(text) <= limit else text[:limit] + f"... ({len(text)} characters)"


def eventually(condition, seconds, what):
    """Waits until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.02)


def options(description):
    """The arguments that every suite has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--link", choices=["af_xdp", "af_packet", "tap"], help="the lab's link (default: the best)")
    parser.add_argument("--workers", type=int, default=1, help="the router's workers (default 1)")
    parser.add_argument("--target", choices=["pollux", "mosquitto"], default="pollux", help="what is tested")
    parser.add_argument("--config", help="the lab's configuration (default: the suite's own)")
    parser.add_argument("--only", default="*", metavar="PATTERN", help="tests whose names contain it, like 'take_over*paho|will'")
    parser.add_argument("--list", action="store_true", help="print the names and end")
    parser.add_argument("--keep", action="store_true", help="leave the lab up afterwards")
    parser.add_argument("--start", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def chosen(arguments):
    """The tests of the target whose names contain one of the patterns, which | separates."""
    # Brackets are part of the names, so they mean themselves in a pattern too.
    patterns = [f"*{one.replace('[', '[[]')}*" for one in arguments.only.split("|")]
    return [t for t in registered if arguments.target in t[4] and any(fnmatch.fnmatchcase(t[0], p) for p in patterns)]


def lab_up(arguments):
    command = [lab, "up", "--workers", str(arguments.workers), "--target", arguments.target]
    if arguments.link:
        command += ["--link", arguments.link]
    if arguments.config:
        command += ["--config", arguments.config]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def run_suite(script, arguments, inside=True):
    """Brings the lab up, runs the chosen tests in it and takes it down. Returns the exit status."""
    if arguments.list:
        print("\n".join(t[0] for t in chosen(arguments)))
        return 0
    if arguments.only != "*" and not chosen(arguments):
        print(f"no test has a name that contains '{arguments.only}': --list shows them all", file=sys.stderr)
        return 2
    if arguments.inside:
        return run_chosen(arguments, chosen(arguments)[arguments.start:])
    # A Ctrl-C of the terminal or the end of a time limit still takes the lab down.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        lab_up(arguments)
        if not inside:
            return run_chosen(arguments, chosen(arguments))
        return run_inside(script, arguments)
    except subprocess.CalledProcessError:
        print("FAIL 0.0 lab.up", flush=True)
        return 1
    finally:
        if not arguments.keep:
            subprocess.run([lab, "down"], check=False, stdout=subprocess.DEVNULL)


def run_inside(script, arguments):
    """Runs the tests in the clients' namespace. A router that dies fails one test, not all that follow: the lab comes up
    again for those."""
    status, start = 0, 0
    while True:
        command = [lab, "exec", sys.executable, script, "--inside", "--start", str(start)] + sys.argv[1:]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as suite:
            for line in suite.stdout:
                start += line.startswith(("ok ", "FAIL ", "skip "))
                print(line, end="", flush=True)
        if suite.returncode != router_died:
            return status or suite.returncode
        status = 1
        lab_up(arguments)


def run_chosen(arguments, tests):
    failed = 0
    for name, function, parameters, timeout, _ in tests:
        router = Router(arguments.target, arguments.link, arguments.workers, name)
        if run_one(name, function, parameters, timeout, router):
            continue
        failed += 1
        dead = dead_programs()
        if dead:
            print("\n".join(f"     {line}" for line in dead), flush=True)
            return router_died
    return 1 if failed else 0


def dead_programs():
    """The router's programs that have ended, each with the end of its log."""
    found = []
    for pid_file in sorted(state.glob("*.pid")):
        pid, start_time = pid_file.read_text().split()
        try:
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            alive = fields[19] == start_time and fields[0] != "Z"
        except FileNotFoundError:
            alive = False
        if not alive:
            log = pid_file.with_suffix(".log").read_text(errors="replace").splitlines()
            found += [f"{pid_file.stem} died; the end of its log:"] + log[-5:]
    return found


def run_one(name, function, parameters, timeout, router):
    start = time.monotonic()
    with tempfile.TemporaryFile("w+") as log:
        result = run_apart(function, parameters, timeout, router, log)
        seconds = time.monotonic() - start
        if result == "skipped":
            log.seek(0)
            print(f"skip {seconds:.1f} {name}: {log.read().strip().splitlines()[-1]}", flush=True)
            return True
        print(f"{'ok' if result == 'ok' else 'FAIL'} {seconds:.1f} {name}", flush=True)
        if result == "ok":
            return True
        log.seek(0)
        said = log.read().strip().splitlines()
        if result == "late":
            said.append(f"not over after {timeout} s")
        for line in said[-25:]:
            print(f"     {line}", flush=True)
    return False


def run_apart(function, parameters, timeout, router, log):
    """Runs the test in a process group of its own; returns ok, failed, skipped or late."""
    child = os.fork()
    if child == 0:
        os.setsid()
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        os._exit(run_here(function, parameters, router))
    deadline = time.monotonic() + timeout
    status = None
    try:
        while status is None and time.monotonic() < deadline:
            pid, code = os.waitpid(child, os.WNOHANG)
            status = code if pid else None
            if status is None:
                time.sleep(0.01)
    finally:
        end_group(child)
        if status is None:
            os.waitpid(child, 0)
    if status is None:
        return "late"
    return {0: "ok", 77: "skipped"}.get(os.waitstatus_to_exitcode(status), "failed")


def end_group(child):
    try:
        os.killpg(child, signal.SIGKILL)
    except ProcessLookupError:
        pass


def run_here(function, parameters, router):
    status = 0
    try:
        function(router, **parameters)
    except Skipped as reason:
        print(reason)
        status = 77
    except BaseException:
        traceback.print_exc()
        status = 1
    failure = router.clean_up()
    if failure is not None and status == 0:
        print(f"clean-up: {failure!r}")
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return status

"""What a benchmark takes from the machine, and how it is given back: CPUs, huge pages, processes, a place for files."""

import ctypes
import fcntl
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import time

TREE = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("POLLUX_BUILD", TREE / "build"))
STATE = pathlib.Path("/run/pollux-bench")
FREE_PAGES = pathlib.Path("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages")
NICE = -20  # of broker and generator alike: what else runs on the machine disturbs less
PR_SET_PDEATHSIG = 1
libc = ctypes.CDLL(None)


class Trouble(Exception):
    """Ends the benchmark with a sentence."""


def program(path):
    """A program of this tree's build, or an installed one."""
    built = BUILD / path
    if os.access(built, os.X_OK):
        return str(built)
    found = shutil.which(pathlib.Path(path).name, path=os.environ["PATH"] + ":/usr/sbin")
    if found is None:
        raise Trouble(f"{path} is not there: ninja -C {BUILD} builds it, POLLUX_BUILD names another build directory")
    return found


def cpus():
    """(of the broker, of the generator and everything else)"""
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        raise Trouble("two CPUs are needed, one for the broker and one for the generator")
    return usable[-1], usable[0]


def load_average():
    return os.getloadavg()[0]


def isolate(cpu, nice):
    """In the child, before its program: ends with this process, has a scheduling group and perhaps a CPU of its own.

    The group matters where the kernel groups processes by session: there niceness counts between the groups, and one
    that also held the harness would let it starve whom it waits for.
    """
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.setsid()
    os.setpriority(os.PRIO_PROCESS, 0, nice)
    set_group_nice(nice)
    if cpu is not None:
        os.sched_setaffinity(0, {cpu})


def launch(command, cpu=None, nice=NICE, **popen):
    """A child that ends with this process, however that ends."""
    # DPDK leaves a directory behind: below STATE it goes with the rest.
    environment = {**os.environ, "RUNTIME_DIRECTORY": str(STATE)}
    return subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL, env=environment,
                            preexec_fn=lambda: isolate(cpu, nice), **popen)


class Process:
    """A program in the background, its output in a log."""

    def __init__(self, command, log, cpu=None, nice=NICE):
        self.log = pathlib.Path(log)
        with open(log, "wb") as output:
            self.process = launch(command, cpu, nice, stdout=output, stderr=output)
        self.pid = self.process.pid

    def running(self):
        return self.process.poll() is None

    def stop(self):
        if self.running():
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()

    def last_words(self):
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "no message"


def finish(process, timeout):
    """A child to its end: (exit status, its output, its errors). It is killed when the time is over."""
    try:
        output, errors = process.communicate(timeout=timeout)
        return process.returncode, output, errors
    except subprocess.TimeoutExpired as error:
        raise Trouble(f"no result within {timeout:.0f} s") from error
    finally:
        process.kill()
        process.wait()


def run(command, cpu=None, timeout=300):
    """A program to its end: (exit status, its output, the last line of its errors)."""
    status, output, errors = finish(launch(command, cpu, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True),
                                    timeout)
    errors = errors.strip().splitlines()
    return status, output, errors[-1] if errors else ""


def line_time():
    """ns that a cache line takes from one CPU to the other, or None.

    A link of shared memory costs that much for all that crosses it; where a hypervisor moves virtual CPUs about, it is
    not the same all the time.
    """
    try:
        return float(run([program("tests/bench/bench-workers"), "line"], timeout=10)[1])
    except (Trouble, ValueError):
        return None


def wait_for(condition, seconds, what):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Trouble(what)
        time.sleep(0.02)


def raise_descriptor_limit():
    """As many connections as the machine lets a process have; children inherit it."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    for limit in (1048576, hard):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
            return
        except (ValueError, OSError):
            continue


def descriptors():
    """How many files and sockets a process may have open."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def set_group_nice(nice, process="self"):
    """Where the kernel groups processes by session (autogroup), niceness counts between the groups."""
    try:
        pathlib.Path(f"/proc/{process}/autogroup").write_text(str(nice), encoding="ascii")
    except OSError:
        pass


def hugepages(verb, *arguments):
    """tools/lib/hugepages.sh remembers in STATE what it reserved, so that a later run gives back what a killed one left."""
    script = f'lab_name=pollux-bench; . {TREE}/tools/lib/common.sh; . {TREE}/tools/lib/hugepages.sh; hugepages_{verb} "$@"'
    return subprocess.run(["bash", "-c", script, "bash", str(STATE), *map(str, arguments)], check=False).returncode == 0


class Machine:
    """The benchmark's hold on the machine. A context manager: everything is given back at its end."""

    def __enter__(self):
        if os.geteuid() != 0:
            raise Trouble(f"not root: huge pages and network namespaces are made by root: sudo {sys.argv[0]}")
        self.reserved = False
        STATE.mkdir(exist_ok=True)
        self.lock = os.open(STATE, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Trouble("another benchmark runs on this machine") from error
        hugepages("release")
        # A name that mosquitto can read its configuration under, as the user that it becomes.
        STATE.chmod(0o755)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.default_int_handler)
        return self

    def __exit__(self, *_):
        hugepages("release")
        shutil.rmtree(STATE, ignore_errors=True)
        os.close(self.lock)

    def release(self):
        """Gives the huge pages back; the next ones may be others."""
        hugepages("release")
        self.reserved = False

    def reserve(self, mebibytes):
        """Makes so much of huge pages available, if it is not already. What is free may have gone to others since."""
        pages = mebibytes // 2 + 1
        if self.reserved and int(FREE_PAGES.read_text(encoding="ascii")) >= pages:
            return
        self.release()
        if not hugepages("reserve", pages):
            raise Trouble(f"no {mebibytes} MiB of huge pages are to be had on this machine")
        self.reserved = True

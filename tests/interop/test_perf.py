#!/usr/bin/python3
"""pollux-perf against Debian's mosquitto, which is started here on a loopback port: do its counts hold?

Run by meson (test perf-mosquitto); by hand: POLLUX_PERF=build/perf/pollux-perf tests/interop/test_perf.py
Exit status 77 (skipped) where mosquitto is not installed.
"""

import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

PERF = os.environ.get("POLLUX_PERF", str(pathlib.Path(__file__).resolve().parents[2] / "build/perf/pollux-perf"))
MOSQUITTO = shutil.which("mosquitto", path=os.environ["PATH"] + ":/usr/sbin")

CONFIG = """\
listener {port} 127.0.0.1
allow_anonymous true
max_queued_messages 0
max_inflight_messages 0
set_tcp_nodelay true
persistence false
log_dest stderr
{more}
"""


class Broker:
    """A mosquitto of our own."""

    def __init__(self, more="", acl=""):
        self.directory = tempfile.TemporaryDirectory()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = str(probe.getsockname()[1])
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.second = str(probe.getsockname()[1])
        config = pathlib.Path(self.directory.name, "mosquitto.conf")
        self.log = pathlib.Path(self.directory.name, "log")
        more = more.format(directory=self.directory.name, second=self.second)
        config.write_text(CONFIG.format(port=self.port, more=more))
        pathlib.Path(self.directory.name, "acl").write_text(acl)
        self.config = config

    def __enter__(self):
        os.chmod(self.directory.name, 0o755)
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([MOSQUITTO, "-c", str(self.config)], stderr=log)
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", int(self.port))).close()
                return self
            except OSError:
                time.sleep(0.05)
        raise AssertionError("mosquitto does not answer")

    def connections(self, port):
        """Connections to this port, by mosquitto's log, without those that said nothing: __enter__'s and pollux-perf's try."""
        log = self.log.read_text()
        ports = re.findall(rf"New connection from 127.0.0.1:(\d+) on port {port}", log)
        return sum(f"New client connected from 127.0.0.1:{one} " in log for one in ports)

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.directory.cleanup()


def perf(broker, *arguments):
    command = [PERF, "-h", "127.0.0.1", "-p", broker.port, "--json", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


class Counts(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.broker = Broker().__enter__()
        cls.addClassCleanup(cls.broker.__exit__)

    def run_perf(self, *arguments):
        done = perf(self.broker, *arguments)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def check_intact(self, result, copies=1):
        self.assertEqual((result["lost"], result["duplicated"], result["reordered"]), (0, 0, 0), result)
        self.assertGreater(result["sent"], 0)
        self.assertEqual(result["delivered"], result["sent"] * copies)
        self.assertGreater(result["delivered_per_s"], 0)
        self.assertLessEqual(result["p50_us"], result["p99_us"])
        self.assertLessEqual(result["p99_us"], result["max_us"])

    def test_every_message_scenario_in_every_version(self):
        for version in "31", "311", "5":
            names = ["p2p-4", "fanin-8", "fanout-8", "qos1-4", "qos2-4", "big-20k", "devices-20", "rtt"]
            results = self.run_perf(*names, "-V", version, "-d", "0.3", "--warm-up", "0.1", "-w", "20")
            self.assertEqual([one["scenario"] for one in results], names)
            for result in results:
                with self.subTest(version=version, scenario=result["scenario"]):
                    self.check_intact(result, 8 if result["scenario"] == "fanout-8" else 1)

    def test_threads_and_uneven_sides(self):
        for arguments, copies in ((["--publishers", "6", "--subscribers", "3"], 1),
                                  (["--publishers", "3", "--subscribers", "6"], 2)):
            result, = self.run_perf("p2p", *arguments, "-T", "2", "-d", "0.3", "--warm-up", "0.1", "-q", "1")
            self.check_intact(result, copies)

    def test_open_loop_keeps_its_rate(self):
        result, = self.run_perf("p2p-4", "-r", "500", "-d", "2", "--warm-up", "0.2")
        self.check_intact(result)
        self.assertAlmostEqual(result["sent_per_s"], 500, delta=15)
        result, = self.run_perf("fanin-5", "-I", "10", "-d", "1", "--warm-up", "0.2", "-q", "2")
        self.check_intact(result)
        self.assertAlmostEqual(result["sent_per_s"], 500, delta=25)

    def test_search_finds_a_rate_that_holds(self):
        result, = self.run_perf("p2p-2", "--p99-below", "100000", "-d", "0.3", "--warm-up", "0.1")
        self.assertLessEqual(result["p99_us"], 100000)
        self.assertGreater(result["rate"], 100)
        self.assertGreaterEqual(result["sent_per_s"], 0.98 * result["rate"])
        done = perf(self.broker, "p2p-2", "--p99-below", "1", "-d", "0.1", "--warm-up", "0.05")
        self.assertEqual(done.returncode, 1)
        self.assertIn("no rate was found", done.stderr)

    def test_mosquitto_sub_counts_the_same(self):
        command = ["mosquitto_sub", "-h", "127.0.0.1", "-p", self.broker.port, "-t", "counted/#", "-F", "%t"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as counter:
            time.sleep(0.3)
            result, = self.run_perf("p2p-3", "-t", "counted/%i", "-r", "300", "-d", "1.5", "--warm-up", "0.2")
            time.sleep(0.5)
            counter.send_signal(signal.SIGINT)
            lines = counter.communicate(timeout=10)[0].splitlines()
        self.assertEqual(len(lines), result["delivered"])
        self.assertEqual(set(lines), {"counted/0", "counted/1", "counted/2"})

    def test_a_broker_that_is_stopped_shows_in_the_latency(self):
        """No coordinated omission: half a second of silence is in the tail, though few messages would be sent in it."""
        command = [PERF, "-h", "127.0.0.1", "-p", self.broker.port, "--json", "p2p-1", "-r", "1000", "-d", "2", "--warm-up", "0.3"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
            time.sleep(1.2)
            self.broker.process.send_signal(signal.SIGSTOP)
            time.sleep(0.5)
            self.broker.process.send_signal(signal.SIGCONT)
            result = json.loads(running.communicate(timeout=20)[0])
        self.check_intact(result)
        self.assertGreater(result["p90_us"], 150000)
        self.assertLess(result["p50_us"], 100000)
        self.assertGreater(result["max_us"], 450000)

    def test_an_interrupted_run_reports_what_it_measured(self):
        command = [PERF, "-h", "127.0.0.1", "-p", self.broker.port, "--json", "p2p-1", "rtt", "-r", "500", "-d", "60",
                   "--warm-up", "0.1"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True,
                              preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)) as running:
            time.sleep(1.2)
            running.send_signal(signal.SIGINT)
            result = json.loads(running.communicate(timeout=20)[0])  # of p2p-1 alone
        self.assertEqual(running.returncode, 130)
        self.check_intact(result)
        self.assertAlmostEqual(result["sent_per_s"], 500, delta=40)

    def test_connections(self):
        result, = self.run_perf("connect-10", "-d", "0.5", "--warm-up", "0.1")
        self.assertGreater(result["delivered_per_s"], 10)
        self.assertGreater(result["p50_us"], 0)
        with Broker() as fresh:
            done = perf(fresh, "idle-500", "-d", "0.2", "--broker-pid", str(fresh.process.pid))
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertTrue(200 < json.loads(done.stdout)["bytes_per_connection"] < 100000, done.stdout)

    def test_idle_connections_come_at_their_rate(self):
        result, = self.run_perf("idle-100", "-r", "100", "-d", "0.1")
        self.assertAlmostEqual(result["sent_per_s"], 100, delta=8)
        self.assertLess(result["p50_us"], 500000)

    def test_ports_in_turn(self):
        with Broker("listener {second} 127.0.0.1\n") as both:
            done = perf(both, "p2p-3", "-p", f"{both.port},{both.second}", "-r", "100", "-d", "0.3", "--warm-up", "0.1")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.check_intact(json.loads(done.stdout))
            self.assertEqual([both.connections(port) for port in (both.port, both.second)], [3, 3])

    def test_retained_storm_and_nothing_of_it_stays(self):
        for threads in "1", "2":
            result, = self.run_perf("retained-500", "-c", "4", "-t", "storm/%i", "-T", threads, "-d", "0.5", "--warm-up", "0.1")
            self.assertEqual((result["lost"], result["duplicated"]), (0, 0), result)
            self.assertEqual(result["delivered"], 500 * result["sent"])
            self.assertGreater(result["p50_us"], 0)
        kept = subprocess.run(["mosquitto_sub", "-h", "127.0.0.1", "-p", self.broker.port, "-t", "storm/#", "-W", "1"],
                              capture_output=True, text=True, check=False)
        self.assertEqual(kept.stdout, "")

    def test_stalled_subscribers_take_nothing_from_the_others(self):
        result, = self.run_perf("fanout-4", "--stalled", "2", "-r", "200", "-d", "1", "--warm-up", "0.1", "-s", "10k")
        self.check_intact(result, 4)

    def test_details_for_plots(self):
        result, = self.run_perf("p2p-2", "--details", "-r", "500", "-d", "1", "--warm-up", "0.1")
        shares, latencies = zip(*result["distribution"])
        self.assertEqual((shares[0], shares[-1]), (0, 1))
        self.assertEqual(sorted(latencies), list(latencies))
        self.assertEqual(dict(result["distribution"])[0.5], result["p50_us"])
        self.assertGreater(len(result["rates"]), 20)
        self.assertAlmostEqual(sum(rate for _, rate in result["rates"]) / len(result["rates"]), 500, delta=50)

    def test_loss_is_seen(self):
        with Broker("acl_file {directory}/acl", acl="topic write #\n") as deaf:
            done = perf(deaf, "p2p-2", "-r", "100", "-d", "0.5", "--warm-up", "0.1")
        self.assertEqual(done.returncode, 3, done.stderr)
        result = json.loads(done.stdout)
        self.assertEqual(result["delivered"], 0)
        self.assertEqual(result["lost"], result["sent"])

    def test_what_cannot_run_says_why(self):
        for arguments, status, text in ((["-p", "1"], 1, "Connection refused"), (["nonsense"], 2, "no scenario"),
                                        (["-s", "1"], 2, "payload"), (["-V", "6"], 2, "no MQTT version"),
                                        (["p2p-0"], 2, "not a number from 1"), (["-t", "a/#"], 2, "without + and #"),
                                        (["-t", "x" * 1001], 2, "up to 1000 bytes"),
                                        (["-i", "x" * 101], 2, "up to 100 bytes"),
                                        (["-P", "secret"], 2, "--password needs --user"),
                                        (["--keep-alive", "65536"], 2, "from 0 to 65535"),
                                        (["--mtu", "66036"], 2, "from 576 to 9600"),
                                        (["-r", "5", "-I", "5"], 2, "one of them"),
                                        (["--p99-below", "9", "-r", "5"], 2, "searches the rate"),
                                        (["connect", "-r", "5"], 2, "has no rate"),
                                        (["idle", "-I", "5"], 2, "no messages"), (["-d", "1e300"], 2, "seconds"),
                                        (["-c", "100m"], 1, "ulimit -n")):
            done = perf(self.broker, *arguments)
            self.assertEqual(done.returncode, status, done.stderr)
            self.assertIn(text, done.stderr)
        done = perf(self.broker, "--help")
        self.assertEqual(done.returncode, 0)
        self.assertIn("Examples", done.stdout)


class SideBySide(unittest.TestCase):
    def test_table_and_json(self):
        script = pathlib.Path(__file__).resolve().parents[2] / "perf/side-by-side"
        command = [script, "one=mosquitto", "two=mosquitto", "--perf", PERF, "--rounds", "1", "--duration", "0.3",
                   "--warm-up", "0.1", "--scenario", "p2p-2", "--scenario", "rtt"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        firsts = [line.split() for line in done.stdout.splitlines() if " one " in line]
        self.assertEqual([(line[0], line[-1]) for line in firsts], [("p2p-2", "1.00"), ("rtt", "1.00")], done.stdout)
        done = subprocess.run([*command, "--json"], capture_output=True, text=True, timeout=60, check=False)
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual([(r["scenario"], r["target"]) for r in rows],
                         [("p2p-2", "one"), ("p2p-2", "two"), ("rtt", "one"), ("rtt", "two")])
        self.assertTrue(all(r["median"] > 0 and r["lost"] == 0 for r in rows), rows)


if __name__ == "__main__":
    if MOSQUITTO is None:
        print("mosquitto is not installed")
        sys.exit(77)
    unittest.main(verbosity=2)

#!/usr/bin/python3
"""perf/bench: its scenario files, its arithmetic, its report; and, as root on a machine with room, a run of the whole.

Run by meson (test perf-harness); by hand: POLLUX_BUILD=build tests/unit/perf/test_harness.py
"""

import argparse
import importlib.machinery
import importlib.util
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import unittest
import xml.etree.ElementTree

sys.dont_write_bytecode = True
TREE = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(TREE / "perf"))

# pylint: disable=wrong-import-position
from harness import html, machine, results, scenarios, targets

LOADER = importlib.machinery.SourceFileLoader("bench", str(TREE / "perf/bench"))
bench = importlib.util.module_from_spec(importlib.util.spec_from_loader("bench", LOADER))
LOADER.exec_module(bench)


def row(scenario, target, *rounds):
    return results.summarize(scenario, target, "vhost", list(rounds), [0.5])


class Scenarios(unittest.TestCase):
    def test_every_file_can_be_read_and_says_what_it_is(self):
        for name in scenarios.names():
            scenario = scenarios.Scenario(name)
            self.assertTrue(scenario.about, name)
            self.assertIn(scenario.measure, results.COLUMNS, name)
            self.assertTrue(set(scenario.links) <= {"vhost", "af_xdp", "tap", "kernel"}, name)

    def test_the_names_that_people_know_exist(self):
        known = """echo-1 echo-1k echo-100k tcp-connect bulk p2p-50 fanin-100 fanout-100 fanout-1000 qos1-50 qos2-50 big-4k
            rtt devices-10k devices-100k idle-1m connect-rate topics-1-to-1m subscriptions-1-to-1m retained-storm
            reconnect-storm slow-subscriber shared-5 conn-tcp-10K-100 conn-tcp-1M-5K fanout-1-1K-1-1K
            fanout-5-1000-5-250K p2p-1K-1K-1K-1K p2p-50K-50K-50K-50K sharedsub-1K-5-1K-1K sharedsub-50K-500-50K-50K"""
        self.assertLessEqual(set(scenarios.DEFAULT) | set(known.split()), set(scenarios.names()))

    def test_a_sweep_is_one_scenario_for_each_point(self):
        found = scenarios.load("topics-1-to-1m")
        self.assertEqual(found[-1].name, "topics-1-to-1m@1m")
        self.assertEqual(found[-1].options, ["--topics", "1m"])

    def test_pollux_perf_knows_every_load(self):
        for name in scenarios.names():
            scenario = scenarios.Scenario(name)
            kind = scenario.load[0].partition("-")[0]
            known = {"p2p", "fanin", "fanout", "qos1", "qos2", "big", "devices", "shared", "rtt", "connect", "idle",
                     "retained"}
            self.assertIn(kind, {"echo", "connect", "bulk"} if scenario.is_echo else known, name)


class Setup(unittest.TestCase):
    def test_a_million_connections_have_ports_enough(self):
        scenario = scenarios.Scenario("idle-1m")
        self.assertGreaterEqual(len(targets.ports_of(scenario)) * targets.CONNECTIONS_OF_PORT, 1000000)
        self.assertEqual(len(targets.ports_of(scenarios.Scenario("p2p-50"))), 1)

    @unittest.skipIf(len(os.sched_getaffinity(0)) < 2, "two CPUs")
    def test_bounds_are_lifted_unless_they_are_the_matter(self):
        lifted = targets.pollux_config(scenarios.Scenario("p2p-50"), "d", "on", 24)
        kept = targets.pollux_config(scenarios.Scenario("slow-subscriber"), "d", "on", 24)
        self.assertIn("max-queued-messages", lifted)
        self.assertNotIn("max-queued", kept)

    @unittest.skipIf(len(os.sched_getaffinity(0)) < 2, "two CPUs")
    def test_settings_of_the_command_line_hold(self):
        settings = [bench.setting(text) for text in ("dataplane.idle=adaptive", "ports.mtu=9000", "mqtt.max-qos=1")]
        config = json.loads(targets.pollux_config(scenarios.Scenario("p2p-50"), "d", "on", 24, settings))
        self.assertEqual((config["dataplane"]["idle"], config["ports"][0]["mtu"], config["mqtt"]["max-qos"]),
                         ("adaptive", 9000, 1))
        with self.assertRaises(argparse.ArgumentTypeError):
            bench.setting("idle=busy")

    def test_what_fails_is_a_result(self):
        class Host:
            def reserve(self, _):
                raise machine.Trouble("no room")

        class Target:
            name = "pollux"

            def memory(self, _):
                return 1

        self.assertEqual(bench.attempt(Host(), None, Target(), 1), {"error": "no room"})
        target = Target()
        target.measure = lambda *_: (_ for _ in ()).throw(OSError("gone"))
        host = Host()
        host.reserve = lambda _: None
        self.assertEqual(bench.attempt(host, None, target, 1), {"error": "gone"})


class Arithmetic(unittest.TestCase):
    def test_medians_spread_and_sums(self):
        one = row(scenarios.Scenario("p2p-50"), "pollux", {"delivered_per_s": 90, "lost": 1},
                  {"delivered_per_s": 110, "lost": 2}, {"delivered_per_s": 100, "lost": 0})
        self.assertEqual((one["value"], one["lost"], one["rounds"]), (100, 3, 3))
        self.assertAlmostEqual(one["spread"], 0.2)

    def test_a_failed_round_is_told_and_not_counted(self):
        one = row(scenarios.Scenario("p2p-50"), "pollux", {"delivered_per_s": 90}, {"error": "no room"})
        self.assertEqual((one["value"], one["rounds"], one["errors"]), (90, 1, ["no room"]))

    def test_more_of_a_rate_and_less_of_a_latency_is_better(self):
        for name, key, mine, theirs, ratio in (("p2p-50", "delivered_per_s", 300, 100, 3), ("rtt", "p50_us", 10, 50, 5)):
            scenario = scenarios.Scenario(name)
            rows = [row(scenario, "pollux", {key: mine}), row(scenario, "mosquitto", {key: theirs})]
            results.set_ratios(rows, scenario)
            self.assertEqual([one["ratio"] for one in rows], [ratio, 1])

    def test_json_has_the_keys_that_were_promised(self):
        one = row(scenarios.Scenario("p2p-50"), "pollux", {"delivered_per_s": 90, "lost": 1, "p50_us": 2})
        self.assertEqual(list(json.loads(results.line_of_json(one, False))),
                         ["scenario", "target", "delivered_per_s", "lost", "p50_us", "p99_us", "p999_us", "broker_cpu",
                          "bytes_per_connection", "ratio"])
        one = row(scenarios.Scenario("bulk"), "pollux", {"bytes_per_s": 90, "failed": 0})
        self.assertEqual(list(json.loads(results.line_of_json(one, True))), ["scenario", "bytes_per_s"])

    def test_plots_show_the_round_at_the_median(self):
        rounds = [{"delivered_per_s": n, "rates": [[1, n]]} for n in (90, 110, 100)]
        self.assertEqual(row(scenarios.Scenario("p2p-50"), "pollux", *rounds)["details"]["rates"], [[1, 100]])

    def test_share_of_the_goal(self):
        self.assertAlmostEqual(results.reaches_goal(row(scenarios.Scenario("p2p-50"), "pollux", {"delivered_per_s": 5e6})), 0.5)
        self.assertAlmostEqual(results.reaches_goal(row(scenarios.Scenario("rtt"), "pollux", {"p50_us": 4})), 2)
        self.assertIsNone(results.reaches_goal(row(scenarios.Scenario("rtt"), "mosquitto", {"p50_us": 4})))


class Report(unittest.TestCase):
    def test_is_one_file_that_needs_no_other(self):
        scenario = scenarios.Scenario("p2p-50")
        measured = {"delivered_per_s": 3e6, "p50_us": 1.0, "p99_us": 5.0, "p999_us": 9.0,
                    "distribution": [[0, 0.5], [0.5, 1.0], [0.99, 5.0], [1, 2000]], "rates": [[0.5, 2.9e6], [1, 3.1e6]]}
        slower = {**measured, "delivered_per_s": 1e5, "rates": [[0.5, 0], [1, 1e5]]}
        rows = [row(scenario, "pollux", measured), row(scenario, "other", slower),
                row(scenario, "<b>", {"error": "<i>nothing came"})]
        with tempfile.TemporaryDirectory() as directory:
            path = pathlib.Path(directory, "report.html")
            html.write(path, [(scenario, rows)], "title", "machine")
            text = path.read_text(encoding="utf-8")
        drawings = re.findall(r"<svg.*?</svg>", text, re.S)
        self.assertEqual(len(drawings), 3)
        for drawing in drawings:
            for element in xml.etree.ElementTree.fromstring(drawing).iter():
                for point in element.get("points", "").split():
                    x, y = map(float, point.split(","))
                    self.assertTrue(0 <= x <= 840 and 0 <= y <= 200, point)
        self.assertIn("nothing came", text)
        self.assertNotIn("<i>", text)
        self.assertIn("3 M/s", text)
        self.assertNotIn("<b>", text)
        for outside in ("http:", "https:", "src=", "href="):
            self.assertNotIn(outside, text)


@unittest.skipUnless(os.environ.get("POLLUX_TEST_BENCH"), "POLLUX_TEST_BENCH=1 as root runs it: both CPUs, for a minute")
class WholeRun(unittest.TestCase):
    def bench(self, *arguments):
        return subprocess.run([TREE / "perf/bench", "--rounds", "1", "--seconds", "0.5", "--json", *arguments],
                              capture_output=True, text=True, timeout=200, check=False)

    def test_figures_come_and_nothing_is_left(self):
        pages = pathlib.Path("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages")
        before = pages.read_text()
        done = self.bench("rtt", "echo-1")
        self.assertEqual(done.returncode, 0, done.stderr + done.stdout)
        pollux, mosquitto, echo = [json.loads(line) for line in done.stdout.splitlines()]
        for one in pollux, mosquitto:
            self.assertEqual(one["lost"], 0)
            self.assertEqual(set(results.JSON_MQTT), set(one))
        self.assertGreater(pollux["ratio"], 1)
        self.assertGreater(echo["requests_per_s"], 0)
        self.assertEqual(pages.read_text(), before)
        self.assertFalse(pathlib.Path("/run/pollux-bench").exists())

    def test_what_was_measured_before_an_interruption_is_reported(self):
        with tempfile.TemporaryDirectory() as directory:
            raw = pathlib.Path(directory, "raw")
            command = [TREE / "perf/bench", "rtt", "--rounds", "9", "--seconds", "0.5", "--json", "--raw", raw]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
                while not raw.exists() or not raw.read_text():
                    time.sleep(0.1)
                running.terminate()
                lines = running.communicate(timeout=60)[0].splitlines()
        self.assertEqual(running.returncode, 130)
        self.assertGreater(json.loads(lines[0])["delivered_per_s"], 0)
        self.assertFalse(pathlib.Path("/run/pollux-bench").exists())

    def test_a_router_that_does_not_start_is_told(self):
        done = self.bench("rtt", "--against", "none", "--set", "mqtt.max-qos=7")
        self.assertEqual(done.returncode, 1)
        self.assertIsNone(json.loads(done.stdout)["delivered_per_s"])
        self.assertIn("max-qos", done.stderr)


if __name__ == "__main__":
    unittest.main()

#!/usr/bin/python3
"""perf/bench: its scenario files, its arithmetic, its report; and, as root on a machine with room, a run of the whole.

Run by meson (test perf-harness); by hand: POLLUX_BUILD=build tests/unit/perf/test_harness.py
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
TREE = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(TREE / "perf"))

# pylint: disable=wrong-import-position
from harness import html, results, scenarios


def row(scenario, target, *rounds):
    return results.summarize(scenario, target, "vhost", list(rounds), [0.5])


class Scenarios(unittest.TestCase):
    def test_every_file_can_be_read_and_says_what_it_is(self):
        for name in scenarios.names():
            scenario = scenarios.Scenario(name)
            self.assertTrue(scenario.about, name)
            self.assertIn(scenario.measure, results.COLUMNS, name)
            self.assertTrue(set(scenario.links) <= {"vhost", "af_xdp", "tap", "kernel"}, name)

    def test_the_default_ones_exist(self):
        for name in scenarios.DEFAULT:
            scenarios.Scenario(name)

    def test_a_sweep_is_one_scenario_for_each_point(self):
        found = scenarios.load("topics-1-to-1m")
        self.assertEqual(found[-1].name, "topics-1-to-1m@1m")
        self.assertEqual(found[-1].options, ["--topics", "1m"])

    def test_pollux_perf_knows_every_load(self):
        for name in scenarios.names():
            scenario = scenarios.Scenario(name)
            kind = scenario.load[0].partition("-")[0]
            known = {"p2p", "fanin", "fanout", "qos1", "qos2", "big", "devices", "shared", "rtt", "connect", "idle"}
            self.assertIn(kind, {"echo", "connect", "bulk"} if scenario.is_echo else known, name)


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

    def test_share_of_the_goal(self):
        self.assertAlmostEqual(results.reaches_goal(row(scenarios.Scenario("p2p-50"), "pollux", {"delivered_per_s": 5e6})), 0.5)
        self.assertAlmostEqual(results.reaches_goal(row(scenarios.Scenario("rtt"), "pollux", {"p50_us": 4})), 2)
        self.assertIsNone(results.reaches_goal(row(scenarios.Scenario("rtt"), "mosquitto", {"p50_us": 4})))


class Report(unittest.TestCase):
    def test_is_one_file_that_needs_no_other(self):
        scenario = scenarios.Scenario("p2p-50")
        rows = [row(scenario, "pollux", {"delivered_per_s": 3e6, "p50_us": 1.0, "p99_us": 5.0, "p999_us": 9.0}),
                row(scenario, "<b>", {"error": "nothing came"})]
        with tempfile.TemporaryDirectory() as directory:
            path = pathlib.Path(directory, "report.html")
            html.write(path, [(scenario, rows)], "title", "machine")
            text = path.read_text(encoding="utf-8")
        self.assertIn("<svg", text)
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
            self.assertTrue(set(results.JSON_ALWAYS) <= set(one))
        self.assertGreater(pollux["ratio"], 1)
        self.assertGreater(echo["requests_per_s"], 0)
        self.assertEqual(pages.read_text(), before)
        self.assertFalse(pathlib.Path("/run/pollux-bench").exists())


if __name__ == "__main__":
    unittest.main()

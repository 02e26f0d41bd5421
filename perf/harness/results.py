"""Medians, spread and ratios of the rounds; the table for people and the lines of JSON for programs."""

import json
import statistics

COLUMNS = ("delivered_per_s", "requests_per_s", "connections_per_s", "bytes_per_s", "p50_us", "p99_us", "p999_us",
           "broker_cpu", "generator_busy", "generator_cpu", "bytes_per_connection", "broker_memory", "share_of_memcpy",
           "line_ns")
DETAILS = ("distribution", "rates")  # of one round: latency by percentile, deliveries by time
COUNTS = ("lost", "duplicated", "reordered", "failed")
UNITS = {"delivered_per_s": "/s", "requests_per_s": "/s", "connections_per_s": "/s", "bytes_per_s": "B/s",
         "p50_us": "us", "bytes_per_connection": "B"}


def values(rounds, key):
    return [one[key] for one in rounds if one.get(key) is not None]


def median(rounds, key):
    found = values(rounds, key)
    return statistics.median(found) if found else None


def summarize(scenario, target, link, rounds, loads):
    """One row: a target's medians in a scenario."""
    measure = scenario.measure
    found, middle = values(rounds, measure), median(rounds, measure)
    row = {"scenario": scenario.name, "target": target, "link": link, "measure": measure, "value": middle}
    row.update({key: median(rounds, key) for key in COLUMNS if values(rounds, key)})
    row.update({key: sum(values(rounds, key)) for key in COUNTS if values(rounds, key)})
    row["rounds"] = len(found)
    row["details"] = {key: typical(rounds, measure, middle).get(key) for key in DETAILS}
    row["spread"] = (max(found) - min(found)) / middle if found and middle else None
    row["goal"] = scenario.goal if link == "vhost" else None  # where goals were set
    row["load_average"] = max(loads)
    row["lines_ns"] = values(rounds, "line_ns")
    row["errors"] = [one["error"] for one in rounds if "error" in one]
    row["ratio"] = None
    return row


def typical(rounds, measure, middle):
    """The round whose figure is nearest to the median."""
    able = [one for one in rounds if one.get(measure) is not None]
    return min(able, key=lambda one: abs(one[measure] - middle), default={})


def set_ratios(rows, scenario):
    """How many times better than the last target, the reference."""
    reference = rows[-1]["value"] if len(rows) > 1 else None
    for row in rows:
        if row["value"] and reference:
            row["ratio"] = reference / row["value"] if scenario.less_is_better else row["value"] / reference


def reaches_goal(row):
    """Whether the goal is reached, as the share of it: 1 and more is reached."""
    if not row["goal"] or not row["value"] or row["target"] != "pollux":
        return None
    return row["goal"] / row["value"] if row["measure"] in ("p50_us", "bytes_per_connection") else row["value"] / row["goal"]


def set_limit(row, limits, payload):
    """The share of what the bare link carries: round trips of small frames, or bytes in full ones."""
    small, full = limits
    row["limit_small_frames_per_s"], row["limit_full_frames_per_s"] = small, full
    if row.get("requests_per_s"):
        row["share_of_limit"] = row["requests_per_s"] / small
    elif row.get("bytes_per_s"):
        row["share_of_limit"] = row["bytes_per_s"] / (full * 1448)
    elif row["measure"] == "delivered_per_s" and row["value"]:
        row["share_of_limit"] = row["value"] * payload / (full * 1448)


JSON_MQTT = ("scenario", "target", "delivered_per_s", "lost", "p50_us", "p99_us", "p999_us", "broker_cpu",
             "bytes_per_connection", "ratio")
JSON_ECHO = ("scenario", "requests_per_s", "connections_per_s", "bytes_per_s", "p50_us", "p99_us")


def line_of_json(row, is_echo):
    """These keys and no others; of an echo scenario those that apply. With --limit the share of it as well."""
    if is_echo:
        found = {key: row[key] for key in JSON_ECHO if key in row}
    else:
        found = {key: row.get(key) for key in JSON_MQTT}
    if "share_of_limit" in row:
        found["share_of_limit"] = row["share_of_limit"]
    return json.dumps(found)


def show(value, form):
    return "-" if value is None else format(value, form)


def print_table(rows):
    print(f"{'scenario':17} {'target':10} {'figure':>22} {'p50 us':>9} {'p99 us':>9} {'p99.9':>9} {'lost':>6} "
          f"{'broker':>7} {'generator':>9} {'spread':>6} {'ratio':>7} {'goal':>6} {'limit':>6}")
    last = None
    for row in rows:
        name, last = (row["scenario"] if row["scenario"] != last else ""), row["scenario"]
        form = ",.1f" if row["measure"] == "p50_us" else ",.0f"
        figure = f"{show(row['value'], form)} {UNITS.get(row['measure'], '')}"
        print(f"{name:17} {row['target']:10} {figure:>22} {show(row.get('p50_us'), ',.1f'):>9} "
              f"{show(row.get('p99_us'), ',.1f'):>9} {show(row.get('p999_us'), ',.1f'):>9} "
              f"{show(row.get('lost', row.get('failed')), 'd'):>6} {show(row.get('broker_cpu'), '.0%'):>7} "
              f"{show(row.get('generator_busy'), '.0%'):>9} {show(row['spread'], '.0%'):>6} "
              f"{show(row['ratio'], ',.1f'):>7} {show(reaches_goal(row), '.0%'):>6} "
              f"{show(row.get('share_of_limit'), '.0%'):>6}")
        for error in sorted(set(row["errors"])):
            times = row["errors"].count(error)
            print(f"{'':17} {row['target']:10} failed{f' {times} times' if times > 1 else ''}: {error}")
    loads = [row["load_average"] for row in rows]
    print("\nMedians over the rounds. spread: (largest - smallest) / median. ratio: times as good as the last target. "
          "goal: share of it reached.\nbroker: CPU time, a polling router has 100 % unless something else ran; "
          "generator: share of its CPU with work, near 100 % it is the limit. "
          f"Load average before the runs: {min(loads):.1f} to {max(loads):.1f}.")
    lines = [line for row in rows for line in row["lines_ns"]]
    if lines:
        print(f"A cache line took {min(lines):.0f} to {max(lines):.0f} ns from one CPU to the other: shared memory as a link "
              "is as fast as that.")

"""The results as one HTML file that needs nothing else: bars of the figures, latency percentiles, the table."""

import html
import math

from . import results

COLOURS = ["#0b6e99", "#b0b7bd"]
STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem;color:#1c2429}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin:2rem 0 0}p{margin:.2rem 0}table{border-collapse:collapse;margin-top:2rem}
td,th{padding:.2rem .7rem;text-align:right;border-bottom:1px solid #dde2e6}td:first-child,th:first-child,
td:nth-child(2),th:nth-child(2){text-align:left}svg text{font:13px system-ui,sans-serif;fill:#1c2429}.note{color:#5a666e}
@media(prefers-color-scheme:dark){body{background:#14191c;color:#dde4e8}svg text{fill:#dde4e8}td,th{border-color:#333d43}}"""


def number(value, measure):
    if value is None:
        return "-"
    unit = results.UNITS.get(measure, "")
    for scale, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= scale and unit != "us":
            return f"{value / scale:.3g} {letter}{unit}".replace("//s", "/s")
    return f"{value:.3g} {unit}"


def bar_chart(rows):
    """The scenario's figure of each target, and its goal as a line."""
    top = max([row["value"] or 0 for row in rows] + [rows[0]["goal"] or 0]) or 1
    parts, width = [], 620
    for index, row in enumerate(rows):
        y, length = 6 + index * 28, width * (row["value"] or 0) / top
        parts.append(f'<text x="0" y="{y + 15}">{html.escape(row["target"])}</text>'
                     f'<rect x="100" y="{y}" width="{max(length, 1):.1f}" height="20" rx="2" fill="{COLOURS[index % 2]}"/>'
                     f'<text x="{106 + length:.1f}" y="{y + 15}">{number(row["value"], row["measure"])}</text>')
    height = 10 + 28 * len(rows)
    if rows[0]["goal"]:
        x = 100 + width * rows[0]["goal"] / top
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{height - 4}" stroke="#c4572b" stroke-dasharray="4 3"/>')
    return f'<svg viewBox="0 0 840 {height}" role="img" width="100%">{"".join(parts)}</svg>'


def latency_chart(rows):
    """p50, p99 and p99.9 of each target on a logarithmic scale."""
    points = [(row, [row.get(key) for key in ("p50_us", "p99_us", "p999_us")]) for row in rows]
    known = [value for _, found in points for value in found if value]
    if not known:
        return ""
    low, high = math.floor(math.log10(min(known))), math.ceil(math.log10(max(known)))
    high = max(high, low + 1)

    def x(value):
        return 100 + 620 * (math.log10(value) - low) / (high - low)

    height = 30 + 26 * len(rows)
    parts = [f'<line x1="{x(10**p):.1f}" x2="{x(10**p):.1f}" y1="0" y2="{height - 20}" stroke="#8884"/>'
             f'<text x="{x(10**p):.1f}" y="{height - 4}" text-anchor="middle">{10**p:,g} us</text>'
             for p in range(low, high + 1)]
    for index, (row, found) in enumerate(points):
        y, colour = 14 + index * 26, COLOURS[index % 2]
        present = [value for value in found if value]
        if not present:
            continue
        parts.append(f'<text x="0" y="{y + 5}">{html.escape(row["target"])}</text><line x1="{x(present[0]):.1f}" '
                     f'x2="{x(present[-1]):.1f}" y1="{y}" y2="{y}" stroke="{colour}" stroke-width="3"/>')
        for name, value in zip(("p50", "p99", "p99.9"), found):
            if value:
                parts.append(f'<circle cx="{x(value):.1f}" cy="{y}" r="5" fill="{colour}"><title>{name} {value:,.1f} us'
                             f'</title></circle>')
    return f'<svg viewBox="0 0 840 {height}" role="img" width="100%">{"".join(parts)}</svg>'


def table(rows):
    head = ("scenario", "target", "figure", "p50 us", "p99 us", "p99.9 us", "lost", "broker", "generator", "spread",
            "ratio", "goal")
    lines = ["<tr>" + "".join(f"<th>{name}</th>" for name in head) + "</tr>"]
    for row in rows:
        cells = [row["scenario"], row["target"], number(row["value"], row["measure"])]
        cells += [results.show(row.get(key), ",.1f") for key in ("p50_us", "p99_us", "p999_us")]
        cells += [results.show(row.get("lost", row.get("failed")), "d"), results.show(row.get("broker_cpu"), ".0%"),
                  results.show(row.get("generator_busy"), ".0%"), results.show(row["spread"], ".0%"),
                  results.show(row["ratio"], ",.1f"), results.show(results.reaches_goal(row), ".0%")]
        lines.append("<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in cells) + "</tr>")
    return "<table>" + "".join(lines) + "</table>"


def write(path, groups, heading, machine):
    """`groups`: (scenario, its rows)."""
    body = [f"<h1>{html.escape(heading)}</h1><p class=note>{html.escape(machine)}</p>",
            "<p class=note>Bars: medians; dashed: the goal. Dots: p50, p99 and p99.9 of the latency, under full load "
            "where the scenario says no rate.</p>"]
    for scenario, rows in groups:
        body.append(f"<h2>{html.escape(scenario.name)}</h2><p>{html.escape(scenario.about)}</p>")
        body.append(bar_chart(rows) + latency_chart(rows))
    body.append(table([row for _, rows in groups for row in rows]))
    page = (f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
            f"<title>{html.escape(heading)}</title><style>{STYLE}</style><body>{''.join(body)}</body></html>\n")
    with open(path, "w", encoding="utf-8") as file:
        file.write(page)

"""The results as one HTML file that needs nothing else: bars, latency by percentile, rates over time, the table."""

import html
import math

from . import results

COLOURS = ["#0b6e99", "#b0b7bd"]
STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem;color:#1c2429}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin:2rem 0 0}p{margin:.2rem 0}table{border-collapse:collapse;margin-top:2rem}
td,th{padding:.2rem .7rem;text-align:right;white-space:nowrap;border-bottom:1px solid #dde2e6}td:first-child,th:first-child,
td:nth-child(2),th:nth-child(2){text-align:left}svg text{font:13px system-ui,sans-serif;fill:#1c2429}.note{color:#5a666e}.error{color:#b3261e}
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
                     f'<rect x="100" y="{y}" width="{max(length, 1):.1f}" height="20" rx="2" fill="{COLOURS[index % len(COLOURS)]}"/>'
                     f'<text x="{106 + length:.1f}" y="{y + 15}">{number(row["value"], row["measure"])}</text>')
    height = 10 + 28 * len(rows)
    if rows[0]["goal"]:
        x = 100 + width * rows[0]["goal"] / top
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{height - 4}" stroke="#c4572b" stroke-dasharray="4 3"/>')
    return f'<svg viewBox="0 0 840 {height}" role="img" width="100%">{"".join(parts)}</svg>'


class Plot:
    """Lines over two axes: x and y map a value to a place between 0 and 1, ticks are (place, text)."""

    WIDTH, HEIGHT, LEFT, TOP = 640, 150, 90, 30

    def __init__(self, x_ticks, y_ticks):
        self.parts = []
        for place, text in y_ticks:
            y = self.TOP + self.HEIGHT * (1 - place)
            self.parts.append(f'<line x1="{self.LEFT}" x2="{self.LEFT + self.WIDTH}" y1="{y:.1f}" y2="{y:.1f}" '
                              f'stroke="#8884"/><text x="{self.LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
        for place, text in x_ticks:
            x = self.LEFT + self.WIDTH * place
            self.parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{self.TOP}" y2="{self.TOP + self.HEIGHT}" '
                              f'stroke="#8882"/><text x="{x:.1f}" y="{self.TOP + self.HEIGHT + 18}" '
                              f'text-anchor="middle">{text}</text>')

    def line(self, places, name, colour):
        points = " ".join(f"{self.LEFT + self.WIDTH * x:.1f},{self.TOP + self.HEIGHT * (1 - y):.1f}" for x, y in places)
        self.parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2">'
                          f'<title>{html.escape(name)}</title></polyline>')

    def svg(self, names):
        for index, (name, colour) in enumerate(names):  # above the lines, which go anywhere below
            x = self.LEFT + 220 * index
            self.parts.append(f'<rect x="{x}" y="6" width="12" height="12" fill="{colour}"/>'
                              f'<text x="{x + 18}" y="16">{html.escape(name)}</text>')
        return (f'<svg viewBox="0 0 840 {self.TOP + self.HEIGHT + 26}" role="img" width="100%">{"".join(self.parts)}'
                f"</svg>")


def with_details(rows, key):
    """(target, colour, points) of the rows that have such points."""
    return [(row["target"], COLOURS[index % len(COLOURS)], row["details"][key]) for index, row in enumerate(rows)
            if row["details"].get(key)]


def latency_plot(rows):
    """Latency by percentile: the percentiles by their nines, the latency logarithmic."""
    found = with_details(rows, "distribution")
    values = [us for _, _, points in found for _, us in points if us > 0]
    if not values:
        return ""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    high = max(high, low + 1)
    nines = 5

    def x(share):
        return min(-math.log10(max(1 - share, 10**-nines)) / nines, 1)

    plot = Plot([(x(share), text) for share, text in ((0, "0 %"), (0.5, "50"), (0.9, "90"), (0.99, "99"), (0.999, "99.9"),
                                                      (0.9999, "99.99"), (1, "100"))],
                [((power - low) / (high - low), f"{10.0**power:,.{max(-power, 0)}f} us") for power in range(low, high + 1)])
    for name, colour, points in found:
        plot.line([(x(share), (math.log10(us) - low) / (high - low)) for share, us in points if us > 0], name, colour)
    return "<p class=note>Latency by percentile</p>" + plot.svg([(name, colour) for name, colour, _ in found])


def rate_plot(rows):
    """Deliveries a second over the measurement; logarithmic where the targets are far apart."""
    found = with_details(rows, "rates")
    tops = [max(rate for _, rate in points) for _, _, points in found]
    if not tops or max(tops) == 0:
        return ""
    far_apart = min(tops) > 0 and max(tops) > 8 * min(tops)
    high = math.log10(max(tops)) + 0.1 if far_apart else max(tops) * 1.1
    low = math.log10(min(tops)) - 1 if far_apart else 0
    end = max(points[-1][0] for _, _, points in found)

    def y(rate):
        place = ((math.log10(max(rate, 1)) if far_apart else rate) - low) / (high - low)
        return min(max(place, 0), 1)

    values = ([10**power for power in range(math.ceil(low), math.floor(high) + 1)] if far_apart
              else [max(tops) * part / 2 for part in range(3)])
    plot = Plot([(part / 4, f"{end * part / 4:.3g} s") for part in range(5)],
                [(y(value), number(value, "delivered_per_s") if value else "0") for value in values])
    for name, colour, points in found:
        plot.line([(seconds / end, y(rate)) for seconds, rate in points], name, colour)
    return "<p class=note>Delivered per second over time</p>" + plot.svg([(name, colour) for name, colour, _ in found])


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
            "<p class=note>Bars: medians of the rounds; dashed: the goal. The lines are of the round at the median; latency is "
            "under full load where the scenario says no rate.</p>"]
    for scenario, rows in groups:
        body.append(f"<h2>{html.escape(scenario.name)}</h2><p>{html.escape(scenario.about)}</p>")
        body.append(bar_chart(rows) + latency_plot(rows) + rate_plot(rows))
        body += [f"<p class=error>{html.escape(row['target'])} failed: {html.escape(error)}</p>"
                 for row in rows for error in sorted(set(row["errors"]))]
    body.append(table([row for _, rows in groups for row in rows]))
    page = (f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
            f"<title>{html.escape(heading)}</title><style>{STYLE}</style><body>{''.join(body)}</body></html>\n")
    with open(path, "w", encoding="utf-8") as file:
        file.write(page)

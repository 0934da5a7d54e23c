#!/usr/bin/env python3
"""Draws docs/concepts.svg: how events and destinations go through Posthorn. With --check it only compares."""
import pathlib
import sys

FILE = pathlib.Path(__file__).parent.parent / "docs" / "concepts.svg"
WIDTH, HEIGHT = 1080, 640

# Light, then dark. Every pair of text and ground has a contrast of 4.5 at least.
COLOURS = {
    "ground": ("#ffffff", "#0f1720"),
    "text": ("#1b2733", "#e8eef4"),
    "quiet": ("#566472", "#a3b1bf"),
    "box": ("#f3f6f9", "#1c2733"),
    "edge": ("#9aa8b6", "#5a6b7c"),
    "store": ("#fdf6ea", "#262015"),
    "store-edge": ("#c9a86a", "#8d7440"),
    "data": ("#0a5fb4", "#63b3ff"),
    "control": ("#a24a00", "#ffa552"),
    "status": ("#1b7a3d", "#5fd08a"),
    "failure": ("#b3261e", "#ff8a80"),
}


# What each class is painted with. Written out, for not every program that shows a picture knows variables of CSS.
PAINT = {
    "text": {"fill": "text"},
    ".ground": {"fill": "ground"},
    ".box": {"fill": "box", "stroke": "edge"},
    ".store": {"fill": "store", "stroke": "store-edge"},
    ".cell": {"fill": "ground", "stroke": "store-edge"},
    ".event": {"fill": "data", "stroke": "store-edge"},
    ".dead": {"fill": "failure", "stroke": "store-edge"},
    ".quiet": {"fill": "quiet"},
    ".number, .letter": {"fill": "ground"},
} | {
    selector: paint
    for flow in ("data", "control", "status", "failure")
    for selector, paint in ((f".{flow}", {"stroke": flow}), (f".{flow}-text, .{flow}-head", {"fill": flow}))
}


def style():
    def painted(theme):
        rules = ((selector, " ".join(f"{what}: {COLOURS[name][theme]};" for what, name in paint.items())) for selector, paint in PAINT.items())
        return "\n".join(f"  {selector} {{ {paint} }}" for selector, paint in rules)

    return f"""<style>
  text {{ font: 14px system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif; }}
  .box, .store {{ stroke-width: 1.5; }}
  .cell, .event, .dead {{ stroke-width: 1.2; }}
  .name {{ font-weight: 600; font-size: 16px; }}
  .small, .quiet {{ font-size: 12.5px; }}
  .number, .letter {{ font-size: 12px; font-weight: 700; }}
  .data, .control, .status, .failure {{ fill: none; stroke-width: 2; }}
  .control {{ stroke-dasharray: 7 4; }}
  .status {{ stroke-dasharray: 2 4; stroke-linecap: round; }}
{painted(0)}
  @media (prefers-color-scheme: dark) {{
{painted(1)}
  }}
</style>"""


def text(x, y, words, kind="small", anchor="middle"):
    return f'<text x="{x}" y="{y}" class="{kind}" text-anchor="{anchor}">{words}</text>'


def rect(x, y, width, height, kind, round=8):
    return f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="{round}" class="{kind}"/>'


def box(x, y, width, height, name, *lines):
    middle = x + width / 2
    first = y + height / 2 + 5 - 9 * len(lines)
    return [
        rect(x, y, width, height, "box"),
        text(middle, first, name, "name"),
        *(text(middle, first + 19 + 17 * number, line, "quiet") for number, line in enumerate(lines)),
    ]


def chip(x, y, width, name):
    return [rect(x, y, width, 28, "cell", 14), text(x + width / 2, y + 19, name, "small")]


def strip(x, y, events, kind="event", width=24):
    """Stored events, the oldest one on the right; a blank is a place for one."""
    parts = []
    for number, event in enumerate(events):
        left = x + width * number
        parts.append(rect(left, y, width, width, "cell" if event == " " else kind, 3))
        if event != " ":
            parts.append(text(left + width / 2, y + 17, event, "letter"))
    return parts


def arrow(flow, *points, number=None, at=None):
    """A line with a head at its end, and a number on it."""
    path = " ".join(f"{'ML'[min(index, 1)]}{x} {y}" for index, (x, y) in enumerate(points))
    (x1, y1), (x2, y2) = points[-2:]
    dx, dy = (x2 > x1) - (x2 < x1), (y2 > y1) - (y2 < y1)
    left, right = (x2 - 10 * dx + 5 * dy, y2 - 10 * dy + 5 * dx), (x2 - 10 * dx - 5 * dy, y2 - 10 * dy - 5 * dx)
    head = f'<path d="M{x2} {y2} L{left[0]} {left[1]} L{right[0]} {right[1]} Z" class="{flow}-head"/>'
    parts = [f'<path d="{path}" class="{flow}"/>', head]
    if number:
        parts += [f'<circle cx="{at[0]}" cy="{at[1]}" r="10" class="{flow}-head"/>', text(at[0], at[1] + 4.5, number, "number")]
    return parts


def legend():
    y = HEIGHT - 26
    parts = []
    for x, flow, words in (
        (30, "data", "events"),
        (160, "failure", "events that are given up"),
        (395, "control", "what is wanted: routes and plans"),
        (690, "status", "how it goes: state and status"),
    ):
        parts += [f'<path d="M{x} {y} L{x + 34} {y}" class="{flow}"/>', text(x + 44, y + 4.5, words, "small", "start")]
    return parts


def picture():
    parts = [
        rect(0, 0, WIDTH, HEIGHT, "ground", 12),
        # control: top row
        *box(20, 40, 120, 84, "You", "kubectl apply", "kubectl get"),
        *box(226, 40, 170, 84, "EventDestination", "in the API server:", "spec and status"),
        *box(561, 40, 170, 84, "operator", "two, one leads"),
        *arrow("control", (140, 66), (226, 66)),
        *arrow("control", (396, 66), (561, 66)),
        text(478, 58, "watches", "control-text small"),
        *arrow("status", (561, 102), (396, 102)),
        text(478, 120, "writes", "status-text small"),
        *arrow("status", (226, 102), (140, 102)),
        # data: middle row
        *box(20, 222, 120, 84, "producers", "send CloudEvents"),
        *box(226, 222, 130, 84, "ingest", "any number"),
        *box(486, 222, 130, 84, "router", "one routes a bus"),
        *box(746, 222, 130, 84, "worker", "pools, or one", "for a destination"),
        *box(950, 196, 110, 38, "receiver"),
        *box(950, 245, 110, 38, "receiver"),
        *box(950, 294, 110, 38, "receiver"),
        # Redis
        rect(206, 380, 690, 196, "store", 12),
        text(222, 563, "Redis", "name", "start"),
        text(276, 563, "one or several; a bus is on one of them", "quiet", "start"),
        *chip(373, 396, 96, "routes"),
        *chip(640, 396, 84, "states"),
        *strip(246, 462, "cbacabbacaab"),
        text(390, 508, "log of the bus: every event, in order", "small"),
        *strip(575, 446, "     aaa"),
        *strip(575, 476, "       b"),
        *strip(575, 506, "  cbcbbc"),
        text(671, 550, "a queue for each destination", "small"),
        *strip(803, 462, " ba", "dead"),
        text(839, 508, "dead letters", "small"),
        # what is wanted
        *arrow("control", (590, 124), (590, 166), (421, 166), (421, 396)),
        text(506, 158, "route: filters", "control-text small"),
        *arrow("control", (469, 410), (500, 410), (500, 306)),
        *arrow("control", (731, 82), (811, 82), (811, 222)),
        *chip(753, 138, 116, "plan, a Secret"),
        text(880, 158, "sink, keys, retries", "control-text small", "start"),
        # how it goes
        *arrow("status", (746, 284), (704, 284), (704, 396)),
        *arrow("status", (660, 396), (660, 124)),
        # events
        *arrow("data", (140, 254), (226, 254), number="1", at=(176, 254)),
        *arrow("data", (226, 284), (140, 284)),
        text(183, 302, "202", "data-text small"),
        text(183, 236, "POST", "data-text small"),
        *arrow("data", (258, 306), (258, 462), number="2", at=(258, 346)),
        text(274, 351, "and synced", "data-text small", "start"),
        *arrow("data", (522, 462), (522, 306), number="3", at=(522, 346)),
        *arrow("data", (592, 306), (592, 446), number="4", at=(592, 346)),
        *arrow("data", (767, 488), (778, 488), (778, 306), number="5", at=(778, 346)),
        *arrow("data", (876, 264), (950, 264), number="6", at=(908, 264)),
        text(917, 247, "POST", "data-text small", "end"),
        *arrow("data", (922, 264), (922, 215), (950, 215)),
        *arrow("data", (922, 264), (922, 313), (950, 313)),
        *arrow("failure", (848, 306), (848, 462), number="7", at=(848, 346)),
        *legend(),
    ]
    title = "How Posthorn works"
    description = (
        "Events go from producers by ingest into the log of a bus in Redis, from there by the router into a queue for each destination, "
        "and by a worker to receivers; what is given up goes to the dead letters. The operator makes routes and plans of "
        "EventDestination objects, and writes their status from the states in Redis."
    )
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="title description">'
    return "\n".join([head, f'<title id="title">{title}</title>', f'<desc id="description">{description}</desc>', style(), *parts, "</svg>", ""])


if sys.argv[1:] == ["--check"]:
    if FILE.read_text() != picture():
        sys.exit("docs/concepts.svg is not what hack/concepts-svg.py draws: run it")
else:
    FILE.write_text(picture())

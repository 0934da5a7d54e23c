"""Compares what was sent with what arrived, and fails on any difference. Usage: compare.py SENT RECEIVED...

Binary to binary: the same bytes. Structured to structured: the same bytes but for `sequence`, which is spliced in. From one to the other:
the data is the same bytes.
"""

import base64
import json
import re
import sys

SEQUENCE = re.compile(rb'"sequence":"\d{16}-\d{10}"')


def lines(file):
    return [json.loads(line) | {"file": file} for line in open(file)]


def raw_data(envelope):
    """The bytes of the member `data` of a JSON event, as they stand there."""
    start = re.search(rb'"data"\s*:\s*', envelope).end()
    text = envelope[start:].decode()
    return text[: json.JSONDecoder().raw_decode(text)[1]].encode()


def without_sequence(envelope):
    """The two ways in which one member with its comma may be taken out again."""
    found = SEQUENCE.search(envelope)
    before, after = envelope[: found.start()], envelope[found.end() :]
    return [before.rstrip(b" ").removesuffix(b",") + after, before + after.lstrip(b" ").removeprefix(b",")]


def same_bytes(sent, mode_in, received, mode_out):
    if mode_in == mode_out == "binary":
        return sent == received
    if mode_in == mode_out == "structured":
        return sent in without_sequence(received)
    if mode_out == "binary":
        return raw_data(sent) == received
    return sent == raw_data(received)


def judge(sent, arrived, python):
    problems, last, seen = [], "", set()
    for got in arrived:
        if got["error"]:
            problems.append(got["error"])
            continue
        one = sent.get(got["id"])
        if one is None:
            problems.append(f"{got['id']}: never sent")
            continue
        if got["id"] in seen:
            continue  # a repeat
        seen.add(got["id"])
        body, mode_out = base64.b64decode(got["body"]), got["path"].strip("/")
        if not same_bytes(base64.b64decode(one["body"]), one["mode"], body, mode_out):
            problems.append(f"{got['id']}: other bytes, {one['mode']} to {mode_out}")
        if got["sequence"] != one["sequence"]:
            problems.append(f"{got['id']}: sequence {got['sequence']}, accepted as {one['sequence']}")
        if got["sequence"] <= last:
            problems.append(f"{got['id']}: out of order")
        # The JavaScript SDK does not decode percent-encoded headers.
        if got["subject"] != one["subject"] and (python or mode_out == "structured"):
            problems.append(f"{got['id']}: subject {got['subject']!r} instead of {one['subject']!r}")
        last = got["sequence"]
    problems += [f"{id}: missing" for id in sent.keys() - seen]
    return problems, len(seen), len(arrived) - len(seen)


sent = {line["id"]: line for line in lines(sys.argv[1])}
failed = False
print(f"{'RECEIVER':<24} {'SENT':>6} {'ARRIVED':>8} {'REPEATS':>8}  SIGNATURES, BYTES, ORDER")
for file in sys.argv[2:]:
    everything = lines(file)
    for path in ("/binary", "/structured"):
        language = file.rsplit(".", 1)[1]
        problems, arrived, repeats = judge(sent, [line for line in everything if line["path"] == path], language == "python")
        failed |= bool(problems)
        print(f"{language + path:<24} {len(sent):>6} {arrived:>8} {repeats:>8}  {f'{len(problems)} PROBLEMS' if problems else 'all good'}")
        for problem in problems[:10]:
            print(f"    {problem}")
sys.exit(1 if failed else 0)

"""Prints meson's testlog.json as the lines that tools/test counts: `ok SECONDS NAME` or `FAIL SECONDS NAME`, and for a
failure the end of what it said.

meson_results.py TESTLOG.JSON
"""

import json
import sys

names = {"OK": "ok", "EXPECTEDFAIL": "ok", "SKIP": "skip"}

with open(sys.argv[1], encoding="utf-8") as log:
    for line in log:
        test = json.loads(line)
        word = names.get(test["result"], "FAIL")
        reason = f" ({test['result'].lower()})" if word == "FAIL" and test["result"] != "FAIL" else ""
        print(f"{word} {test['duration']:.1f} {test['name'].split(' / ')[-1]}{reason}")
        if word == "FAIL":
            said = (test.get("stdout") or "") + (test.get("stderr") or "")
            for text in said.splitlines()[-25:]:
                print(f"     {text}")

"""A line of the router's rates, renewed each second until Ctrl-C. Called by tools/quickstart: rates.py TOOLS/LAB"""

import json
import subprocess
import sys
import time


def read(lab):
    """The workers' records, or nothing while the dataplane does not answer."""
    done = subprocess.run([lab, "ctl", "--json", "show", "runtime"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return None
    answer = json.loads(done.stdout)
    return answer["records"]


def total(workers, name):
    return sum(worker[name] for worker in workers)


def show(before, now, seconds):
    def rate(name):
        return (total(now, name) - total(before, name)) / seconds

    busy = "/".join(f"{worker['busy-permille'] / 10:.1f}" for worker in now)
    text = (f"  {rate('messages-in'):10,.0f} messages/s in  {rate('messages-out'):10,.0f} messages/s out  "
            f"{rate('rx-packets'):10,.0f} packets/s  {total(now, 'connections'):6,} clients  {busy} % busy")
    # A terminal sees one line that changes, a file one line after the other.
    print(f"\r{text}" if sys.stdout.isatty() else text, end="" if sys.stdout.isatty() else "\n", flush=True)


def main():
    before, before_time = None, 0.0
    while True:
        now, now_time = read(sys.argv[1]), time.monotonic()
        if now and before:
            show(before, now, now_time - before_time)
        before, before_time = now, now_time
        time.sleep(1)


try:
    main()
except KeyboardInterrupt:
    print()

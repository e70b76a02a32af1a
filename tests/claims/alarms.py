#!/usr/bin/env python3
"""How good the alarm for hacked rewards is: runs saved graphs, several seeds each, and writes ALARMS.md.

usage: tests/claims/alarms.py [--program FILE] [--work DIR] [--seeds N] [GRAPH ...]

Every branch of a graph that measures a gold reward beside its proxy is one row: how often the alarm
`overoptimisation` came, when, how far gold had fallen by then, and how far it fell until the end. A run is
WORK/GRAPH/seed-S, made or resumed as by run.py."""
import argparse
import datetime
import json
import os
import pathlib
import platform
import sqlite3
import statistics
import subprocess

from run import HERE, ROOT, finished_run

GRAPHS = ["05-clip-delta", "17-cooper", "24-phrase-rewards", "36-par", "39-adv-grpo", "42-two-reward-models"]
WINDOW = 5


def curve(store, name):
    return store.execute("select iteration, value from metrics where name = ? and value is not null "
                         "order by iteration", (name,)).fetchall()


def smooth(values):
    half = WINDOW // 2
    return [statistics.fmean(values[max(0, i - half):i + half + 1]) for i in range(len(values))]


def branches_of(program, run):
    """Of each branch: gold at the start, peak and end, when the alarm came, and how far gold had fallen then."""
    overview = json.loads(subprocess.run([program, "inspect", str(run), "--json"], check=True, cwd=ROOT,
                                         capture_output=True, text=True).stdout)
    store = sqlite3.connect(run / "run.db")
    alarms = dict(store.execute("select node, iteration from alarms where code = 'overoptimisation'"))
    for pair in overview["proxy_gold"]:
        rows = curve(store, pair["gold"])
        if len(rows) < WINDOW:
            continue
        gold = smooth([value for _, value in rows])
        peak = max(range(len(gold)), key=gold.__getitem__)
        place = pair["gold"].rpartition("/")[0]
        told = alarms.get(place)
        at = next((value for (i, _), value in zip(rows, gold) if told is not None and i >= told), None)
        yield place, {"start": gold[0], "peak": gold[peak], "end": gold[-1], "told": told, "last": rows[-1][0],
                      "lost_at_alarm": None if at is None else (gold[peak] - at),
                      "lost": gold[peak] - gold[-1]}


def mean(values):
    values = [value for value in values if value is not None]
    return statistics.fmean(values) if values else None


def number(value, digits=2):
    return "–" if value is None else f"{value:.{digits}f}"


def table(program, graph, seeds, work):
    places = {}
    for seed in range(seeds):
        run = finished_run(program, {"graph": f"graphs/{graph}.json"}, seed, work / graph / f"seed-{seed}")
        for place, found in branches_of(program, run):
            places.setdefault(place, []).append(found)
    lines = []
    for place, found in sorted(places.items()):
        told = [one["told"] for one in found if one["told"] is not None]
        when = f"{min(told)} to {max(told)}" if told else "–"
        lines.append(f"| {graph} | {place} | {number(mean(one['start'] for one in found))} | "
                     f"{number(mean(one['peak'] for one in found))} | {number(mean(one['end'] for one in found))} | "
                     f"{len(told)} of {len(found)} | {when} of {found[0]['last'] + 1} | "
                     f"{number(mean(one['lost_at_alarm'] for one in found))} | "
                     f"{number(mean(one['lost'] for one in found if one['told'] is not None))} |")
    return lines


def machine():
    models = [line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
    return f"{len(models)} x {models[0]}" if models else platform.machine()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=str(ROOT / "build/bin/rewardloom"))
    parser.add_argument("--work", type=pathlib.Path, default=ROOT / "runs/claims/alarms")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("graphs", nargs="*", default=GRAPHS)
    given = parser.parse_args()
    program, work = os.path.abspath(given.program), given.work.absolute()
    lines = [line for graph in given.graphs for line in table(program, graph, given.seeds, work)]
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout
    text = "\n".join([
        "# The alarm for hacked rewards", "", "Written by `tests/claims/alarms.py`; do not edit.", "",
        "Means over the seeds of gold at the start, at its peak and at the end (moving means of five), how many seeds had "
        "the alarm `overoptimisation`, at which iterations, and how much below its peak gold stood then and at the end.",
        "", "| graph | branch | start | peak | end | alarms | iterations | below the peak then | at the end |",
        "|---|---|---|---|---|---|---|---|---|", *lines, "",
        f"Measured {datetime.date.today()}, commit {commit.strip()}, {machine()}.", ""])
    (HERE / "ALARMS.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()

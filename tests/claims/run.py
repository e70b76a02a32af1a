#!/usr/bin/env python3
"""Runs the claim experiments of experiments.json, several seeds each, and writes RESULTS.md.

usage: tests/claims/run.py [--program FILE] [--work DIR] [NAME ...]

Each (experiment, seed) is one run of a saved graph in WORK/NAME/seed-S. A finished one is not repeated and
an unfinished one is resumed, so that the command can be stopped and started again at any time.
An experiment compares two numbers of each run: {"metric": NAME, "at": "first" | "last" | "max" | "mean_last_10" | "fall",
"times": FACTOR}. "fall" is the iteration after the largest value in which the metric is first below half of that (one
after its last iteration if it never is). {"metric": A, "less": B} is A - B at that place. With "runs": NAME it looks at
the runs of another experiment.
It holds if the better side wins in enough seeds for a one-sided sign test below 0.05 (5 of 5 gives 0.031)."""
import argparse
import datetime
import json
import math
import os
import pathlib
import platform
import sqlite3
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent


def newest_run(folder):
    runs = [p for p in folder.glob("*") if (p / "run.json").exists()]
    return max(runs, key=lambda p: p.stat().st_mtime, default=None)


def run_state(run):
    return json.loads((run / "run.json").read_text())


def finished_run(program, experiment, seed, folder):
    """The finished run of this seed: found, resumed or made."""
    folder.mkdir(parents=True, exist_ok=True)
    run = newest_run(folder)
    if run and run_state(run)["state"] == "done":
        return run
    command = [program, "run", "--quiet"]
    if run:
        command += ["--resume", str(run)]
    else:
        command += [str(ROOT / experiment["graph"]), "--seed", str(seed), "--out", str(folder)]
        for assignment in experiment.get("set", []):
            command += ["--set", assignment]
    print("  seed", seed, "...", flush=True)
    subprocess.run(command, check=True, cwd=ROOT)
    return newest_run(folder)


def fall(rows):
    values = [value for _, value in rows]
    top = values.index(max(values))
    return next((i for i, value in rows[top:] if value < values[top] / 2), rows[-1][0] + 1)


def value_of(run, side):
    if "less" in side:
        rest = {key: value for key, value in side.items() if key != "less"}
        return value_of(run, rest) - value_of(run, {**rest, "metric": side["less"]})
    rows = sqlite3.connect(run / "run.db").execute(
        "select iteration, value from metrics where name = ? order by iteration", (side["metric"],)).fetchall()
    if not rows:
        sys.exit(f"{run} has no metric {side['metric']}")
    values = [value for _, value in rows]
    at, factor = side.get("at", "last"), side.get("times", 1)
    if at == "fall":
        return fall(rows)
    if at == "mean_last_10":
        return factor * statistics.fmean(values[-10:])
    return factor * {"first": values[0], "last": values[-1], "max": max(values)}[at]


def sign_test(wins, count):
    """P(at least this many wins) if both sides were equally good."""
    return sum(math.comb(count, k) for k in range(wins, count + 1)) / 2**count


def measure(program, experiment, work):
    pairs, seconds = [], []
    for seed in experiment["seeds"]:
        run = finished_run(program, experiment, seed,
                           work / experiment.get("runs", experiment["name"]) / f"seed-{seed}")
        pairs.append((value_of(run, experiment["better"]), value_of(run, experiment["than"])))
        seconds.append(run_state(run)["seconds"])
    differences = [better - than for better, than in pairs]
    margin = experiment.get("margin", 0)
    wins = sum(d > margin for d in differences)
    return {"pairs": pairs, "differences": differences, "wins": wins, "p": sign_test(wins, len(pairs)),
            "seconds": max(seconds)}


def commit():
    out = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    dirty = subprocess.run(["git", "status", "--porcelain", "--untracked-files=no"], cwd=ROOT, capture_output=True, text=True)
    return out.stdout.strip() + (" with changes" if dirty.stdout.strip() else "")


def processor():
    for line in open("/proc/cpuinfo"):
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def section(experiment, result):
    count = len(result["pairs"])
    holds = result["p"] < 0.05
    lines = [f"## {experiment['name']}", "", experiment["claim"], "",
             f"`{experiment['graph']}`, longest run {result['seconds']:.0f} s of iterations.", "",
             f"| seed | {experiment['better']['label']} | {experiment['than']['label']} | difference |", "|---|---|---|---|"]
    for seed, (better, than), difference in zip(experiment["seeds"], result["pairs"], result["differences"]):
        lines.append(f"| {seed} | {better:.4f} | {than:.4f} | {difference:+.4f} |")
    lines += ["", f"Mean difference {statistics.fmean(result['differences']):+.4f}; {result['wins']} of {count} seeds"
              f" (more than {experiment.get('margin', 0)}); one-sided sign test p = {result['p']:.4f}: "
              f"**{'holds' if holds else 'does not hold'}**.", ""]
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=str(ROOT / "build/bin/rewardloom"))
    parser.add_argument("--work", type=pathlib.Path, default=ROOT / "runs/claims")
    parser.add_argument("names", nargs="*")
    arguments = parser.parse_args()
    experiments = json.loads((HERE / "experiments.json").read_text())
    stored = HERE / "results.json"
    for experiment in experiments:
        if arguments.names and experiment["name"] not in arguments.names:
            continue
        print(experiment["name"], flush=True)
        result = measure(arguments.program, experiment, arguments.work)
        result["when"] = f"{datetime.date.today()}, commit {commit()}, {os.cpu_count()} x {processor()}"
        results = json.loads(stored.read_text()) if stored.exists() else {}
        results[experiment["name"]] = result
        stored.write_text(json.dumps(results, indent=1) + "\n")
    results = json.loads(stored.read_text()) if stored.exists() else {}
    lines = ["# Claims", "", "Written by `tests/claims/run.py`; do not edit.", ""]
    for experiment in experiments:
        if experiment["name"] in results:
            result = results[experiment["name"]]
            lines += section(experiment, result)
            lines += [f"Measured {result['when']}.", ""]
    (HERE / "RESULTS.md").write_text("\n".join(lines))
    print("wrote", HERE / "RESULTS.md")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Kills a run with SIGKILL at random moments, resumes it each time, and compares it with an undisturbed one.

usage: tests/claims/kill_and_resume.py [--program FILE] [--graph FILE] [--iterations N] [--kills K] [--seed S]
                                       [--short-phases N] [--set ASSIGNMENT]... [--work DIR]

Every metric of every iteration and every byte of the last checkpoint's tensors must be the same.
With --short-phases every phase of a flow.phases node, the last one aside, lasts N iterations (and repeats its body
twice), and a checkpoint is written after each iteration, so that a short run passes through all phases and is killed in each:
  for g in 01-utrl 17-cooper 39-adv-grpo; do
    tests/claims/kill_and_resume.py --graph graphs/$g.json --iterations 12 --kills 12 --short-phases 3; done"""
import argparse
import json
import pathlib
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def metrics(run):
    rows = sqlite3.connect(run / "run.db").execute("select name, iteration, value from metrics").fetchall()
    return {(name, iteration): value for name, iteration, value in rows}


def checksums(run):
    last = sorted((run / "checkpoints").glob("[0-9]*"))[-1]
    manifest = json.loads((last / "manifest.json").read_text())
    names = manifest["meta"]["states"]
    return {names[f["name"].removesuffix(".safetensors")]: f["xxh3_128"] for f in manifest["files"]}


def short_phases(graph, iterations):
    """--set assignments that cut the phases of all flow.phases nodes short."""
    out = ["settings.checkpoint_every=1"]
    for name, node in json.loads(pathlib.Path(graph).read_text())["nodes"].items():
        if node["type"] != "flow.phases":
            continue
        phases = node["params"]["phases"]
        for phase in phases[:-1]:
            phase["iterations"] = iterations
        for phase in phases:
            if "repeat" in phase:
                phase["repeat"] = 2
        out.append(f"{name}.phases={json.dumps(phases)}")
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=str(ROOT / "build/bin/rewardloom"))
    parser.add_argument("--graph", default=str(ROOT / "graphs/grpo-arithmetic.json"))
    parser.add_argument("--iterations", type=int, default=40)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--short-phases", type=int, default=0)
    parser.add_argument("--work", type=pathlib.Path)
    arguments = parser.parse_args()
    work = arguments.work or pathlib.Path(tempfile.mkdtemp(prefix="rewardloom-kill-"))
    if arguments.short_phases:
        arguments.set += short_phases(arguments.graph, arguments.short_phases)
    settings = [part for assignment in arguments.set for part in ("--set", assignment)]
    base = [arguments.program, "run", "--quiet", "--iterations", str(arguments.iterations)]
    fresh = base + [arguments.graph] + settings

    start = time.monotonic()
    subprocess.run(fresh + ["--out", str(work / "whole")], check=True)
    whole_seconds = time.monotonic() - start
    whole = next((work / "whole").iterdir())

    dice = random.Random(arguments.seed)
    killed = finished = 0
    out = work / "killed"
    while True:
        runs = list(out.glob("*/run.json"))
        if runs and json.loads(runs[0].read_text())["state"] == "done":
            finished += 1
            compare(whole, runs[0].parent)
            if killed >= arguments.kills:
                break
            # Done before enough kills: once more from the start.
            out = work / f"killed-{finished}"
            runs = []
        command = base + (["--resume", str(runs[0].parent)] if runs else arguments.graph.split() + settings + ["--out", str(out)])
        process = subprocess.Popen(command)
        limit = dice.uniform(0, whole_seconds * 0.3) if killed < arguments.kills else None
        try:
            if process.wait(limit) != 0:
                sys.exit(f"the run failed: {' '.join(command)}")
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            killed += 1
            # Killed before it had a folder that can be resumed: start again.
            for folder in out.glob("*"):
                if not (folder / "run.json").exists():
                    subprocess.run(["rm", "-rf", str(folder)], check=True)
    print(f"{killed} kills, {finished} complete runs: all metrics and states equal the undisturbed run's")


def compare(whole, other):
    expected, found = metrics(whole), metrics(other)
    different = [key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key)]
    if different:
        sys.exit(f"{other}: {len(different)} metrics differ, e.g. {sorted(different)[:3]}")
    if checksums(whole) != checksums(other):
        sys.exit(f"{other}: states differ")


if __name__ == "__main__":
    main()

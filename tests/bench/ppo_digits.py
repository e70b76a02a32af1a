#!/usr/bin/env python3
"""graphs/ppo-digit-completion.json against a plain PyTorch program of the same algorithm: the time until the best
mean reward of verl's end-to-end test passes 0.2, in one run, each on one thread.

usage: tests/bench/ppo_digits.py [--program FILE] [--peer FILE] [--seeds N] [--out FILE]

One line of JSON per run; times in seconds of the wall and of the processor. Without the peer's file only ours run."""
import argparse
import json
import os
import pathlib
import sqlite3
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
MARK = 0.2


def time_to_mark(command, reward_of, environment):
    """Runs until a line of output shows a mean reward above the mark."""
    start = time.monotonic()
    used = os.times()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, cwd=ROOT,
                               env={**os.environ, **environment})
    best, iterations, passed = 0.0, 0, False
    for line in process.stdout:
        reward = reward_of(json.loads(line))
        if reward is None:
            continue
        iterations, best = iterations + 1, max(best, reward)
        if best > MARK:
            passed = True
            break
    wall = time.monotonic() - start
    process.kill()
    process.wait()
    now = os.times()
    processor = now.children_user + now.children_system - used.children_user - used.children_system
    return {"passed": passed, "iterations": iterations, "best": round(best, 4), "wall": round(wall, 1),
            "processor": round(processor, 1)}


class OurReward:
    """The highest mean reward that the run folder holds, after each iteration."""
    folder = None

    def __call__(self, event):
        if event["event"] == "start":
            self.folder = event["folder"]
        if event["event"] != "metrics":
            return None
        return sqlite3.connect(self.folder + "/run.db").execute(
            "select max(mean) from histograms where node = 'score' and port = 'rewards'").fetchone()[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=str(ROOT / "build/bin/rewardloom"))
    parser.add_argument("--peer", type=pathlib.Path, default=ROOT.parent / "shared/peers/ppo_digits.py")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=pathlib.Path)
    arguments = parser.parse_args()
    sink = open(arguments.out, "a") if arguments.out else None

    def report(figure):
        text = json.dumps(figure)
        print(text, flush=True)
        if sink:
            print(text, file=sink, flush=True)

    ours = []
    for seed in range(arguments.seeds):
        with tempfile.TemporaryDirectory() as folder:
            ours.append(time_to_mark(
                [arguments.program, "run", "--json", "--threads", "1", "--seed", str(seed), "--out", folder,
                 "graphs/ppo-digit-completion.json"], OurReward(), {}))
        report({"side": "ours", "seed": seed, **ours[-1]})
    if arguments.peer.exists():
        peer = time_to_mark(["/usr/bin/python3", str(arguments.peer), "1", "200"], lambda row: row["reward"],
                            {"OMP_NUM_THREADS": "1"})
        report({"side": "peer", "seed": 1, **peer})
        for key in ("wall", "processor"):
            report({"ratio": key, "ours_over_peer": [round(run[key] / peer[key], 3) for run in ours]})


if __name__ == "__main__":
    main()

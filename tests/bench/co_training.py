#!/usr/bin/env python3
"""Two co-trained branches at once against one after the other: the same graph on two threads and on one, in turn.

usage: tests/bench/co_training.py [--program FILE] [--rounds 5] [--iterations 12]

A graph with the co-trained branch of a paper twice, from one start, neither needing the other: policy and verifier of
graphs/17-cooper.json, generator and discriminator of graphs/39-adv-grpo.json. Prints the seconds of the iterations in
which both branches train (the phases before are one iteration each of at most 300 updates, enough for answers that the
verifier can learn from, and are taken off), their ratio, and for how much of the time the trace shows both at work."""
import argparse
import json
import pathlib
import sqlite3
import statistics
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]


def doubled(name, branch):
    """The graph with this branch twice and no other, each phase before it in one iteration."""
    graph = json.loads((ROOT / "graphs" / f"{name}.json").read_text().replace('"../', f'"{ROOT}/'))
    for phase in graph["nodes"]["stage"]["params"]["phases"]:
        if "iterations" in phase:
            length = graph["parameters"].get(str(phase["iterations"]).lstrip("$"), phase["iterations"])
            phase.update(iterations=1, repeat=min(300, length * phase.get("repeat", 1)))
    nodes = graph["subgraphs"]["race"]["nodes"]
    for other in [n for n, node in nodes.items() if node["type"] == "flow.repeat" and n != branch]:
        del nodes[other]
    for needless in [n for n, node in nodes.items() if node["type"] == "flow.every"]:
        del nodes[needless]
    nodes["twin"] = json.loads(json.dumps(nodes[branch]))
    graph["settings"].update(checkpoint_every=0)
    return graph, len(graph["nodes"]["stage"]["params"]["phases"]) - 1


def run(program, graph, iterations, threads, folder):
    subprocess.run([program, "run", str(graph), "--threads", str(threads), "--iterations", str(iterations), "--quiet",
                    "--out", folder], check=True)
    return max(pathlib.Path(folder).iterdir(), key=lambda path: path.stat().st_mtime_ns)


def seconds(folder):
    store = sqlite3.connect(folder / "run.db")
    (value,), = store.execute("SELECT seconds FROM nodes WHERE node = 'stage'").fetchall()
    store.close()
    return value


def overlap(folder, branch):
    """Share of the branches' time in which both were at work."""
    spans = {branch: [], "twin": []}
    for line in (folder / "trace.json").read_text().splitlines():
        text = line.strip().rstrip(",")
        if not text.startswith("{"):
            continue
        event = json.loads(text)
        last = str(event.get("name", "")).split("/")[-1]
        if event.get("ph") == "X" and last in spans:
            spans[last].append((event["ts"], event["ts"] + event["dur"]))
    both = sum(max(0, min(a[1], b[1]) - max(a[0], b[0])) for a in spans[branch] for b in spans["twin"])
    longest = max(sum(end - start for start, end in list_) for list_ in spans.values())
    return both / longest if longest else 0.0


def measure(options, name, branch):
    graph, before = doubled(name, branch)
    with tempfile.TemporaryDirectory() as place:
        path = pathlib.Path(place) / f"{name}.json"
        path.write_text(json.dumps(graph))
        times, share = {1: [], 2: []}, 0.0
        for turn in range(options.rounds):
            for threads in (1, 2):
                short = seconds(run(options.program, path, before + 1, threads, f"{place}/s{turn}-{threads}"))
                folder = run(options.program, path, before + 1 + options.iterations, threads, f"{place}/l{turn}-{threads}")
                times[threads].append(seconds(folder) - short)
                share = overlap(folder, branch)
        ratios = sorted(a / b for a, b in zip(times[1], times[2]))
        one, two = statistics.median(times[1]), statistics.median(times[2])
        print(f"| {name}, {branch} twice | {one:.2f} | {two:.2f} | {statistics.median(ratios):.2f} "
              f"({ratios[0]:.2f} to {ratios[-1]:.2f}) | {100 * share:.0f} % |", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", default=str(ROOT / "build/bin/rewardloom"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--iterations", type=int, default=12)
    options = parser.parse_args()
    print(f"| graph | one thread, s for {options.iterations} iterations | two, s | times as fast | both at work |\n"
          "|---|---|---|---|---|")
    measure(options, "17-cooper", "cooper")
    measure(options, "39-adv-grpo", "head")


if __name__ == "__main__":
    main()

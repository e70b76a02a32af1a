#!/usr/bin/env python3
"""Two co-trained branches at once against one after the other: the same graph on two threads and on one, in turn.

usage: tests/bench/co_training.py [--program FILE] [--rounds 5] [--iterations 12]

A graph with the co-trained branch of a paper twice, from one start, neither needing the other: policy and verifier of
graphs/17-cooper.json, generator and discriminator of graphs/39-adv-grpo.json. The phases before are one iteration each
of at most 300 updates, enough for answers that the verifier can learn from. Prints the seconds from the start of the
earlier branch to the end of the later one as the trace has them, over all iterations but the first, their ratio, and
for how much of the time both were at work."""
import argparse
import json
import pathlib
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


def spans_of(folder, branch):
    """(start, end) in seconds of every firing of both branches, by iteration."""
    spans = {}
    for line in (folder / "trace.json").read_text().splitlines():
        text = line.strip().rstrip(",")
        if not text.startswith("{"):
            continue
        event = json.loads(text)
        name = str(event.get("name", "")).split("/")[-1]
        if event.get("ph") == "X" and name in (branch, "twin"):
            span = (1e-6 * event["ts"], 1e-6 * (event["ts"] + event["dur"]))
            spans.setdefault(event["args"]["iteration"], {})[name] = span
    return [pair for _, pair in sorted(spans.items())]


def seconds(pairs):
    """From the start of the earlier branch to the end of the later one, all iterations but the first."""
    return sum(max(end for _, end in pair.values()) - min(start for start, _ in pair.values()) for pair in pairs[1:])


def overlap(pairs):
    """Share of the longer branch's time in which both were at work."""
    both = sum(max(0, min(end for _, end in pair.values()) - max(start for start, _ in pair.values())) for pair in pairs)
    longest = sum(max(end - start for start, end in pair.values()) for pair in pairs)
    return both / longest if longest else 0.0


def measure(options, name, branch):
    graph, before = doubled(name, branch)
    with tempfile.TemporaryDirectory() as place:
        path = pathlib.Path(place) / f"{name}.json"
        path.write_text(json.dumps(graph))
        times, share = {1: [], 2: []}, 0.0
        for turn in range(options.rounds):
            for threads in (1, 2):
                folder = run(options.program, path, before + 1 + options.iterations, threads, f"{place}/{turn}-{threads}")
                pairs = spans_of(folder, branch)
                times[threads].append(seconds(pairs))
                share = overlap(pairs)
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

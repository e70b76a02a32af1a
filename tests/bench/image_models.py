#!/usr/bin/env python3
"""Flow sampling against the same loop in PyTorch, and the Frechet distance of wide features.

usage: tests/bench/image_models.py [--program FILE] [--python FILE] [--rounds N] [--out FILE]

Both sides hold a network of the same layers and sizes and draw 128 images of 8x8 by ten steps, four of them
stochastic with log-probs, on one thread; medians over the rounds, ratio least to most. Ours is the time that the node
takes in a run, recorded in the run folder. --python names an interpreter with torch. Prints a Markdown table."""
import argparse
import json
import os
import pathlib
import random
import sqlite3
import statistics
import struct
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
DIGITS = ROOT / "resources/data/digits"
FIRINGS, STEPS, STOCHASTIC, WIDE = 60, 10, 4, 2048

PEER = """
import math, time, torch
torch.set_num_threads(1)
torch.manual_seed(0)
N, P, W, B, S, K, A = 128, 64, 192, 3, {steps}, {stochastic}, 0.7


class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = torch.nn.LayerNorm(W, elementwise_affine=False)
        self.up, self.condition, self.down = (torch.nn.Linear(W, W) for _ in range(3))

    def forward(self, h, c):
        return h + self.down(torch.nn.functional.gelu(self.up(self.norm(h)) + self.condition(c)))


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.sigma, self.label = torch.nn.Linear(32, W), torch.nn.Embedding(10, W)
        self.start, self.end = torch.nn.Linear(P, W), torch.nn.Linear(W, P)
        self.blocks = torch.nn.ModuleList(Block() for _ in range(B))
        self.norm = torch.nn.LayerNorm(W, elementwise_affine=False)
        self.register_buffer("frequencies", torch.linspace(0, math.log(100.0), 16).exp())

    def forward(self, x, sigma, label):
        angle = sigma[:, None] * self.frequencies
        c = torch.nn.functional.silu(self.sigma(torch.cat([angle.sin(), angle.cos()], 1)) + self.label(label))
        h = self.start(x)
        for block in self.blocks:
            h = block(h, c)
        return self.end(self.norm(h))


@torch.no_grad()
def sample(net, label):
    sigmas = torch.linspace(1, 0, S + 1).tolist()
    x = torch.randn(N, P)
    log_probs = []
    for i in range(S):
        s, dt = sigmas[i], sigmas[i + 1] - sigmas[i]
        v = net(x, torch.full((N,), s), label)
        if i >= K:
            x = x + v * dt
            continue
        noise = A * math.sqrt(s / (1 - (s if s < 1 else sigmas[1])))
        mean = x * (1 + noise**2 * dt / (2 * s)) + v * (1 + noise**2 * (1 - s) / (2 * s)) * dt
        scale = noise * math.sqrt(-dt)
        x = mean + scale * torch.randn_like(x)
        log_probs.append((-((x - mean) ** 2) / (2 * scale**2) - math.log(scale) - 0.5 * math.log(2 * math.pi)).mean(1))
    return x.clamp(-1, 1), torch.stack(log_probs, 1)


net, label = Net(), torch.arange(N) % 10
times = []
for _ in range({firings}):
    start = time.perf_counter()
    sample(net, label)
    times.append(time.perf_counter() - start)
print(sorted(times)[len(times) // 2])
"""


def graph():
    digits = {"images": str(DIGITS / "images.idx3-ubyte"), "labels": str(DIGITS / "labels.idx1-ubyte"), "white": 16}
    return {"rewardloom": 1, "name": "flow sampling", "settings": {"iterations": FIRINGS, "seed": 0}, "nodes": {
        "generator": {"type": "image.generator"},
        "prompts": {"type": "image.read", "params": {**digits, "batch": 16}},
        "draw": {"type": "sample.flow", "inputs": {"generator": "generator.generator", "prompts": "prompts.prompts"},
                 "params": {"images_per_prompt": 8, "steps": STEPS, "stochastic_steps": STOCHASTIC}},
        "spread": {"type": "image.diversity", "inputs": {"images": "draw.images"}}}}


def ours(program, folder):
    """Median seconds of one firing of sample.flow."""
    file = pathlib.Path(folder) / "flow.json"
    file.write_text(json.dumps(graph()))
    out = tempfile.mkdtemp(dir=folder)
    subprocess.run([program, "run", "--quiet", "--threads", "1", "--out", out, str(file)], check=True,
                   stdout=subprocess.DEVNULL)
    database = next(pathlib.Path(out).rglob("run.db"))
    rows = sqlite3.connect(database).execute("select seconds / firings from nodes where node = 'draw'").fetchall()
    return statistics.median(row[0] for row in rows)


def peer(python):
    text = PEER.format(steps=STEPS, stochastic=STOCHASTIC, firings=FIRINGS)
    return float(subprocess.run([python, "-c", text], check=True, capture_output=True, text=True,
                                env={**os.environ, "OMP_NUM_THREADS": "1"}).stdout)


def write_features(file, rows):
    """safetensors with features [rows, WIDE] and as many references, double."""
    size = rows * WIDE * 8
    header = {name: {"dtype": "F64", "shape": [rows, WIDE], "data_offsets": [i * size, (i + 1) * size]}
              for i, name in enumerate(("features", "ref_features"))}
    text = json.dumps(header).encode()
    draw = random.Random(0)
    with open(file, "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for _ in range(2 * rows):
            out.write(struct.pack(f"<{WIDE}d", *(draw.gauss(0, 1) for _ in range(WIDE))))


def frechet(program, folder):
    """Wall seconds of one distance, above those of the same on two features."""
    file = pathlib.Path(folder) / "features.safetensors"
    write_features(file, 2 * WIDE)
    command = [program, "eval", "image.frechet_distance", "--out", "-", "--in"]
    small = pathlib.Path(folder) / "small.json"
    small.write_text(json.dumps({"features": [[0, 1], [1, 0], [2, 2]], "ref_features": [[0, 1], [1, 0], [3, 2]]}))

    def seconds(given):
        start = time.monotonic()
        subprocess.run(command + [str(given)], check=True, stdout=subprocess.DEVNULL)
        return time.monotonic() - start

    return statistics.median(seconds(file) for _ in range(3)) - statistics.median(seconds(small) for _ in range(3))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=str(ROOT / "build/bin/rewardloom"))
    parser.add_argument("--python", default="/usr/bin/python3")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=pathlib.Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        pairs = [(ours(arguments.program, folder), peer(arguments.python)) for _ in range(arguments.rounds)]
        distance = frechet(arguments.program, folder)
    ratios = [b / a for a, b in pairs]
    mine, other = (statistics.median(side) for side in zip(*pairs))
    text = (f"| case | ours | PyTorch loop | times as fast |\n|---|---|---|---|\n"
            f"| 128 images by {STEPS} steps of the flow, ms | {1e3 * mine:.2f} | {1e3 * other:.2f} | "
            f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) |\n"
            f"| Frechet distance of {2 * WIDE} rows of {WIDE} features, in double, reading included, s | {distance:.2f} | | |\n")
    print(text)
    if arguments.out:
        arguments.out.write_text(text)


if __name__ == "__main__":
    main()

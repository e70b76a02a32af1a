#!/usr/bin/env python3
"""Batched greedy decoding against llama.cpp: the same weights, prompts and threads, the two sides in turn.

usage: tests/bench/llama_cpp.py --peer COMMAND [--models FOLDER,100M] [--types f32,bf16] [--rows 1,8,32] [--threads 2]
                                [--rounds 7] [--clock wall] [--cache f16] [--scratch FOLDER --seen-as FOLDER] [--out FILE]

COMMAND runs tests/bench/llama_cpp/llama_peer.cpp, compiled where libllama is installed; it may begin with chroot, and
--seen-as then says what --scratch is called inside. A model is a Hugging Face folder of a Llama, or 100M: random
weights, 12 layers 768 wide. First both sides must agree in the logits behind a prompt and in greedy tokens (with a
float32 key-value cache on both sides); then whole generations are timed, prompts of 16 tokens and answers of 64, on
llama.cpp's side with the cache that --cache says (its own default is f16; ours is float32 always). Medians over the
rounds, the first left out, and of the ratio the least and the most. On a machine with other work, one thread and
--clock processor come nearest to the truth: llama.cpp's threads wait for each other without sleeping."""
import argparse
import json
import os
import pathlib
import platform
import random
import shlex
import statistics
import struct
import subprocess
import sys
import tempfile
import time

import numpy

from gguf_of import write_gguf
from language_models import ROOT, Side, row

PROMPT, ANSWER = 16, 64
RANDOM = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "hidden_size": 768,
          "num_attention_heads": 12, "num_key_value_heads": 12, "intermediate_size": 2048, "num_hidden_layers": 12,
          "rms_norm_eps": 1e-5, "vocab_size": 8192, "rope_theta": 10000.0, "max_position_embeddings": 512,
          "tie_word_embeddings": False}


def random_model(folder):
    """Weights that keep activations near 1, and a head that tells tokens apart."""
    c, generator = RANDOM, numpy.random.default_rng(5)
    width, inner = c["hidden_size"], c["intermediate_size"]
    shapes = {"model.embed_tokens.weight": (c["vocab_size"], width), "lm_head.weight": (c["vocab_size"], width),
              "model.norm.weight": (width,)}
    for i in range(c["num_hidden_layers"]):
        for name, shape in (("self_attn.q_proj", (width, width)), ("self_attn.k_proj", (width, width)),
                            ("self_attn.v_proj", (width, width)), ("self_attn.o_proj", (width, width)),
                            ("mlp.gate_proj", (inner, width)), ("mlp.up_proj", (inner, width)),
                            ("mlp.down_proj", (width, inner)), ("input_layernorm", (width,)),
                            ("post_attention_layernorm", (width,))):
            shapes[f"model.layers.{i}.{name}.weight"] = shape
    header, blobs, offset = {}, [], 0
    for name, shape in shapes.items():
        spread = 1.0 if "embed" in name else 0.1 if "lm_head" in name else shape[-1] ** -0.5
        values = (numpy.ones(shape) if len(shape) == 1 else generator.normal(0, spread, shape)).astype(numpy.float32)
        blobs.append(values.tobytes())
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [offset, offset + len(blobs[-1])]}
        offset += len(blobs[-1])
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(c))
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))


class Contest:
    def __init__(self, model, kind, arguments):
        self.arguments, self.kind = arguments, kind
        self.folder, self.name = pathlib.Path(model), pathlib.Path(model).name
        if model == "100M":
            self.folder = arguments.scratch / "random-100M"
            if not (self.folder / "config.json").exists():
                random_model(self.folder)
        self.config = json.loads((self.folder / "config.json").read_text())
        file = f"{self.name}-{kind}.gguf"
        write_gguf(self.folder, arguments.scratch / file, kind)
        self.file = (arguments.seen_as or arguments.scratch) / file
        self.ours = Side([str(arguments.program), "bench", "language", str(self.folder)])
        self.ours.ask("compute " + {"f32": "float32", "bf16": "bfloat16"}[kind])
        self.ours.ask(f"threads {arguments.threads}")

    def peer(self, rows, cache):
        side = Side(shlex.split(self.arguments.peer) +
                    [str(self.file), str(self.arguments.threads), str(rows), str(PROMPT + ANSWER), cache],
                    dict(os.environ))
        side.read()
        return side

    def prompts(self, rows, seed):
        draw = random.Random(seed)
        return ";".join(",".join(str(draw.randrange(3, self.config["vocab_size"])) for _ in range(PROMPT))
                        for _ in range(rows))

    def agreement(self):
        """Largest difference of log-probs behind a prompt, and the share of equal greedy tokens up to a row's first
        unequal one."""
        peer, prompts = self.peer(8, "f32"), self.prompts(8, 1)
        both = []
        for side in (self.ours, peer):
            logits = numpy.array(side.ask("logits " + prompts.split(";")[0])["logits"], numpy.float64)
            highest = logits.max()
            both.append(logits - highest - numpy.log(numpy.exp(logits - highest).sum()))
        answers = [side.ask(f"decode {ANSWER} {prompts}")["ids"] for side in (self.ours, peer)]
        peer.close()
        same = 0
        for mine, theirs in zip(*answers):
            same += next((t for t, pair in enumerate(zip(mine, theirs)) if pair[0] != pair[1]), ANSWER)
        return abs(both[0] - both[1]).max(), same / (8 * ANSWER)

    def speeds(self, rows):
        peer, figures = self.peer(rows, self.arguments.cache), []
        for seed in range(self.arguments.rounds + 1):
            pair = []
            for side in (self.ours, peer):
                answer = side.ask(f"decode {ANSWER} {self.prompts(rows, seed)}")
                pair.append(answer["tokens"] / answer[self.arguments.clock])
            figures.append(pair)
        peer.close()
        figures = figures[1:]
        ratios = [a / b for a, b in figures]
        return (statistics.median(a for a, _ in figures), statistics.median(b for _, b in figures),
                statistics.median(ratios), min(ratios), max(ratios))


def measure(model, kind, arguments):
    contest = Contest(model, kind, arguments)
    apart, same = contest.agreement()
    table = ""
    for rows in map(int, arguments.rows.split(",")):
        ours, theirs, ratio, least, most = contest.speeds(rows)
        table += row(contest.name, kind, rows, f"{ours:.0f}", f"{theirs:.0f}",
                     f"{ratio:.2f} ({least:.2f} to {most:.2f})", f"{apart:.1e}", f"{100 * same:.0f} %")
        print(f"{contest.name} {kind} {rows}: {ratio:.2f}", file=sys.stderr, flush=True)
    contest.ours.close()
    return table


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=pathlib.Path, default=ROOT / "build/bin/rewardloom")
    parser.add_argument("--peer", required=True)
    parser.add_argument("--models", default="100M")
    parser.add_argument("--types", default="f32,bf16")
    parser.add_argument("--rows", default="1,8,32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--clock", choices=("processor", "wall"), default="wall")
    parser.add_argument("--cache", choices=("f16", "f32"), default="f16")
    parser.add_argument("--scratch", type=pathlib.Path)
    parser.add_argument("--seen-as", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as own:
        arguments.scratch = arguments.scratch or pathlib.Path(own)
        table = "".join(measure(model, kind, arguments)
                        for model in arguments.models.split(",") for kind in arguments.types.split(","))
    text = (f"`tests/bench/llama_cpp.py`, tokens per second of {arguments.clock} time, {PROMPT} prompt tokens and {ANSWER} written ones "
            f"per row, {arguments.threads} threads each, in turn, median of {arguments.rounds} (ratio: least to most), "
            f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, load {os.getloadavg()[0]:.1f}.\n\n")
    text += row("model", "weights", "rows", "ours", "llama.cpp", "times as fast", "log-probs, largest difference",
                "greedy tokens equal") + row(*["---"] * 8) + table
    print(text, end="")
    if arguments.out:
        arguments.out.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Sampling and training of small language models against a plain PyTorch loop of the same network.

usage: tests/bench/language_models.py [--rounds N] [--sizes 0.1M,0.8M,5M,20M] [--clock wall] [--out FILE] [--peer DIR]

Both sides hold the same weights, sample 32 tokens behind 16 random ones and take one step of the clipped policy
gradient on them, on one thread each, in turn; medians over the rounds and, of the ratio, the least and the most.
The peer's network is DIR/llama_torch.py where that is there (tests of this kind keep it beside the repository), else
the one in this file. Prints a Markdown table, and says how far the losses of ten steps on the same rows are apart,
what bfloat16 gains on this machine and what it costs in log-probs."""
import argparse
import json
import os
import pathlib
import platform
import statistics
import struct
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PEER = ROOT.parent / "shared/peers"
PROMPT, ANSWER, VOCABULARY, STEPS = 16, 32, 64, 10
SIZES = {"0.1M": (64, 2, 2, 176), "0.8M": (128, 4, 4, 344), "5M": (256, 6, 8, 688),
         "20M": (512, 6, 8, 1376)}


def config_of(size):
    width, layers, heads, inner = SIZES[size]
    return {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "hidden_size": width,
            "num_attention_heads": heads, "num_key_value_heads": heads, "intermediate_size": inner,
            "num_hidden_layers": layers, "rms_norm_eps": 1e-6, "vocab_size": VOCABULARY, "rope_theta": 10000.0,
            "max_position_embeddings": 128, "tie_word_embeddings": False}


# ---- the peer: a process of its own, which answers the same commands as `rewardloom bench language` ----

def own_network():
    """A decoder as people write it, where no other is at hand."""
    import types
    import torch
    import torch.nn.functional as functional

    class Norm(torch.nn.Module):
        def __init__(self, width, epsilon):
            super().__init__()
            self.weight, self.epsilon = torch.nn.Parameter(torch.ones(width)), epsilon

        def forward(self, x):
            return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.epsilon) * self.weight

    class Block(torch.nn.Module):
        def __init__(self, c):
            super().__init__()
            width, inner = c["hidden_size"], c["intermediate_size"]
            self.heads = c["num_attention_heads"]
            for name, out, into in (("q", width, width), ("kk", width, width), ("v", width, width),
                                    ("o", width, width), ("gate", inner, width), ("up", inner, width),
                                    ("down", width, inner)):
                setattr(self, name, torch.nn.Linear(into, out, bias=False))
            self.n1, self.n2 = Norm(width, c["rms_norm_eps"]), Norm(width, c["rms_norm_eps"])

        def forward(self, x, cosine, sine, bias, cache):
            rows, tokens, width = x.shape
            y = self.n1(x)

            def heads(z):
                return z.view(rows, tokens, self.heads, -1).transpose(1, 2)

            def rotated(z):
                a, b = z.chunk(2, -1)
                return z * cosine + torch.cat([-b, a], -1) * sine

            q, k, v = rotated(heads(self.q(y))), rotated(heads(self.kk(y))), heads(self.v(y))
            if cache is not None:
                if cache:
                    k, v = torch.cat([cache[0], k], 2), torch.cat([cache[1], v], 2)
                cache[:] = [k, v]
            weight = (q @ k.transpose(-1, -2) / (width // self.heads) ** 0.5 + bias).softmax(-1)
            x = x + self.o((weight @ v).transpose(1, 2).reshape(rows, tokens, width))
            y = self.n2(x)
            return x + self.down(functional.silu(self.gate(y)) * self.up(y))

    class Llama(torch.nn.Module):
        def __init__(self, c):
            super().__init__()
            self.c = c
            self.emb = torch.nn.Embedding(c["vocab_size"], c["hidden_size"])
            self.blocks = torch.nn.ModuleList(Block(c) for _ in range(c["num_hidden_layers"]))
            self.norm = Norm(c["hidden_size"], c["rms_norm_eps"])
            self.head = torch.nn.Linear(c["hidden_size"], c["vocab_size"], bias=False)

        def forward(self, tokens, pad=None, past=0, cache=None):
            count, size = tokens.shape[1], self.c["hidden_size"] // self.c["num_attention_heads"]
            position = torch.arange(past, past + count)
            angle = position[:, None].float() * self.c["rope_theta"] ** (-torch.arange(0, size, 2).float() / size)
            angle = torch.cat([angle, angle], -1)[None, None]
            hidden = torch.arange(past + count)[None] > position[:, None]
            bias = torch.zeros(hidden.shape).masked_fill(hidden, -1e9)
            x = self.emb(tokens)
            for i, block in enumerate(self.blocks):
                x = block(x, angle.cos(), angle.sin(), bias, None if cache is None else cache[i])
            return self.head(self.norm(x))

    def log_probs(model, tokens, prompt):
        return functional.log_softmax(model(tokens[:, :-1])[:, prompt - 1:], -1).gather(2, tokens[:, prompt:, None])[..., 0]

    @torch.no_grad()
    def sample(model, prompts, count):
        cache = [[] for _ in model.blocks]
        logits, tokens, chosen = model(prompts, None, 0, cache)[:, -1], [prompts], []
        for t in range(count):
            log_p = functional.log_softmax(logits, -1)
            tokens.append(torch.multinomial(log_p.exp(), 1))
            chosen.append(log_p.gather(1, tokens[-1]))
            if t < count - 1:
                logits = model(tokens[-1], None, prompts.shape[1] + t, cache)[:, -1]
        return torch.cat(tokens, 1), torch.cat(chosen, 1), None

    return types.SimpleNamespace(Llama=Llama, log_probs=log_probs, sample=sample)


def peer_network(folder):
    if not (folder / "llama_torch.py").exists():
        return own_network()
    sys.path.insert(0, str(folder))
    import llama_torch
    return llama_torch


NAMES = (("q", "self_attn.q_proj"), ("kk", "self_attn.k_proj"), ("v", "self_attn.v_proj"), ("o", "self_attn.o_proj"),
         ("gate", "mlp.gate_proj"), ("up", "mlp.up_proj"), ("down", "mlp.down_proj"), ("n1", "input_layernorm"),
         ("n2", "post_attention_layernorm"))


def named_weights(model):
    yield "model.embed_tokens.weight", model.emb.weight
    yield "model.norm.weight", model.norm.weight
    yield "lm_head.weight", model.head.weight
    for i, block in enumerate(model.blocks):
        for short, name in NAMES:
            yield f"model.layers.{i}.{name}.weight", getattr(block, short).weight


def write_safetensors(path, tensors):
    header, chunks, at = {}, [], 0
    for name, tensor in tensors.items():
        raw = tensor.detach().contiguous().numpy().tobytes()
        kind = {"torch.float32": "F32", "torch.int64": "I64"}[str(tensor.dtype)]
        header[name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [at, at + len(raw)]}
        chunks.append(raw)
        at += len(raw)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(chunks))


def stopwatch():
    return time.perf_counter(), time.process_time()


def since(start):
    return {"wall": time.perf_counter() - start[0], "processor": time.process_time() - start[1]}


class Peer:
    """Holds the weights that `write` gives to the other side."""

    def __init__(self, size, folder, peer):
        import torch
        torch.set_num_threads(1)
        torch.manual_seed(0)
        self.torch, self.network = torch, peer_network(peer)
        self.model = self.network.Llama(config_of(size))
        self.start = {k: v.clone() for k, v in self.model.state_dict().items()}
        (folder / "config.json").write_text(json.dumps(config_of(size)))
        write_safetensors(folder / "model.safetensors", dict(named_weights(self.model)))
        self.reset()

    def reset(self):
        self.model.load_state_dict(self.start)
        self.optimizer = self.torch.optim.AdamW(self.model.parameters(), 1e-4, weight_decay=0.0)

    def sample(self, rows, seed):
        self.torch.manual_seed(seed)
        prompts = self.torch.randint(0, VOCABULARY, (rows, PROMPT))
        start = stopwatch()
        self.tokens, self.sampled, _ = self.network.sample(self.model, prompts, ANSWER)
        return {**since(start), "tokens": rows * ANSWER}

    def step(self, tokens, old, advantages):
        new = self.network.log_probs(self.model, tokens, PROMPT)
        ratio = (new - old).exp()
        loss = -self.torch.min(ratio * advantages, ratio.clamp(0.8, 1.2) * advantages).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss

    def train(self):
        advantages = self.torch.sin(self.torch.arange(len(self.tokens)).float() * 1.3)[:, None]
        start = stopwatch()
        self.step(self.tokens, self.sampled, advantages)
        return {**since(start), "tokens": self.tokens.numel()}

    def curve(self, file, steps):
        """Steps on rows sampled here, which it writes for the other side first."""
        self.reset()
        self.sample(64, 5)
        advantages = self.torch.sin(self.torch.arange(64).float() * 0.7)
        write_safetensors(file, {"tokens": self.tokens, "old_log_probs": self.sampled, "advantages": advantages})
        losses = [float(self.step(self.tokens, self.sampled, advantages[:, None]).detach()) for _ in range(steps)]
        self.reset()
        return {"losses": losses}


def peer_worker(size, folder, peer):
    side = Peer(size, pathlib.Path(folder), pathlib.Path(peer))
    print(json.dumps({"parameters": sum(p.numel() for p in side.model.parameters())}), flush=True)
    for line in sys.stdin:
        command, *words = line.split()
        numbers = [int(word) if word.isdigit() else word for word in words]
        print(json.dumps(getattr(side, command)(*numbers)), flush=True)


# ---- the contest ----

class Side:
    """A process that answers commands."""

    def __init__(self, command, environment=None):
        environment = environment or {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
                                      "OMP_WAIT_POLICY": "PASSIVE"}
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
                                        env=environment)

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.process.args[0]} ended with status {self.process.wait()}")
        return json.loads(line)

    def ask(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self.read()

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def speed(answer, clock):
    return answer["tokens"] / answer[clock]


def contest(ours, peer, command, arguments, prepare=""):
    """Speeds of both in turn, the first round left out."""
    figures = []
    for seed in range(arguments.rounds + 1):
        pair = []
        for side in (ours, peer):
            if prepare:
                side.ask(prepare.format(seed=seed))
            pair.append(speed(side.ask(command.format(seed=seed)), arguments.clock))
        figures.append(pair)
    figures = figures[1:]
    ratios = [a / b for a, b in figures]
    return {"ours": statistics.median(a for a, _ in figures), "peer": statistics.median(b for _, b in figures),
            "ratio": statistics.median(ratios), "least": min(ratios), "most": max(ratios)}


def row(*cells):
    return "| " + " | ".join(str(cell) for cell in cells) + " |\n"


def contest_row(name, parameters, figure):
    return row(name, f"{parameters:,}".replace(",", " "), f"{figure['ours']:.0f}", f"{figure['peer']:.0f}",
               f"{figure['ratio']:.2f} ({figure['least']:.2f} to {figure['most']:.2f})")


def bfloat16_rows(ours, arguments):
    """Speed against float32 on this side alone, in turn, and the log-probs of a float32 trainer."""
    speeds = {"sample": {}, "train": {}}
    for precision in ("float32", "bfloat16"):
        ours.ask("compute " + precision)
        figures = {"sample": [], "train": []}
        for seed in range(arguments.rounds + 1):
            figures["sample"].append(speed(ours.ask(f"sample 64 {seed}"), arguments.clock))
            figures["train"].append(speed(ours.ask("train"), arguments.clock))
        for kind, values in figures.items():
            speeds[kind][precision] = statistics.median(values[1:])
    ours.ask("compute bfloat16")
    ours.ask("sample 64 1")
    return speeds, ours.ask("mismatch")


def uneven_lengths(ours, arguments):
    """256 answers of very uneven lengths: the next rows take the places of those that end, against sets of 16 rows of
    which each waits for its longest; both on this side, in turn."""
    ratios = []
    for seed in range(arguments.rounds + 1):
        refilled, waiting = (speed(ours.ask(f"uneven 256 {seed} {refill}"), arguments.clock) for refill in (1, 0))
        ratios.append(refilled / waiting)
    return ratios[1:]


def measure(size, arguments, folder):
    command = ["/usr/bin/python3", __file__, "--worker", size, str(folder), str(arguments.peer)]
    peer = Side(command)
    parameters = peer.read()["parameters"]
    ours = Side([arguments.program, "bench", "language", str(folder)])
    curve_file = folder / "rows.safetensors"
    theirs = peer.ask(f"curve {curve_file} {STEPS}")["losses"]
    mine = ours.ask(f"curve {curve_file} {STEPS}")["losses"]
    ours.ask("compute float32")
    table = ""
    for rows in (64, 1):
        table += contest_row(f"sampling, batch {rows}", parameters,
                             contest(ours, peer, f"sample {rows} {{seed}}", arguments))
    table += contest_row("training step, batch 64", parameters,
                         contest(ours, peer, "train", arguments, "sample 64 {seed}"))
    uneven = uneven_lengths(ours, arguments)
    ours.ask("compute float32")
    ours.ask("sample 64 1")
    mismatch = ours.ask("mismatch")
    speeds, narrow = bfloat16_rows(ours, arguments)
    for side in (ours, peer):
        side.close()
    apart = max(abs(a - b) for a, b in zip(mine, theirs))
    return {"table": table, "parameters": parameters, "apart": apart, "mismatch": mismatch, "speeds": speeds,
            "narrow": narrow, "uneven": uneven}


def report(results, arguments):
    text = (f"`tests/bench/language_models.py`, tokens per second of {arguments.clock} time, one thread each, in turn, median of "
            f"{arguments.rounds} (ratio: least to most), {time.strftime('%Y-%m-%d')}, {platform.machine()}, load "
            f"{os.getloadavg()[0]:.1f}.\n\n")
    text += row("", "parameters", "ours", "PyTorch loop", "times as fast") + row(*["---"] * 5)
    text += "".join(result["table"] for result in results)
    text += "\n" + row("parameters", f"losses of {STEPS} steps, largest difference", "sampler against trainer, float32",
                       "bfloat16 sampling, times float32", "bfloat16 training, times float32",
                       "bfloat16 sampler against float32 trainer: largest, mean e^abs, share outside [0.9, 1.1]",
                       "answers of uneven lengths, places refilled: times sets of 16")
    text += row(*["---"] * 7)
    for result in results:
        narrow = result["narrow"]
        ratio = {kind: value["bfloat16"] / value["float32"] for kind, value in result["speeds"].items()}
        text += row(result["parameters"], f"{result['apart']:.1e}", f"{result['mismatch']['largest']:.1e}",
                    f"{ratio['sample']:.2f}", f"{ratio['train']:.2f}",
                    f"{narrow['largest']:.3f}, {narrow['mean_ratio']:.4f}, {100 * narrow['outside']:.2f} %",
                    f"{statistics.median(result['uneven']):.2f} ({min(result['uneven']):.2f} to "
                    f"{max(result['uneven']):.2f})")
    return text


def main():
    if sys.argv[1:2] == ["--worker"]:
        return peer_worker(*sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=str(ROOT / "build/bin/rewardloom"))
    parser.add_argument("--peer", type=pathlib.Path, default=PEER)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--clock", choices=("processor", "wall"), default="processor")
    parser.add_argument("--sizes", default="0.1M,0.8M,5M")
    parser.add_argument("--out", type=pathlib.Path)
    arguments = parser.parse_args()
    results = []
    for size in arguments.sizes.split(","):
        with tempfile.TemporaryDirectory() as folder:
            results.append(measure(size, arguments, pathlib.Path(folder)))
        print(f"{size}: done", file=sys.stderr, flush=True)
    text = report(results, arguments)
    print(text, end="")
    if arguments.out:
        arguments.out.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""What needs an accelerator, in one go; says what it ran.

usage: tests/gpu/run.py [--program FILE] [--device cuda] [--model tiny|0.5B] [--graphs NAME,NAME] [--bandwidth GB/s]

1. every saved graph, two iterations on the device: it ends well, a second run gives the same metrics to the bit, and
   the metrics of the first iteration are set beside those of the processor
2. sampling by recorded steps (CUDA graphs) gives what launched ones give
3. sampling with a random model of Qwen2.5-0.5B's shape in bfloat16: tokens a second, the share of the memory's
   bandwidth that this is (each step reads all weights once), with both kinds of steps, and the same by Hugging Face's
   generate with a static cache where transformers is installed

Exit status: 0 all well, 1 something failed, 77 there is no such device and nothing was run. With --device cpu
--model tiny the script itself can be tried anywhere."""
import argparse
import json
import pathlib
import sqlite3
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROMPT, ANSWER = 16, 128
SHAPES = {
    "tiny": {"hidden_size": 64, "intermediate_size": 176, "num_hidden_layers": 2, "num_attention_heads": 4,
             "num_key_value_heads": 2, "vocab_size": 64},
    "0.5B": {"hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24, "num_attention_heads": 14,
             "num_key_value_heads": 2, "vocab_size": 151936},
}


def run_graph(options, graph, device, folder, iterations=2):
    """The run's folder; an error is what the program printed."""
    done = subprocess.run([options.program, "run", graph, "--device", device, "--iterations", str(iterations), "--out",
                           folder, "--quiet"], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip() or f"exit status {done.returncode}")
    return max(pathlib.Path(folder).iterdir(), key=lambda path: path.stat().st_mtime_ns)


def query(run, sql):
    store = sqlite3.connect(f"file:{run / 'run.db'}?mode=ro", uri=True)
    try:
        return store.execute(sql).fetchall()
    finally:
        store.close()


def metrics_of(run):
    """(name, iteration) to value, without times."""
    rows = query(run, "SELECT name, iteration, value FROM metrics")
    return {(name, iteration): value for name, iteration, value in rows if "second" not in name and "time" not in name}


def first_difference(device, processor):
    """The largest relative difference among the metrics of the first iteration, and its name."""
    start = min((iteration for _, iteration in processor), default=0)
    apart = []
    for key, value in processor.items():
        other = device.get(key)
        if key[1] == start and value is not None and other is not None:
            apart.append((abs(value - other) / max(abs(value), 1e-6), key[0]))
    return max(apart, default=(0.0, "-"))


def saved_graphs(options, places):
    failed = 0
    names = options.graphs.split(",") if options.graphs else sorted(p.stem for p in (ROOT / "graphs").glob("*.json"))
    for name in names:
        graph = str(ROOT / "graphs" / f"{name}.json")
        try:
            runs = [run_graph(options, graph, device, f"{places}/{name}-{i}")
                    for i, device in enumerate((options.device, options.device, "cpu"))]
        except RuntimeError as error:
            failed += 1
            print(f"{name}: failed\n  {error}")
            continue
        once, again, processor = map(metrics_of, runs)
        same = once == again
        failed += not same
        distance, where = first_difference(once, processor)
        print(f"{name}: ran; twice the same bits: {'yes' if same else 'NO'}; "
              f"from the processor at most {distance:.1e} ({where})", flush=True)
    return failed


def sampling_graph(model, compute, recorded, batch, places):
    shape = SHAPES[model]
    config = dict(shape, architectures=["Qwen2ForCausalLM"], model_type="qwen2", hidden_act="silu",
                  max_position_embeddings=1024, rms_norm_eps=1e-6, rope_theta=1e6, tie_word_embeddings=True,
                  initializer_range=0.02)
    letters = "".join(chr(ord("0") + i) for i in range(60))
    prompts = pathlib.Path(places) / "prompts.jsonl"
    with open(prompts, "w") as file:
        for row in range(batch):
            file.write(json.dumps({"prompt": "".join(letters[(7 * row + i) % 60] for i in range(PROMPT))}) + "\n")
    graph = {"rewardloom": 1, "name": f"sampling {batch}", "settings": {"iterations": 3, "seed": 0}, "nodes": {
        "prompts": {"type": "data.jsonl", "params": {"file": str(prompts)}},
        "model": {"type": "text.policy", "params": {"init": "random", "characters": letters, "config": config,
                                                    "compute": compute}},
        "rollout": {"type": "sample.generate", "inputs": {"policy": "model.policy", "prompts": "prompts.prompts"},
                    "params": {"max_tokens": ANSWER, "recorded_steps": recorded}},
        "length": {"type": "reward.length", "inputs": {"completions": "rollout.completions"}}}}
    path = pathlib.Path(places) / f"sampling-{batch}.json"
    path.write_text(json.dumps(graph))
    return str(path)


def weight_bytes(shape):
    width, layers = shape["hidden_size"], shape["num_hidden_layers"]
    kept = width * shape["num_key_value_heads"] // shape["num_attention_heads"]
    layer = 2 * width * width + 2 * width * kept + 3 * width * shape["intermediate_size"]
    return 2 * (layers * layer + shape["vocab_size"] * width)


def sampled(run):
    """Of all firings of the sampler: seconds, tokens written, steps (the longest answer of each)."""
    (seconds,), = query(run, "SELECT seconds FROM nodes WHERE node = 'rollout'")
    totals = dict(query(run, "SELECT name, SUM(value) FROM metrics GROUP BY name"))
    return seconds, totals["rollout/tokens"], totals["rollout/response_length/max"]


def recorded_steps_agree(options, places):
    """Whether recorded steps sample what others do, in float32: 1 for a failure."""
    runs = []
    for recorded in (False, True):
        graph = sampling_graph("tiny", "float32", recorded, 8, places)
        runs.append(metrics_of(run_graph(options, graph, options.device, f"{places}/recorded-{recorded}", 2)))
    distance, where = first_difference(*runs)
    well = distance < 1e-4
    print(f"recorded steps, float32: from others at most {distance:.1e} ({where}){'' if well else ': FAILED'}", flush=True)
    return 0 if well else 1


def rate(options, recorded, batch, places):
    """Tokens a second, tokens and steps; the first firing loads and warms up: it is taken off."""
    graph = sampling_graph(options.model, "bfloat16", recorded, batch, places)
    short, long = (sampled(run_graph(options, graph, options.device, f"{places}/{name}-{batch}-{recorded}", iterations))
                   for name, iterations in (("short", 1), ("long", 4)))
    seconds, tokens, steps = (b - a for a, b in zip(short, long))
    return tokens / seconds, steps / seconds


def sampling(options, places):
    print(f"sampling, {options.model} in bfloat16, {PROMPT} tokens and at most {ANSWER} behind them:")
    for batch in (1, 8, 64):
        peer = transformers_rate(options, batch)
        for recorded in (False, True):
            tokens, steps = rate(options, recorded, batch, places)
            line = f"  batch {batch}, {'recorded' if recorded else 'launched'} steps: {tokens:,.0f} tokens a second"
            if options.bandwidth:
                share = weight_bytes(SHAPES[options.model]) * steps / (options.bandwidth * 1e9)
                line += f", {100 * share:.1f} % of {options.bandwidth:g} GB/s"
            if peer:
                line += f"; transformers {peer:,.0f}, ratio {tokens / peer:.2f}"
            print(line, flush=True)


def transformers_rate(options, batch):
    """Tokens a second of Hugging Face's generate with a static cache on the same device; none where it is missing."""
    try:
        import torch
        from transformers import Qwen2Config, Qwen2ForCausalLM
    except ImportError:
        return None
    config = Qwen2Config(**SHAPES[options.model], max_position_embeddings=1024, tie_word_embeddings=True)
    model = Qwen2ForCausalLM(config).to(options.device, torch.bfloat16).eval()
    prompts = torch.arange(batch * PROMPT, device=options.device).view(batch, PROMPT) % 60
    arguments = dict(max_new_tokens=ANSWER, min_new_tokens=ANSWER, do_sample=True, cache_implementation="static",
                     pad_token_id=0)
    times = []
    for _ in range(3):
        start = time.perf_counter()
        model.generate(prompts, attention_mask=torch.ones_like(prompts), **arguments).cpu()
        times.append(time.perf_counter() - start)
    return batch * ANSWER / min(times)


def device_refusal(options, places):
    """Why the program cannot use the device; empty where it can."""
    try:
        run_graph(options, str(ROOT / "graphs/grpo-arithmetic.json"), options.device, f"{places}/first", 1)
    except RuntimeError as error:
        if "error[device]" in str(error):
            return str(error)
        raise
    return ""


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", default=str(ROOT / "build/bin/rewardloom"))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--model", choices=SHAPES, default="0.5B")
    parser.add_argument("--graphs", default="")
    parser.add_argument("--bandwidth", type=float, default=0.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as places:
        refusal = device_refusal(options, places)
        if refusal:
            print(f"nothing was run: {refusal}")
            return 77
        failed = saved_graphs(options, places)
        failed += recorded_steps_agree(options, places)
        sampling(options, places)
    print(f"ran on {options.device}; {failed} failed" if failed else f"ran on {options.device}; all well")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Golden numbers for test_architectures, test_heads and test_lora: ../data/architectures.json.

Small decoders in PyTorch in double precision, written from the papers and the published model
descriptions, one function per family and nothing shared with the C++ code. Weights are not stored:
`weight` below gives the same numbers as `reference_weight` in reference_weights.h.

usage: architectures.py > ../data/architectures.json    (needs python3-torch and python3-numpy)
"""
import json
import math

import numpy as np
import torch

torch.set_default_dtype(torch.float64)


# ---- weights by formula: exact in single precision ----

def weight(name, shape, centre=0.0):
    h = 0xCBF29CE484222325
    for byte in name.encode():
        h = ((h ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    with np.errstate(over="ignore"):
        z = np.uint64(h) + np.arange(int(np.prod(shape)), dtype=np.uint64)
        z = (z + np.uint64(0x9E3779B97F4A7C15))
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    unit = (z >> np.uint64(41)).astype(np.float64) / 2.0**22 - 1.0
    return torch.tensor((centre + 0.25 * unit).reshape(shape), requires_grad=True)


class Weights:
    """Makes each tensor when it is first asked for."""

    def __init__(self):
        self.all = {}

    def __call__(self, name, *shape, centre=0.0):
        if name not in self.all:
            self.all[name] = weight(name, shape, centre)
        return self.all[name]


# ---- parts ----

def rms(x, w, eps):
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps) * w


def layer_norm(x, w, b, eps):
    centred = x - x.mean(-1, keepdim=True)
    return centred / torch.sqrt((centred**2).mean(-1, keepdim=True) + eps) * w + b


def gelu_tanh(x):
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def silu(x):
    return x / (1 + torch.exp(-x))


def frequencies(config, size):
    f = [config.get("rope_theta", 10000.0) ** (-2 * i / size) for i in range(size // 2)]
    s = config.get("rope_scaling")
    if s is None:
        return f
    if s["rope_type"] == "linear":
        return [x / s["factor"] for x in f]
    out = []
    for x in f:  # by wavelengths, as the Llama 3.1 authors put it
        wavelength = 2 * math.pi / x
        original = s["original_max_position_embeddings"]
        if wavelength < original / s["high_freq_factor"]:
            out.append(x)
        elif wavelength > original / s["low_freq_factor"]:
            out.append(x / s["factor"])
        else:
            smooth = (original / wavelength - s["low_freq_factor"]) / (
                s["high_freq_factor"] - s["low_freq_factor"])
            out.append((1 - smooth) * x / s["factor"] + smooth * x)
    return out


def rotate(x, config):
    """x [T,H,E]: dimension i is paired with i + E/2."""
    half = x.shape[-1] // 2
    angle = torch.outer(torch.arange(len(x), dtype=torch.float64),
                        torch.tensor(frequencies(config, x.shape[-1])))[:, None, :]
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()], -1)


def attend(q, k, v, scale, window=0, cap=0.0):
    """q [T,H,E], k and v [T,G,E], one query after the other."""
    out = []
    shared = q.shape[1] // k.shape[1]
    for t in range(len(q)):
        first = max(0, t - window + 1) if window else 0
        heads = []
        for h in range(q.shape[1]):
            g = h // shared
            score = k[first:t + 1, g] @ q[t, h] * scale
            if cap:
                score = cap * torch.tanh(score / cap)
            p = torch.exp(score - score.max().detach())
            heads.append((p / p.sum()) @ v[first:t + 1, g])
        out.append(torch.cat(heads))
    return torch.stack(out)


# ---- families ----

def linear(w, name, out, x, bias=False, lora=None):
    y = x @ w(name + ".weight", out, x.shape[-1]).T
    if bias:
        y = y + w(name + ".bias", out)
    return y + adapter(w, name, out, x, lora)


def conv1d(w, name, out, x, lora=None):
    return x @ w(name + ".weight", x.shape[-1], out) + w(name + ".bias", out) + adapter(
        w, name, out, x, lora)


def adapter(w, name, out, x, lora):
    if lora is None or name.rsplit(".", 1)[1] not in lora["targets"]:
        return 0.0
    a = w(name + ".lora_A.weight", lora["rank"], x.shape[-1])
    b = w(name + ".lora_B.weight", out, lora["rank"])
    return lora["alpha"] / lora["rank"] * (x @ a.T @ b.T)


def llama(w, c, ids, lora=None):
    """Llama, Mistral and Qwen2."""
    d, heads, groups = c["hidden_size"], c["num_attention_heads"], c["num_key_value_heads"]
    e = c.get("head_dim", d // heads)
    eps = c["rms_norm_eps"]
    qwen = c["model_type"] == "qwen2"
    x = w("model.embed_tokens.weight", c["vocab_size"], d)[ids]
    for i in range(c["num_hidden_layers"]):
        at = f"model.layers.{i}."
        window = c.get("sliding_window") or 0
        if qwen and not (c["use_sliding_window"] and i >= c["max_window_layers"]):
            window = 0
        y = rms(x, w(at + "input_layernorm.weight", d, centre=1.0), eps)
        q = linear(w, at + "self_attn.q_proj", heads * e, y, qwen, lora).view(-1, heads, e)
        k = linear(w, at + "self_attn.k_proj", groups * e, y, qwen, lora).view(-1, groups, e)
        v = linear(w, at + "self_attn.v_proj", groups * e, y, qwen, lora).view(-1, groups, e)
        mixed = attend(rotate(q, c), rotate(k, c), v, e**-0.5, window)
        x = x + linear(w, at + "self_attn.o_proj", d, mixed, lora=lora)
        y = rms(x, w(at + "post_attention_layernorm.weight", d, centre=1.0), eps)
        inner = c["intermediate_size"]
        gate = silu(linear(w, at + "mlp.gate_proj", inner, y, lora=lora))
        x = x + linear(w, at + "mlp.down_proj", d,
                       gate * linear(w, at + "mlp.up_proj", inner, y, lora=lora), lora=lora)
    return rms(x, w("model.norm.weight", d, centre=1.0), eps)


def gemma2(w, c, ids, lora=None):
    d, heads, groups, e = (c["hidden_size"], c["num_attention_heads"], c["num_key_value_heads"],
                           c["head_dim"])
    norm = lambda name, x: rms(x, 1 + w(name + ".weight", d), c["rms_norm_eps"])
    x = w("model.embed_tokens.weight", c["vocab_size"], d)[ids] * math.sqrt(d)
    for i in range(c["num_hidden_layers"]):
        at = f"model.layers.{i}."
        y = norm(at + "input_layernorm", x)
        q = linear(w, at + "self_attn.q_proj", heads * e, y).view(-1, heads, e)
        k = linear(w, at + "self_attn.k_proj", groups * e, y).view(-1, groups, e)
        v = linear(w, at + "self_attn.v_proj", groups * e, y).view(-1, groups, e)
        mixed = attend(rotate(q, c), rotate(k, c), v, c["query_pre_attn_scalar"]**-0.5,
                       c["sliding_window"] if i % 2 == 0 else 0, c["attn_logit_softcapping"])
        x = x + norm(at + "post_attention_layernorm", linear(w, at + "self_attn.o_proj", d, mixed))
        y = norm(at + "pre_feedforward_layernorm", x)
        inner = c["intermediate_size"]
        gate = gelu_tanh(linear(w, at + "mlp.gate_proj", inner, y))
        down = linear(w, at + "mlp.down_proj", d, gate * linear(w, at + "mlp.up_proj", inner, y))
        x = x + norm(at + "post_feedforward_layernorm", down)
    return norm("model.norm", x)


def gpt2(w, c, ids, lora=None):
    d, heads = c["n_embd"], c["n_head"]
    norm = lambda name, x: layer_norm(x, w(name + ".weight", d, centre=1.0), w(name + ".bias", d),
                                      c["layer_norm_epsilon"])
    x = (w("transformer.wte.weight", c["vocab_size"], d)[ids] +
         w("transformer.wpe.weight", c["n_positions"], d)[:len(ids)])
    for i in range(c["n_layer"]):
        at = f"transformer.h.{i}."
        qkv = conv1d(w, at + "attn.c_attn", 3 * d, norm(at + "ln_1", x), lora)
        q, k, v = (part.reshape(-1, heads, d // heads) for part in qkv.split(d, dim=-1))
        x = x + conv1d(w, at + "attn.c_proj", d, attend(q, k, v, (d // heads)**-0.5), lora)
        inner = gelu_tanh(conv1d(w, at + "mlp.c_fc", 4 * d, norm(at + "ln_2", x), lora))
        x = x + conv1d(w, at + "mlp.c_proj", d, inner, lora)
    return norm("transformer.ln_f", x)


FAMILIES = {"llama": llama, "mistral": llama, "qwen2": llama, "gemma2": gemma2, "gpt2": gpt2}


def head(w, c, hidden):
    kind = c["architectures"][0]
    labels = len(c.get("id2label", {}))
    width = hidden.shape[-1]
    if kind.endswith("ForSequenceClassification"):
        return hidden @ w("score.weight", labels, width).T
    if kind.endswith("ForTokenClassification"):
        name = "classifier" if c["model_type"] == "gpt2" else "score"
        return hidden @ w(name + ".weight", labels, width).T + w(name + ".bias", labels)
    tied = "transformer.wte.weight" if c["model_type"] == "gpt2" else "model.embed_tokens.weight"
    name = tied if c["tie_word_embeddings"] else "lm_head.weight"
    logits = hidden @ w(name, c["vocab_size"], width).T
    cap = c.get("final_logit_softcapping")
    return cap * torch.tanh(logits / cap) if cap else logits


def base(model_type, kind, **more):
    c = {"model_type": model_type, "architectures": [kind], "vocab_size": 29, "hidden_size": 24,
         "intermediate_size": 36, "num_hidden_layers": 2, "num_attention_heads": 4,
         "num_key_value_heads": 2, "max_position_embeddings": 64, "rms_norm_eps": 1e-5,
         "rope_theta": 10000.0, "tie_word_embeddings": False, "hidden_act": "silu"}
    c.update(more)
    return c


def base_gpt2(kind, **more):
    c = {"model_type": "gpt2", "architectures": [kind], "vocab_size": 29, "n_embd": 24,
         "n_layer": 2, "n_head": 4, "n_positions": 20, "activation_function": "gelu_new",
         "layer_norm_epsilon": 1e-5, "tie_word_embeddings": True}
    c.update(more)
    return c


def labels(count):
    return {str(i): f"LABEL_{i}" for i in range(count)}


GEMMA = dict(hidden_size=20, head_dim=6, num_hidden_layers=3, query_pre_attn_scalar=10,
             sliding_window=4, attn_logit_softcapping=2.0, final_logit_softcapping=1.5,
             hidden_activation="gelu_pytorch_tanh", tie_word_embeddings=True)
LLAMA3 = dict(head_dim=12, rope_theta=500.0,
              rope_scaling={"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                            "high_freq_factor": 4.0, "original_max_position_embeddings": 64})
CASES = {
    "gpt2": (base_gpt2("GPT2LMHeadModel"), None),
    "gemma2": (base("gemma2", "Gemma2ForCausalLM", **GEMMA), None),
    "llama3-scaling": (base("llama", "LlamaForCausalLM", **LLAMA3), None),
    "linear-scaling": (base("llama", "LlamaForCausalLM", tie_word_embeddings=True,
                            rope_scaling={"rope_type": "linear", "factor": 2.5}), None),
    "mistral-window": (base("mistral", "MistralForCausalLM", sliding_window=5), None),
    "qwen2-window": (base("qwen2", "Qwen2ForCausalLM", use_sliding_window=True, sliding_window=3,
                          max_window_layers=1), None),
    "llama-sequence": (base("llama", "LlamaForSequenceClassification", id2label=labels(3)), None),
    "mistral-token": (base("mistral", "MistralForTokenClassification", id2label=labels(1),
                           sliding_window=6), None),
    "gemma2-sequence": (base("gemma2", "Gemma2ForSequenceClassification", id2label=labels(1),
                             **GEMMA), None),
    "gpt2-token": (base_gpt2("GPT2ForTokenClassification", id2label=labels(2)), None),
    "llama-lora": (base("llama", "LlamaForCausalLM"),
                   {"rank": 3, "alpha": 6.0, "targets": ["q_proj", "v_proj", "down_proj"]}),
    "gpt2-lora": (base_gpt2("GPT2LMHeadModel"),
                  {"rank": 2, "alpha": 3.0, "targets": ["c_attn", "c_proj"]}),
    "sequence-lora": (base("qwen2", "Qwen2ForSequenceClassification", id2label=labels(1),
                           use_sliding_window=False),
                      {"rank": 2, "alpha": 8.0, "targets": ["k_proj", "up_proj"]}),
}
IDS = [[3, 14, 15, 9, 26, 5, 3, 5, 8, 9, 7, 9, 3, 23, 8, 4], [28, 0, 27]]


def rounded(x):
    return float(f"{x:.9g}")


def golden(config, lora):
    """loss = sum over all outputs y_k of cos(k) y_k; of each gradient g its norm and sum cos(k) g_k."""
    w = Weights()
    outputs = [head(w, config, FAMILIES[config["model_type"]](w, config, torch.tensor(ids), lora))
               for ids in IDS]
    flat = torch.cat([y.reshape(-1) for y in outputs])
    (flat * torch.cos(torch.arange(len(flat), dtype=torch.float64))).sum().backward()
    gradients = {}
    for name, tensor in sorted(w.all.items()):
        g = tensor.grad.reshape(-1)
        along = (g * torch.cos(torch.arange(len(g), dtype=torch.float64))).sum()
        gradients[name] = [rounded(g.norm().item()), rounded(along.item())]
    case = {"config": config, "ids": IDS, "outputs": [rounded(v) for v in flat.detach().tolist()],
            "gradients": gradients}
    if lora is not None:
        case["lora"] = lora
    return case


if __name__ == "__main__":
    print(json.dumps({name: golden(*case) for name, case in CASES.items()}, separators=(",", ":")))

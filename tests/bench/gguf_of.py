#!/usr/bin/env python3
"""Writes a Hugging Face folder of a Llama as a GGUF file (version 3), without a vocabulary.

usage: tests/bench/gguf_of.py FOLDER OUT.gguf [f32|bf16]

The layout is that of the GGUF specification (ggml's docs/gguf.md): a header, typed key-value pairs, a table of tensors,
and their data aligned to 32 bytes. Rows of query and key weights change places, since llama.cpp rotates neighbouring
pairs where Hugging Face rotates halves. Norms stay float32."""
import json
import pathlib
import struct
import sys

import numpy

ALIGNMENT = 32
U32, F32, STRING = 4, 6, 8
TENSOR_TYPES = {"f32": 0, "bf16": 30}
BLOCK_NAMES = {"input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
               "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "post_attention_layernorm": "ffn_norm",
               "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
OTHER_NAMES = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
               "lm_head.weight": "output.weight"}


def read_safetensors(path):
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    tensors = {}
    for name, entry in json.loads(data[8:8 + size]).items():
        if name == "__metadata__":
            continue
        if entry["dtype"] not in ("F32", "BF16"):
            raise SystemExit(f"{path}: {name} is {entry['dtype']}, float32 and bfloat16 are understood")
        first, last = (8 + size + at for at in entry["data_offsets"])
        if entry["dtype"] == "F32":
            values = numpy.frombuffer(data[first:last], numpy.float32)
        else:
            words = numpy.frombuffer(data[first:last], numpy.uint16).astype(numpy.uint32) << 16
            values = words.view(numpy.float32)
        tensors[name] = values.reshape(entry["shape"])
    return tensors


def bfloat16_words(values):
    """Rounded to the nearest, to even between two."""
    bits = numpy.ascontiguousarray(values, numpy.float32).view(numpy.uint32)
    return ((bits + 0x7fff + ((bits >> 16) & 1)) >> 16).astype(numpy.uint16)


def interleaved(weight, heads):
    """Rows 0, 1, ... of each head's halves in turn."""
    rows, columns = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def renamed(name, value, config):
    if name in OTHER_NAMES:
        return OTHER_NAMES[name], value
    _, _, index, rest = name.split(".", 3)
    module, kind = rest.rsplit(".", 1)
    if kind != "weight" or module not in BLOCK_NAMES:
        raise SystemExit(f"no place for {name}")
    if module.endswith("q_proj"):
        value = interleaved(value, config["num_attention_heads"])
    if module.endswith("k_proj"):
        value = interleaved(value, config.get("num_key_value_heads", config["num_attention_heads"]))
    return f"blk.{index}.{BLOCK_NAMES[module]}.weight", value


def text(value):
    return struct.pack("<Q", len(value.encode())) + value.encode()


def pairs_of(config):
    heads = config["num_attention_heads"]
    head = config.get("head_dim") or config["hidden_size"] // heads
    return [("general.architecture", STRING, "llama"), ("llama.context_length", U32, config["max_position_embeddings"]),
            ("llama.embedding_length", U32, config["hidden_size"]), ("llama.block_count", U32, config["num_hidden_layers"]),
            ("llama.feed_forward_length", U32, config["intermediate_size"]), ("llama.attention.head_count", U32, heads),
            ("llama.attention.head_count_kv", U32, config.get("num_key_value_heads", heads)),
            ("llama.attention.layer_norm_rms_epsilon", F32, config["rms_norm_eps"]),
            ("llama.rope.dimension_count", U32, head), ("llama.rope.freq_base", F32, config.get("rope_theta", 10000.0)),
            ("llama.vocab_size", U32, config["vocab_size"]), ("tokenizer.ggml.model", STRING, "no_vocab")]


def write_gguf(folder, out, matrices="f32"):
    folder = pathlib.Path(folder)
    config = json.loads((folder / "config.json").read_text())
    tensors = dict(renamed(name, value, config)
                   for name, value in read_safetensors(folder / "model.safetensors").items())
    if config.get("tie_word_embeddings"):
        tensors.pop("output.weight", None)
    pairs = pairs_of(config)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(pairs))
    for key, kind, value in pairs:
        head += text(key) + struct.pack("<I", kind)
        head += text(value) if kind == STRING else struct.pack("<I" if kind == U32 else "<f", value)
    blobs, offset = [], 0
    for name, value in tensors.items():
        narrow = matrices == "bf16" and value.ndim == 2
        blob = (bfloat16_words(value) if narrow else numpy.ascontiguousarray(value, numpy.float32)).tobytes()
        head += text(name) + struct.pack("<I", value.ndim)
        head += struct.pack(f"<{value.ndim}Q", *reversed(value.shape))
        head += struct.pack("<IQ", TENSOR_TYPES["bf16" if narrow else "f32"], offset)
        blobs.append(blob + bytes(-len(blob) % ALIGNMENT))
        offset += len(blobs[-1])
    with open(out, "wb") as file:
        file.write(head + bytes(-len(head) % ALIGNMENT))
        for blob in blobs:
            file.write(blob)


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4) or sys.argv[3:] not in ([], ["f32"], ["bf16"]):
        raise SystemExit(__doc__)
    write_gguf(*sys.argv[1:])

#!/usr/bin/env python3
"""Golden numbers for test_encoder: ../data/encoder.json.

The encoder is PyTorch's own torch.nn.TransformerEncoder (post-norm, gelu) in double precision with
BERT's embeddings in front; pooling as sentence-transformers documents it. Weights by formula, see
architectures.py.

usage: encoder.py > ../data/encoder.json    (needs python3-torch and python3-numpy)
"""
import json

import torch

from architectures import rounded, weight

CONFIG = {"architectures": ["BertModel"], "model_type": "bert", "vocab_size": 37, "hidden_size": 24,
          "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4,
          "max_position_embeddings": 24, "type_vocab_size": 2, "layer_norm_eps": 1e-12,
          "hidden_act": "gelu", "position_embedding_type": "absolute"}
IDS = [[2, 30, 7, 7, 19, 36, 5, 3], [2, 11, 3], [2, 3]]


def affine(name, shape, centre=0.0):
    return weight(name + ".weight", shape, centre), weight(name + ".bias", shape[:1])


def encoder(c):
    d, inner = c["hidden_size"], c["intermediate_size"]
    layer = torch.nn.TransformerEncoderLayer(d, c["num_attention_heads"], inner, 0.0, "gelu",
                                             c["layer_norm_eps"], batch_first=True)
    net = torch.nn.TransformerEncoder(layer, c["num_hidden_layers"]).double()
    with torch.no_grad():
        for i, block in enumerate(net.layers):
            at = f"encoder.layer.{i}."
            parts = [affine(at + "attention.self." + p, (d, d)) for p in ("query", "key", "value")]
            block.self_attn.in_proj_weight.copy_(torch.cat([w for w, _ in parts]))
            block.self_attn.in_proj_bias.copy_(torch.cat([b for _, b in parts]))
            for module, name, shape, centre in (
                    (block.self_attn.out_proj, "attention.output.dense", (d, d), 0.0),
                    (block.norm1, "attention.output.LayerNorm", (d,), 1.0),
                    (block.linear1, "intermediate.dense", (inner, d), 0.0),
                    (block.linear2, "output.dense", (d, inner), 0.0),
                    (block.norm2, "output.LayerNorm", (d,), 1.0)):
                w, b = affine(at + name, shape, centre)
                module.weight.copy_(w)
                module.bias.copy_(b)
    return net


def hidden(c, net, ids):
    d = c["hidden_size"]
    e = "embeddings."
    x = (weight(e + "word_embeddings.weight", (c["vocab_size"], d))[ids] +
         weight(e + "position_embeddings.weight", (c["max_position_embeddings"], d))[:len(ids)] +
         weight(e + "token_type_embeddings.weight", (c["type_vocab_size"], d))[0])
    w, b = affine(e + "LayerNorm", (d,), 1.0)
    x = torch.nn.functional.layer_norm(x, (d,), w, b, c["layer_norm_eps"])
    return net(x[None])[0].detach()


if __name__ == "__main__":
    net = encoder(CONFIG)
    rows = [hidden(CONFIG, net, torch.tensor(ids)) for ids in IDS]
    out = {"config": CONFIG, "ids": IDS,
           "hidden": [[rounded(v) for v in row.reshape(-1).tolist()] for row in rows],
           "mean": [[rounded(v) for v in row.mean(0).tolist()] for row in rows],
           "unit_mean": [[rounded(v) for v in torch.nn.functional.normalize(
               row.mean(0), dim=0).tolist()] for row in rows],
           "cls": [[rounded(v) for v in row[0].tolist()] for row in rows],
           "max": [[rounded(v) for v in row.max(0).values.tolist()] for row in rows]}
    print(json.dumps(out, separators=(",", ":")))

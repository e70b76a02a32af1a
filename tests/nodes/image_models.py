#!/usr/bin/env python3
"""Writes tests/nodes/data/image_{generator,encoder}.safetensors and image_models.json: a generator and an encoder of
plain PyTorch modules whose parameters are named as image.generator and image.encoder document, and what they compute.

usage: tests/nodes/image_models.py      (needs torch)"""
import json
import math
import pathlib
import struct

import torch

DATA = pathlib.Path(__file__).parent / "data"
C, H, W, CLASSES = 1, 4, 6, 3


class Block(torch.nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.up, self.condition, self.down = (torch.nn.Linear(hidden, hidden) for _ in range(3))

    def forward(self, h, condition):
        norm = torch.nn.functional.layer_norm(h, h.shape[1:])
        return h + self.down(torch.nn.functional.gelu(self.up(norm) + self.condition(condition)))


class Generator(torch.nn.Module):
    def __init__(self, hidden, blocks):
        super().__init__()
        self.sigma = torch.nn.Linear(32, hidden)
        self.blocks = torch.nn.ModuleList(Block(hidden) for _ in range(blocks))
        self.add_module("class", torch.nn.Embedding(CLASSES, hidden))
        self.add_module("in", torch.nn.Linear(C * H * W, hidden))
        self.out = torch.nn.Linear(hidden, C * H * W)

    def forward(self, x, sigma, labels):
        angles = sigma[:, None] * torch.linspace(0, math.log(100), 16).exp()
        features = torch.cat([angles.sin(), angles.cos()], 1)
        condition = torch.nn.functional.silu(self.sigma(features) + self.get_submodule("class")(labels))
        h = self.get_submodule("in")(x.flatten(1))
        for block in self.blocks:
            h = block(h, condition)
        return self.out(torch.nn.functional.layer_norm(h, h.shape[1:])).view_as(x)


class Encoder(torch.nn.Module):
    def __init__(self, filters, features):
        super().__init__()
        self.edges = torch.nn.Conv2d(C, filters, 3, padding=1)
        self.patches = torch.nn.Conv2d(filters, features, 2, stride=2)
        self.add_module("global", torch.nn.Linear(features * H // 2 * W // 2, features))
        self.classes = torch.nn.Linear(features, CLASSES)

    def forward(self, images):
        patches = self.patches(self.edges(images).relu()).relu()
        whole = self.get_submodule("global")(patches.flatten(1)).relu()
        return whole, patches.flatten(2).transpose(1, 2), self.classes(whole)


def write_safetensors(file, state):
    header, data = {}, b""
    for name, tensor in state.items():
        raw = struct.pack(f"<{tensor.numel()}f", *tensor.flatten().tolist())
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    file.write_bytes(struct.pack("<Q", len(text)) + text + data)


def numbers(tensor):
    return {"shape": list(tensor.shape), "data": [round(x, 7) for x in tensor.double().flatten().tolist()]}


@torch.no_grad()
def main():
    torch.manual_seed(0)
    generator, encoder = Generator(hidden=5, blocks=2), Encoder(filters=2, features=4)
    for parameter in encoder.parameters():
        parameter.mul_(3)
    x, sigma, labels = torch.randn(3, C, H, W), torch.tensor([0.1, 0.6, 1.0]), torch.tensor([2, 0, 1])
    whole, patches, logits = encoder(x)
    write_safetensors(DATA / "image_generator.safetensors", generator.state_dict())
    write_safetensors(DATA / "image_encoder.safetensors", encoder.state_dict())
    (DATA / "image_models.json").write_text(json.dumps({
        "images": numbers(x), "sigma": numbers(sigma), "labels": labels.tolist(),
        "velocity": numbers(generator(x, sigma, labels)), "global": numbers(whole), "patches": numbers(patches),
        "logits": numbers(logits)}) + "\n")


if __name__ == "__main__":
    main()

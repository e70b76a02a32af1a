// Images with classes from files, as others lay them out.
#pragma once
#include <ATen/core/Tensor.h>

#include <string>

namespace rewardloom {

struct LabelledImages {
  at::Tensor images;  ///< [N,C,H,W] uint8
  at::Tensor labels;  ///< [N] int64
};

/// IDX files (yann.lecun.com/exdb/mnist), not compressed: images uint8 of 3 dimensions, labels
/// uint8 of one. Failure `file-not-found`, `bad-idx` saying what in which file is wrong.
LabelledImages read_idx(const std::string& images, const std::string& labels);

/// CIFAR-10's binary version: rows of 1 byte label and 3 * 32 * 32 bytes, one file or a folder of
/// data_batch_*.bin. Failure `file-not-found`, `bad-cifar`.
LabelledImages read_cifar(const std::string& path);

}  // namespace rewardloom

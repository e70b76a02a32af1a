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

/// A folder with a folder of PNG files for each class (as torchvision's ImageFolder has it), in the
/// order of the names; names that are all numbers are the classes' numbers. Grey files among
/// coloured ones become coloured. With `tile` each file is a grid of tile x tile pixels, `gap`
/// pixels between them, row after row; tiles of nothing but grey 128, which image.grid leaves at
/// the end, are left out. Failure `file-not-found` for a class without files, `bad-png`,
/// `bad-image` for another size.
LabelledImages read_image_folder(const std::string& path, std::int64_t tile, std::int64_t gap);

/// CIFAR-10's binary version: rows of 1 byte label and 3 * 32 * 32 bytes, one file or a folder of
/// data_batch_*.bin. Failure `file-not-found`, `bad-cifar`.
LabelledImages read_cifar(const std::string& path);

}  // namespace rewardloom

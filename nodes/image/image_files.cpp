#include "nodes/image/image_files.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <vector>

#include "engine/core/problem.h"
#include "engine/io/durable_file.h"

namespace rewardloom {
namespace {

[[noreturn]] void bad_idx(const std::string& path, const std::string& what) {
  throw Failure("bad-idx", fmt::format("{}: {}", path, what),
                "an IDX file is 0 0 TYPE DIMENSIONS, a 32-bit big-endian size of each, then data");
}

/// An IDX file of bytes with `rank` dimensions.
at::Tensor idx_bytes(const std::string& path, std::size_t rank) {
  const std::string bytes = read_file(path);
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
  if (bytes.size() >= 2 && byte(0) == 0x1f && byte(1) == 0x8b) {
    bad_idx(path, "is compressed by gzip: unpack it first");
  }
  const std::size_t head = 4 + 4 * rank;
  if (bytes.size() < head) bad_idx(path, fmt::format("has {} bytes, no header", bytes.size()));
  if (byte(0) != 0 || byte(1) != 0 || byte(2) != 8 || byte(3) != rank) {
    bad_idx(path, fmt::format("begins with {} {} {} {}, but 0 0 8 {} is wanted", byte(0), byte(1),
                              byte(2), byte(3), rank));
  }
  std::vector<std::int64_t> shape;
  double total = 1;
  for (std::size_t d = 0; d < rank; ++d) {
    std::uint32_t size = 0;
    for (std::size_t k = 0; k < 4; ++k) size = size << 8 | byte(4 + 4 * d + k);
    shape.push_back(size);
    total *= size;
  }
  if (total != static_cast<double>(bytes.size() - head)) {
    bad_idx(path, fmt::format("says {} bytes of data, but has {}", total, bytes.size() - head));
  }
  at::Tensor out = at::empty(shape, at::kByte);
  std::memcpy(out.data_ptr<std::uint8_t>(), bytes.data() + head, bytes.size() - head);
  return out;
}

std::vector<std::string> cifar_files(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::is_directory(path, error)) return {path};
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(path)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("data_batch_") && name.ends_with(".bin")) {
      files.push_back(entry.path().string());
    }
  }
  std::sort(files.begin(), files.end());
  if (!files.empty()) return files;
  throw Failure("file-not-found", fmt::format("{} has no data_batch_*.bin", path),
                "unpack CIFAR-10's binary version there");
}

}  // namespace

LabelledImages read_idx(const std::string& images, const std::string& labels) {
  LabelledImages out{idx_bytes(images, 3).unsqueeze(1), idx_bytes(labels, 1).to(at::kLong)};
  if (out.images.size(0) != out.labels.size(0) || out.labels.size(0) == 0) {
    throw Failure("bad-idx",
                  fmt::format("{} has {} images, but {} has {} labels", images, out.images.size(0),
                              labels, out.labels.size(0)),
                  "give the two files of one set");
  }
  return out;
}

LabelledImages read_cifar(const std::string& path) {
  constexpr std::int64_t kRow = 1 + 3 * 32 * 32;
  std::vector<at::Tensor> parts;
  for (const std::string& file : cifar_files(path)) {
    const std::string bytes = read_file(file);
    const auto size = static_cast<std::int64_t>(bytes.size());
    if (size == 0 || size % kRow != 0) {
      throw Failure("bad-cifar",
                    fmt::format("{} has {} bytes, which is no multiple of {}", file, size, kRow),
                    "rows are 1 byte label and 3072 bytes of pixels");
    }
    at::Tensor rows = at::empty({size / kRow, kRow}, at::kByte);
    std::memcpy(rows.data_ptr<std::uint8_t>(), bytes.data(), bytes.size());
    parts.push_back(rows);
  }
  const at::Tensor rows = at::cat(parts);
  LabelledImages out{rows.narrow(1, 1, kRow - 1).reshape({-1, 3, 32, 32}).contiguous(),
                     rows.select(1, 0).to(at::kLong)};
  const auto most = out.labels.max().item<std::int64_t>();
  if (most <= 9) return out;
  throw Failure("bad-cifar", fmt::format("{} has a label {}, but classes are 0 to 9", path, most),
                "give CIFAR-10's binary version");
}

}  // namespace rewardloom

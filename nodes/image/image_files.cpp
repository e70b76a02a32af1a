#include "nodes/image/image_files.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <vector>

#include "engine/core/problem.h"
#include "engine/io/durable_file.h"
#include "nodes/image/png.h"

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

namespace fs = std::filesystem;

std::vector<fs::path> entries_of(const fs::path& folder, bool folders) {
  std::error_code error;
  std::vector<fs::path> out;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    std::string kind = it->path().extension().string();
    std::transform(kind.begin(), kind.end(), kind.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    const bool wanted = folders ? it->is_directory() : it->is_regular_file() && kind == ".png";
    if (wanted && !it->path().filename().string().starts_with(".")) out.push_back(it->path());
  }
  if (error) {
    throw Failure("file-not-found", fmt::format("{}: {}", folder.string(), error.message()),
                  "give a folder that can be read");
  }
  std::sort(out.begin(), out.end());
  return out;
}

/// The number that each folder's name is, or, unless all are numbers, its place among them.
std::vector<std::int64_t> classes_of(const std::vector<fs::path>& folders) {
  std::vector<std::int64_t> numbers, places;
  for (const fs::path& folder : folders) {
    const std::string name = folder.filename().string();
    std::int64_t number = -1;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
    places.push_back(static_cast<std::int64_t>(places.size()));
    if (error == std::errc() && end == name.data() + name.size() && number >= 0) {
      numbers.push_back(number);
    }
  }
  return numbers.size() == folders.size() ? numbers : places;
}

/// [C,H,W] as [N,C,tile,tile].
std::vector<at::Tensor> tiles_of(const at::Tensor& sheet, std::int64_t tile, std::int64_t gap,
                                 const std::string& path) {
  constexpr std::int64_t kUnused = 128;
  const std::int64_t height = sheet.size(1), width = sheet.size(2), pitch = tile + gap;
  if (height < tile || width < tile || (height + gap) % pitch != 0 || (width + gap) % pitch != 0) {
    throw Failure("bad-image",
                  fmt::format("{} is {} x {} pixels, which is no grid of {} x {} with {} between",
                              path, width, height, tile, tile, gap),
                  "set tile and gap as the grid was made");
  }
  std::vector<at::Tensor> out;
  for (std::int64_t y = 0; y < height; y += pitch) {
    for (std::int64_t x = 0; x < width; x += pitch) {
      const at::Tensor one = sheet.narrow(1, y, tile).narrow(2, x, tile);
      if (!one.eq(kUnused).all().item<bool>()) out.push_back(one);
    }
  }
  return out;
}

/// All of one size, or the first that differs is named.
class ImageStack {
 public:
  void add(const at::Tensor& image, std::int64_t label, const std::string& path) {
    if (images_.empty()) first_ = path;
    coloured_ = coloured_ || image.size(0) == 3;
    if (!images_.empty() && image.sizes().slice(1) != images_.front().sizes().slice(1)) {
      throw Failure(
          "bad-image",
          fmt::format("{} is {} x {} pixels, but {} is {} x {}", path, image.size(2), image.size(1),
                      first_, images_.front().size(2), images_.front().size(1)),
          "all images of a folder have one size: scale or crop them first");
    }
    images_.push_back(image);
    labels_.push_back(label);
  }

  LabelledImages take() const {
    std::vector<at::Tensor> same;
    for (const at::Tensor& image : images_) {
      same.push_back(coloured_ ? image.expand({3, image.size(1), image.size(2)}) : image);
    }
    return {at::stack(same), at::tensor(labels_, at::TensorOptions().dtype(at::kLong))};
  }

 private:
  std::vector<at::Tensor> images_;
  std::vector<std::int64_t> labels_;
  std::string first_;
  bool coloured_ = false;
};

}  // namespace

LabelledImages read_image_folder(const std::string& path, std::int64_t tile, std::int64_t gap) {
  const std::vector<fs::path> folders = entries_of(path, true);
  if (folders.empty()) {
    throw Failure("file-not-found", fmt::format("{} has no folders of classes", path),
                  "put the PNG files of each class into a folder of its own there");
  }
  const std::vector<std::int64_t> classes = classes_of(folders);
  ImageStack all;
  for (std::size_t i = 0; i < folders.size(); ++i) {
    const std::vector<fs::path> files = entries_of(folders[i], false);
    if (files.empty()) {
      throw Failure("file-not-found", fmt::format("{} has no PNG file", folders[i].string()),
                    "every folder there is a class: remove it, or put its images into it");
    }
    for (const fs::path& file : files) {
      const at::Tensor image = decode_png(read_file(file.string()), file.string());
      const auto parts =
          tile > 0 ? tiles_of(image, tile, gap, file.string()) : std::vector<at::Tensor>{image};
      for (const at::Tensor& part : parts) all.add(part, classes[i], file.string());
    }
  }
  return all.take();
}

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

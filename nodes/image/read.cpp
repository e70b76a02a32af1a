#include <fmt/format.h>
#include <torch/types.h>

#include <map>
#include <memory>
#include <mutex>

#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "nodes/image/image_rows.h"

namespace rewardloom {
namespace {

enum class ImageFormat { idx, cifar, folder };
constexpr auto choices(ImageFormat) {
  return std::to_array<Choice<ImageFormat>>({
      {ImageFormat::idx, "idx", "two IDX files, as MNIST has them"},
      {ImageFormat::cifar, "cifar", "CIFAR-10's binary version"},
      {ImageFormat::folder, "folder", "PNG files in one folder per class"},
  });
}

enum class ImageStyle { plain, inverted };
constexpr auto choices(ImageStyle) {
  return std::to_array<Choice<ImageStyle>>({
      {ImageStyle::plain, "plain", "as in the file"},
      {ImageStyle::inverted, "inverted", "dark for light"},
  });
}

/// Files are read again when a run resumes: nothing to keep.
struct ImagesInMemory {
  SplitImages rows;
  void save(Package&) const {}
  void load(const Package&) {}
};

}  // namespace

struct ReadImages final : Node {
  State<ImagesInMemory> memory{this, "memory"};
  Output<Images> images{this, "images", "drawn rows with their classes, pixels from -1 to 1"};
  Output<Prompts> prompts{this, "prompts", "the class of each row as text", {.dims = "P"}};
  Param<ImageFormat> format{this, "format", ImageFormat::idx, "how the files are laid out"};
  Param<std::string> path{this,
                          "images",
                          required,
                          "file of the images (idx), file or folder (cifar), folder",
                          {.path = true}};
  Param<std::string> labels{this, "labels", "", "file of the classes (idx)", {.path = true}};
  Param<std::int64_t> batch{
      this, "batch", 0, "rows per iteration, drawn; 0: all, in order", {.min = 0, .unit = "rows"}};
  Param<ImageSplit> split{this, "split", ImageSplit::train, "which rows, by a hash of their place"};
  Param<double> held_out{
      this, "held_out", 0.3, "share of the rows kept for measuring", {.min = 0, .max = 1}};
  Param<double> reference{
      this, "reference", 0.1, "share of the rows kept as references", {.min = 0, .max = 1}};
  Param<std::int64_t> per_class{
      this, "per_class", 0, "at most so many rows of a class; 0: all", {.min = 0, .unit = "rows"}};
  Param<double> label_noise{
      this, "label_noise", 0.0, "share of rows whose class is drawn anew", {.min = 0, .max = 1}};
  Param<double> white{
      this, "white", 255.0, "byte that becomes 1", {.min = 0, .exclusive_min = true}};
  Param<ImageStyle> style{this, "style", ImageStyle::plain, "what becomes of the pixels"};
  Param<std::int64_t> tile{this,
                           "tile",
                           0,
                           "folder: each file is a grid of images so wide and high; 0: one image",
                           {.min = 0, .unit = "pixels"}};
  Param<std::int64_t> gap{
      this, "gap", 1, "folder: between the images of a grid", {.min = 0, .unit = "pixels"}};
  Rule both{this,
            {{{"format", "idx"}},
             {{"labels", {{"set", true}}}},
             "IDX images have their classes in a file of their own",
             "set labels"}};
  TraitsMember traits{this, {.effect = false}};
  Synonyms words{this,
                 {"dataset", "digits", "MNIST", "CIFAR", "IDX", "image data", "ImageFolder", "PNG",
                  "image folder"}};
  Doc doc{
      this,
      "images [N,C,H,W] float with labels [N]: `batch` rows of the split drawn with replacement "
      "from (seed, node, iteration), or all of it. Which split a row belongs to, and whether "
      "its class is wrong, is decided by a hash of its place in the file: the same in every "
      "run.\n"
      "folder: one folder of PNG files per class, as torchvision's ImageFolder has it; classes are "
      "numbered in the order of the names, or by them where all are numbers. With tile the files "
      "are grids, such as image.grid writes. Grey or coloured, 8 or 16 bits, all of one size."};

  void run(Step& step) const override {
    const auto kept = step.shared(memory, [&] { return loaded(step); });
    const SplitImages& all = kept->rows;
    Images out{all.images, {}, all.labels, step.new_batch()};
    if (batch() > 0) {
      const at::Tensor index = drawn(step, all.labels.size(0));
      out.images = all.images.index_select(0, index);
      out.labels = all.labels.index_select(0, index);
    }
    step[prompts] = as_prompts(step, out.labels);
    step[images] = std::move(out);
  }

 private:
  std::shared_ptr<ImagesInMemory> loaded(const Step& step) const {
    auto out = std::make_shared<ImagesInMemory>();
    out->rows =
        split_images(read(step), {split(), held_out(), reference(), per_class(), label_noise()},
                     white(), style() == ImageStyle::inverted);
    return out;
  }

  LabelledImages read(const Step& step) const {
    switch (format()) {
      case ImageFormat::cifar: return read_cifar(step.path(path()));
      case ImageFormat::folder: return read_image_folder(step.path(path()), tile(), gap());
      case ImageFormat::idx: break;
    }
    return read_idx(step.path(path()), step.path(labels()));
  }

  at::Tensor drawn(const Step& step, std::int64_t rows) const {
    std::vector<std::int64_t> index;
    for (std::int64_t i = 0; i < batch(); ++i) {
      Random random = step.random(static_cast<std::uint64_t>(i));
      index.push_back(static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(rows))));
    }
    return at::tensor(index, at::TensorOptions().dtype(at::kLong));
  }

  static Prompts as_prompts(const Step& step, const at::Tensor& classes) {
    Prompts out;
    for (std::int64_t i = 0; i < classes.size(0); ++i) {
      out.text.push_back(fmt::format("{}", classes.data_ptr<std::int64_t>()[i]));
      out.id.push_back(fmt::format("{}", i));
    }
    out.reference = out.text;
    out.batch = step.new_batch();
    return out;
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(ReadImages, "Images from files", "yann.lecun.com/exdb/mnist")

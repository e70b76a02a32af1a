#include "nodes/image/image_rows.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <map>
#include <vector>

#include "engine/core/problem.h"

namespace rewardloom {
namespace {

double row_uniform(const char* what, std::int64_t row) {
  const std::uint64_t hash = mix(hash_name(what), static_cast<std::uint64_t>(row));
  return static_cast<double>(hash >> 11) * 0x1.0p-53;
}

bool in_split(std::int64_t row, const ImageSplitOptions& o) {
  const double place = row_uniform("image.split", row);
  switch (o.split) {
    case ImageSplit::held_out: return place < o.held_out_share;
    case ImageSplit::reference:
      return place >= o.held_out_share && place < o.held_out_share + o.reference_share;
    case ImageSplit::train: return place >= o.held_out_share + o.reference_share;
    case ImageSplit::all: break;
  }
  return true;
}

/// The class that a row is said to have: drawn anew for a share of the rows.
std::int64_t noisy_label(std::int64_t row, std::int64_t label, std::int64_t classes, double share) {
  if (row_uniform("image.label_noise", row) >= share) return label;
  const double drawn = row_uniform("image.noisy_label", row);
  return static_cast<std::int64_t>(drawn * static_cast<double>(classes));
}

}  // namespace

SplitImages split_images(const LabelledImages& all, const ImageSplitOptions& options, double white,
                         bool inverted) {
  if (options.held_out_share + options.reference_share > 1) {
    throw Failure("bad-split",
                  fmt::format("held_out {} and reference {} are more than all rows",
                              options.held_out_share, options.reference_share),
                  "shares add up to at most 1");
  }
  const std::int64_t rows = all.labels.size(0);
  const std::int64_t classes = all.labels.max().item<std::int64_t>() + 1;
  const auto* labels = all.labels.data_ptr<std::int64_t>();
  std::vector<std::int64_t> chosen, said;
  std::map<std::int64_t, std::int64_t> of_class;
  for (std::int64_t row = 0; row < rows; ++row) {
    if (!in_split(row, options)) continue;
    const std::int64_t label = noisy_label(row, labels[row], classes, options.label_noise);
    if (options.per_class > 0 && of_class[label] >= options.per_class) continue;
    ++of_class[label];
    chosen.push_back(row);
    said.push_back(label);
  }
  if (chosen.empty()) {
    throw Failure("data-empty", fmt::format("none of the {} images is in this split", rows),
                  "raise its share");
  }
  const at::TensorOptions integers = at::TensorOptions().dtype(at::kLong);
  SplitImages out;
  out.row = at::tensor(chosen, integers);
  out.labels = at::tensor(said, integers);
  out.images = all.images.index_select(0, out.row).to(at::kFloat) * (2 / white) - 1;
  out.images = out.images.clamp(-1, 1);
  if (inverted) out.images = -out.images;
  return out;
}

}  // namespace rewardloom

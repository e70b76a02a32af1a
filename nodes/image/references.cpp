#include "nodes/image/references.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "nodes/eval/tables.h"

namespace rewardloom {

at::Tensor draw_references(const at::Tensor& pool, const at::Tensor& wanted, const Random& stream) {
  std::map<std::int64_t, std::vector<std::int64_t>> rows;
  const std::vector<std::int64_t> classes = whole_numbers(pool, "the references' classes");
  for (std::size_t i = 0; i < classes.size(); ++i) {
    rows[classes[i]].push_back(static_cast<std::int64_t>(i));
  }
  const std::vector<std::int64_t> labels = whole_numbers(wanted, "the wanted classes");
  std::set<std::int64_t> missing;
  std::vector<std::int64_t> index;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    const auto found = rows.find(labels[i]);
    if (found == rows.end()) {
      missing.insert(labels[i]);
      continue;
    }
    Random random = stream.at(i);
    index.push_back(found->second[random.below(found->second.size())]);
  }
  if (missing.empty()) return as_tensor(index);
  std::string list;
  for (const std::int64_t label : missing)
    list += fmt::format("{}{}", list.empty() ? "" : ", ", label);
  throw Failure("no-reference", fmt::format("there is no reference image for the prompts {}", list),
                "give references of every class that is drawn");
}

struct ReferenceImages final : Node {
  Input<Images> pool{this, "pool", "all references, with their classes", {.dims = "M,C,H,W"}};
  Input<Images> like{this, "like", "whose classes are wanted, row by row"};
  Output<Images> images{this, "images", "one reference for each row of `like`"};
  Synonyms words{this, {"positives", "real images", "pairs", "style"}};
  Doc doc{this,
          "A reference of the same class for every row, drawn from (seed, node, iteration, row). A "
          "class without references is an error: another class's image is never used."};

  void run(Step& step) const override {
    const Images& all = step[pool];
    const Images& wanted = step[like];
    if (!all.labels.defined() || !wanted.labels.defined()) {
      step.fail("no-labels", "the images have no classes", "connect images that carry labels");
    }
    if (all.images.sizes().slice(1) != wanted.images.sizes().slice(1)) {
      step.fail("bad-shape",
                c10::str("references are ", all.images.sizes().slice(1), ", but the images ",
                         wanted.images.sizes().slice(1)),
                "channels, height and width must be the same");
    }
    const at::Tensor index = draw_references(all.labels, wanted.labels, step.random());
    step[images] =
        Images{all.images.index_select(0, index), wanted.group, wanted.labels, wanted.batch};
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(ReferenceImages, "Reference images", "arXiv:2511.20256")

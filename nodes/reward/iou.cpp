#include "nodes/reward/iou.h"

#include <torch/types.h>

#include "engine/core/registry.h"
#include "nodes/reward/rows.h"

namespace rewardloom {
namespace {

void require_boxes(const at::Tensor& boxes, const char* name) {
  if (boxes.dim() == 2 && boxes.size(1) == 4) return;
  throw Failure("bad-shape", c10::str(name, " is ", boxes.sizes(), ", but must be [N,4]"),
                "a box is x1, y1, x2, y2");
}

at::Tensor area(const at::Tensor& box) {
  return (box.select(1, 2) - box.select(1, 0)).clamp_min(0) *
         (box.select(1, 3) - box.select(1, 1)).clamp_min(0);
}

}  // namespace

at::Tensor box_overlap(const at::Tensor& boxes, const at::Tensor& reference,
                       BoxConvention convention) {
  require_boxes(boxes, "boxes");
  require_boxes(reference, "reference");
  const at::Tensor a = boxes.to(at::kDouble);
  const at::Tensor b = reference.to(at::kDouble);
  const at::Tensor low = at::maximum(a.narrow(1, 0, 2), b.narrow(1, 0, 2));
  at::Tensor size = at::minimum(a.narrow(1, 2, 2), b.narrow(1, 2, 2)) - low;
  if (convention == BoxConvention::inclusive_pixels) {
    size = at::where(size > 1, size, at::zeros({}, size.options()));
  }
  const at::Tensor shared = size.clamp_min(0).prod(1);
  const at::Tensor joined = area(a) + area(b) - shared;
  const at::Tensor ratio = at::where(joined > 0, shared / joined, at::zeros({}, joined.options()));
  // Boxes in whole pixels overlap by a fraction.
  return at::isFloatingType(boxes.scalar_type()) ? ratio.to(boxes.scalar_type()) : ratio;
}

struct Iou final : Node {
  Input<Values> boxes{this, "boxes", "predicted boxes: x1, y1, x2, y2", {.dims = "N,4"}};
  Input<Values> reference{this, "reference", "the true boxes", {.dims = "N,4"}};
  Optional<Completions> completions{this, "completions", "whose groups the rewards carry"};
  Output<Rewards> rewards{this, "rewards", "intersection over union"};
  Param<BoxConvention> convention{this, "convention", BoxConvention::continuous,
                                  "what a coordinate means"};
  TraitsMember traits{this, {.pure = true}};
  Synonyms words{this, {"bounding box", "grounding", "detection", "VLM-R1", "Jaccard"}};
  Doc doc{
      this,
      "boxes, reference [N,4] -> rewards [N]. A predicted box with swapped corners is empty and "
      "earns 0; a row with a coordinate that is no number, or a true box without area, cannot be "
      "scored."};

  void run(Step& step) const override {
    const Values& given = step[boxes];
    const Values& wanted = step[reference];
    require_same_rows("boxes", given.values.size(0), given.batch, "reference",
                      wanted.values.size(0), wanted.batch);
    const at::Tensor overlap = box_overlap(given.values, wanted.values, convention());
    const at::Tensor absent = failed(step, given.values, wanted.values);
    if (const Completions* c = step[completions]) {
      require_same_rows("boxes", given.values.size(0), given.batch, "completions", c->rows(),
                        c->batch);
      step[rewards] = scored(step, *c, overlap, absent);
      return;
    }
    Rewards rows;
    rows.total = overlap;
    rows.batch = given.batch;
    step[rewards] = rescored(step, rows, overlap, absent);
  }

 private:
  static at::Tensor failed(Step& step, const at::Tensor& given, const at::Tensor& wanted) {
    const at::Tensor no_number =
        given.isfinite().logical_and(wanted.isfinite()).all(1).logical_not();
    const at::Tensor bad = no_number.logical_or(area(wanted.to(at::kDouble)) <= 0);
    const std::vector<double> is_bad = numbers_of(bad);
    const std::vector<double> is_no_number = numbers_of(no_number);
    bool any = false;
    for (std::size_t i = 0; i < is_bad.size(); ++i) {
      if (is_bad[i] == 0) continue;
      any = true;
      step.fail_row(static_cast<std::int64_t>(i), is_no_number[i] != 0
                                                      ? "a coordinate is no number"
                                                      : "the true box has no area");
    }
    return any ? bad : at::Tensor();
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(Iou, "Box overlap (IoU)", "arXiv:2504.07615")

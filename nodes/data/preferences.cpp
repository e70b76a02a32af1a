#include <ATen/ATen.h>
#include <fmt/format.h>

#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "nodes/data/pair_texts.h"
#include "nodes/data/rows.h"

namespace rewardloom {

struct DataPreferences final : Node {
  Output<Preferences> preferences{this, "preferences", "the pairs of this iteration"};
  Param<std::string> file{this, "file", required, "a JSON Lines file", {.path = true}};
  Param<std::string> prompt_field{this, "prompt_field", "prompt",
                                  "path to the prompt; rows without it hold transcripts"};
  Param<std::string> chosen_field{this, "chosen_field", "chosen", "path to the preferred answer"};
  Param<std::string> rejected_field{this, "rejected_field", "rejected", "path to the other"};
  Param<std::optional<std::string>> margin_field{
      this, "margin_field", std::nullopt,
      "path to how much better the preferred answer is; null: not known"};
  Param<std::int64_t> batch{
      this, "batch", 0, "pairs per iteration; 0: all", {.min = 0, .unit = "pairs"}};
  Param<bool> shuffle{this, "shuffle", true, "a new order in each epoch, drawn from the seed"};
  Param<std::int64_t> skip{this, "skip", 0, "rows left out at the start", {.min = 0}};
  Param<std::int64_t> limit{this, "limit", 0, "most rows that are used; 0: all", {.min = 0}};
  State<JsonlRows> rows{this, "rows"};
  Synonyms words{this,
                 {"HH-RLHF", "chosen", "rejected", "pairwise", "preference data", "UltraFeedback",
                  "DPO data", "JSON Lines"}};
  Doc doc{this,
          "Rows {prompt, chosen, rejected}; rows {chosen, rejected} of "
          "transcripts as HH-RLHF has "
          "them (\"\\n\\nHuman: ...\\n\\nAssistant: ...\"), which are "
          "split after the last "
          "Assistant: that both share; or the same with lists of {role, "
          "content} messages, which "
          "become such transcripts. Order and epochs as in data.jsonl."};

  void run(Step& step) const override {
    const auto data = step.shared(rows, [&] {
      return std::make_shared<JsonlRows>(JsonlRows::read(
          step.path(file()), static_cast<std::size_t>(skip()), static_cast<std::size_t>(limit())));
    });
    const std::size_t count = batch() == 0 ? data->rows.size() : static_cast<std::size_t>(batch());
    RowOrder order(data->rows.size(), shuffle() && batch() != 0, step.random_key().seed,
                   step.random_key().node);
    const auto start = static_cast<std::uint64_t>(step.iteration()) * count;
    Preferences out;
    std::vector<double> margin;
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t row = order.row(start + i);
      add(out, margin, data->rows[row], data->places[row]);
    }
    if (margin_field()) out.margin = at::tensor(margin, at::TensorOptions().dtype(at::kDouble));
    out.batch = step.new_batch();
    step.metric("epoch",
                static_cast<double>(start + count) / static_cast<double>(data->rows.size()));
    step[preferences] = std::move(out);
  }

 private:
  static const Json& field(const Json& row, const std::string& path, const std::string& place) {
    const Json* const found = at_path(row, path);
    if (found != nullptr && !found->is_null()) return *found;
    throw Failure("data-field", fmt::format("{}: the row has no {}", place, path),
                  "name the fields with chosen_field, rejected_field and margin_field");
  }

  void add(Preferences& out, std::vector<double>& margin, const Json& row,
           const std::string& place) const {
    const Json* const prompt = at_path(row, prompt_field());
    const Json& chosen = field(row, chosen_field(), place);
    const Json& rejected = field(row, rejected_field(), place);
    try {
      PairTexts pair = pair_texts(prompt, chosen, rejected);
      out.prompt.push_back(std::move(pair.prompt));
      out.chosen.push_back(std::move(pair.chosen));
      out.rejected.push_back(std::move(pair.rejected));
    } catch (const Failure& failure) {
      throw Failure("data-field", fmt::format("{}: {}", place, failure.problem().text),
                    failure.problem().help);
    }
    if (!margin_field()) return;
    const Json& value = field(row, *margin_field(), place);
    if (!value.is_number()) {
      throw Failure("data-field", fmt::format("{}: {} is no number", place, *margin_field()));
    }
    margin.push_back(value.get<double>());
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(DataPreferences, "Preferences from a JSON Lines file", "arXiv:2204.05862")

#include <fmt/format.h>

#include "engine/core/registry.h"
#include "engine/core/step.h"
#include "nodes/data/rows.h"

namespace rewardloom {
namespace {

/// What follows the last `marker`, without white space around it.
std::string after_marker(const std::string& text, const std::string& marker) {
  const std::size_t at = text.rfind(marker);
  if (at == std::string::npos) return text;
  const std::string rest = text.substr(at + marker.size());
  const std::size_t first = rest.find_first_not_of(" \t\r\n");
  if (first == std::string::npos) return "";
  return rest.substr(first, rest.find_last_not_of(" \t\r\n") - first + 1);
}

}  // namespace

struct Jsonl final : Node {
  Output<Prompts> prompts{this, "prompts", "the rows of this iteration", {.dims = "P"}};
  Param<std::string> file{this, "file", required, "a JSON Lines file", {.path = true}};
  Param<std::string> prompt_field{
      this, "prompt_field", "prompt",
      "path to the prompt's text, e.g. question, meta.text or prompt/-1/content"};
  Param<std::optional<std::string>> reference_field{this, "reference_field", std::nullopt,
                                                    "path to the reference answer; null: none"};
  Param<std::string> reference_after{
      this, "reference_after", "",
      "the reference is what follows this marker, e.g. #### in GSM8K; empty: all of it"};
  Param<std::optional<std::string>> id_field{this, "id_field", std::nullopt,
                                             "path to the row's id; null: file and line"};
  Param<std::int64_t> batch{
      this, "batch", 0, "rows per iteration; 0: all", {.min = 0, .unit = "rows"}};
  Param<bool> shuffle{this, "shuffle", true, "a new order in each epoch, drawn from the seed"};
  Param<std::int64_t> skip{this, "skip", 0, "rows left out at the start", {.min = 0}};
  Param<std::int64_t> limit{this, "limit", 0, "most rows that are used; 0: all", {.min = 0}};
  State<JsonlRows> rows{this, "rows"};
  Synonyms words{this, {"dataset", "file", "JSON Lines", "GSM8K"}};
  Doc doc{this,
          "Iteration i gives rows i*batch .. i*batch+batch-1 of the epochs laid end to end, so a "
          "resumed run goes on where it was without any stored position. Each epoch has its own "
          "permutation, drawn from (seed, node, epoch). All fields of a row travel along as "
          "`fields`."};

  void run(Step& step) const override {
    const auto data = step.shared(rows, [&] {
      return std::make_shared<JsonlRows>(JsonlRows::read(
          step.path(file()), static_cast<std::size_t>(skip()), static_cast<std::size_t>(limit())));
    });
    const std::size_t count = batch() == 0 ? data->rows.size() : static_cast<std::size_t>(batch());
    RowOrder order(data->rows.size(), shuffle() && batch() != 0, step.random_key().seed,
                   step.random_key().node);
    const auto start = static_cast<std::uint64_t>(step.iteration()) * count;
    Prompts out;
    out.batch = step.new_batch();
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t row = order.row(start + i);
      add(out, data->rows[row], data->places[row]);
    }
    step.metric("epoch",
                static_cast<double>(start + count) / static_cast<double>(data->rows.size()));
    step[prompts] = std::move(out);
  }

 private:
  const Json& field(const Json& row, const std::string& path, const std::string& place) const {
    const Json* const found = at_path(row, path);
    if (found != nullptr && !found->is_null()) return *found;
    std::vector<std::string> there;
    if (row.is_object()) {
      for (const auto& [name, value] : row.items()) there.push_back(name);
    }
    throw Failure(
        "data-field", fmt::format("{}: the row has no {}", place, path),
        there.empty() ? "rows must be objects" : "its fields are " + listed(there, "and"));
  }

  void add(Prompts& out, const Json& row, const std::string& place) const {
    const Json& prompt = field(row, prompt_field(), place);
    if (!prompt.is_string()) {
      throw Failure(
          "data-field",
          fmt::format("{}: {} is no text, but {}", place, prompt_field(), prompt.type_name()),
          "name the text inside it, e.g. " + prompt_field() + "/-1/content");
    }
    out.text.push_back(prompt.get<std::string>());
    out.id.push_back(id_field() ? as_text(field(row, *id_field(), place)) : place);
    if (reference_field()) {
      const std::string whole = as_text(field(row, *reference_field(), place));
      out.reference.push_back(reference_after().empty() ? whole
                                                        : after_marker(whole, reference_after()));
    }
    out.fields.push_back(row);
  }
};

}  // namespace rewardloom

REWARDLOOM_NODE(Jsonl, "Prompts from a JSON Lines file", "jsonlines.org")

#include "engine/run/probe_rows.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "engine/core/port_types.h"

namespace rewardloom {
namespace {

/// Collects a value's fields by name.
class FieldReader final : public FieldVisitor {
 public:
  std::vector<std::pair<std::string, at::Tensor>> numbers_found;
  at::Tensor mask;
  at::Tensor absent;
  at::Tensor group;
  at::Tensor main;
  std::int64_t batch = 0;

  void tensor(const char* name, at::Tensor& value, const char*, FieldOptions options) override {
    if (!value.defined()) return;
    const std::string key = name;
    if (options.main) main = value;
    if (key == "mask") {
      mask = value;
    } else if (key == "absent") {
      absent = value;
    } else if (key == "group") {
      group = value;
    } else if (value.is_floating_point()) {
      numbers_found.emplace_back(key, value);
    }
  }
  void tensors(const char*, NamedTensors& value, const char*, FieldOptions) override {
    for (const auto& [part, tensor] : value) numbers_found.emplace_back(part, tensor);
  }
  void texts(const char*, std::vector<std::string>&, const char*, FieldOptions) override {}
  void rows(const char*, std::vector<Json>&, const char*, FieldOptions) override {}
  void numbers(const char*, std::vector<double>&, const char*, FieldOptions) override {}
  void text(const char*, std::string&, FieldOptions) override {}
  void json(const char*, Json&, FieldOptions) override {}
  void integer(const char* name, std::int64_t& value) override {
    if (std::string_view(name) == "batch") batch = value;
  }
  void number(const char*, double&, FieldOptions) override {}
};

FieldReader read(const Value& value) {
  FieldReader reader;
  value.type()->visit(reader, const_cast<void*>(value.identity()));
  return reader;
}

std::vector<std::int64_t> reservoir(std::int64_t rows, int count, const RandomKey& key) {
  std::vector<std::int64_t> kept;
  const Random random(key);
  for (std::int64_t row = 0; row < rows; ++row) {
    if (row < count) {
      kept.push_back(row);
      continue;
    }
    const auto place =
        random.at(static_cast<std::uint64_t>(row)).below(static_cast<std::uint64_t>(row) + 1);
    if (place < static_cast<std::uint64_t>(count)) kept[place] = row;
  }
  std::sort(kept.begin(), kept.end());
  return kept;
}

/// One value per group of two or more present rows, 0 where they are all worth the same.
at::Tensor within_group_std(const at::Tensor& total, const at::Tensor& group,
                            const at::Tensor& absent) {
  const at::Tensor worth = total.to(at::kCPU, at::kDouble).contiguous();
  const at::Tensor ids = group.to(at::kCPU, at::kLong).contiguous();
  const at::Tensor gone = absent.defined() ? absent.to(at::kCPU).contiguous() : at::Tensor();
  std::map<std::int64_t, std::vector<double>> groups;
  for (std::int64_t row = 0; row < worth.numel(); ++row) {
    if (gone.defined() && gone.data_ptr<bool>()[row]) continue;
    groups[ids.data_ptr<std::int64_t>()[row]].push_back(worth.data_ptr<double>()[row]);
  }
  std::vector<double> spread;
  for (const auto& [id, values] : groups) {
    if (values.size() < 2) continue;
    const auto [low, high] = std::minmax_element(values.begin(), values.end());
    const auto n = static_cast<double>(values.size());
    const double mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
    double squares = 0;
    for (const double value : values) squares += (value - mean) * (value - mean);
    spread.push_back(*low == *high ? 0.0 : std::sqrt(squares / n));
  }
  return at::tensor(at::ArrayRef<double>(spread), at::dtype(at::kDouble));
}

Json number_json(double value) {
  return std::isfinite(value) ? Json(value) : Json(std::to_string(value));
}

/// Some rows of a tensor on the host: one operation for all, as a row costs a microsecond each.
class ChosenRows {
 public:
  ChosenRows() = default;
  ChosenRows(const at::Tensor& tensor, const at::Tensor& rows, at::ScalarType type)
      : values_(tensor.index_select(0, rows.to(tensor.device())).to(at::kCPU, type).contiguous()),
        width_(values_.numel() / rows.size(0)) {}
  bool defined() const { return values_.defined(); }
  bool is_column() const { return values_.dim() == 1; }
  std::int64_t width() const { return width_; }
  template <class T>
  const T* row(std::size_t i) const {
    return values_.data_ptr<T>() + static_cast<std::int64_t>(i) * width_;
  }

 private:
  at::Tensor values_;
  std::int64_t width_ = 0;
};

/// Row `i`: a number, or a list of those that `written` marks.
Json row_json(const ChosenRows& rows, std::size_t i, const ChosenRows& written) {
  const double* const data = rows.row<double>(i);
  if (rows.is_column()) return number_json(*data);
  const bool* const marks =
      written.defined() && written.width() == rows.width() ? written.row<bool>(i) : nullptr;
  Json list = Json::array();
  for (std::int64_t k = 0; k < rows.width(); ++k) {
    if (marks == nullptr || marks[k]) list.push_back(number_json(data[k]));
  }
  return list;
}

/// The ids of the tokens that `written` marks, and what they say.
void add_tokens(Json& json, const ChosenRows& ids, const TokenText& token_text, std::size_t i,
                const ChosenRows& written) {
  Json tokens = Json::array();
  Json texts = Json::array();
  for (std::int64_t k = 0; k < ids.width(); ++k) {
    if (!written.row<bool>(i)[k]) continue;
    const std::int64_t id = ids.row<std::int64_t>(i)[k];
    tokens.push_back(id);
    if (token_text) texts.push_back(printable_utf8(token_text(id)));
  }
  json["tokens"] = std::move(tokens);
  if (token_text) json["token_texts"] = std::move(texts);
}

/// Bytes of the character that `bytes` begin with; 0 where they begin with none that is whole.
std::size_t character_length(std::string_view bytes) {
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
  const unsigned char first = at(0);
  if (first < 0x80) return 1;
  const std::size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || bytes.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((at(i) & 0xc0) != 0x80) return 0;
  }
  // Written longer than needed, half of a pair, or beyond the last character.
  const bool wrong = (first == 0xe0 && at(1) < 0xa0) || (first == 0xed && at(1) > 0x9f) ||
                     (first == 0xf0 && at(1) < 0x90) || (first == 0xf4 && at(1) > 0x8f);
  return wrong ? 0 : length;
}

void add_texts(Json& json, const Completions& completions, std::int64_t row) {
  const auto at = static_cast<std::size_t>(row);
  if (at < completions.prompt_text.size()) json["prompt"] = completions.prompt_text[at];
  if (at < completions.text.size()) json["completion"] = completions.text[at];
  if (at < completions.reference.size()) json["reference"] = completions.reference[at];
}

}  // namespace

std::vector<ProbeComponent> probe_components(const Value& value, const Branches& branches) {
  const FieldReader fields = read(value);
  std::vector<ProbeComponent> components;
  for (const auto& [name, tensor] : fields.numbers_found) {
    at::Tensor present;
    if (fields.mask.defined() && fields.mask.sizes() == tensor.sizes()) {
      present = fields.mask.to(at::kBool);
    } else if (fields.absent.defined() && tensor.dim() > 0 &&
               fields.absent.size(0) == tensor.size(0)) {
      present = fields.absent.logical_not();
    }
    components.push_back({within_branches(name, branches), tensor, present});
  }
  if (value.type() == &PortTraits<Rewards>::type() && fields.group.defined() &&
      fields.main.defined()) {
    const at::Tensor spread = within_group_std(fields.main, fields.group, fields.absent);
    if (spread.numel() > 0) components.push_back({kWithinGroupStd, spread, spread > 0});
  }
  return components;
}

std::string printable_utf8(std::string_view bytes) {
  std::string text;
  while (!bytes.empty()) {
    const std::size_t length = character_length(bytes);
    if (length == 0) {
      text += fmt::format("\\x{:02x}", static_cast<unsigned char>(bytes[0]));
    } else {
      text += bytes.substr(0, length);
    }
    bytes.remove_prefix(std::max<std::size_t>(length, 1));
  }
  return text;
}

namespace {

/// Unlike in each branch; as it is outside of branches.
std::int64_t batch_id(std::int64_t batch, const std::string& branch) {
  if (branch.empty()) return batch;
  return static_cast<std::int64_t>(mix(static_cast<std::uint64_t>(batch), hash_name(branch)) >> 1);
}

}  // namespace

void BatchTexts::remember(Value completions, TokenText token_text, const Branches& branches) {
  auto& kept = kept_[branches ? branches->back() : std::string()];
  kept.push_back({std::move(completions), std::move(token_text)});
  // Many branches hold less each, but never less than what one iteration may need.
  if (kept.size() > (kept_.size() == 1 ? kKept : kKept / 2)) kept.pop_front();
}

BatchTexts::Found BatchTexts::find(std::int64_t batch, const Branches& branches) const {
  const std::size_t depth = branches ? branches->size() : 0;
  const auto name = [&](std::size_t d) { return d == 0 ? std::string() : (*branches)[d - 1]; };
  for (std::size_t d = depth + 1; d-- > 0;) {
    const auto kept = kept_.find(name(d));
    if (kept == kept_.end()) continue;
    for (auto it = kept->second.rbegin(); it != kept->second.rend(); ++it) {
      if (it->completions.get<Completions>().batch != batch) continue;
      return {&*it, batch_id(batch, name(d))};
    }
  }
  return {nullptr, batch_id(batch, name(depth))};
}

std::vector<SampleRow> sample_rows(const Value& value, const BatchTexts& batches, int count,
                                   const RandomKey& key, const Branches& branches) {
  const FieldReader fields = read(value);
  if (!fields.main.defined() || fields.main.dim() == 0 || count <= 0) return {};
  const auto [batch, batch_number] = batches.find(fields.batch, branches);
  const Completions* const texts = batch ? &batch->completions.get<Completions>() : nullptr;
  const bool per_token =
      texts != nullptr && fields.main.dim() == 2 && fields.main.sizes() == texts->tokens.sizes();
  const bool tells_tokens = per_token || (texts != nullptr && texts->kinds.defined() &&
                                          value.type() == &PortTraits<Rewards>::type() &&
                                          fields.main.size(0) == texts->rows());
  const std::vector<std::int64_t> chosen = reservoir(fields.main.size(0), count, key);
  if (chosen.empty()) return {};
  const at::Tensor index = at::tensor(chosen, at::dtype(at::kLong));
  const auto rows_of = [&](const at::Tensor& tensor, at::ScalarType type) {
    return tensor.defined() ? ChosenRows(tensor, index, type) : ChosenRows();
  };
  ChosenRows policys, ids, behaviour;
  if (tells_tokens) {
    policys = rows_of(texts->mask(), at::kBool);
    ids = rows_of(texts->tokens, at::kLong);
  }
  if (per_token) behaviour = rows_of(texts->log_probs, at::kDouble);
  const ChosenRows written = per_token ? policys : ChosenRows();
  const ChosenRows group = rows_of(fields.group, at::kLong);
  const ChosenRows absent = rows_of(fields.absent, at::kBool);
  std::vector<std::pair<std::string, ChosenRows>> numbers;
  for (const auto& [name, tensor] : fields.numbers_found) {
    if (tensor.dim() > 0 && tensor.size(0) == fields.main.size(0)) {
      numbers.emplace_back(within_branches(name, branches), rows_of(tensor, at::kDouble));
    }
  }
  std::vector<SampleRow> rows;
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    Json json;
    json["batch"] = batch_number;
    if (texts != nullptr) add_texts(json, *texts, chosen[i]);
    if (tells_tokens) add_tokens(json, ids, batch->token_text, i, policys);
    if (behaviour.defined()) json["behaviour_log_probs"] = row_json(behaviour, i, written);
    if (group.defined()) json["group"] = *group.row<std::int64_t>(i);
    if (absent.defined() && *absent.row<bool>(i)) json["absent"] = true;
    for (const auto& [name, values] : numbers) json[name] = row_json(values, i, written);
    SampleRow sample;
    sample.row = chosen[i];
    sample.data = json.dump(-1, ' ', false, Json::error_handler_t::replace);
    rows.push_back(std::move(sample));
  }
  return rows;
}

std::string first_nonfinite(const Value& value) {
  const FieldReader fields = read(value);
  if (!fields.main.defined() || !fields.main.is_floating_point()) return {};
  at::Tensor bad = at::isfinite(fields.main).logical_not();
  if (fields.absent.defined()) {
    at::Tensor counted = fields.absent.logical_not();
    while (counted.dim() < bad.dim()) counted = counted.unsqueeze(-1);
    bad = bad.logical_and(counted);
  }
  if (fields.mask.defined() && fields.mask.sizes() == bad.sizes()) {
    bad = bad.logical_and(fields.mask.to(at::kBool));
  }
  if (!bad.any().item<bool>()) return {};
  const at::Tensor at_first = bad.nonzero()[0];
  std::string text = fmt::format("row {}", at_first[0].item<std::int64_t>());
  if (at_first.numel() > 1) text += fmt::format(", token {}", at_first[1].item<std::int64_t>());
  return text;
}

}  // namespace rewardloom

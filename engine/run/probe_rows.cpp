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

Json row_json(const at::Tensor& tensor, std::int64_t row, const at::Tensor& written) {
  at::Tensor one = tensor.select(0, row).to(at::kCPU, at::kDouble).contiguous();
  if (written.defined() && one.sizes() == written.sizes()) one = one.masked_select(written);
  if (one.dim() == 0) return number_json(one.item<double>());
  Json list = Json::array();
  const double* data = one.data_ptr<double>();
  for (std::int64_t i = 0; i < one.numel(); ++i) list.push_back(number_json(data[i]));
  return list;
}

/// The ids of the tokens that `written` [T] marks, and what they say.
void add_tokens(Json& json, const Completions& completions, const TokenText& token_text,
                std::int64_t row, const at::Tensor& written) {
  const at::Tensor ids =
      completions.tokens.select(0, row).to(at::kCPU, at::kLong).masked_select(written).contiguous();
  Json tokens = Json::array();
  Json texts = Json::array();
  for (std::int64_t i = 0; i < ids.numel(); ++i) {
    const std::int64_t id = ids.data_ptr<std::int64_t>()[i];
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

std::vector<ProbeComponent> probe_components(const Value& value) {
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
    components.push_back({name, tensor, present});
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

void BatchTexts::remember(Value completions, TokenText token_text) {
  kept_.push_back({std::move(completions), std::move(token_text)});
  if (kept_.size() > kKept) kept_.pop_front();
}

const BatchTexts::Batch* BatchTexts::find(std::int64_t batch) const {
  for (auto it = kept_.rbegin(); it != kept_.rend(); ++it) {
    if (it->completions.get<Completions>().batch == batch) return &*it;
  }
  return nullptr;
}

std::vector<SampleRow> sample_rows(const Value& value, const BatchTexts& batches, int count,
                                   const RandomKey& key) {
  const FieldReader fields = read(value);
  if (!fields.main.defined() || fields.main.dim() == 0 || count <= 0) return {};
  const BatchTexts::Batch* const batch = batches.find(fields.batch);
  const Completions* const texts = batch ? &batch->completions.get<Completions>() : nullptr;
  const bool per_token =
      texts != nullptr && fields.main.dim() == 2 && fields.main.sizes() == texts->tokens.sizes();
  const bool tells_tokens = per_token || (texts != nullptr && texts->kinds.defined() &&
                                          value.type() == &PortTraits<Rewards>::type() &&
                                          fields.main.size(0) == texts->rows());
  const at::Tensor policys = tells_tokens ? texts->mask().to(at::kCPU) : at::Tensor();
  std::vector<SampleRow> rows;
  for (const std::int64_t row : reservoir(fields.main.size(0), count, key)) {
    Json json;
    json["batch"] = fields.batch;
    if (texts != nullptr) add_texts(json, *texts, row);
    const at::Tensor written = per_token ? policys.select(0, row) : at::Tensor();
    if (tells_tokens) add_tokens(json, *texts, batch->token_text, row, policys.select(0, row));
    if (per_token && texts->log_probs.defined()) {
      json["behaviour_log_probs"] = row_json(texts->log_probs, row, written);
    }
    if (fields.group.defined()) json["group"] = fields.group[row].item<std::int64_t>();
    if (fields.absent.defined() && fields.absent[row].item<bool>()) json["absent"] = true;
    for (const auto& [name, tensor] : fields.numbers_found) {
      if (tensor.dim() > 0 && tensor.size(0) == fields.main.size(0))
        json[name] = row_json(tensor, row, written);
    }
    SampleRow sample;
    sample.row = row;
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

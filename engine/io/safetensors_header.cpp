#include "engine/io/safetensors_header.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <unordered_set>

#include "engine/core/problem.h"

namespace rewardloom {

static_assert(std::endian::native == std::endian::little, "safetensors data is little-endian");

void refuse_safetensors(const std::string& name, const std::string& text) {
  throw Failure({Severity::error,
                 "safetensors-invalid",
                 {name, {}, {}},
                 text,
                 "the file is damaged or no safetensors file; write or download it again",
                 {}});
}

namespace {

struct DtypeName {
  at::ScalarType dtype;
  std::string_view name;
};
constexpr std::array<DtypeName, 10> dtype_names = {{{at::kDouble, "F64"},
                                                    {at::kFloat, "F32"},
                                                    {at::kHalf, "F16"},
                                                    {at::kBFloat16, "BF16"},
                                                    {at::kLong, "I64"},
                                                    {at::kInt, "I32"},
                                                    {at::kShort, "I16"},
                                                    {at::kChar, "I8"},
                                                    {at::kByte, "U8"},
                                                    {at::kBool, "BOOL"}}};
// TensorIterator's limit.
constexpr std::size_t most_dimensions = 64;

std::string allowed_dtypes() {
  std::vector<std::string> names;
  for (const DtypeName& entry : dtype_names) names.emplace_back(entry.name);
  return listed(names);
}

std::string dimensions(const std::vector<std::int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ","));
}

// Receives the header's JSON piece by piece: no tree is built, a name twice is seen, depth is
// bounded.
class HeaderHandler final : public nlohmann::json_sax<Json> {
 public:
  explicit HeaderHandler(const std::string& name) : name_(name) {}
  std::vector<TensorEntry> take_entries() { return std::move(entries_); }
  std::vector<std::pair<std::string, std::string>> take_metadata() { return std::move(metadata_); }

  bool start_object(std::size_t) override {
    if (at_ == At::outside) {
      at_ = At::top;
    } else if (at_ == At::top && key_ == safetensors_metadata_key) {
      at_ = At::metadata;
    } else if (at_ == At::top) {
      at_ = At::tensor;
      entries_.push_back({key_, at::kFloat, {}, 0, 0});
      has_dtype_ = has_shape_ = false;
      offsets_.clear();
    } else {
      unexpected("an object");
    }
    return true;
  }

  bool end_object() override {
    if (at_ == At::tensor) finish_tensor();
    at_ = at_ == At::top ? At::outside : At::top;
    return true;
  }

  bool key(std::string& text) override {
    key_ = text;
    if (at_ == At::top && !names_.insert(text).second) {
      refuse(fmt::format("tensor \"{}\" is listed twice", text));
    }
    if (at_ == At::metadata && !metadata_names_.insert(text).second) {
      refuse(fmt::format("metadata \"{}\" is listed twice", text));
    }
    return true;
  }

  bool string(std::string& text) override {
    if (at_ == At::metadata) {
      metadata_.emplace_back(key_, text);
    } else if (at_ == At::tensor && key_ == "dtype" && !has_dtype_) {
      set_dtype(text);
    } else {
      unexpected(fmt::format("the string \"{}\"", text));
    }
    return true;
  }

  bool start_array(std::size_t) override {
    if (at_ == At::tensor && key_ == "shape" && !has_shape_) {
      at_ = At::shape;
      has_shape_ = true;
    } else if (at_ == At::tensor && key_ == "data_offsets" && offsets_.empty()) {
      at_ = At::offsets;
    } else {
      unexpected("a list");
    }
    return true;
  }

  bool end_array() override {
    at_ = At::tensor;
    return true;
  }

  bool number_unsigned(std::uint64_t value) override {
    if (value > std::numeric_limits<std::int64_t>::max()) unexpected(std::to_string(value));
    if (at_ == At::shape && entries_.back().shape.size() < most_dimensions) {
      entries_.back().shape.push_back(static_cast<std::int64_t>(value));
    } else if (at_ == At::offsets && offsets_.size() < 2) {
      offsets_.push_back(static_cast<std::size_t>(value));
    } else {
      unexpected(std::to_string(value));
    }
    return true;
  }

  bool number_integer(std::int64_t value) override { unexpected(std::to_string(value)); }
  bool number_float(double, const std::string& text) override { unexpected(text); }
  bool boolean(bool value) override { unexpected(value ? "true" : "false"); }
  bool null() override { unexpected("null"); }
  bool binary(Json::binary_t&) override { unexpected("binary data"); }

  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception& error) override {
    refuse(fmt::format("the header is not JSON at its byte {} ({})", position, error.what()));
  }

 private:
  enum class At { outside, top, metadata, tensor, shape, offsets };

  [[noreturn]] void refuse(const std::string& text) const { refuse_safetensors(name_, text); }

  [[noreturn]] void unexpected(const std::string& what) const {
    if (at_ == At::outside) refuse("the header is " + what + " instead of an object");
    if (at_ == At::metadata) {
      refuse(fmt::format("metadata \"{}\" is {} instead of a string", key_, what));
    }
    const std::string tensor = at_ == At::top ? key_ : entries_.back().name;
    const std::string part = at_ == At::top ? "" : fmt::format(" has \"{}\" with", key_);
    refuse(fmt::format(
        "tensor \"{}\"{} {}; expected {{\"dtype\": text, \"shape\": [at most {} sizes >= 0], "
        "\"data_offsets\": [begin, end]}}",
        tensor, part.empty() ? " is" : part, what, most_dimensions));
  }

  void set_dtype(const std::string& text) {
    const auto found = std::find_if(dtype_names.begin(), dtype_names.end(),
                                    [&](const DtypeName& entry) { return entry.name == text; });
    if (found == dtype_names.end()) {
      refuse(fmt::format("tensor \"{}\" has dtype \"{}\"; known are {}", entries_.back().name, text,
                         allowed_dtypes()));
    }
    entries_.back().dtype = found->dtype;
    has_dtype_ = true;
  }

  void finish_tensor() {
    TensorEntry& entry = entries_.back();
    if (!has_dtype_ || !has_shape_ || offsets_.size() != 2) {
      refuse(fmt::format("tensor \"{}\" lacks {}", entry.name,
                         !has_dtype_   ? "its dtype"
                         : !has_shape_ ? "its shape"
                                       : "the two numbers of its data_offsets"));
    }
    entry.begin = offsets_[0];
    entry.end = offsets_[1];
  }

  const std::string& name_;
  At at_ = At::outside;
  std::string key_;
  bool has_dtype_ = false;
  bool has_shape_ = false;
  std::vector<std::size_t> offsets_;
  std::vector<TensorEntry> entries_;
  std::vector<std::pair<std::string, std::string>> metadata_;
  std::unordered_set<std::string> names_;
  std::unordered_set<std::string> metadata_names_;
};

// Bytes of a tensor, or nothing where they do not fit 63 bits. Zeros are left out of the overflow
// check's product, so that strides fit as well.
std::optional<std::size_t> bytes_of(const TensorEntry& entry) {
  std::int64_t product = static_cast<std::int64_t>(c10::elementSize(entry.dtype));
  bool empty = false;
  for (const std::int64_t size : entry.shape) {
    empty = empty || size == 0;
    if (size > 0 && __builtin_mul_overflow(product, size, &product)) return std::nullopt;
  }
  return empty ? 0 : static_cast<std::size_t>(product);
}

void check_entry(const TensorEntry& entry, std::size_t data_size, const std::string& name) {
  const std::optional<std::size_t> bytes = bytes_of(entry);
  if (!bytes) {
    refuse_safetensors(name, fmt::format("tensor \"{}\" of shape {} is larger than memory can be",
                                         entry.name, dimensions(entry.shape)));
  }
  if (entry.begin > entry.end || entry.end > data_size) {
    refuse_safetensors(name, fmt::format("tensor \"{}\" lies at bytes {} to {} of the data, which "
                                         "has {} bytes; the file may be cut off",
                                         entry.name, entry.begin, entry.end, data_size));
  }
  if (entry.end - entry.begin != *bytes) {
    refuse_safetensors(
        name, fmt::format("tensor \"{}\" of shape {} and dtype {} needs {} bytes, but its offsets "
                          "give {}",
                          entry.name, dimensions(entry.shape), safetensors_dtype(entry.dtype),
                          *bytes, entry.end - entry.begin));
  }
}

// The data is exactly the tensors, one after the other.
void check_layout(std::vector<TensorEntry>& entries, std::size_t data_size,
                  const std::string& name) {
  for (const TensorEntry& entry : entries) check_entry(entry, data_size, name);
  std::sort(entries.begin(), entries.end(), [](const TensorEntry& a, const TensorEntry& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  std::size_t reached = 0;
  for (const TensorEntry& entry : entries) {
    if (entry.begin != reached) {
      refuse_safetensors(name, fmt::format("tensor \"{}\" starts at byte {} of the data, but the "
                                           "one before it ends at {}: they {}",
                                           entry.name, entry.begin, reached,
                                           entry.begin < reached ? "overlap" : "leave a hole"));
    }
    reached = entry.end;
  }
  if (reached != data_size) {
    refuse_safetensors(name, fmt::format("the tensors end at byte {} of the data, which has {}",
                                         reached, data_size));
  }
}

Json parse_metadata_text(const std::string& key, const std::string& text, const std::string& name) {
  try {
    return Json::parse(text);
  } catch (const Json::exception& error) {
    refuse_safetensors(name, fmt::format("metadata \"{}\" should be JSON: {}", key, error.what()));
  }
}

Json restore_metadata(std::vector<std::pair<std::string, std::string>> stored,
                      const std::string& name) {
  std::unordered_set<std::string> encoded;
  const auto marker = std::find_if(stored.begin(), stored.end(), [](const auto& entry) {
    return entry.first == safetensors_json_key;
  });
  if (marker != stored.end()) {
    const Json keys = parse_metadata_text(marker->first, marker->second, name);
    const bool texts = keys.is_array() && std::all_of(keys.begin(), keys.end(),
                                                      [](const Json& k) { return k.is_string(); });
    if (!texts) {
      refuse_safetensors(name, fmt::format("metadata \"{}\" is no list of keys", marker->first));
    }
    for (const Json& key : keys) encoded.insert(key.get<std::string>());
    stored.erase(marker);
  }
  Json meta = Json::object();
  // Keys are known to differ, so none is looked up again.
  auto& object = meta.get_ref<Json::object_t&>();
  for (auto& [key, text] : stored) {
    Json value = encoded.count(key) > 0 ? parse_metadata_text(key, text, name) : Json(text);
    object.emplace_back(key, std::move(value));
  }
  return meta;
}

[[noreturn]] void cannot_write(const std::string& text, const std::string& help) {
  throw Failure("safetensors-unwritable", text, help);
}

void require_finite(const Json& value, const std::string& key) {
  if (value.is_number_float() && !std::isfinite(value.get<double>())) {
    cannot_write(fmt::format("metadata \"{}\" holds a number that is not finite, which JSON cannot "
                             "express",
                             key),
                 "keep numbers that may be NaN or infinite in a tensor");
  }
  if (value.is_structured()) {
    for (const Json& item : value) require_finite(item, key);
  }
}

std::string dumped(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string exact_text(const std::string& name) {
  try {
    return Json(name).dump();
  } catch (const Json::exception&) {
    cannot_write(fmt::format("tensor name {} is not valid UTF-8", dumped(Json(name))),
                 "name tensors in UTF-8");
  }
}

Json stored_metadata(const Json& meta) {
  if (!meta.is_object()) cannot_write("metadata is no JSON object", "make Package::meta an object");
  Json stored = Json::object();
  Json encoded = Json::array();
  for (const auto& [key, value] : meta.items()) {
    if (key == safetensors_json_key) {
      cannot_write(fmt::format("metadata key \"{}\" is reserved", key), "choose another key");
    }
    if (!value.is_string()) {
      require_finite(value, key);
      encoded.push_back(key);
    }
    stored[key] = value.is_string() ? value : Json(dumped(value));
  }
  if (!encoded.empty()) stored[std::string(safetensors_json_key)] = dumped(encoded);
  return stored;
}

}  // namespace

std::string_view safetensors_dtype(at::ScalarType dtype) {
  for (const DtypeName& entry : dtype_names) {
    if (entry.dtype == dtype) return entry.name;
  }
  cannot_write(fmt::format("dtype {} has no name in safetensors", c10::toString(dtype)),
               "convert the tensor to one of " + allowed_dtypes());
}

SafetensorsHeader parse_safetensors_header(std::string_view file, const std::string& name) {
  if (file.size() < safetensors_length_bytes) {
    refuse_safetensors(name, fmt::format("the file has {} bytes; the length of the header alone "
                                         "takes 8",
                                         file.size()));
  }
  std::uint64_t length = 0;
  std::memcpy(&length, file.data(), sizeof length);
  const std::size_t rest = file.size() - safetensors_length_bytes;
  if (length > safetensors_largest_header || length > rest) {
    refuse_safetensors(name, fmt::format("the header says it has {} bytes; {}", length,
                                         length > safetensors_largest_header
                                             ? "at most 100000000 are allowed"
                                             : fmt::format("only {} follow", rest)));
  }
  const std::string_view text = file.substr(safetensors_length_bytes, length);
  if (!text.starts_with('{')) refuse_safetensors(name, "the header does not start with '{'");
  HeaderHandler handler(name);
  Json::sax_parse(text.begin(), text.end(), &handler);
  SafetensorsHeader header;
  header.data_begin = safetensors_length_bytes + length;
  header.index.tensors = handler.take_entries();
  check_layout(header.index.tensors, file.size() - header.data_begin, name);
  header.index.meta = restore_metadata(handler.take_metadata(), name);
  return header;
}

std::string format_safetensors_header(const std::vector<TensorEntry>& entries, const Json& meta) {
  std::string json = "{";
  const Json stored = stored_metadata(meta);
  if (!stored.empty()) {
    json += fmt::format("\"{}\":{},", safetensors_metadata_key, dumped(stored));
  }
  for (const TensorEntry& entry : entries) {
    if (entry.name == safetensors_metadata_key) {
      cannot_write(fmt::format("tensor name \"{}\" is reserved", entry.name),
                   "choose another name");
    }
    json += fmt::format("{}:{{\"dtype\":\"{}\",\"shape\":{},\"data_offsets\":[{},{}]}},",
                        exact_text(entry.name), safetensors_dtype(entry.dtype),
                        dimensions(entry.shape), entry.begin, entry.end);
  }
  if (json.back() == ',') json.pop_back();
  json += '}';
  json.resize((json.size() + 7) / 8 * 8, ' ');
  if (json.size() > safetensors_largest_header) {
    cannot_write(fmt::format("the header takes {} bytes; at most {} are allowed", json.size(),
                             safetensors_largest_header),
                 "keep fewer tensors or less metadata in one file");
  }
  const std::uint64_t length = json.size();
  std::string header(sizeof length, '\0');
  std::memcpy(header.data(), &length, sizeof length);
  return header + json;
}

}  // namespace rewardloom

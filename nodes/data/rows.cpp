#include "nodes/data/rows.h"

#include <fmt/format.h>

#include <charconv>
#include <numeric>
#include <utility>

#include "engine/core/problem.h"
#include "engine/core/random.h"
#include "engine/io/jsonl.h"

namespace rewardloom {
namespace {

const Json* child(const Json& value, std::string_view part) {
  if (value.is_object()) {
    const auto it = value.find(std::string(part));
    return it == value.end() ? nullptr : &*it;
  }
  if (!value.is_array()) return nullptr;
  std::int64_t index = 0;
  const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), index);
  if (error != std::errc() || end != part.data() + part.size()) return nullptr;
  const auto size = static_cast<std::int64_t>(value.size());
  if (index < 0) index += size;
  if (index < 0 || index >= size) return nullptr;
  return &value[static_cast<std::size_t>(index)];
}

}  // namespace

const Json* at_path(const Json& value, std::string_view path) {
  if (value.is_object()) {
    // A field whose own name holds a dot or a slash.
    const auto whole = value.find(std::string(path));
    if (whole != value.end()) return &*whole;
  }
  const char divider = path.find('/') == std::string_view::npos ? '.' : '/';
  if (divider == '/' && path.starts_with('/')) path.remove_prefix(1);
  const Json* at = &value;
  while (at != nullptr) {
    const std::size_t end = path.find(divider);
    at = child(*at, path.substr(0, end));
    if (end == std::string_view::npos) break;
    path.remove_prefix(end + 1);
  }
  return at;
}

std::string as_text(const Json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

std::size_t RowOrder::row(std::uint64_t position) {
  const std::size_t within = position % count_;
  if (!shuffle_) return within;
  const std::uint64_t epoch = position / count_;
  if (order_.empty() || epoch != epoch_) draw(epoch);
  return order_[within];
}

void RowOrder::draw(std::uint64_t epoch) {
  order_.resize(count_);
  std::iota(order_.begin(), order_.end(), 0u);
  Random random(RandomKey{seed_, mix(node_, hash_name("epoch")), epoch});
  for (std::size_t i = count_; i > 1; --i) std::swap(order_[i - 1], order_[random.below(i)]);
  epoch_ = epoch;
}

JsonlRows JsonlRows::read(const std::string& path, std::size_t skip, std::size_t limit) {
  JsonlRows out;
  JsonLinesReader reader(path);
  std::size_t seen = 0;
  while (limit == 0 || out.rows.size() < limit) {
    std::optional<Json> row = reader.next();
    if (!row) break;
    if (seen++ < skip) continue;
    out.fingerprint = mix(out.fingerprint, hash_name(row->dump()));
    out.rows.push_back(std::move(*row));
    out.places.push_back(reader.place());
  }
  if (out.rows.empty()) {
    throw Failure("data-empty",
                  fmt::format("{} has {} rows, none after the first {}", path, seen, skip),
                  "lower skip, or name another file");
  }
  return out;
}

void JsonlRows::save(Package& out) const {
  out.meta["rows"] = rows.size();
  out.meta["fingerprint"] = fmt::format("{:016x}", fingerprint);
}

void JsonlRows::load(const Package& in) {
  const std::string now = fmt::format("{:016x}", fingerprint);
  const std::string then = in.meta.at("fingerprint").get<std::string>();
  if (now == then) return;
  throw Failure("data-changed",
                fmt::format("the run began with {} rows (content {}), the file now has {} ({})",
                            in.meta.at("rows").get<std::size_t>(), then, rows.size(), now),
                "resume with the file that the run began with");
}

}  // namespace rewardloom

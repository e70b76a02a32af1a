#include "engine/run/breakpoints.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "engine/core/node_paths.h"
#include "engine/core/problem.h"
#include "engine/run/watchdog.h"

namespace rewardloom {
namespace {

using Comparison = PauseCondition::Comparison;

// Longer signs first: ">=" begins with ">".
constexpr std::array<std::pair<std::string_view, Comparison>, 6> kSigns = {{
    {"<=", Comparison::less_equal},
    {">=", Comparison::greater_equal},
    {"==", Comparison::equal},
    {"!=", Comparison::not_equal},
    {"<", Comparison::less},
    {">", Comparison::greater},
}};

std::string_view without_blanks(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

[[noreturn]] void refuse(std::string_view text) {
  throw Failure("bad-breakpoint", fmt::format("\"{}\" is no condition", text),
                "write METRIC > NUMBER or iteration >= NUMBER; the signs are <, <=, >, >=, == "
                "and !=");
}

}  // namespace

PauseCondition PauseCondition::parse(std::string_view text) {
  for (const auto& [sign, comparison] : kSigns) {
    const std::size_t at = text.find(sign);
    if (at == std::string_view::npos) continue;
    PauseCondition condition;
    condition.metric = without_blanks(text.substr(0, at));
    condition.comparison = comparison;
    const std::string_view number = without_blanks(text.substr(at + sign.size()));
    const auto [end, error] =
        std::from_chars(number.data(), number.data() + number.size(), condition.value);
    const bool whole = error == std::errc() && end == number.data() + number.size();
    if (!whole || condition.metric.empty()) refuse(text);
    return condition;
  }
  refuse(text);
}

std::string PauseCondition::text() const {
  for (const auto& [sign, known] : kSigns) {
    if (known == comparison) return fmt::format("{} {} {}", metric, sign, value);
  }
  return metric;
}

bool PauseCondition::holds(double found) const {
  switch (comparison) {
    case Comparison::less: return found < value;
    case Comparison::less_equal: return found <= value;
    case Comparison::greater: return found > value;
    case Comparison::greater_equal: return found >= value;
    case Comparison::equal: return found == value;
    case Comparison::not_equal: return found != value;
  }
  return false;
}

Breakpoint Breakpoint::parse(std::string_view given) {
  const std::string_view text = without_blanks(given);
  Breakpoint breakpoint;
  std::string_view place = text;
  const bool only_condition = text.starts_with("if ");
  const std::size_t middle = only_condition ? 0 : text.find(" if ");
  if (only_condition || middle != std::string_view::npos) {
    place = text.substr(0, middle);
    breakpoint.when = PauseCondition::parse(text.substr(middle + (only_condition ? 3 : 4)));
  }
  breakpoint.node = without_blanks(place);
  if (breakpoint.node.empty() && !breakpoint.when) {
    throw Failure("bad-breakpoint", "a breakpoint lacks a node and a condition",
                  "write NODE, NODE if METRIC > NUMBER, or if iteration >= NUMBER");
  }
  if (breakpoint.node.find_first_of(" \t") != std::string::npos) {
    throw Failure("bad-breakpoint", fmt::format("\"{}\" is no node", breakpoint.node),
                  "write NODE, NODE if METRIC > NUMBER, or if iteration >= NUMBER");
  }
  return breakpoint;
}

std::string Breakpoint::text() const {
  if (!when) return node;
  return node.empty() ? "if " + when->text() : node + " if " + when->text();
}

void Breakpoints::update() {
  const bool at_nodes =
      std::any_of(list_.begin(), list_.end(), [](const Breakpoint& b) { return !b.node.empty(); });
  watching_ = !open_ && (held_ || !target_.empty() || at_nodes);
  conditions_ = std::any_of(list_.begin(), list_.end(),
                            [](const Breakpoint& b) { return b.when.has_value(); });
}

void Breakpoints::add(Breakpoint breakpoint) {
  const std::lock_guard lock(mutex_);
  std::erase_if(list_, [&](const Breakpoint& other) { return other.node == breakpoint.node; });
  list_.push_back(std::move(breakpoint));
  update();
}

void Breakpoints::remove(const std::string& node) {
  const std::lock_guard lock(mutex_);
  std::erase_if(list_, [&](const Breakpoint& other) { return other.node == node; });
  update();
}

void Breakpoints::clear() {
  const std::lock_guard lock(mutex_);
  list_.clear();
  update();
}

void Breakpoints::hold() {
  const std::lock_guard lock(mutex_);
  held_ = !open_;
  passes_ = 0;
  update();
}

void Breakpoints::step() {
  const std::lock_guard lock(mutex_);
  if (held_) ++passes_;
  held_ = !open_;
  update();
  changed_.notify_all();
}

bool Breakpoints::let_go() {
  held_ = false;
  passes_ = 0;
  update();
  changed_.notify_all();
  return !waiting_.empty();
}

bool Breakpoints::run_to(const std::string& node) {
  const std::lock_guard lock(mutex_);
  target_ = node;
  return let_go();
}

bool Breakpoints::release() {
  const std::lock_guard lock(mutex_);
  target_.clear();
  return let_go();
}

void Breakpoints::open() {
  const std::lock_guard lock(mutex_);
  open_ = true;
  target_.clear();
  let_go();
}

void Breakpoints::note_metric(const std::string& name, double value) {
  const std::lock_guard lock(mutex_);
  metrics_[name] = value;
  if (name.find('[') != std::string::npos) metrics_[without_branches(name)] = value;
}

std::vector<Breakpoint> Breakpoints::never_seen() const {
  const std::lock_guard lock(mutex_);
  std::vector<Breakpoint> unseen;
  for (const Breakpoint& breakpoint : list_) {
    if (!breakpoint.when || breakpoint.when->metric == "iteration") continue;
    if (!metrics_.contains(breakpoint.when->metric)) unseen.push_back(breakpoint);
  }
  return unseen;
}

bool Breakpoints::holds(const Breakpoint& breakpoint, std::int64_t iteration) const {
  if (!breakpoint.when) return true;
  if (breakpoint.when->metric == "iteration") {
    return breakpoint.when->holds(static_cast<double>(iteration));
  }
  const auto found = metrics_.find(breakpoint.when->metric);
  return found != metrics_.end() && breakpoint.when->holds(found->second);
}

std::string Breakpoints::breakpoint_at(const std::string& node, std::int64_t iteration) const {
  if (node == target_) return "run to " + node;
  for (const Breakpoint& breakpoint : list_) {
    if (breakpoint.node == node && holds(breakpoint, iteration)) return breakpoint.text();
  }
  return {};
}

std::string Breakpoints::before_iteration(std::int64_t iteration) {
  const std::lock_guard lock(mutex_);
  if (open_) return {};
  for (const Breakpoint& breakpoint : list_) {
    if (breakpoint.node.empty() && holds(breakpoint, iteration)) return breakpoint.text();
  }
  return {};
}

bool Breakpoints::may_pass(const std::string& node) const {
  return !held_ || (passes_ > 0 && waiting_.front() == &node);
}

void Breakpoints::begin_waiting(const std::string& node) {
  if (waiting_.empty()) held_since_ = steady_nanoseconds();
  waiting_.push_back(&node);
}

void Breakpoints::end_waiting(const std::string& node) {
  waiting_.erase(std::find(waiting_.begin(), waiting_.end(), &node));
  if (waiting_.empty()) held_before_ += steady_nanoseconds() - held_since_;
}

std::int64_t Breakpoints::held_nanoseconds() const {
  const std::lock_guard lock(mutex_);
  return held_before_ + (waiting_.empty() ? 0 : steady_nanoseconds() - held_since_);
}

void Breakpoints::wait_at(const std::string& path, std::int64_t iteration) {
  const std::string node = without_branches(path);
  std::unique_lock lock(mutex_);
  if (open_) return;
  std::string hit;
  if (!held_) {
    hit = breakpoint_at(node, iteration);
    if (hit.empty()) return;
    held_ = true;
    passes_ = 0;
    target_.clear();
    update();
  }
  begin_waiting(node);
  // The one at the front is the one that the next step fires: it is told of, each time anew.
  for (bool told = false; !may_pass(node);) {
    if (!told && waiting_.front() == &node) {
      told = true;
      lock.unlock();
      if (stopped) stopped(node, hit, iteration);
      lock.lock();
      continue;
    }
    changed_.wait(lock);
  }
  if (held_) --passes_;
  end_waiting(node);
  update();
  changed_.notify_all();
}

}  // namespace rewardloom

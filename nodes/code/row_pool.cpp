#include "nodes/code/row_pool.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <tuple>

#include "engine/core/problem.h"

namespace rewardloom {
namespace {

bool came_earlier(const PooledRow& a, const PooledRow& b) {
  return std::tie(a.iteration, a.row) < std::tie(b.iteration, b.row);
}

/// Whether `a` leaves before `b`.
bool leaves_first(const PooledRow& a, const PooledRow& b, PoolReplace replace) {
  if (replace == PoolReplace::worst && a.score != b.score) return a.score < b.score;
  return came_earlier(a, b);
}

std::size_t first_to_leave(const std::vector<PooledRow>& rows, PoolReplace replace) {
  std::size_t place = 0;
  for (std::size_t i = 1; i < rows.size(); ++i) {
    if (leaves_first(rows[i], rows[place], replace)) place = i;
  }
  return place;
}

/// Whether new rows are taken in now, where the task has no free place for them.
bool is_due(const std::vector<PooledRow>& kept, std::int64_t iteration, std::int64_t refresh) {
  if (kept.empty()) return true;
  if (refresh == 0) return false;
  const auto newest = std::max_element(kept.begin(), kept.end(), came_earlier);
  // What the same iteration has begun to take in goes on: a task may be sampled twice.
  return newest->iteration == iteration || iteration - newest->iteration >= refresh;
}

Json as_json(const PooledRow& row) {
  return {row.content, row.score, row.weight_version, row.iteration, row.row};
}

PooledRow from_json(const Json& json) {
  return {json.at(0), json.at(1).get<double>(), json.at(2).get<std::int64_t>(),
          json.at(3).get<std::int64_t>(), json.at(4).get<std::int64_t>()};
}

}  // namespace

PoolChange RowPool::offer(const std::string& task, std::vector<PooledRow> rows,
                          std::int64_t iteration, const PoolOptions& options) {
  PoolChange change;
  if (rows.empty()) return change;
  std::vector<PooledRow>& kept = tasks_[task];
  const bool due = is_due(kept, iteration, options.refresh);
  for (PooledRow& row : rows) {
    row.iteration = iteration;
    const bool full = static_cast<std::int64_t>(kept.size()) >= options.per_task;
    if (!due && (options.refresh != 0 || full)) {
      ++change.refused;
      continue;
    }
    if (full) {
      const std::size_t place = first_to_leave(kept, options.replace);
      if (!leaves_first(kept[place], row, options.replace)) {
        ++change.refused;
        continue;
      }
      kept.erase(kept.begin() + static_cast<std::ptrdiff_t>(place));
      --size_;
      ++change.replaced;
    }
    kept.push_back(std::move(row));
    ++size_;
    ++change.added;
  }
  make_room(options, change);
  return change;
}

void RowPool::make_room(const PoolOptions& options, PoolChange& change) {
  while (size_ > options.capacity) {
    auto from = tasks_.begin();
    for (auto it = std::next(from); it != tasks_.end(); ++it) {
      const PooledRow& here = it->second[first_to_leave(it->second, options.replace)];
      const PooledRow& there = from->second[first_to_leave(from->second, options.replace)];
      if (leaves_first(here, there, options.replace)) from = it;
    }
    std::vector<PooledRow>& rows = from->second;
    rows.erase(rows.begin() + static_cast<std::ptrdiff_t>(first_to_leave(rows, options.replace)));
    if (rows.empty()) tasks_.erase(from);
    --size_;
    ++change.replaced;
  }
}

std::vector<PooledRow> RowPool::draw(const std::string& task, std::int64_t count, PoolOrder order,
                                     Random random) const {
  const auto found = tasks_.find(task);
  if (found == tasks_.end()) {
    throw Failure("pool-empty",
                  fmt::format("there is no row for the task \"{}\"; the pool holds {} rows of {} "
                              "tasks",
                              task.substr(0, 80), size_, tasks_.size()),
                  "fill the pool with rows of all tasks before it is drawn from, or raise its "
                  "capacity");
  }
  const std::vector<PooledRow>& kept = found->second;
  std::vector<std::size_t> places(kept.size());
  std::iota(places.begin(), places.end(), std::size_t{0});
  const auto wanted = static_cast<std::size_t>(count);
  if (order == PoolOrder::random) {
    for (std::size_t i = places.size(); i > 1; --i)
      std::swap(places[i - 1], places[random.below(i)]);
  } else if (kept.size() > wanted) {
    places.erase(places.begin(), places.end() - static_cast<std::ptrdiff_t>(wanted));
  }
  std::vector<PooledRow> out;
  for (std::size_t i = 0; i < wanted; ++i) out.push_back(kept[places[i % places.size()]]);
  return out;
}

void RowPool::save(Package& out) const {
  Json all = Json::object();
  for (const auto& [task, rows] : tasks_) {
    Json list = Json::array();
    for (const PooledRow& row : rows) list.push_back(as_json(row));
    all[task] = std::move(list);
  }
  out.meta["tasks"] = std::move(all);
}

void RowPool::load(const Package& in) {
  tasks_.clear();
  size_ = 0;
  for (const auto& [task, rows] : in.meta.at("tasks").items()) {
    for (const Json& row : rows) {
      tasks_[task].push_back(from_json(row));
      ++size_;
    }
  }
}

}  // namespace rewardloom

#include "editor/run/run_queue.h"

#include <algorithm>

namespace rewardloom {

int RunQueue::add(QueuedRun run) {
  run.id = ++lastId_;
  const int id = run.id;
  waiting_.push_back(std::move(run));
  Q_EMIT changed();
  advance();
  return id;
}

void RunQueue::move(int id, int by) {
  const auto at = std::find_if(waiting_.begin(), waiting_.end(),
                               [id](const QueuedRun& run) { return run.id == id; });
  if (at == waiting_.end()) return;
  const auto from = at - waiting_.begin();
  const auto last = static_cast<std::ptrdiff_t>(waiting_.size()) - 1;
  const auto to = std::clamp<std::ptrdiff_t>(from + by, 0, last);
  if (to < from) std::rotate(waiting_.begin() + to, at, at + 1);
  if (to > from) std::rotate(at, at + 1, waiting_.begin() + to + 1);
  Q_EMIT changed();
}

void RunQueue::remove(int id) {
  const auto at = std::find_if(waiting_.begin(), waiting_.end(),
                               [id](const QueuedRun& run) { return run.id == id; });
  if (at == waiting_.end()) return;
  const QueuedRun gone = *at;
  waiting_.erase(at);
  Q_EMIT removed(gone);
  Q_EMIT changed();
}

void RunQueue::advance() {
  if (held_ || waiting_.empty() || busy()) return;
  const QueuedRun first = waiting_.front();
  waiting_.erase(waiting_.begin());
  Q_EMIT changed();
  Q_EMIT start(first);
}

void RunQueue::setHeld(bool held) {
  if (held == held_) return;
  held_ = held;
  Q_EMIT changed();
  advance();
}

}  // namespace rewardloom

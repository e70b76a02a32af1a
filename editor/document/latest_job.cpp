#include "editor/document/latest_job.h"

namespace rewardloom {

LatestJob::LatestJob() : thread_([this] { work(); }) {}

LatestJob::~LatestJob() {
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
    next_ = nullptr;
  }
  changed_.notify_all();
  thread_.join();
}

void LatestJob::give(std::function<void()> job) {
  {
    const std::lock_guard lock(mutex_);
    next_ = std::move(job);
  }
  changed_.notify_all();
}

void LatestJob::cancel() {
  std::unique_lock lock(mutex_);
  next_ = nullptr;
  changed_.wait(lock, [this] { return !busy_; });
}

void LatestJob::finish() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return !busy_ && !next_; });
}

void LatestJob::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return ended_ || next_; });
    if (!next_) return;
    const std::function<void()> job = std::exchange(next_, nullptr);
    busy_ = true;
    lock.unlock();
    job();
    lock.lock();
    busy_ = false;
    changed_.notify_all();
  }
}

}  // namespace rewardloom

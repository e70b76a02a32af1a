// Work that may lag behind the window: of the jobs given, the newest is done, in a thread of its
// own.
#pragma once
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

namespace rewardloom {

class LatestJob {
 public:
  LatestJob();
  /// Finishes the job that is under way; one that waits is forgotten.
  ~LatestJob();
  LatestJob(const LatestJob&) = delete;
  LatestJob& operator=(const LatestJob&) = delete;

  /// Takes the place of a job that has not begun. Jobs throw nothing.
  void give(std::function<void()> job);
  /// Forgets one that waits, and waits for one that is under way.
  void cancel();
  /// Waits until nothing is to be done.
  void finish();

 private:
  void work();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::function<void()> next_;
  bool busy_ = false;
  bool ended_ = false;
  std::thread thread_;
};

}  // namespace rewardloom

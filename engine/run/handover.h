// Tells the thread sanitizer of an order between threads that a library which it cannot look into
// (oneTBB's, Qt's) keeps. Costs nothing in other builds.
#pragma once
#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
#endif

/// For the shell of a task: what it captured was put there by the library, in an order that the
/// sanitizer does not see.
#ifdef __SANITIZE_THREAD__
#define REWARDLOOM_TASK_SHELL __attribute__((no_sanitize_thread))
#else
#define REWARDLOOM_TASK_SHELL
#endif

namespace rewardloom {

/// What was done before a `give` is seen by whoever does a `take` of the same object after it.
class Handover {
 public:
  void give() const {
#ifdef __SANITIZE_THREAD__
    __tsan_release(address());
#endif
  }
  void take() const {
#ifdef __SANITIZE_THREAD__
    __tsan_acquire(address());
#endif
  }

 private:
#ifdef __SANITIZE_THREAD__
  void* address() const { return const_cast<Handover*>(this); }
#endif
};

/// What oneTBB's threads wait by lies on the caller's stack, and the last of them writes it unseen:
/// whatever stands there next would look raced for. This writes over it, suppressed by its name.
#ifdef __SANITIZE_THREAD__
[[gnu::noinline]] inline void write_over_left_stack() {
  volatile char left[4096];
  for (volatile char& byte : left) byte = 0;
}
#else
inline void write_over_left_stack() {}
#endif

}  // namespace rewardloom

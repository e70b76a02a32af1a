// Tells the thread sanitizer of an order between threads that oneTBB's own library, which it cannot
// look into, keeps. Costs nothing in other builds.
#pragma once
#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
#endif

/// For the shell of a task: what it captured was put there by oneTBB, in an order that the
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

}  // namespace rewardloom

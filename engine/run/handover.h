// Tells the thread sanitizer of an order between threads that oneTBB's own library, which it cannot
// look into, keeps. Costs nothing in other builds.
#pragma once
#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
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
  /// Of all tasks: for what a task does before it can reach an object that it captured.
  static const Handover& of_tasks() {
    static const Handover one;
    return one;
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

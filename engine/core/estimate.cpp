#include "engine/core/estimate.h"

#include <ctime>

namespace rewardloom {

double processor_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

std::int64_t micro_batch_of_placement(const Json& placement) {
  const auto found = placement.find("micro_batch");
  if (found == placement.end()) return 0;
  if (found->is_string() && *found == "auto") return automatic_micro_batch;
  if (found->is_number_integer() && found->get<std::int64_t>() >= 0) {
    return found->get<std::int64_t>();
  }
  throw Failure("param-type", "placement.micro_batch is " + found->dump(),
                "give a number of rows, 0 for the node's own choice, or \"auto\"");
}

}  // namespace rewardloom

#include "engine/core/node_paths.h"

namespace rewardloom {

std::string without_branches(std::string_view path) {
  if (path.find('[') == std::string_view::npos) return std::string(path);
  std::string plain;
  int depth = 0;
  for (const char c : path) {
    if (c == '[') ++depth;
    if (depth == 0) plain += c;
    if (c == ']') --depth;
  }
  return plain;
}

}  // namespace rewardloom

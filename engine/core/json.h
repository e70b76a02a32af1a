// JSON as the project writes it: keys keep their order, so that saving changes nothing.
#pragma once
#include <nlohmann/json.hpp>

namespace rewardloom {
using Json = nlohmann::ordered_json;
}

// The Python side of reward.python.
#pragma once
#include <string_view>

namespace rewardloom {

/// The program that the interpreter reads from its standard input: a supervisor, and its child that
/// loads the file and answers calls. Descriptors: 3 calls and answers, 4 ends it when closed, 5
/// says how the child ended. A frame is a little-endian uint32 length and that many bytes.
std::string_view python_driver();

/// What the child exits with when the function closed the descriptor of the answers.
inline constexpr int kPythonChannelLost = 97;

}  // namespace rewardloom

// The Python side of the sandbox that runs programs.
#pragma once
#include <string_view>

namespace rewardloom {

/// The program that the interpreter inside a sandbox runs, as its process 1: it reads one command a
/// case, forks the case's processes, waits for them within the limits, kills every process but
/// itself, empties the folder and answers. Descriptors: 3 commands, 4 answers, 5 the texts of
/// tests with asserts, each of which is read by its own process alone. A frame is a little-endian
/// uint32 length and that many bytes; an answer is JSON, a zero byte, standard output and standard
/// error.
std::string_view program_driver();

}  // namespace rewardloom

// rewardloom-bench [SUITE [PART]]: the benchmarks; without arguments all of them.
#include <cstdio>
#include <exception>
#include <map>
#include <string>

namespace rewardloom::bench {
void bench_algorithms(const std::string& only);
void bench_engine(const std::string& only);
void bench_sandbox(const std::string& only);
void bench_language(const std::string& folder);
}  // namespace rewardloom::bench

int main(int argc, char** argv) {
  using Suite = void (*)(const std::string&);
  const std::map<std::string, Suite> suites = {{"algorithms", rewardloom::bench::bench_algorithms},
                                               {"engine", rewardloom::bench::bench_engine},
                                               {"sandbox", rewardloom::bench::bench_sandbox},
                                               {"language", rewardloom::bench::bench_language}};
  const std::string wanted = argc > 1 ? argv[1] : "";
  const std::string part = argc > 2 ? argv[2] : "";
  if (!wanted.empty() && !suites.contains(wanted)) {
    std::fprintf(stderr, "usage: rewardloom-bench [SUITE [PART]]\nsuites:");
    for (const auto& [name, suite] : suites) std::fprintf(stderr, " %s", name.c_str());
    std::fprintf(stderr, "\n");
    return 2;
  }
  try {
    for (const auto& [name, suite] : suites) {
      if (wanted.empty() || wanted == name) suite(part);
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}

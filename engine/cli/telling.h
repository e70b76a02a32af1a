// Which of a run's metrics say what the run is for, by their names and by what the graph says of
// itself.
#pragma once
#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

namespace rewardloom::cli {

/// What the graph in this run folder says of itself; empty if it says nothing.
std::string about_of(const std::filesystem::path& run_folder);

/// The parts of a path of the graph: between slashes, but not within brackets.
std::vector<std::string> path_parts(const std::string& name);
/// Parts from `first` on, `count` of them, with slashes between.
std::string joined_parts(const std::vector<std::string>& parts, std::size_t first,
                         std::size_t count);
/// The nodes that two names have in common.
std::string common_place(const std::string& a, const std::string& b);
/// A part without the value of its sweep: "shape" of "shape[mode=raw]".
std::string without_sweep(const std::string& part);
/// Numbers in text by their value: "p=0" before "p=0.2", "p=9" before "p=10".
bool natural_less(const std::string& a, const std::string& b);

/// How telling a metric is: what the graph's `about` names as "a/b[x=...]/metric" before the rest,
/// outcomes before inner workings, held-out before training.
class Telling {
 public:
  /// From here on a metric is worth being compared between branches.
  static constexpr int worth_comparing = 20;
  /// From here on the graph names the metric itself.
  static constexpr int named = 200;

  explicit Telling(const std::string& about = {});
  int of(const std::string& metric) const;

 private:
  int mention(const std::vector<std::string>& parts) const;
  std::vector<std::vector<std::string>> patterns_;
};

/// One metric of several branches: names that differ in the values of sweeps, in one part besides,
/// or in both.
struct Family {
  std::vector<std::string> names;  ///< two or more, in natural order
  int telling = 0;                 ///< of its most telling member
};
/// The most telling first; among equals the largest of those with at most `fitting` names.
std::vector<Family> families(const std::vector<std::string>& names, const Telling& telling,
                             std::size_t fitting);

/// What tells names apart, and what they share: "a/*/metric".
struct Labels {
  std::string shared;
  std::vector<std::string> each;
  std::string after;  ///< what is shared behind the star
};
Labels labels_of(const std::vector<std::string>& names);

}  // namespace rewardloom::cli

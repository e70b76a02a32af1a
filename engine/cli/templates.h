// What `rewardloom new` writes.
#pragma once
#include <string>

namespace rewardloom::cli {

struct NodeTemplate {
  std::string header;
  std::string source;
  std::string test;
};

/// A node type that scales and shifts rewards: small, complete, and meant to be replaced.
NodeTemplate node_template(const std::string& family, const std::string& name);

/// A graph file that needs nothing but the program: a tiny model that learns from rewards.
std::string starter_graph(const std::string& title);

}  // namespace rewardloom::cli

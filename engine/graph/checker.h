// Everything that is wrong with a graph, at once, before anything is allocated. Works on
// declarations alone.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "engine/core/catalogue.h"
#include "engine/core/problem.h"
#include "engine/graph/document.h"

namespace rewardloom {

struct CheckOptions {
  bool files = true;  ///< whether parameters that name files must name existing ones
};

struct CheckResult {
  std::vector<Problem> problems;  ///< in the order of the file

  bool ok() const { return errors() == 0; }  ///< warnings and notes do not count
  std::size_t errors() const;
  std::size_t warnings() const;
};

/// All problems of a graph. Nodes inside subgraphs are named by their path, "outer/inner".
CheckResult check(const Document& document, const Catalogue& catalogue,
                  const CheckOptions& options = {});
/// The same for a file; one that cannot be read is a problem too (missing-file, json-syntax, ...).
CheckResult check_file(const std::filesystem::path& path, const Catalogue& catalogue,
                       const CheckOptions& options = {});

/// Every code that check() and the reading of a document can give, sorted.
const std::vector<std::string>& check_codes();

}  // namespace rewardloom

// One recorded port of a run: its distributions over iterations, and one iteration in detail.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "engine/cli/run_overview.h"

namespace rewardloom::cli {

struct PortView {
  std::string port;       ///< "node.port"
  std::string component;  ///< the one that is drawn
  std::vector<ProbeSeries> components;
  std::int64_t at = 0;                ///< the iteration that is shown in detail
  std::vector<HistogramRow> at_rows;  ///< every component at that iteration
  std::vector<SampleRow> samples;     ///< those recorded at that iteration
};

/// `named` is "node.port", "node.port.component", or a node with one recorded port; without `at`
/// the last iteration is shown. Throws WrongUsage for names and iterations that are not there.
PortView read_port(RunReader& reader, const std::string& named, std::optional<std::int64_t> at);
std::string port_text(const PortView& view, std::size_t width);
Json port_json(const PortView& view);

}  // namespace rewardloom::cli

// What a container or subgraph node shows of its inside, and a schedule's phases over a run.
#pragma once
#include <QRectF>
#include <QString>
#include <vector>

#include "editor/document/graph_edits.h"

namespace rewardloom {

/// A body in small: its nodes as boxes in a unit square, from left to right as values flow.
struct BodyPreview {
  QString name;
  std::vector<QRectF> boxes;
  bool exists = true;  ///< false: the container names a subgraph that is not there
};

/// The boxes of a body's nodes, in their order; of very many the first.
std::vector<QRectF> nodeBoxes(const Subgraph& subgraph);

std::vector<BodyPreview> bodyPreviews(const Document& document, const GraphNode& node,
                                      const Catalogue& catalogue);

/// Which phase ran in a part of a run; fractions of the iterations so far.
struct PhaseSpan {
  double from = 0;
  double to = 1;
  int phase = 0;
  bool operator==(const PhaseSpan&) const = default;
};

/// Phases by iteration as spans; at most `most`, so that a fast alternation stays a picture.
std::vector<PhaseSpan> phaseSpans(const std::vector<std::pair<std::int64_t, double>>& phases,
                                  std::size_t most = 64);

}  // namespace rewardloom

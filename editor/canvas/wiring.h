// Which ports fit each other, and why the rest does not, in words.
#pragma once
#include <QString>
#include <string>
#include <vector>

#include "editor/document/graph_edits.h"

namespace rewardloom {

/// One end of a wire.
struct PortEnd {
  std::string node;
  std::string port;
  bool output = false;
  bool operator==(const PortEnd&) const = default;
};

struct FitVerdict {
  bool fits = false;
  std::string converter;  ///< a node type that would make it fit, or empty
  QString reason;         ///< why it does not fit, with both sides
};

/// Whether a wire may go between the two ends (in either order).
FitVerdict fitOf(const Document& document, const Scope& scope, const Catalogue& catalogue,
                 const PortEnd& a, const PortEnd& b);

/// A node type with the port that would take the other end of a wire, best first.
struct FittingType {
  std::string type;
  std::string port;
};
/// All node types with a port that fits `end`. `follows` says how often a type follows another in
/// the graphs people have: (type of `end`'s node, candidate) -> count.
std::vector<FittingType> fittingTypes(
    const Document& document, const Scope& scope, const Catalogue& catalogue, const PortEnd& end,
    const std::function<int(const std::string&, const std::string&)>& follows);

/// Adds a converter node between two ends that `fitOf` says it would join. Returns its name.
std::string connectThrough(Document& document, const Scope& scope, const Catalogue& catalogue,
                           const std::string& converter, const PortEnd& from, const PortEnd& to,
                           QPointF at);
/// Puts a node into a wire: its first fitting input takes the wire's source, its first fitting
/// output feeds the wire's end. Returns false where it has no such pair.
bool insertIntoWire(Document& document, const Scope& scope, const Catalogue& catalogue,
                    const std::string& node, const Wire& wire);

}  // namespace rewardloom

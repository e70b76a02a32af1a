#include "editor/rewards/wire_values.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "editor/rewards/run_places.h"

namespace rewardloom {
namespace {

constexpr int kShowMs = 250;

/// The component that stands for a port's value.
const HistogramRow* mainRow(const std::vector<HistogramRow>& rows) {
  for (const HistogramRow& row : rows) {
    if (row.component == "total" || row.component == row.port) return &row;
  }
  return rows.empty() ? nullptr : &rows.front();
}

std::size_t sharedStart(const std::string& a, const std::string& b) {
  const auto end = std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first;
  return static_cast<std::size_t>(end - a.begin());
}

/// What a run recorded, by the places of a document.
class Recorded {
 public:
  Recorded(const RunData& data, const Document& document, const std::string& preferred)
      : document_(document), preferred_(preferred) {
    const ProbeKey* before = nullptr;
    for (const ProbeKey& key : data.probes()) {
      const bool samePort = before && before->node == key.node && before->port == key.port;
      before = &key;
      if (samePort) continue;
      if (const auto place = placeInDocument(document, key.node)) {
        const ProbeKey*& known = keys_[{place->scope, place->node, key.port}];
        known = nearer(known, &key);
      }
    }
    for (const Subgraph& subgraph : document.subgraphs) addUsers(subgraph.name, subgraph.nodes);
    addUsers({}, document.nodes);
  }

  /// The ports of a scope's own nodes, wired or not.
  std::map<std::pair<std::string, std::string>, ProbeKey> ownOf(const Scope& scope) const {
    std::map<std::pair<std::string, std::string>, ProbeKey> own;
    for (const auto& [place, key] : keys_) {
      if (std::get<0>(place) == scope) own[{std::get<1>(place), std::get<2>(place)}] = *key;
    }
    return own;
  }

  /// What flows from this output of the scope, or null.
  const ProbeKey* at(const Scope& scope, const Reference& from, int depth = 0) const {
    constexpr int kDeepest = 32;  // a recursive subgraph is the checker's business
    const auto own = keys_.find({scope, from.node, from.port});
    if (own != keys_.end() || depth > kDeepest) return own == keys_.end() ? nullptr : own->second;
    return from.node == "inputs" ? fedInto(scope, from.port, depth)
                                 : givenInside(scope, from, depth);
  }

 private:
  using User = std::pair<Scope, const GraphNode*>;

  const ProbeKey* nearer(const ProbeKey* a, const ProbeKey* b) const {
    if (!a || !b) return a ? a : b;
    return sharedStart(b->node, preferred_) > sharedStart(a->node, preferred_) ? b : a;
  }

  void addUsers(const Scope& scope, const std::vector<GraphNode>& nodes) {
    for (const GraphNode& node : nodes) {
      for (const std::string& body : bodiesOf(document_, node)) {
        users_.emplace(body, User{scope, &node});
      }
    }
  }

  const ProbeKey* fedInto(const Scope& scope, const std::string& port, int depth) const {
    const ProbeKey* found = nullptr;
    const auto [first, last] = users_.equal_range(scope);
    for (auto user = first; user != last; ++user) {
      const InputEdges* edges = user->second.second->input(port);
      if (!edges) continue;
      for (const Reference& from : edges->from) {
        found = nearer(found, at(user->second.first, from, depth + 1));
      }
    }
    return found;
  }

  const ProbeKey* givenInside(const Scope& scope, const Reference& output, int depth) const {
    const GraphNode* node = findNode(document_, scope, output.node);
    if (!node) return nullptr;
    const ProbeKey* found = nullptr;
    for (const std::string& body : bodiesOf(document_, *node)) {
      const Subgraph* inside = document_.subgraph(body);
      if (!inside) continue;
      for (const auto& [name, from] : inside->outputs) {
        if (name == output.port) found = nearer(found, at(body, from, depth + 1));
      }
    }
    return found;
  }

  const Document& document_;
  const std::string& preferred_;
  std::map<std::tuple<Scope, std::string, std::string>, const ProbeKey*> keys_;
  std::multimap<Scope, User> users_;  ///< who runs a subgraph
};

}  // namespace

WireHistogram wireHistogram(const HistogramRow& row) {
  WireHistogram result;
  const Distribution& d = row.distribution;
  result.text = QStringLiteral("<b>%1.%2</b>, iteration %3<br>%4 values")
                    .arg(QString::fromStdString(row.node), QString::fromStdString(row.port))
                    .arg(row.iteration)
                    .arg(d.count);
  if (d.count == 0) return result;
  result.text += QStringLiteral(", mean %1, std %2<br>from %3 to %4; a click shows them")
                     .arg(d.mean, 0, 'g', 4)
                     .arg(d.std, 0, 'g', 4)
                     .arg(d.min, 0, 'g', 4)
                     .arg(d.max, 0, 'g', 4);
  std::array<double, WireHistogram::kBars> sums{};
  for (std::size_t i = 0; i < d.bins.size(); ++i) {
    sums[i * WireHistogram::kBars / d.bins.size()] += static_cast<double>(d.bins[i]);
  }
  // All alike: one bar in the middle, not at the edge.
  if (d.hi <= d.lo) std::swap(sums.front(), sums[WireHistogram::kBars / 2]);
  const double most = *std::max_element(sums.begin(), sums.end());
  if (most <= 0) return result;
  for (std::size_t i = 0; i < sums.size(); ++i) {
    result.bars[i] = static_cast<float>(sums[i] / most);
  }
  return result;
}

std::map<std::pair<std::string, std::string>, ProbeKey> recordedPorts(
    const RunData& data, const Document& document, const Scope& scope,
    const std::string& preferred) {
  const Recorded recorded(data, document, preferred);
  auto chosen = recorded.ownOf(scope);
  for (const Wire& wire : wiresOf(document, scope)) {
    if (const ProbeKey* key = recorded.at(scope, wire.from)) {
      chosen[{wire.from.node, wire.from.port}] = *key;
    }
  }
  return chosen;
}

WireValues::WireValues(RunData& data, GraphScene& scene, RewardsDock& dock,
                       std::function<bool()> isCurrent, QObject* parent)
    : QObject(parent), data_(data), scene_(scene), dock_(dock), isCurrent_(std::move(isCurrent)) {
  later_.setSingleShot(true);
  connect(&later_, &QTimer::timeout, this, &WireValues::show);
  connect(&data_, &RunData::updated, this, &WireValues::refresh);
  connect(&scene_, &GraphScene::rebuilt, this, &WireValues::refresh);
  connect(&dock_, &RewardsDock::shownPortChanged, this, &WireValues::refresh);
}

void WireValues::refresh() {
  if (!shown_.isValid() || shown_.elapsed() > kShowMs) return show();
  if (!later_.isActive()) later_.start(kShowMs);
}

void WireValues::show() {
  shown_.start();
  WireHistograms histograms;
  const std::string preferred = isCurrent_() ? dock_.shownNode() : std::string();
  for (const auto& [end, key] :
       recordedPorts(data_, scene_.model().document(), scene_.scope(), preferred)) {
    const auto rows = data_.lastHistograms(key);
    if (const HistogramRow* row = mainRow(rows)) histograms[end] = wireHistogram(*row);
  }
  scene_.setWireHistograms(histograms);
}

void WireValues::open(const PortEnd& end) {
  PortEnd from = end;
  if (!end.output) {
    for (const WireItem* item : scene_.wireItems()) {
      const Wire& wire = item->wire();
      if (wire.node != end.node || wire.port != end.port) continue;
      from = {wire.from.node, wire.from.port, true};
      break;
    }
  }
  if (!data_.isOpen()) {
    Q_EMIT statusText(tr("there is no run yet whose values could be shown"));
    return;
  }
  const auto ports =
      recordedPorts(data_, scene_.model().document(), scene_.scope(), dock_.shownNode());
  const auto it = ports.find({from.node, from.port});
  const bool shown = it != ports.end() && dock_.showPort(QString::fromStdString(it->second.node),
                                                         QString::fromStdString(it->second.port));
  if (!shown) {
    Q_EMIT statusText(
        tr("the run records nothing of %1.%2: only rewards, advantages and "
           "log-probabilities are")
            .arg(QString::fromStdString(from.node), QString::fromStdString(from.port)));
    return;
  }
  Q_EMIT opened();
}

}  // namespace rewardloom

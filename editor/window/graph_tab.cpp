#include "editor/window/graph_tab.h"

#include <QEvent>
#include <QFile>
#include <QHBoxLayout>
#include <QLabel>
#include <QToolButton>
#include <QVBoxLayout>
#include <algorithm>

#include "editor/canvas/minimap.h"
#include "editor/document/subgraph_edits.h"
#include "editor/panels/notice_bar.h"
#include "engine/core/node_paths.h"
#include "engine/graph/hash.h"

namespace rewardloom {

GraphTab::GraphTab(std::shared_ptr<const Catalogue> catalogue, const Theme& theme,
                   const QString& journalFolder, QWidget* parent)
    : QWidget(parent),
      model_(std::move(catalogue)),
      journal_(std::make_unique<Journal>(model_, journalFolder)),
      scene_(new GraphScene(model_, theme, this)),
      view_(new CanvasView(*scene_, this)),
      crumbs_(new QWidget(this)),
      crumbLayout_(new QHBoxLayout(crumbs_)),
      minimap_(new Minimap(*view_, view_)),
      notice_(new NoticeBar(this)),
      hint_(new QLabel(
          tr("Tab or a double click adds a node.<br>Ctrl+V pastes nodes, F1 shows all keys."),
          view_)),
      fileWatch_(model_) {
  auto* layout = new QVBoxLayout(this);
  layout->setContentsMargins(0, 0, 0, 0);
  layout->setSpacing(0);
  layout->addWidget(notice_);
  layout->addWidget(crumbs_);
  layout->addWidget(view_, 1);
  crumbLayout_->setContentsMargins(6, 2, 6, 2);
  hint_->setAlignment(Qt::AlignCenter);
  hint_->setForegroundRole(QPalette::PlaceholderText);
  hint_->setAttribute(Qt::WA_TransparentForMouseEvents);
  view_->installEventFilter(this);
  showCrumbs();
  showMinimapWhereNeeded();
  connect(scene_, &GraphScene::scopeChanged, this, &GraphTab::showCrumbs);
  connect(scene_, &QGraphicsScene::selectionChanged, this, &GraphTab::selectionChanged);
  connect(scene_, &GraphScene::scopeChanged, this, &GraphTab::selectionChanged);
  connect(scene_, &GraphScene::scopeChanged, this, &GraphTab::suggestLayout);
  connect(view_, &CanvasView::viewChanged, this, &GraphTab::showMinimapWhereNeeded);
  connect(scene_, &GraphScene::rebuilt, this, &GraphTab::showMinimapWhereNeeded);
  connect(view_, &CanvasView::statusText, this, &GraphTab::statusText);
  connect(journal_.get(), &Journal::failed, this, [this](const QString& text) {
    Q_EMIT statusText(tr("unsaved work is not being kept: %1").arg(text));
  });
  connect(&layout_, &AutoLayout::done, this, [this](const std::map<std::string, QPointF>& places) {
    const bool shown = layoutScope_ == scene_->scope();
    if (suggesting_) {
      if (shown) scene_->suggestPlaces(places, scene_->dotsFor(places, layout_.ways()));
    } else if (layoutScope_.empty() || model_.document().subgraph(layoutScope_)) {
      model_.edit(tr("Lay out"), [&](Document& document) {
        for (const auto& [name, at] : places) setPosition(document, layoutScope_, name, at);
        std::vector<WireDots> dots = wireDots(document, layoutScope_);
        std::erase_if(dots, [&](const WireDots& old) {
          return places.contains(old.wire.from.node) && places.contains(old.wire.node);
        });
        if (shown) {
          for (WireDots& one : scene_->dotsFor(places, layout_.ways())) dots.push_back(one);
        }
        setWireDots(document, layoutScope_, dots);
      });
    }
    if (!layoutSelection_ && shown) view_->fitAll();
  });
  connect(&layout_, &AutoLayout::failed, this, &GraphTab::statusText);
  connect(&run_, &RunProcess::activityChanged, this, &GraphTab::showActivity);
  connect(&run_, &RunProcess::stoppedAt, this, [this](const QString& node) { onStopped(node); });
  connect(&run_, &RunProcess::stateChanged, this, &GraphTab::runChanged);
  connect(&run_, &RunProcess::started, this, [this] {
    runHash_ = run_.graphHash();
    runWatch_.detach();
    try {
      data_.open(run_.folder());
      data_.setLive(true);
    } catch (const Failure& failure) {
      Q_EMIT statusText(QString::fromStdString(failure.problem().text));
    }
    Q_EMIT runChanged();
  });
  connect(&run_, &RunProcess::finished, this, [this] {
    data_.setLive(false);
    passing_.reset();
    if (!temporary_.isEmpty()) QFile::remove(std::exchange(temporary_, QString()));
    Q_EMIT runChanged();
    Q_EMIT runFinished();
  });
  connect(&runWatch_, &RunWatch::changed, this, [this] {
    data_.setLive(runWatch_.isLive());
    showActivity();
    Q_EMIT runChanged();
  });
  connect(&data_, &RunData::updated, this, &GraphTab::showTimelines);
  connect(&fileWatch_, &FileWatch::changed, this, [this] { askAboutFile(false); });
  connect(&fileWatch_, &FileWatch::gone, this, [this] { askAboutFile(true); });
  connect(&fileWatch_, &FileWatch::same, notice_, &NoticeBar::dismiss);
  connect(&model_, &GraphModel::edited, this, [this](const DocumentPatch& patch) {
    if (patch.touchesMeaning()) showActivity();
  });
}

GraphTab::~GraphTab() {
  scene_->disconnect(this);
  run_.disconnect(this);
}

void GraphTab::setTheme(const Theme& theme) {
  scene_->setTheme(theme);
  view_->setBackgroundBrush(theme.canvas);
  view_->viewport()->update();
}

void GraphTab::showCrumbs() {
  while (QLayoutItem* item = crumbLayout_->takeAt(0)) {
    if (item->widget()) item->widget()->deleteLater();
    delete item;
  }
  crumbs_->setVisible(!scene_->scope().empty());
  if (scene_->scope().empty()) return;
  const auto add = [this](const QString& text, const Scope& scope) {
    auto* button = new QToolButton(crumbs_);
    button->setText(text);
    button->setAutoRaise(true);
    connect(button, &QToolButton::clicked, this, [this, scope] { scene_->setScope(scope); });
    crumbLayout_->addWidget(button);
  };
  std::vector<Scope> way{scene_->scope()};
  while (!way.back().empty() && way.size() < 20) {
    way.push_back(scopeAround(model_.document(), way.back(), model_.catalogue()));
  }
  add(model_.title(), {});
  for (auto scope = way.rbegin() + 1; scope != way.rend(); ++scope) {
    crumbLayout_->addWidget(new QLabel(QString(QChar(0x203a)), crumbs_));
    add(QString::fromStdString(*scope), *scope);
  }
  crumbLayout_->addStretch(1);
}

bool GraphTab::isStale() const {
  if (runHash_.isEmpty()) return false;
  return runHash_ != QString::fromStdString(graph_hash(model_.document()));
}

void GraphTab::showActivity() {
  std::map<std::string, NodeActivity> activities =
      runWatch_.isAttached() ? runWatch_.activities() : run_.activities();
  if (!run_.isActive() && isStale()) {
    for (auto& [name, activity] : activities) {
      if (activity.state == NodeState::done || activity.state == NodeState::cached) {
        activity.state = NodeState::stale;
      }
    }
  }
  scene_->setActivities(activities);
}

void GraphTab::showTimelines() {
  // A container with several bodies says which one ran as the metric NODE/phase.
  constexpr std::string_view kPhase = "/phase";
  std::map<std::string, std::vector<PhaseSpan>> timelines;
  for (const std::string& name : data_.seriesNames()) {
    if (!name.ends_with(kPhase)) continue;
    const MetricSeries* series = data_.series(name);
    if (!series) continue;
    std::vector<std::pair<std::int64_t, double>> phases;
    for (const SeriesPoint& point : series->points()) {
      phases.emplace_back(point.iteration, point.value);
    }
    timelines[without_branches(name.substr(0, name.size() - kPhase.size()))] = phaseSpans(phases);
  }
  scene_->setTimelines(timelines);
}

void GraphTab::suggestLayout() {
  if (scene_->hasPlaces()) return;
  layOut(false);
  suggesting_ = true;
}

void GraphTab::layOut(bool onlySelection) {
  suggesting_ = false;
  std::vector<std::string> names = scene_->selectedNodes();
  layoutSelection_ = onlySelection && names.size() > 1;
  std::vector<LayoutNode> nodes;
  for (const std::string& name : scene_->shownNames()) {
    const bool wanted =
        !layoutSelection_ || std::find(names.begin(), names.end(), name) != names.end();
    const NodeItem* item = scene_->nodeItem(name);
    if (wanted && item) nodes.push_back({name, item->view().rect().size(), item->pos()});
  }
  if (nodes.empty()) return;
  layoutScope_ = scene_->scope();
  std::vector<std::vector<std::string>> together;
  for (const Frame& frame : frames(model_.document(), layoutScope_))
    together.push_back(frame.around);
  layout_.start(nodes, wiresOf(model_.document(), layoutScope_), together);
}

void GraphTab::renameScope(const Scope& to) {
  const Scope from = scene_->scope();
  if (from.empty()) return;
  model_.edit(tr("Rename subgraph"),
              [&](Document& document) { renameSubgraph(document, from, to, model_.catalogue()); });
  scene_->setScope(to);
}

std::string GraphTab::pathOf(const std::string& node) const {
  return pathPrefix(model_.document(), scene_->scope(), model_.catalogue()) + node;
}

void GraphTab::toggleBreakpoint(const std::string& node) {
  const std::string path = pathOf(node);
  if (breakpoints_.contains(path)) return removeBreakpoint(path);
  setBreakpoint(path, {});
}

namespace {

QString placeText(const std::string& path, const QString& condition) {
  const QString node = QString::fromStdString(path);
  if (condition.isEmpty()) return node;
  return node.isEmpty() ? QStringLiteral("if %1").arg(condition)
                        : QStringLiteral("%1 if %2").arg(node, condition);
}

}  // namespace

void GraphTab::setBreakpoint(const std::string& path, const QString& condition) {
  breakpoints_[path] = condition;
  scene_->setBreakpoints(breakpoints_);
  run_.addBreakpoint(placeText(path, condition));
}

void GraphTab::removeBreakpoint(const std::string& path) {
  breakpoints_.erase(path);
  scene_->setBreakpoints(breakpoints_);
  run_.removeBreakpoint(QString::fromStdString(path));
}

QStringList GraphTab::breakpointPlaces() const {
  QStringList places;
  for (const auto& [path, condition] : breakpoints_) {
    const auto at = locate(model_.document(), path, model_.catalogue());
    // A node that is gone would keep the run from starting.
    if (path.empty() || at) places << placeText(path, condition);
  }
  return places;
}

void GraphTab::holdAtStart(RunRequest& request, const QString& then) {
  passing_ = std::string();
  afterHold_ = then;
  request.breakpoints.removeIf([](const QString& place) { return place.startsWith("if "); });
  request.breakpoints << QStringLiteral("if iteration >= 0");
}

void GraphTab::runToAtStart(RunRequest& request, const std::string& path) {
  passing_ = path;
  const QString node = QString::fromStdString(path);
  request.breakpoints.removeIf(
      [&](const QString& place) { return place == node || place.startsWith(node + " if "); });
  request.breakpoints << node;
}

void GraphTab::onStopped(const QString& node) {
  if (passing_) {
    // What the start alone needed goes; what the user had set there comes back.
    const std::string passed = *std::exchange(passing_, std::nullopt);
    run_.removeBreakpoint(QString::fromStdString(passed));
    const auto own = breakpoints_.find(passed);
    if (own != breakpoints_.end()) run_.addBreakpoint(placeText(own->first, own->second));
    const QString then = std::exchange(afterHold_, QString());
    if (then == QStringLiteral("step")) return run_.stepIteration();
    if (then == QStringLiteral("step_node")) return run_.stepNode();
  }
  if (node.isEmpty()) return;
  const auto at = locate(model_.document(), node.toStdString(), model_.catalogue());
  if (!at) return;
  scene_->setScope(at->scope);
  view_->showNode(at->node);
}

bool GraphTab::isRunning() const { return run_.isActive() || runWatch_.isLive(); }

bool GraphTab::isHeld() const {
  return run_.isActive() ? run_.state() == RunState::paused
                         : runWatch_.isLive() && runWatch_.isPaused();
}

void GraphTab::ask(Ask what) {
  if (run_.isActive()) {
    switch (what) {
      case Ask::stop: return run_.stop();
      case Ask::pause: return run_.pause();
      case Ask::goOn: return run_.resume();
      case Ask::step: return run_.stepIteration();
      case Ask::checkpoint: return run_.checkpoint();
    }
  }
  const auto [word, said] = [what]() -> std::pair<const char*, QString> {
    switch (what) {
      case Ask::stop: return {"stop", tr("it stops after this iteration; again: at once")};
      case Ask::pause: return {"pause", tr("it waits after this iteration")};
      case Ask::goOn: return {"resume", tr("it goes on")};
      case Ask::step: return {"step", tr("one more iteration, then it waits")};
      case Ask::checkpoint: break;
    }
    return {"checkpoint", tr("a checkpoint is written after this iteration")};
  }();
  const QString fault = runWatch_.send(QString::fromLatin1(word));
  Q_EMIT statusText(fault.isEmpty() ? tr("asked the run in %1: %2").arg(runWatch_.folder(), said)
                                    : fault);
  Q_EMIT runChanged();
}

void GraphTab::openRun(const QString& folder) {
  data_.open(folder);
  runHash_ = QString::fromStdString(graph_hash(model_.document()));
  runWatch_.attach(folder);
}

QString GraphTab::runFolder() const {
  return run_.folder().isEmpty() || runWatch_.isAttached() ? runWatch_.folder() : run_.folder();
}

void GraphTab::takeTheirs() {
  try {
    model_.reload();
    Q_EMIT statusText(tr("loaded %1 again; undo brings yours back").arg(model_.title()));
  } catch (const Failure& failure) {
    notice_->ask(tr("What is in %1 now cannot be read: %2")
                     .arg(model_.title(), QString::fromStdString(failure.problem().text)),
                 {{tr("Keep mine"), [this] { model_.keepMine(); }, false}});
  }
}

void GraphTab::askAboutFile(bool gone) {
  if (gone) {
    model_.history().resetClean();
    notice_->ask(tr("%1 was deleted or moved. The graph is still here.").arg(model_.path()),
                 {{tr("Save it again"), [this] { Q_EMIT saveWanted(false); }, false},
                  {tr("Save as..."), [this] { Q_EMIT saveWanted(true); }, false},
                  {tr("Later"), {}, false}});
    return;
  }
  notice_->ask(tr("%1 was changed by another program.").arg(model_.path()),
               {{tr("Load theirs"), [this] { takeTheirs(); }, false},
                {tr("Keep mine"), [this] { model_.keepMine(); }, false},
                {tr("Show the differences"), [this] { Q_EMIT differencesWanted(); }, true}});
}

void GraphTab::showMinimap(bool shown) {
  minimapWanted_ = shown;
  showMinimapWhereNeeded();
}

bool GraphTab::minimapShown() const { return minimapWanted_; }

void GraphTab::showMinimapWhereNeeded() {
  // Where all of the graph is on the screen it would only cover some of it.
  const QRectF seen = view_->mapToScene(view_->viewport()->rect()).boundingRect();
  const bool empty = scene_->contentRect().isEmpty();
  minimap_->setVisible(minimapWanted_ && !empty && !seen.contains(scene_->contentRect()));
  hint_->setVisible(empty);
}

void GraphTab::placeMinimap() {
  minimap_->move(view_->width() - minimap_->width() - 12,
                 view_->height() - minimap_->height() - 12);
  hint_->setGeometry(view_->rect());
}

bool GraphTab::eventFilter(QObject* watched, QEvent* event) {
  // The canvas also gets smaller when the way into a subgraph is shown above it.
  if (watched == view_ && event->type() == QEvent::Resize) placeMinimap();
  return QWidget::eventFilter(watched, event);
}

}  // namespace rewardloom

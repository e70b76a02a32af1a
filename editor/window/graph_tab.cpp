#include "editor/window/graph_tab.h"

#include <QHBoxLayout>
#include <QLabel>
#include <QToolButton>
#include <QVBoxLayout>
#include <algorithm>

#include "editor/canvas/minimap.h"
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
      minimap_(new Minimap(*view_, view_)) {
  auto* layout = new QVBoxLayout(this);
  layout->setContentsMargins(0, 0, 0, 0);
  layout->setSpacing(0);
  layout->addWidget(crumbs_);
  layout->addWidget(view_, 1);
  crumbLayout_->setContentsMargins(6, 2, 6, 2);
  showCrumbs();
  connect(scene_, &GraphScene::scopeChanged, this, &GraphTab::showCrumbs);
  connect(scene_, &QGraphicsScene::selectionChanged, this, &GraphTab::selectionChanged);
  connect(scene_, &GraphScene::scopeChanged, this, &GraphTab::selectionChanged);
  connect(scene_, &GraphScene::scopeChanged, this, &GraphTab::suggestLayout);
  connect(view_, &CanvasView::statusText, this, &GraphTab::statusText);
  connect(journal_.get(), &Journal::failed, this, [this](const QString& text) {
    Q_EMIT statusText(tr("unsaved work is not being kept: %1").arg(text));
  });
  connect(&layout_, &AutoLayout::done, this, [this](const std::map<std::string, QPointF>& places) {
    if (suggesting_) {
      scene_->suggestPlaces(places);
    } else {
      model_.edit(tr("Lay out"), [&](Document& document) {
        for (const auto& [name, at] : places) setPosition(document, scene_->scope(), name, at);
      });
    }
    if (!layoutSelection_) view_->fitAll();
  });
  connect(&layout_, &AutoLayout::failed, this, &GraphTab::statusText);
  connect(&run_, &RunProcess::activityChanged, this, &GraphTab::showActivity);
  connect(&run_, &RunProcess::stateChanged, this, &GraphTab::runChanged);
  connect(&run_, &RunProcess::started, this, [this] {
    runHash_ = run_.graphHash();
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
    Q_EMIT runChanged();
  });
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
  add(model_.title(), {});
  auto* arrow = new QLabel(QString(QChar(0x203a)), crumbs_);
  crumbLayout_->addWidget(arrow);
  add(QString::fromStdString(scene_->scope()), scene_->scope());
  crumbLayout_->addStretch(1);
}

bool GraphTab::isStale() const {
  if (runHash_.isEmpty()) return false;
  return runHash_ != QString::fromStdString(graph_hash(model_.document()));
}

void GraphTab::showActivity() {
  std::map<std::string, NodeActivity> activities = run_.activities();
  if (!run_.isActive() && isStale()) {
    for (auto& [name, activity] : activities) {
      if (activity.state == NodeState::done || activity.state == NodeState::cached) {
        activity.state = NodeState::stale;
      }
    }
  }
  scene_->setActivities(activities);
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
  for (const GraphNode& node : nodesOf(model_.document(), scene_->scope())) {
    const bool wanted =
        !layoutSelection_ || std::find(names.begin(), names.end(), node.name) != names.end();
    const NodeItem* item = scene_->nodeItem(node.name);
    if (wanted && item) nodes.push_back({node.name, item->view().rect().size(), item->pos()});
  }
  if (nodes.empty()) return;
  layout_.start(nodes, wiresOf(model_.document(), scene_->scope()));
}

void GraphTab::toggleBreakpoint(const std::string& node) {
  if (!breakpoints_.erase(node)) breakpoints_.insert(node);
  scene_->setBreakpoints(breakpoints_);
}

void GraphTab::openRun(const QString& folder) {
  data_.open(folder);
  Q_EMIT runChanged();
}

void GraphTab::showMinimap(bool shown) { minimap_->setVisible(shown); }

bool GraphTab::minimapShown() const { return minimap_->isVisibleTo(view_); }

void GraphTab::placeMinimap() {
  minimap_->move(view_->width() - minimap_->width() - 12,
                 view_->height() - minimap_->height() - 12);
}

void GraphTab::resizeEvent(QResizeEvent* event) {
  QWidget::resizeEvent(event);
  layout()->activate();
  placeMinimap();
}

}  // namespace rewardloom

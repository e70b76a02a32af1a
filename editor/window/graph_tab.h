// One open graph in the window: its model, canvas, journal and run.
#pragma once
#include <QWidget>
#include <memory>
#include <set>

#include "editor/canvas/canvas_view.h"
#include "editor/document/graph_model.h"
#include "editor/document/journal.h"
#include "editor/layout/auto_layout.h"
#include "editor/rewards/run_data.h"
#include "editor/run/run_process.h"

class QLabel;
class QHBoxLayout;

namespace rewardloom {

class Minimap;

class GraphTab final : public QWidget {
  Q_OBJECT

 public:
  GraphTab(std::shared_ptr<const Catalogue> catalogue, const Theme& theme,
           const QString& journalFolder, QWidget* parent = nullptr);
  ~GraphTab() override;

  GraphModel& model() { return model_; }
  GraphScene& scene() { return *scene_; }
  CanvasView& canvas() { return *view_; }
  RunProcess& run() { return run_; }
  RunData& data() { return data_; }
  Journal& journal() { return *journal_; }
  void setTheme(const Theme& theme);
  /// Layers the selected nodes, or all.
  void layOut(bool onlySelection);
  /// The same for a graph whose file gives no places, without changing it.
  void suggestLayout();
  void toggleBreakpoint(const std::string& node);
  const std::set<std::string>& breakpoints() const { return breakpoints_; }
  /// Whether the last run was of another graph than the one on the screen.
  bool isStale() const;
  /// Shows a finished or foreign run: its states, its distributions.
  void openRun(const QString& folder);
  void showMinimap(bool shown);
  bool minimapShown() const;

 Q_SIGNALS:
  void statusText(const QString& text);
  void selectionChanged();
  void runChanged();

 protected:
  void resizeEvent(QResizeEvent* event) override;

 private:
  void showCrumbs();
  void showActivity();
  void placeMinimap();

  GraphModel model_;
  std::unique_ptr<Journal> journal_;
  GraphScene* scene_;
  CanvasView* view_;
  QWidget* crumbs_;
  QHBoxLayout* crumbLayout_;
  Minimap* minimap_;
  AutoLayout layout_;
  bool layoutSelection_ = false;
  bool suggesting_ = false;
  RunProcess run_;
  RunData data_;
  QString runHash_;
  std::set<std::string> breakpoints_;
};

}  // namespace rewardloom

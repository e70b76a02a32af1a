// One open graph in the window: its model, canvas, journal and run.
#pragma once
#include <QWidget>
#include <memory>
#include <set>

#include "editor/canvas/canvas_view.h"
#include "editor/document/file_watch.h"
#include "editor/document/graph_model.h"
#include "editor/document/journal.h"
#include "editor/layout/auto_layout.h"
#include "editor/rewards/run_data.h"
#include "editor/run/run_process.h"
#include "editor/run/run_watch.h"

class QLabel;
class QHBoxLayout;

namespace rewardloom {

class Minimap;
class NoticeBar;

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
  FileWatch& fileWatch() { return fileWatch_; }
  RunWatch& runWatch() { return runWatch_; }
  NoticeBar& notice() { return *notice_; }
  void setTheme(const Theme& theme);
  /// Layers the selected nodes, or all.
  void layOut(bool onlySelection);
  /// The same for a graph whose file gives no places, without changing it.
  void suggestLayout();
  /// The subgraph that is shown gets another name and stays on the screen.
  void renameScope(const Scope& to);
  /// Of a node of the scope that is shown; live runs hear of it.
  void toggleBreakpoint(const std::string& node);
  /// `condition`: "reward/accuracy > 0.9", or empty; an empty node: before iterations.
  void setBreakpoint(const std::string& path, const QString& condition);
  void removeBreakpoint(const std::string& path);
  /// Paths with conditions.
  const std::map<std::string, QString>& breakpoints() const { return breakpoints_; }
  QStringList breakpointPlaces() const;
  /// The path of a node of the scope that is shown.
  std::string pathOf(const std::string& node) const;
  /// What a run that is about to start does when it is first held: "step", "step_node" or nothing.
  void holdAtStart(RunRequest& request, const QString& then);
  void runToAtStart(RunRequest& request, const std::string& path);
  /// What a run can be asked for: the tab's own one, or the one of another program that is watched.
  enum class Ask { stop, pause, goOn, step, checkpoint };
  void ask(Ask what);
  /// Whether there is a run to be asked, and whether it is held.
  bool isRunning() const;
  bool isHeld() const;
  /// Whether the last run was of another graph than the one on the screen.
  bool isStale() const;
  /// Shows a finished run or one that another process does: its states, its distributions.
  void openRun(const QString& folder);
  /// The folder of the run that is shown, or empty.
  QString runFolder() const;
  /// A file that only this run needs: removed when it has ended.
  void setTemporary(const QString& file) { temporary_ = file; }
  void showMinimap(bool shown);
  bool minimapShown() const;

 Q_SIGNALS:
  void statusText(const QString& text);
  void selectionChanged();
  void runChanged();
  void runFinished();
  void saveWanted(bool as);
  void differencesWanted();

 protected:
  bool eventFilter(QObject* watched, QEvent* event) override;

 private:
  void showCrumbs();
  void showActivity();
  void showTimelines();
  void onStopped(const QString& node);
  void placeMinimap();
  void showMinimapWhereNeeded();
  void askAboutFile(bool gone);
  void takeTheirs();

  GraphModel model_;
  std::unique_ptr<Journal> journal_;
  GraphScene* scene_;
  CanvasView* view_;
  QWidget* crumbs_;
  QHBoxLayout* crumbLayout_;
  Minimap* minimap_;
  bool minimapWanted_ = true;
  NoticeBar* notice_;
  QLabel* hint_;  ///< on an empty canvas
  FileWatch fileWatch_;
  AutoLayout layout_;
  Scope layoutScope_;
  bool layoutSelection_ = false;
  bool suggesting_ = false;
  RunProcess run_;
  RunData data_;
  RunWatch runWatch_;
  QString temporary_;
  QString runHash_;
  std::map<std::string, QString> breakpoints_;
  std::optional<std::string> passing_;  ///< a breakpoint of this start only, by node
  QString afterHold_;
};

}  // namespace rewardloom

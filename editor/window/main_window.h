// The editor's window: documents in tabs, panels around them, one table of actions.
#pragma once
#include <QMainWindow>
#include <memory>

#include "editor/theme.h"
#include "editor/window/actions.h"
#include "engine/core/catalogue.h"
#include "engine/core/problem.h"

class QDockWidget;
class QLabel;
class QListWidget;
class QPlainTextEdit;
class QProgressBar;
class QStackedWidget;
class QTabWidget;
class QTextBrowser;
class QTreeWidget;

namespace rewardloom {

class GraphTab;
class ParameterPanel;
class ProblemsPanel;
class DiffPanel;
class Gallery;
class RewardsDock;
class RunQueue;
class SearchPopup;
struct PortEnd;
struct QueuedRun;
struct Recovery;
struct RunRequest;

/// Where the editor finds what it needs; tests give their own.
struct EditorPaths {
  QString program;           ///< the `rewardloom` executable
  QString graphs;            ///< the gallery
  QString runs;              ///< where runs go
  QString journals;          ///< where unsaved work is kept
  QStringList plugins = {};  ///< with more node types, for runs too
};

class MainWindow final : public QMainWindow {
  Q_OBJECT

 public:
  MainWindow(std::shared_ptr<const Catalogue> catalogue, EditorPaths paths,
             QWidget* parent = nullptr);
  ~MainWindow() override;

  /// A graph file or a run folder; a message instead of an exception.
  bool openPath(const QString& path);
  GraphTab* newGraph();
  GraphTab* currentTab() const;
  bool save(GraphTab& tab, bool as);
  void startRun();
  void stopRun();
  /// One iteration ("step") or node ("step_node"); starts the run where there is none.
  void stepRun(const QString& what);
  void runToSelected();
  /// The graph on the screen, as it is now, runs after those that wait.
  void queueRun();
  /// Goes on with the run that is shown; a finished one up to more iterations.
  void resumeRun();
  void showDifferences(const QString& file);
  Gallery& gallery() { return *gallery_; }
  RunQueue& queue() { return *queue_; }
  DiffPanel& differencesPanel() { return *diff_; }
  ProblemsPanel& problemsPanel() { return *problems_; }
  const ActionTable& actions() const { return actions_; }
  void offerRecovery();
  /// Something that concerns the editor as a whole: stays in the problems panel.
  void report(const Problem& problem);
  void setDark(bool dark);
  /// Instead of dialogs, for tests: what a question would be answered with.
  void setUnattended(bool unattended) { unattended_ = unattended; }
  SearchPopup& searchPopup() { return *search_; }
  RewardsDock& rewards() { return *rewards_; }

 protected:
  void changeEvent(QEvent* event) override;
  void closeEvent(QCloseEvent* event) override;
  void dragEnterEvent(QDragEnterEvent* event) override;
  void dropEvent(QDropEvent* event) override;

 private:
  void buildActions();
  void buildEditActions();
  void buildViewActions();
  void buildRunActions();
  void buildRewardActions();
  void buildDocks();
  /// Run, pause and stop for the mouse.
  QWidget* runButtons();
  void fillLibrary();
  void openRunIn(GraphTab& tab, const QString& folder);
  QWidget* welcomePage();
  GraphTab* addTab();
  void tabChanged();
  void showDocks(bool shown);
  void selectionChanged();
  void titleChanged();
  void runChanged();
  void showProgress();
  void searchNode(QPoint globalPos, QPointF scenePos, const std::optional<PortEnd>& from);
  void showPalette();
  void findInGraph();
  void askCondition();
  /// A request for the graph of the tab as it is on the screen, or nothing, with a message.
  /// `copy`: of a copy of that name beside the file, so that later edits do not matter.
  std::optional<RunRequest> requestOf(GraphTab& tab, const QString& copy = {});
  void launch(GraphTab& tab, const RunRequest& request);
  /// A copy of the graph on the screen beside its file, for a run; empty where that fails.
  QString snapshot(GraphTab& tab, const QString& purpose);
  void startQueued(const QueuedRun& run);
  void raise(QWidget* panel);
  bool mayWrite(GraphTab& tab, const QString& path);
  void showNodePage(const std::string& type);
  void goTo(const QString& path, const QString& port);
  bool confirmClose(GraphTab& tab);
  /// "Later" keeps it for the next start, and so does Escape.
  enum class Offer { take, later, drop };
  Offer askToRecover(const Recovery& recovery);
  void complain(const QString& title, const QString& text);
  void remember(const QString& path);
  QStringList recent() const;
  QStringList recentThere() const;
  void openDialog();
  void withTab(const std::function<void(GraphTab&)>& act);

  std::shared_ptr<const Catalogue> catalogue_;
  EditorPaths paths_;
  Theme theme_;
  ActionTable actions_;
  QStackedWidget* pages_;
  QTabWidget* tabs_;
  ParameterPanel* parameters_;
  ProblemsPanel* problems_;
  RewardsDock* rewards_;
  DiffPanel* diff_;
  Gallery* gallery_ = nullptr;
  RunQueue* queue_;
  QTreeWidget* library_;
  QTextBrowser* nodePage_;
  QPlainTextEdit* log_;
  QLabel* runLabel_;
  QLabel* problemLabel_;
  QProgressBar* progress_;
  SearchPopup* search_;
  std::map<std::pair<std::string, std::string>, int> follows_;
  std::vector<Problem> ownProblems_;
  QList<QDockWidget*> hiddenDocks_;  ///< while the welcome page is shown
  QList<QDockWidget*> frontDocks_;   ///< those of them that were in front
  bool unattended_ = false;
};

}  // namespace rewardloom

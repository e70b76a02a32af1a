// The editor's window: documents in tabs, panels around them, one table of actions.
#pragma once
#include <QMainWindow>
#include <memory>

#include "editor/theme.h"
#include "editor/window/actions.h"
#include "engine/core/catalogue.h"

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
class RewardsDock;
class SearchPopup;
struct PortEnd;

/// Where the editor finds what it needs; tests give their own.
struct EditorPaths {
  QString program;   ///< the `rewardloom` executable
  QString graphs;    ///< the gallery
  QString runs;      ///< where runs go
  QString journals;  ///< where unsaved work is kept
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
  const ActionTable& actions() const { return actions_; }
  void offerRecovery();
  void setDark(bool dark);
  /// Instead of dialogs, for tests: what a question would be answered with.
  void setUnattended(bool unattended) { unattended_ = unattended; }
  SearchPopup& searchPopup() { return *search_; }
  RewardsDock& rewards() { return *rewards_; }

 protected:
  void closeEvent(QCloseEvent* event) override;
  void dragEnterEvent(QDragEnterEvent* event) override;
  void dropEvent(QDropEvent* event) override;

 private:
  void buildActions();
  void buildEditActions();
  void buildViewActions();
  void buildRunActions();
  void buildDocks();
  void fillLibrary();
  QWidget* welcomePage();
  GraphTab* addTab();
  void tabChanged();
  void selectionChanged();
  void titleChanged();
  void runChanged();
  void showProgress();
  void searchNode(QPoint globalPos, QPointF scenePos, const std::optional<PortEnd>& from);
  void showPalette();
  void findInGraph();
  void showNodePage(const std::string& type);
  void goTo(const QString& path, const QString& port);
  bool confirmClose(GraphTab& tab);
  void complain(const QString& title, const QString& text);
  void remember(const QString& path);
  QStringList recent() const;
  void openDialog();
  void withTab(const std::function<void(GraphTab&)>& act) const;

  std::shared_ptr<const Catalogue> catalogue_;
  EditorPaths paths_;
  Theme theme_;
  ActionTable actions_;
  QStackedWidget* pages_;
  QTabWidget* tabs_;
  ParameterPanel* parameters_;
  ProblemsPanel* problems_;
  RewardsDock* rewards_;
  QTreeWidget* library_;
  QTextBrowser* nodePage_;
  QPlainTextEdit* log_;
  QLabel* runLabel_;
  QLabel* problemLabel_;
  QProgressBar* progress_;
  SearchPopup* search_;
  std::map<std::pair<std::string, std::string>, int> follows_;
  bool unattended_ = false;
};

}  // namespace rewardloom

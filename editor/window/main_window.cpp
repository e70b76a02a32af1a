#include "editor/window/main_window.h"

#include <QApplication>
#include <QCloseEvent>
#include <QDateTime>
#include <QDir>
#include <QDockWidget>
#include <QFileDialog>
#include <QFileInfo>
#include <QInputDialog>
#include <QLabel>
#include <QListWidget>
#include <QLocale>
#include <QMenu>
#include <QMenuBar>
#include <QMessageBox>
#include <QMimeData>
#include <QPlainTextEdit>
#include <QProgressBar>
#include <QPushButton>
#include <QSettings>
#include <QStackedWidget>
#include <QStatusBar>
#include <QTabBar>
#include <QTabWidget>
#include <QTextBrowser>
#include <QTimer>
#include <QTreeWidget>
#include <QVBoxLayout>
#include <filesystem>
#include <system_error>

#include "editor/document/subgraph_edits.h"
#include "editor/panels/diff_panel.h"
#include "editor/panels/notice_bar.h"
#include "editor/panels/parameter_panel.h"
#include "editor/panels/problems_panel.h"
#include "editor/panels/search_popup.h"
#include "editor/rewards/rewards_dock.h"
#include "editor/rewards/wire_values.h"
#include "editor/run/run_queue.h"
#include "editor/window/gallery.h"
#include "editor/window/graph_tab.h"
#include "editor/window/node_page.h"

namespace rewardloom {
namespace {

constexpr int kMostRecent = 12;

/// The graph of a run is called after the run: all their files have one name.
QString shownTitle(GraphTab& tab) {
  const QString folder = tab.runWatch().folder();
  const bool ofRun = !folder.isEmpty() && tab.model().path() == folder + "/graph.json";
  return ofRun ? QDir(folder).dirName() : tab.model().title();
}

}  // namespace

MainWindow::MainWindow(std::shared_ptr<const Catalogue> catalogue, EditorPaths paths,
                       QWidget* parent)
    : QMainWindow(parent),
      catalogue_(std::move(catalogue)),
      paths_(std::move(paths)),
      theme_(Theme::darkTheme()),
      pages_(new QStackedWidget(this)),
      tabs_(new QTabWidget(this)),
      parameters_(new ParameterPanel(this)),
      problems_(new ProblemsPanel(this)),
      rewards_(new RewardsDock(theme_, this)),
      diff_(new DiffPanel(this)),
      queue_(new RunQueue(this)),
      library_(new QTreeWidget(this)),
      nodePage_(new QTextBrowser(this)),
      log_(new QPlainTextEdit(this)),
      runLabel_(new QLabel(this)),
      problemLabel_(new QLabel(this)),
      progress_(new QProgressBar(this)),
      search_(new SearchPopup(this)) {
  setAcceptDrops(true);
  setDockNestingEnabled(true);
  tabs_->setTabsClosable(true);
  tabs_->setMovable(true);
  tabs_->setDocumentMode(true);
  tabs_->tabBar()->setDrawBase(false);
  pages_->addWidget(tabs_);
  setCentralWidget(pages_);
  follows_ = followCounts(paths_.graphs);
  buildActions();
  actions_.install(*this, *pages_);
  actions_.fillMenus(*menuBar());
  menuBar()->setCornerWidget(runButtons());
  buildDocks();
  pages_->insertWidget(0, welcomePage());
  pages_->setCurrentIndex(0);
  statusBar()->addPermanentWidget(progress_);
  statusBar()->addPermanentWidget(runLabel_);
  statusBar()->addPermanentWidget(problemLabel_);
  progress_->setMaximumWidth(180);
  progress_->hide();
  connect(tabs_, &QTabWidget::currentChanged, this, &MainWindow::tabChanged);
  connect(pages_, &QStackedWidget::currentChanged, this, &MainWindow::tabChanged);
  connect(tabs_, &QTabWidget::tabCloseRequested, this, [this](int index) {
    auto* tab = static_cast<GraphTab*>(tabs_->widget(index));
    if (!confirmClose(*tab)) return;
    tab->journal().discard();
    tabs_->removeTab(index);
    tab->deleteLater();
    if (tabs_->count() == 0) pages_->setCurrentIndex(0);
  });
  connect(parameters_, &ParameterPanel::statusText, this,
          [this](const QString& text) { statusBar()->showMessage(text, 8000); });
  connect(parameters_, &ParameterPanel::nodeRenamed, this,
          [this](const QString&, const QString& to) {
            withTab([&](GraphTab& tab) { tab.scene().selectNodes({to.toStdString()}); });
          });
  connect(parameters_, &ParameterPanel::left, this,
          [this] { withTab([](GraphTab& tab) { tab.canvas().setFocus(); }); });
  connect(parameters_, &ParameterPanel::swept, this, [this](const QString& node) {
    withTab([&](GraphTab& tab) {
      tab.scene().setScope({});
      tab.suggestLayout();
      tab.scene().selectNodes({node.toStdString()});
      tab.canvas().showNode(node.toStdString());
    });
  });
  connect(parameters_, &ParameterPanel::subgraphRenamed, this, [this](const QString& to) {
    withTab([&](GraphTab& tab) { tab.renameScope(to.toStdString()); });
  });
  connect(problems_, &ProblemsPanel::goTo, this, &MainWindow::goTo);
  connect(diff_, &DiffPanel::goTo, this, &MainWindow::goTo);
  queue_->busy = [this] {
    for (int i = 0; i < tabs_->count(); ++i) {
      if (static_cast<GraphTab*>(tabs_->widget(i))->run().isActive()) return true;
    }
    return false;
  };
  connect(queue_, &RunQueue::start, this, &MainWindow::startQueued);
  connect(queue_, &RunQueue::removed, this,
          [](const QueuedRun& run) { QFile::remove(run.request.graph); });
  connect(problems_, &ProblemsPanel::countChanged, this, [this](int errors, int warnings) {
    const auto counted = [](int count, const QString& one, const QString& many) {
      return QStringLiteral("%1 %2").arg(count).arg(count == 1 ? one : many);
    };
    QStringList parts;
    if (errors > 0) parts << counted(errors, tr("error"), tr("errors"));
    if (warnings > 0) parts << counted(warnings, tr("warning"), tr("warnings"));
    problemLabel_->setText(parts.isEmpty() ? tr("no problems") : parts.join(tr(", ")));
  });
  const QSettings settings;
  resize(1500, 950);
  restoreGeometry(settings.value(QStringLiteral("geometry")).toByteArray());
  restoreState(settings.value(QStringLiteral("docks")).toByteArray());
  setDark(settings.value(QStringLiteral("dark"), true).toBool());
  tabChanged();
}

MainWindow::~MainWindow() {
  // The panels must not hear of documents that go down with the window.
  tabs_->disconnect(this);
  pages_->disconnect(this);
  rewards_->setData(nullptr);
  diff_->setModel(nullptr);
  queue_->disconnect(this);
  parameters_->setModel(nullptr);
  problems_->setModel(nullptr);
  while (tabs_->count() > 0) {
    const std::unique_ptr<QWidget> tab(tabs_->widget(0));
    tabs_->removeTab(0);
    tab->disconnect(this);
  }
}

GraphTab* MainWindow::currentTab() const {
  return pages_->currentWidget() == tabs_ ? static_cast<GraphTab*>(tabs_->currentWidget())
                                          : nullptr;
}

void MainWindow::withTab(const std::function<void(GraphTab&)>& act) {
  GraphTab* tab = currentTab();
  if (!tab) return;
  try {
    act(*tab);
  } catch (const Failure& failure) {
    const Problem& problem = failure.problem();
    const std::string help = problem.help.empty() ? "" : ": " + problem.help;
    statusBar()->showMessage(QString::fromStdString(problem.text + help), 15000);
  }
}

GraphTab* MainWindow::addTab() {
  auto* tab = new GraphTab(catalogue_, theme_, paths_.journals);  // the tab widget owns it
  connect(tab, &GraphTab::statusText, this,
          [this](const QString& text) { statusBar()->showMessage(text, 10000); });
  connect(tab, &GraphTab::selectionChanged, this, &MainWindow::selectionChanged);
  connect(tab, &GraphTab::runChanged, this, &MainWindow::runChanged);
  connect(tab, &GraphTab::runFinished, queue_, &RunQueue::advance, Qt::QueuedConnection);
  connect(tab, &GraphTab::saveWanted, this, [this, tab](bool as) { save(*tab, as); });
  connect(tab, &GraphTab::differencesWanted, this,
          [this, tab] { showDifferences(tab->model().path()); });
  connect(&tab->model(), &GraphModel::pathChanged, this, &MainWindow::titleChanged);
  connect(&tab->model().history(), &QUndoStack::cleanChanged, this, &MainWindow::titleChanged);
  connect(&tab->canvas(), &CanvasView::searchRequested, this, &MainWindow::searchNode);
  auto* values = new WireValues(
      tab->data(), tab->scene(), *rewards_, [this, tab] { return tab == currentTab(); }, tab);
  connect(&tab->canvas(), &CanvasView::portViewRequested, values, &WireValues::open);
  connect(values, &WireValues::statusText, tab, &GraphTab::statusText);
  connect(values, &WireValues::opened, this, [this] { raise(rewards_); });
  connect(&tab->canvas(), &CanvasView::contextRequested, this, [this](QPoint at) {
    QMenu menu;
    for (const char* id : {"node.add", "edit.copy", "edit.paste", "edit.duplicate", "edit.delete",
                           "edit.delete_heal", "node.frame", "node.group", "node.collapse",
                           "view.layout_selection", "run.breakpoint"}) {
      menu.addAction(actions_.action(QString::fromLatin1(id)));
    }
    menu.exec(at);
  });
  connect(&tab->canvas(), &CanvasView::bodyChoice, this, [this, tab](const QStringList& names) {
    std::vector<SearchEntry> entries;
    for (const QString& name : names) entries.push_back({name, name, {}, {}, {}});
    search_->open(QCursor::pos(), tr("Which body?"), std::move(entries),
                  [tab](const QString& name) { tab->scene().setScope(name.toStdString()); });
  });
  connect(&tab->run(), &RunProcess::logged, this, [this, tab](const QString& line) {
    if (tab == currentTab()) log_->appendPlainText(line);
  });
  connect(&tab->run(), &RunProcess::metricsArrived, this, &MainWindow::showProgress);
  connect(&tab->run(), &RunProcess::problemArrived, this, [this, tab](const Problem& problem) {
    if (tab == currentTab()) problems_->addRunProblem(problem);
  });
  connect(&tab->data(), &RunData::updated, this, [this, tab] {
    if (tab == currentTab()) problems_->setAlarms(tab->data().alarms());
  });
  tabs_->addTab(tab, tab->model().title());
  pages_->setCurrentWidget(tabs_);
  tabs_->setCurrentWidget(tab);
  tab->canvas().setFocus();
  return tab;
}

GraphTab* MainWindow::newGraph() { return addTab(); }

/// A run's graph and its records: of two parts, one that cannot be read does not hide the other.
void MainWindow::openRunIn(GraphTab& tab, const QString& folder) {
  std::optional<Problem> graphProblem;
  try {
    tab.model().load(folder + QStringLiteral("/graph.json"));
  } catch (const Failure& failure) {
    graphProblem = failure.problem();
  }
  try {
    tab.openRun(folder);
  } catch (const Failure& failure) {
    if (graphProblem) throw;
    complain(tr("What the run recorded cannot be read"),
             QString::fromStdString(format(failure.problem())));
  }
  if (graphProblem) {
    complain(tr("The graph as it was run cannot be read"),
             QString::fromStdString(format(*graphProblem)));
  }
}

bool MainWindow::openPath(const QString& path) {
  const QFileInfo info(path);
  std::error_code fault;
  const auto store =
      std::filesystem::status((path + QStringLiteral("/run.db")).toStdString(), fault);
  const bool isRun = info.isDir() && std::filesystem::exists(store);
  const QString graph = isRun ? path + QStringLiteral("/graph.json") : info.absoluteFilePath();
  for (int i = 0; i < tabs_->count() && !isRun; ++i) {
    const auto* tab = static_cast<GraphTab*>(tabs_->widget(i));
    if (const_cast<GraphTab*>(tab)->model().path() != graph) continue;
    tabs_->setCurrentIndex(i);
    pages_->setCurrentWidget(tabs_);
    return true;
  }
  constexpr qint64 kLargest = qint64{64} << 20;
  if (info.isFile() && info.size() > kLargest) {
    const QString text = tr("It has %1 MB; graphs hardly ever have one. Reading it may take "
                            "minutes and much memory.")
                             .arg(info.size() >> 20);
    const auto answer =
        unattended_ ? QMessageBox::No : QMessageBox::question(this, tr("Open a huge file?"), text);
    if (answer != QMessageBox::Yes) {
      statusBar()->showMessage(tr("%1 was not opened: it is huge").arg(path), 10000);
      return false;
    }
  }
  if (info.isDir() && fault == std::errc::permission_denied) {
    complain(tr("This folder cannot be read"),
             tr("%1: %2").arg(path, QString::fromStdString(fault.message())));
    return false;
  }
  if (info.isDir() && !isRun) {
    complain(tr("This folder is no run"), tr("%1 holds no run.db.").arg(path));
    return false;
  }
  GraphTab* tab = addTab();
  try {
    if (isRun) {
      openRunIn(*tab, path);
    } else {
      tab->model().load(graph);
    }
  } catch (const Failure& failure) {
    tabs_->removeTab(tabs_->indexOf(tab));
    tab->deleteLater();
    if (tabs_->count() == 0) pages_->setCurrentIndex(0);
    complain(tr("%1 could not be opened").arg(info.fileName()),
             QString::fromStdString(format(failure.problem())));
    return false;
  }
  tab->canvas().fitAll();
  if (!isRun) remember(graph);
  tabChanged();
  return true;
}

bool MainWindow::mayWrite(GraphTab& tab, const QString& path) {
  if (path == tab.model().path() && tab.fileWatch().look() == FileWatch::State::changed) {
    statusBar()->showMessage(tr("not saved: the file was changed by another program"), 10000);
    return false;
  }
  const QFileInfo info(path);
  constexpr auto kWritable = QFile::WriteOwner | QFile::WriteGroup | QFile::WriteOther;
  if (!info.exists() || (info.permissions() & kWritable && info.isWritable())) return true;
  tab.notice().ask(tr("%1 is read-only.").arg(path),
                   {{tr("Save as..."), [this, &tab] { save(tab, true); }, false},
                    {tr("Make it writable and save"),
                     [this, &tab, path] {
                       QFile::setPermissions(path, QFile::permissions(path) | QFile::WriteOwner);
                       save(tab, false);
                     },
                     false},
                    {tr("Later"), {}, false}});
  statusBar()->showMessage(tr("not saved: the file is read-only"), 10000);
  return false;
}

bool MainWindow::save(GraphTab& tab, bool as) {
  QString path = tab.model().path();
  if (as || path.isEmpty()) {
    path = QFileDialog::getSaveFileName(
        this, tr("Save graph"), path.isEmpty() ? paths_.graphs : path, tr("Graphs (*.json)"));
    if (path.isEmpty()) return false;
    if (!path.endsWith(QStringLiteral(".json"))) path += QStringLiteral(".json");
  }
  if (!mayWrite(tab, path)) return false;
  try {
    tab.model().save(path);
  } catch (const Failure& failure) {
    tab.notice().ask(
        tr("Not saved: %1. The graph is still here, and in the journal of unsaved work.")
            .arg(QString::fromStdString(failure.problem().text)),
        {{tr("Try again"), [this, &tab] { save(tab, false); }, false},
         {tr("Save as..."), [this, &tab] { save(tab, true); }, false},
         {tr("Later"), {}, false}});
    statusBar()->showMessage(tr("%1 could not be saved").arg(path), 10000);
    return false;
  }
  tab.notice().dismiss();
  remember(path);
  statusBar()->showMessage(tr("saved %1").arg(path), 5000);
  return true;
}

QString MainWindow::snapshot(GraphTab& tab, const QString& purpose) {
  QDir().mkpath(paths_.runs);
  // Beside the file: paths in a graph are relative to it.
  const QString base =
      tab.model().path().isEmpty() ? paths_.runs : QFileInfo(tab.model().path()).absolutePath();
  const QString file = QStringLiteral("%1/.%2.%3.json")
                           .arg(base, QFileInfo(tab.model().title()).completeBaseName(), purpose);
  try {
    Document copy = tab.model().document();
    copy.save(file.toStdString());
    return file;
  } catch (const Failure& failure) {
    complain(tr("The run could not be started"), QString::fromStdString(failure.problem().text));
    return {};
  }
}

std::optional<RunRequest> MainWindow::requestOf(GraphTab& tab, const QString& copy) {
  tab.model().checkNow();
  if (!tab.model().problems().ok()) {
    raise(problems_);
    statusBar()->showMessage(tr("the graph has errors: see the problems panel"), 8000);
    return std::nullopt;
  }
  // What runs is what is on the screen, saved or not.
  QString graph = tab.model().path();
  if (graph.isEmpty() || tab.model().isModified() || !copy.isEmpty()) {
    graph = snapshot(tab, copy.isEmpty() ? QStringLiteral("running") : copy);
    if (graph.isEmpty()) return std::nullopt;
  }
  RunRequest request;
  request.program = paths_.program;
  request.graph = graph;
  request.out = paths_.runs;
  request.plugins = paths_.plugins;
  request.breakpoints = tab.breakpointPlaces();
  return request;
}

void MainWindow::launch(GraphTab& tab, const RunRequest& request) {
  if (&tab == currentTab()) {
    problems_->clearRunProblems();
    for (const Problem& problem : ownProblems_) problems_->addRunProblem(problem);
    log_->clear();
  }
  const bool temporary = QFileInfo(request.graph).fileName().startsWith(QChar('.'));
  tab.setTemporary(temporary ? request.graph : QString());
  tab.run().start(request);
  runChanged();
}

void MainWindow::raise(QWidget* panel) {
  if (auto* dock = qobject_cast<QDockWidget*>(panel->parentWidget())) {
    dock->show();
    dock->raise();
  }
}

void MainWindow::queueRun() {
  GraphTab* tab = currentTab();
  if (!tab) return;
  static int count = 0;
  const auto request = requestOf(*tab, QStringLiteral("queued-%1").arg(++count));
  if (!request) return;
  QueuedRun run;
  run.title = tab->model().title();
  run.request = *request;
  run.owner = reinterpret_cast<quintptr>(tab);
  queue_->add(std::move(run));
  statusBar()->showMessage(tr("%1 waits in the queue").arg(queue_->waiting().size()), 5000);
}

void MainWindow::startQueued(const QueuedRun& run) {
  GraphTab* owner = nullptr;
  for (int i = 0; i < tabs_->count(); ++i) {
    auto* tab = static_cast<GraphTab*>(tabs_->widget(i));
    if (reinterpret_cast<quintptr>(tab) == run.owner) owner = tab;
  }
  if (!owner) {
    // Its tab was closed: the graph comes back in one of its own.
    owner = addTab();
    try {
      owner->model().adopt(Document::load(run.request.graph.toStdString()), {});
      owner->canvas().fitAll();
    } catch (const Failure& failure) {
      complain(tr("%1 could not be run").arg(run.title),
               QString::fromStdString(failure.problem().text));
      return;
    }
  }
  launch(*owner, run.request);
}

void MainWindow::resumeRun() {
  GraphTab* tab = currentTab();
  if (!tab || tab->run().isActive()) return;
  RunRequest request;
  request.resume = tab->runFolder();
  if (request.resume.isEmpty()) {
    statusBar()->showMessage(tr("there is no run to go on with: open a run folder"), 8000);
    return;
  }
  RunWatch watch;
  watch.attach(request.resume);
  if (watch.isLive()) {
    statusBar()->showMessage(tr("another process runs in %1").arg(request.resume), 8000);
    return;
  }
  if (watch.completed() >= watch.iterations()) {
    bool given = unattended_;
    int most = static_cast<int>(std::min<qint64>(2 * watch.iterations(), 1 << 30));
    if (!unattended_) {
      most =
          QInputDialog::getInt(this, tr("Go on with a finished run"), tr("Iterations in all"), most,
                               static_cast<int>(watch.iterations()) + 1, 1 << 30, 1, &given);
    }
    if (!given) return;
    request.iterations = most;
  }
  request.program = paths_.program;
  request.plugins = paths_.plugins;
  launch(*tab, request);
}

void MainWindow::showDifferences(const QString& file) {
  if (file.isEmpty()) {
    diff_->compareWithSaved();
  } else {
    diff_->compareWith(file);
  }
  raise(diff_);
}

void MainWindow::changeEvent(QEvent* event) {
  QMainWindow::changeEvent(event);
  if (event->type() != QEvent::ActivationChange || !isActiveWindow() || !tabs_) return;
  for (int i = 0; i < tabs_->count(); ++i) {
    static_cast<GraphTab*>(tabs_->widget(i))->fileWatch().look();
  }
}

void MainWindow::startRun() {
  GraphTab* tab = currentTab();
  if (!tab) return;
  if (tab->isHeld()) return tab->ask(GraphTab::Ask::goOn);
  if (tab->run().isActive()) return;
  if (tab->runWatch().isLive()) {
    statusBar()->showMessage(
        tr("this run goes on already, in %1: to start another one, open its graph's file")
            .arg(tab->runWatch().folder()),
        8000);
    return;
  }
  if (const auto request = requestOf(*tab)) launch(*tab, *request);
}

void MainWindow::stepRun(const QString& what) {
  GraphTab* tab = currentTab();
  if (!tab) return;
  if (tab->run().isActive()) {
    if (what == QStringLiteral("step")) return tab->run().stepIteration();
    return tab->run().stepNode();
  }
  if (tab->runWatch().isLive()) {
    if (what == QStringLiteral("step")) return tab->ask(GraphTab::Ask::step);
    statusBar()->showMessage(tr("only a run that was started here can be held before a node"),
                             8000);
    return;
  }
  auto request = requestOf(*tab);
  if (!request) return;
  tab->holdAtStart(*request, what);
  launch(*tab, *request);
}

void MainWindow::runToSelected() {
  GraphTab* tab = currentTab();
  if (!tab) return;
  const auto selected = tab->scene().selectedNodes();
  if (selected.size() != 1) {
    statusBar()->showMessage(tr("select the node to run to"), 8000);
    return;
  }
  const std::string path = tab->pathOf(selected[0]);
  if (tab->run().isActive()) return tab->run().runTo(QString::fromStdString(path));
  if (tab->runWatch().isLive()) {
    statusBar()->showMessage(tr("only a run that was started here can be held before a node"),
                             8000);
    return;
  }
  auto request = requestOf(*tab);
  if (!request) return;
  tab->runToAtStart(*request, path);
  launch(*tab, *request);
}

void MainWindow::askCondition() {
  GraphTab* tab = currentTab();
  if (!tab) return;
  const auto selected = tab->scene().selectedNodes();
  const std::string path = selected.size() == 1 ? tab->pathOf(selected[0]) : std::string();
  const QString where = path.empty() ? tr("an iteration") : QString::fromStdString(path);
  const auto known = tab->breakpoints().find(path);
  QInputDialog dialog(this);
  dialog.setWindowTitle(tr("Breakpoint before %1").arg(where));
  dialog.setLabelText(tr("Hold the run before %1 when\n"
                         "METRIC > NUMBER or iteration >= NUMBER (<, <=, >, >=, ==, !=); "
                         "empty: no breakpoint")
                          .arg(where));
  dialog.setTextValue(known == tab->breakpoints().end() ? QString() : known->second);
  dialog.resize(520, 120);
  if (dialog.exec() != QDialog::Accepted) return;
  const QString condition = dialog.textValue().trimmed();
  if (condition.isEmpty()) return tab->removeBreakpoint(path);
  if (const QString fault = faultOfCondition(condition); !fault.isEmpty()) {
    return complain(tr("This is no condition"), fault);
  }
  tab->setBreakpoint(path, condition);
}

void MainWindow::stopRun() {
  withTab([](GraphTab& tab) { tab.ask(GraphTab::Ask::stop); });
}

void MainWindow::showDocks(bool shown) {
  if (shown) {
    for (QDockWidget* dock : std::exchange(hiddenDocks_, {})) dock->show();
    for (QDockWidget* dock : std::exchange(frontDocks_, {})) dock->raise();
    return;
  }
  // The welcome page has all of the window but the library.
  for (auto* dock : findChildren<QDockWidget*>()) {
    if (dock->objectName() == QStringLiteral("library") || dock->isHidden()) continue;
    const bool first = !isVisible() && (dock->objectName() == QStringLiteral("parameters") ||
                                        dock->objectName() == QStringLiteral("problems"));
    if (first || !dock->visibleRegion().isEmpty()) frontDocks_ << dock;
    hiddenDocks_ << dock;
  }
  for (QDockWidget* dock : hiddenDocks_) dock->hide();
}

void MainWindow::tabChanged() {
  GraphTab* tab = currentTab();
  showDocks(tab != nullptr || pages_->currentIndex() != 0);
  parameters_->setModel(tab ? &tab->model() : nullptr);
  problems_->setModel(tab ? &tab->model() : nullptr);
  problems_->clearRunProblems();
  for (const Problem& problem : ownProblems_) problems_->addRunProblem(problem);
  if (tab) problems_->setAlarms(tab->data().alarms());
  diff_->setModel(tab ? &tab->model() : nullptr);
  rewards_->setData(tab ? &tab->data() : nullptr);
  log_->setPlainText(tab ? tab->run().log().join(QChar('\n')) : QString());
  selectionChanged();
  titleChanged();
  runChanged();
}

void MainWindow::selectionChanged() {
  GraphTab* tab = currentTab();
  if (!tab) return;
  const auto selected = tab->scene().selectedNodes();
  parameters_->show(tab->scene().scope(), selected);
  if (selected.size() != 1) return;
  const GraphNode* node = findNode(tab->model().document(), tab->scene().scope(), selected[0]);
  if (node) showNodePage(node->type);
}

void MainWindow::titleChanged() {
  for (int i = 0; i < tabs_->count(); ++i) {
    auto* tab = static_cast<GraphTab*>(tabs_->widget(i));
    const QString mark = tab->model().isModified() ? QStringLiteral(" *") : QString();
    tabs_->setTabText(i, shownTitle(*tab) + mark);
    tabs_->setTabToolTip(i, tab->model().path());
  }
  GraphTab* tab = currentTab();
  setWindowModified(tab && tab->model().isModified());
  setWindowTitle(tab ? QStringLiteral("%1[*] - RewardLoom").arg(shownTitle(*tab))
                     : QStringLiteral("RewardLoom"));
}

void MainWindow::runChanged() {
  GraphTab* tab = currentTab();
  const bool active = tab && tab->run().isActive();
  progress_->setVisible(active);
  runLabel_->setText(tab ? runStateText(tab->run().state()) : QString());
  if (tab && tab->runWatch().isAttached() && !active) {
    const RunWatch& watch = tab->runWatch();
    runLabel_->setText(
        tr("%1 %2, iteration %3 of %4")
            .arg(watch.isLive() ? tr("watching a run:") : tr("a run:"), watch.state())
            .arg(watch.completed())
            .arg(watch.iterations()));
  }
  for (const char* id : {"run.stop", "run.pause", "run.checkpoint"}) {
    actions_.action(QString::fromLatin1(id))->setEnabled(tab && tab->isRunning());
  }
  actions_.action(QStringLiteral("run.start"))->setEnabled(tab != nullptr);
  showProgress();
}

void MainWindow::showProgress() {
  GraphTab* tab = currentTab();
  if (!tab || !tab->run().isActive()) return;
  progress_->setRange(0, static_cast<int>(tab->run().iterations()));
  progress_->setValue(static_cast<int>(tab->run().iteration()));
  QString text = tr("%1, iteration %2 of %3")
                     .arg(runStateText(tab->run().state()))
                     .arg(tab->run().iteration())
                     .arg(tab->run().iterations());
  const double left = tab->run().secondsLeft();
  if (left >= 0) text += tr(", %1 s left").arg(left, 0, 'f', 0);
  runLabel_->setText(text);
}

void MainWindow::goTo(const QString& path, const QString& port) {
  GraphTab* tab = currentTab();
  if (!tab) return;
  const auto at = locate(tab->model().document(), path.toStdString(), *catalogue_);
  if (!at) return;
  tab->scene().setScope(at->scope);
  tab->canvas().centerOnNode(at->node);
  if (!port.isEmpty()) parameters_->focusParameter(port);
}

void MainWindow::searchNode(QPoint globalPos, QPointF scenePos,
                            const std::optional<PortEnd>& from) {
  GraphTab* tab = currentTab();
  if (!tab) return;
  std::vector<SearchEntry> all = nodeEntries(*catalogue_);
  for (const Subgraph& subgraph : tab->model().document().subgraphs) {
    SearchEntry entry;
    entry.id = QStringLiteral("subgraph.") + QString::fromStdString(subgraph.name);
    entry.title = entry.id;
    entry.doc = QString::fromStdString(subgraph.about);
    all.push_back(std::move(entry));
  }
  std::map<QString, std::string> ports;
  QString hint = tr("Add a node: type a word");
  if (from) {
    const auto follows = [this, &from](const std::string& a, const std::string& b) {
      const auto it = follows_.find(from->output ? std::pair(a, b) : std::pair(b, a));
      return it == follows_.end() ? 0 : it->second;
    };
    std::vector<SearchEntry> fitting;
    for (const FittingType& type :
         fittingTypes(tab->model().document(), tab->scene().scope(), *catalogue_, *from, follows)) {
      const QString id = QString::fromStdString(type.type);
      ports[id] = type.port;
      for (const SearchEntry& entry : all) {
        if (entry.id == id) fitting.push_back(entry);
      }
    }
    all = std::move(fitting);
    hint = tr("What takes %1").arg(QString::fromStdString(from->port));
    if (!from->output) hint = tr("What gives %1").arg(QString::fromStdString(from->port));
  }
  search_->open(globalPos, hint, std::move(all),
                [this, tab, scenePos, from, ports](const QString& id) {
                  const auto port = ports.find(id);
                  tab->canvas().addNodeAt(id.toStdString(), scenePos, from,
                                          port == ports.end() ? std::string() : port->second);
                  tab->canvas().setFocus();
                  selectionChanged();
                });
}

void MainWindow::showPalette() {
  std::vector<SearchEntry> entries;
  for (const ActionEntry& action : actions_.entries()) {
    entries.push_back(
        {action.id, QString(action.text).remove(QChar('&')), action.keys, action.help, {}, false});
  }
  search_->open(mapToGlobal(QPoint((width() - search_->width()) / 2, 80)), tr("Type a command"),
                std::move(entries), [this](const QString& id) { actions_.run(id); });
}

void MainWindow::findInGraph() {
  GraphTab* tab = currentTab();
  if (!tab) return;
  std::vector<SearchEntry> entries;
  const auto add = [&](const Scope& scope, const std::vector<GraphNode>& nodes) {
    for (const GraphNode& node : nodes) {
      SearchEntry entry;
      entry.id = QString::fromStdString(scope + "/" + node.name);
      entry.title = QString::fromStdString(node.name);
      entry.detail = QString::fromStdString(node.type);
      entry.doc = QString::fromStdString(node.params.dump());
      entry.words << entry.detail;
      for (const auto& [key, value] : node.params.items()) {
        entry.words << QString::fromStdString(key + " " + value.dump());
      }
      entries.push_back(std::move(entry));
    }
  };
  add({}, tab->model().document().nodes);
  for (const Subgraph& subgraph : tab->model().document().subgraphs) {
    add(subgraph.name, subgraph.nodes);
  }
  search_->open(mapToGlobal(QPoint((width() - search_->width()) / 2, 80)), tr("Find a node"),
                std::move(entries), [tab](const QString& id) {
                  tab->scene().setScope(id.section(QChar('/'), 0, 0).toStdString());
                  tab->canvas().centerOnNode(id.section(QChar('/'), 1).toStdString());
                });
}

void MainWindow::showNodePage(const std::string& type) {
  constexpr std::string_view kSubgraph = "subgraph.";
  GraphTab* tab = type.starts_with(kSubgraph) ? currentTab() : nullptr;
  const Subgraph* subgraph =
      tab ? tab->model().document().subgraph(type.substr(kSubgraph.size())) : nullptr;
  if (subgraph) return nodePage_->setHtml(subgraphPageHtml(*subgraph));
  const NodeDeclaration* node = catalogue_->node(type);
  nodePage_->setHtml(
      node ? nodePageHtml(*node)
           : tr("<p>There is no node type %1.</p>").arg(QString::fromStdString(type)));
}

bool MainWindow::confirmClose(GraphTab& tab) {
  if (!tab.model().isModified() || unattended_) return true;
  const auto answer = QMessageBox::question(
      this, tr("Unsaved changes"), tr("Save the changes of %1?").arg(tab.model().title()),
      QMessageBox::Save | QMessageBox::Discard | QMessageBox::Cancel, QMessageBox::Save);
  if (answer == QMessageBox::Cancel) return false;
  return answer == QMessageBox::Discard || save(tab, false);
}

void MainWindow::closeEvent(QCloseEvent* event) {
  for (int i = 0; i < tabs_->count(); ++i) {
    auto* tab = static_cast<GraphTab*>(tabs_->widget(i));
    if (confirmClose(*tab)) continue;
    event->ignore();
    return;
  }
  queue_->setHeld(true);
  while (!queue_->waiting().empty()) queue_->remove(queue_->waiting().front().id);
  QSettings settings;
  settings.setValue(QStringLiteral("geometry"), saveGeometry());
  showDocks(true);
  settings.setValue(QStringLiteral("docks"), saveState());
  settings.setValue(QStringLiteral("dark"), theme_.dark);
  while (tabs_->count() > 0) {
    auto* tab = static_cast<GraphTab*>(tabs_->widget(0));
    tab->journal().discard();
    tabs_->removeTab(0);
    delete tab;
  }
  event->accept();
}

void MainWindow::dragEnterEvent(QDragEnterEvent* event) {
  if (event->mimeData()->hasUrls()) event->acceptProposedAction();
}

void MainWindow::dropEvent(QDropEvent* event) {
  for (const QUrl& url : event->mimeData()->urls()) {
    if (url.isLocalFile()) openPath(url.toLocalFile());
  }
}

void MainWindow::complain(const QString& title, const QString& text) {
  statusBar()->showMessage(QStringLiteral("%1: %2").arg(title, text.simplified()), 10000);
  if (unattended_) return;
  QMessageBox box(QMessageBox::Warning, title, title, QMessageBox::Ok, this);
  box.setInformativeText(text);
  box.exec();
}

QStringList MainWindow::recent() const {
  return QSettings().value(QStringLiteral("recent")).toStringList();
}

QStringList MainWindow::recentThere() const {
  QStringList there;
  for (const QString& path : recent()) {
    if (QFileInfo::exists(path)) there << path;
  }
  return there;
}

void MainWindow::remember(const QString& path) {
  QStringList list = recent();
  list.removeAll(path);
  list.prepend(path);
  while (list.size() > kMostRecent) list.removeLast();
  QSettings().setValue(QStringLiteral("recent"), list);
}

void MainWindow::openDialog() {
  const QString path = QFileDialog::getOpenFileName(this, tr("Open graph"), paths_.graphs,
                                                    tr("Graphs (*.json);;All files (*)"));
  if (!path.isEmpty()) openPath(path);
}

void MainWindow::setDark(bool dark) {
  theme_ = dark ? Theme::darkTheme() : Theme::lightTheme();
  setPalette(theme_.palette());
  qApp->setPalette(theme_.palette());
  for (int i = 0; i < tabs_->count(); ++i)
    static_cast<GraphTab*>(tabs_->widget(i))->setTheme(theme_);
  rewards_->setTheme(theme_);
  diff_->setTheme(theme_);
  if (gallery_) gallery_->setTheme(theme_);
}

void MainWindow::report(const Problem& problem) {
  ownProblems_.push_back(problem);
  problems_->addRunProblem(problem);
  raise(problems_);
  statusBar()->showMessage(QString::fromStdString(problem.text), 20000);
}

MainWindow::Offer MainWindow::askToRecover(const Recovery& recovery) {
  if (unattended_) return Offer::take;
  QMessageBox box(QMessageBox::Question, tr("Recover unsaved work?"),
                  tr("The editor ended with unsaved changes to %1.").arg(recovery.title),
                  QMessageBox::NoButton, this);
  box.setInformativeText(
      tr("They are from %1.")
          .arg(QLocale().toString(QDateTime::fromSecsSinceEpoch(recovery.modified))));
  QAbstractButton* take = box.addButton(tr("Recover"), QMessageBox::AcceptRole);
  QAbstractButton* later = box.addButton(tr("Not now"), QMessageBox::RejectRole);
  QAbstractButton* drop = box.addButton(tr("Discard"), QMessageBox::DestructiveRole);
  box.setDefaultButton(qobject_cast<QPushButton*>(take));
  box.setEscapeButton(later);
  box.exec();
  if (box.clickedButton() == drop) return Offer::drop;
  return box.clickedButton() == take ? Offer::take : Offer::later;
}

void MainWindow::offerRecovery() {
  for (const Recovery& recovery : Journal::left(paths_.journals)) {
    const Offer answer = askToRecover(recovery);
    if (answer == Offer::later) continue;
    if (answer == Offer::take) {
      try {
        Document document = Journal::read(recovery);
        addTab()->model().adopt(std::move(document), recovery.path);
        currentTab()->canvas().fitAll();
        currentTab()->journal().flush();
      } catch (const Failure& failure) {
        complain(tr("%1 could not be recovered").arg(recovery.title),
                 QString::fromStdString(failure.problem().text));
        continue;
      }
    }
    Journal::remove(recovery);
  }
}

}  // namespace rewardloom

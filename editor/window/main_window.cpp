#include "editor/window/main_window.h"

#include <QApplication>
#include <QCloseEvent>
#include <QDir>
#include <QDockWidget>
#include <QFileDialog>
#include <QFileInfo>
#include <QLabel>
#include <QListWidget>
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
#include <QTabWidget>
#include <QTextBrowser>
#include <QTimer>
#include <QTreeWidget>
#include <QVBoxLayout>

#include "editor/panels/parameter_panel.h"
#include "editor/panels/problems_panel.h"
#include "editor/panels/search_popup.h"
#include "editor/rewards/rewards_dock.h"
#include "editor/window/graph_tab.h"
#include "editor/window/node_page.h"

namespace rewardloom {
namespace {

constexpr int kMostRecent = 12;

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
  pages_->addWidget(tabs_);
  setCentralWidget(pages_);
  follows_ = followCounts(paths_.graphs);
  buildActions();
  actions_.install(*this, *pages_);
  actions_.fillMenus(*menuBar());
  buildDocks();
  pages_->insertWidget(0, welcomePage());
  statusBar()->addPermanentWidget(progress_);
  statusBar()->addPermanentWidget(runLabel_);
  statusBar()->addPermanentWidget(problemLabel_);
  progress_->setMaximumWidth(180);
  progress_->hide();
  connect(tabs_, &QTabWidget::currentChanged, this, &MainWindow::tabChanged);
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
  connect(problems_, &ProblemsPanel::goTo, this, &MainWindow::goTo);
  connect(problems_, &ProblemsPanel::countChanged, this, [this](int errors, int warnings) {
    problemLabel_->setText(errors || warnings
                               ? tr("%1 errors, %2 warnings").arg(errors).arg(warnings)
                               : tr("no problems"));
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
  rewards_->setData(nullptr);
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

void MainWindow::withTab(const std::function<void(GraphTab&)>& act) const {
  if (GraphTab* tab = currentTab()) act(*tab);
}

GraphTab* MainWindow::addTab() {
  auto* tab = new GraphTab(catalogue_, theme_, paths_.journals);  // the tab widget owns it
  connect(tab, &GraphTab::statusText, this,
          [this](const QString& text) { statusBar()->showMessage(text, 10000); });
  connect(tab, &GraphTab::selectionChanged, this, &MainWindow::selectionChanged);
  connect(tab, &GraphTab::runChanged, this, &MainWindow::runChanged);
  connect(&tab->model(), &GraphModel::pathChanged, this, &MainWindow::titleChanged);
  connect(&tab->model().history(), &QUndoStack::cleanChanged, this, &MainWindow::titleChanged);
  connect(&tab->canvas(), &CanvasView::searchRequested, this, &MainWindow::searchNode);
  connect(&tab->canvas(), &CanvasView::portViewRequested, this, [this](const PortEnd& end) {
    rewards_->showPort(QString::fromStdString(end.node), QString::fromStdString(end.port));
  });
  connect(&tab->canvas(), &CanvasView::contextRequested, this, [this](QPoint at) {
    QMenu menu;
    for (const char* id : {"node.add", "edit.copy", "edit.paste", "edit.duplicate", "edit.delete",
                           "edit.delete_heal", "node.frame", "node.group", "node.collapse",
                           "view.layout_selection", "run.breakpoint"}) {
      menu.addAction(actions_.action(QString::fromLatin1(id)));
    }
    menu.exec(at);
  });
  connect(&tab->run(), &RunProcess::logged, this, [this, tab](const QString& line) {
    if (tab == currentTab()) log_->appendPlainText(line);
  });
  connect(&tab->run(), &RunProcess::metricsArrived, this, &MainWindow::showProgress);
  connect(&tab->run(), &RunProcess::problemArrived, this, [this, tab](const Problem& problem) {
    if (tab == currentTab()) problems_->addRunProblem(problem);
  });
  tabs_->addTab(tab, tab->model().title());
  pages_->setCurrentWidget(tabs_);
  tabs_->setCurrentWidget(tab);
  tab->canvas().setFocus();
  return tab;
}

GraphTab* MainWindow::newGraph() { return addTab(); }

bool MainWindow::openPath(const QString& path) {
  const QFileInfo info(path);
  const bool isRun = info.isDir() && QFileInfo::exists(path + QStringLiteral("/run.db"));
  const QString graph = isRun ? path + QStringLiteral("/graph.json") : info.absoluteFilePath();
  for (int i = 0; i < tabs_->count() && !isRun; ++i) {
    const auto* tab = static_cast<GraphTab*>(tabs_->widget(i));
    if (const_cast<GraphTab*>(tab)->model().path() != graph) continue;
    tabs_->setCurrentIndex(i);
    pages_->setCurrentWidget(tabs_);
    return true;
  }
  if (info.isDir() && !isRun) {
    complain(tr("This folder is no run"), tr("%1 holds no run.db.").arg(path));
    return false;
  }
  GraphTab* tab = addTab();
  try {
    tab->model().load(graph);
    if (isRun) tab->openRun(path);
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

bool MainWindow::save(GraphTab& tab, bool as) {
  QString path = tab.model().path();
  if (as || path.isEmpty()) {
    path = QFileDialog::getSaveFileName(
        this, tr("Save graph"), path.isEmpty() ? paths_.graphs : path, tr("Graphs (*.json)"));
    if (path.isEmpty()) return false;
    if (!path.endsWith(QStringLiteral(".json"))) path += QStringLiteral(".json");
  }
  try {
    tab.model().save(path);
  } catch (const Failure& failure) {
    complain(tr("%1 could not be saved").arg(path), QString::fromStdString(failure.problem().text));
    return false;
  }
  remember(path);
  statusBar()->showMessage(tr("saved %1").arg(path), 5000);
  return true;
}

void MainWindow::startRun() {
  GraphTab* tab = currentTab();
  if (!tab) return;
  if (tab->run().isActive()) {
    if (tab->run().state() == RunState::paused) tab->run().resume();
    return;
  }
  tab->model().checkNow();
  if (!tab->model().problems().ok()) {
    statusBar()->showMessage(tr("the graph has errors: see the problems panel"), 8000);
    return;
  }
  // What runs is what is on the screen, saved or not.
  QDir().mkpath(paths_.runs);
  QString graph = tab->model().path();
  if (graph.isEmpty() || tab->model().isModified()) {
    const QString base = graph.isEmpty() ? paths_.runs : QFileInfo(graph).absolutePath();
    graph = QStringLiteral("%1/.%2.running.json")
                .arg(base, QFileInfo(tab->model().title()).completeBaseName());
    try {
      Document copy = tab->model().document();
      copy.save(graph.toStdString());
    } catch (const Failure& failure) {
      complain(tr("The run could not be started"), QString::fromStdString(failure.problem().text));
      return;
    }
  }
  problems_->clearRunProblems();
  log_->clear();
  RunRequest request;
  request.program = paths_.program;
  request.graph = graph;
  request.out = paths_.runs;
  tab->run().start(request);
  runChanged();
}

void MainWindow::stopRun() {
  withTab([](GraphTab& tab) { tab.run().stop(); });
}

void MainWindow::tabChanged() {
  GraphTab* tab = currentTab();
  parameters_->setModel(tab ? &tab->model() : nullptr);
  problems_->setModel(tab ? &tab->model() : nullptr);
  problems_->clearRunProblems();
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
    tabs_->setTabText(i, tab->model().title() + mark);
    tabs_->setTabToolTip(i, tab->model().path());
  }
  GraphTab* tab = currentTab();
  setWindowModified(tab && tab->model().isModified());
  setWindowTitle(tab ? QStringLiteral("%1[*] - RewardLoom").arg(tab->model().title())
                     : QStringLiteral("RewardLoom"));
}

void MainWindow::runChanged() {
  GraphTab* tab = currentTab();
  const bool active = tab && tab->run().isActive();
  progress_->setVisible(active);
  runLabel_->setText(tab ? runStateText(tab->run().state()) : QString());
  for (const char* id : {"run.stop", "run.pause", "run.step", "run.checkpoint"}) {
    actions_.action(QString::fromLatin1(id))->setEnabled(active);
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
  Scope scope;
  QStringList parts = path.split(QChar('/'));
  while (parts.size() > 1) {
    const GraphNode* outer =
        findNode(tab->model().document(), scope, parts.takeFirst().toStdString());
    const auto inner = outer ? outer->subgraph() : std::nullopt;
    if (!inner) return;
    scope = std::string(*inner);
  }
  tab->scene().setScope(scope);
  tab->canvas().centerOnNode(parts[0].toStdString());
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
        {action.id, QString(action.text).remove(QChar('&')), action.keys, action.help, {}});
  }
  search_->open(mapToGlobal(QPoint(width() / 2 - 230, 80)), tr("Type a command"),
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
  search_->open(mapToGlobal(QPoint(width() / 2 - 230, 80)), tr("Find a node"), std::move(entries),
                [tab](const QString& id) {
                  tab->scene().setScope(id.section(QChar('/'), 0, 0).toStdString());
                  tab->canvas().centerOnNode(id.section(QChar('/'), 1).toStdString());
                });
}

void MainWindow::showNodePage(const std::string& type) {
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
  QSettings settings;
  settings.setValue(QStringLiteral("geometry"), saveGeometry());
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
  statusBar()->showMessage(title, 10000);
  if (unattended_) return;
  QMessageBox box(QMessageBox::Warning, title, title, QMessageBox::Ok, this);
  box.setInformativeText(text);
  box.exec();
}

QStringList MainWindow::recent() const {
  return QSettings().value(QStringLiteral("recent")).toStringList();
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
}

void MainWindow::offerRecovery() {
  for (const Recovery& recovery : Journal::left(paths_.journals)) {
    const auto answer =
        unattended_
            ? QMessageBox::Yes
            : QMessageBox::question(this, tr("Recover unsaved work?"),
                                    tr("The editor ended with unsaved changes to %1. Recover them?")
                                        .arg(recovery.title));
    if (answer == QMessageBox::Yes) {
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

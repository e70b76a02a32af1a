// The table of actions, the docks and the welcome page of the window.
#include <QApplication>
#include <QDialog>
#include <QDialogButtonBox>
#include <QDir>
#include <QDockWidget>
#include <QFileDialog>
#include <QFileInfo>
#include <QHBoxLayout>
#include <QHeaderView>
#include <QLabel>
#include <QListWidget>
#include <QMenuBar>
#include <QPlainTextEdit>
#include <QProgressBar>
#include <QPushButton>
#include <QStackedWidget>
#include <QTabWidget>
#include <QTextBrowser>
#include <QToolButton>
#include <QTreeWidget>
#include <QVBoxLayout>

#include "editor/panels/diff_panel.h"
#include "editor/panels/parameter_panel.h"
#include "editor/panels/problems_panel.h"
#include "editor/panels/queue_panel.h"
#include "editor/panels/search_popup.h"
#include "editor/rewards/rewards_dock.h"
#include "editor/run/run_queue.h"
#include "editor/window/gallery.h"
#include "editor/window/graph_tab.h"
#include "editor/window/main_window.h"

namespace rewardloom {

namespace {

/// What the mouse does on the canvas, after the page of keys.
QString gesturePage() {
  const std::pair<QString, QString> rows[] = {
      {QObject::tr("Wheel"), QObject::tr("Zooms at the mouse; Ctrl: finely, Shift: coarsely")},
      {QObject::tr("Middle button, or Space and drag"), QObject::tr("Moves the view")},
      {QObject::tr("Double click"),
       QObject::tr("Adds a node; on a node: enters it; on a wire: adds a dot")},
      {QObject::tr("Drag from a port"),
       QObject::tr("Pulls a wire; let go in empty space: adds what fits")},
      {QObject::tr("Ctrl and drag from an output"), QObject::tr("Moves all its wires to another")},
      {QObject::tr("Alt and click on a port"), QObject::tr("Takes its wires off")},
      {QObject::tr("Ctrl+Shift and click on a port"), QObject::tr("Shows its values")},
      {QObject::tr("Click on a wire"), QObject::tr("Shows the values that flow there")},
      {QObject::tr("Y and drag"), QObject::tr("Cuts the wires that the line meets")},
      {QObject::tr("Drop a node on a wire"), QObject::tr("Inserts it; Alt: does not")},
      {QObject::tr("Alt and drag a node"), QObject::tr("Moves a copy that keeps the inputs")},
      {QObject::tr("Shift and click on a node"), QObject::tr("Adds it to the selection, or not")},
  };
  QString html = QStringLiteral("<h3>%1</h3><table cellpadding='3'>").arg(QObject::tr("Mouse"));
  for (const auto& [gesture, effect] : rows) {
    html += QStringLiteral("<tr><td width='190'><b>%1</b></td><td>%2</td></tr>")
                .arg(gesture.toHtmlEscaped(), effect.toHtmlEscaped());
  }
  return html + QStringLiteral("</table>");
}

}  // namespace

void MainWindow::buildActions() {
  const auto add = [this](const char* id, const QString& text, const char* keys,
                          const QString& help, std::function<void()> run) {
    actions_.add({QString::fromLatin1(id), tr("&File"), text, QString::fromLatin1(keys), help,
                  std::move(run), false});
  };
  add("file.new", tr("&New graph"), "Ctrl+N", tr("An empty graph in a new tab"),
      [this] { newGraph(); });
  add("file.open", tr("&Open..."), "Ctrl+O", tr("Opens a graph file"), [this] { openDialog(); });
  add("file.save", tr("&Save"), "Ctrl+S", tr("Saves the graph"),
      [this] { withTab([this](GraphTab& tab) { save(tab, false); }); });
  add("file.save_as", tr("Save &as..."), "Ctrl+Shift+S", tr("Saves the graph under another name"),
      [this] { withTab([this](GraphTab& tab) { save(tab, true); }); });
  add("file.close", tr("&Close tab"), "Ctrl+W", tr("Closes the graph"), [this] {
    if (currentTab()) Q_EMIT tabs_->tabCloseRequested(tabs_->currentIndex());
  });
  add("file.welcome", tr("&Welcome page"), "", tr("The gallery of graphs and recent files"),
      [this] {
        gallery_->setRecent(recentThere());
        pages_->setCurrentIndex(0);
      });
  add("file.quit", tr("&Quit"), "Ctrl+Q", tr("Closes the window"), [this] { close(); });
  buildEditActions();
  buildViewActions();
  buildRunActions();
  buildRewardActions();
}

void MainWindow::buildEditActions() {
  const auto add = [this](const char* id, const QString& menu, const QString& text,
                          const char* keys, const QString& help, std::function<void(GraphTab&)> run,
                          bool canvas = true) {
    actions_.add({QString::fromLatin1(id), menu, text, QString::fromLatin1(keys), help,
                  [this, run] { withTab(run); }, canvas});
  };
  const QString edit = tr("&Edit");
  add(
      "edit.undo", edit, tr("&Undo"), "Ctrl+Z", tr("Takes the last change back"),
      [](GraphTab& tab) { tab.model().history().undo(); }, false);
  add(
      "edit.redo", edit, tr("&Redo"), "Ctrl+Y; Ctrl+Shift+Z", tr("Does it again"),
      [](GraphTab& tab) { tab.model().history().redo(); }, false);
  add("edit.copy", edit, tr("&Copy"), "Ctrl+C", tr("Copies the selected nodes as JSON text"),
      [](GraphTab& tab) { tab.canvas().copySelection(); });
  add("edit.cut", edit, tr("Cu&t"), "Ctrl+X", tr("Copies and deletes the selected nodes"),
      [](GraphTab& tab) {
        tab.canvas().copySelection();
        tab.canvas().deleteSelection(false);
      });
  add("edit.paste", edit, tr("&Paste"), "Ctrl+V", tr("Adds the nodes of a JSON text"),
      [this](GraphTab& tab) {
        try {
          const QStringList remarks = tab.canvas().paste();
          if (!remarks.isEmpty()) Q_EMIT tab.statusText(remarks.join(QStringLiteral("; ")));
        } catch (const Failure& failure) {
          Q_EMIT tab.statusText(QString::fromStdString(failure.problem().text));
        }
      });
  add("edit.duplicate", edit, tr("&Duplicate"), "Ctrl+D", tr("Copies the nodes beside themselves"),
      [](GraphTab& tab) { tab.canvas().duplicateSelection(false); });
  add("edit.duplicate_inputs", edit, tr("Duplicate with &inputs"), "Ctrl+Shift+D",
      tr("The copies keep the wires that come in"),
      [](GraphTab& tab) { tab.canvas().duplicateSelection(true); });
  add("edit.delete", edit, tr("De&lete"), "Del; Backspace", tr("Deletes what is selected"),
      [](GraphTab& tab) { tab.canvas().deleteSelection(false); });
  add("edit.delete_heal", edit, tr("Delete and &heal"), "Ctrl+Del",
      tr("Deletes nodes and joins the wires they stood in"),
      [](GraphTab& tab) { tab.canvas().deleteSelection(true); });
  add("edit.select_all", edit, tr("Select &all"), "Ctrl+A", tr("Selects every node"),
      [](GraphTab& tab) {
        std::vector<std::string> names;
        for (const auto& [name, item] : tab.scene().nodeItems()) names.push_back(name);
        tab.scene().selectNodes(names);
      });
  add("edit.upstream", edit, tr("Select &upstream"), "Alt+[",
      tr("Adds all that feeds the selection"),
      [](GraphTab& tab) { tab.canvas().selectStream(true); });
  add("edit.downstream", edit, tr("Select dow&nstream"), "Alt+]",
      tr("Adds all that the selection feeds"),
      [](GraphTab& tab) { tab.canvas().selectStream(false); });
  const QString node = tr("&Node");
  add("node.add", node, tr("&Add node..."), "Tab; /", tr("Searches for a node type to add"),
      [this](GraphTab& tab) {
        const QPoint center = tab.canvas().mapToGlobal(tab.canvas().rect().center());
        searchNode(center - QPoint(search_->width(), search_->height()) / 2,
                   tab.canvas().freePlace() + QPointF(0, NodeView::kTitle), std::nullopt);
      });
  add("node.rename", node, tr("&Rename"), "F2",
      tr("Gives the node another name, a frame another title, a note another text"),
      [this](GraphTab& tab) {
        tab.canvas().editSelectedText();
        if (tab.scene().selectedNodes().size() == 1) parameters_->focusParameter(tr("Node name"));
      });
  add("node.collapse", node, tr("&Collapse"), "Alt+C", tr("Shows only the titles"),
      [](GraphTab& tab) { tab.canvas().toggleCollapsed(); });
  add("node.mute", node, tr("&Mute"), "Ctrl+M",
      tr("Neither the nodes nor what needs them run; again: they do"),
      [](GraphTab& tab) { tab.canvas().toggleMode(NodeMode::mute); });
  add("node.bypass", node, tr("&Bypass"), "Ctrl+B; M",
      tr("Readers of the nodes get what feeds them, as if they were not there; again: they are"),
      [](GraphTab& tab) { tab.canvas().toggleMode(NodeMode::bypass); });
  add("node.frame", node, tr("&Frame"), "C", tr("Puts a frame around the selection"),
      [](GraphTab& tab) { tab.canvas().frameSelection(); });
  add("node.note", node, tr("Sticky &note"), "Shift+P", tr("Adds a note"),
      [](GraphTab& tab) { tab.canvas().addNote(); });
  add("node.group", node, tr("Make &subgraph"), "Ctrl+G", tr("Turns the selection into a subgraph"),
      [](GraphTab& tab) { tab.canvas().groupSelection(); });
  add("node.enter", node, tr("&Enter"), "Return", tr("Shows the inside of a subgraph or container"),
      [](GraphTab& tab) {
        const auto selected = tab.scene().selectedNodes();
        if (selected.size() == 1) tab.canvas().enter(selected[0]);
      });
  add("node.leave", node, tr("&Leave"), "U", tr("Goes back to the outside"),
      [](GraphTab& tab) { tab.canvas().leave(); });
  using Align = CanvasView::Align;
  const auto align = [&](const char* id, const QString& text, const char* keys, Align how) {
    add(id, node, text, keys, tr("Aligns the selected nodes"),
        [how](GraphTab& tab) { tab.canvas().alignSelection(how); });
  };
  align("node.align_left", tr("Align left"), "Alt+A, L", Align::left);
  align("node.align_right", tr("Align right"), "Alt+A, R", Align::right);
  align("node.align_top", tr("Align top"), "Alt+A, T", Align::top);
  align("node.align_bottom", tr("Align bottom"), "Alt+A, B", Align::bottom);
  struct Walk {
    const char* name;
    const char* key;
    QPoint by;
  };
  for (const Walk& walk : {Walk{"left", "Left", {-1, 0}}, Walk{"right", "Right", {1, 0}},
                           Walk{"up", "Up", {0, -1}}, Walk{"down", "Down", {0, 1}}}) {
    const QString name = QString::fromLatin1(walk.name);
    const QByteArray walkId = QByteArray("node.walk_") + walk.name;
    add(walkId.constData(), {}, tr("Walk %1").arg(name), walk.key,
        tr("Selects the next node that way"),
        [by = walk.by](GraphTab& tab) { tab.canvas().walk(by); });
    const QByteArray nudgeId = QByteArray("node.nudge_") + walk.name;
    const QByteArray nudgeKey = QByteArray("Shift+") + walk.key;
    add(nudgeId.constData(), {}, tr("Nudge %1").arg(name), nudgeKey.constData(),
        tr("Moves the selection"),
        [by = walk.by](GraphTab& tab) { tab.canvas().nudgeSelection(QPointF(by) * 20); });
  }
}

void MainWindow::buildViewActions() {
  const auto add = [this](const char* id, const QString& text, const char* keys,
                          const QString& help, std::function<void()> run, bool canvas) {
    actions_.add({QString::fromLatin1(id), tr("&View"), text, QString::fromLatin1(keys), help,
                  std::move(run), canvas});
  };
  const auto onTab = [this](std::function<void(GraphTab&)> run) {
    return [this, run] { withTab(run); };
  };
  add("view.fit", tr("&Fit all"), "H; Home", tr("Shows the whole graph"),
      onTab([](GraphTab& tab) { tab.canvas().fitAll(); }), true);
  add("view.fit_selection", tr("Fit &selection"), "F; .", tr("Shows the selected nodes"),
      onTab([](GraphTab& tab) { tab.canvas().fitSelection(); }), true);
  add("view.reset_zoom", tr("&100 %"), "Ctrl+0", tr("Back to natural size"),
      onTab([](GraphTab& tab) { tab.canvas().resetZoom(); }), false);
  add("view.layout", tr("&Lay out all"), "Ctrl+Shift+L",
      tr("Arranges the graph from left to right"), onTab([](GraphTab& tab) { tab.layOut(false); }),
      false);
  add("view.layout_selection", tr("Lay out s&election"), "Shift+L",
      tr("Arranges the selected nodes"), onTab([](GraphTab& tab) { tab.layOut(true); }), true);
  add("view.minimap", tr("&Minimap"), "Alt+M", tr("Shows or hides the minimap"),
      onTab([](GraphTab& tab) { tab.showMinimap(!tab.minimapShown()); }), false);
  add(
      "view.find", tr("Find &in graph..."), "Ctrl+F", tr("By name, type or parameter"),
      [this] { findInGraph(); }, false);
  add(
      "view.palette", tr("&Command palette..."), "Ctrl+Shift+P", tr("Every command by name"),
      [this] { showPalette(); }, false);
  add(
      "view.diff", tr("&Differences from the file"), "Ctrl+Shift+F",
      tr("What has changed since the graph was saved"), [this] { showDifferences({}); }, false);
  add(
      "view.diff_other", tr("Differences from &another graph..."), "",
      tr("Compares the graph with another file"),
      [this] {
        const QString file = QFileDialog::getOpenFileName(this, tr("Compare with"), paths_.graphs,
                                                          tr("Graphs (*.json);;All files (*)"));
        if (!file.isEmpty() && currentTab()) showDifferences(file);
      },
      false);
  add(
      "view.queue", tr("&Queue of runs"), "Q", tr("Shows what waits to be run"),
      [this] { raise(findChild<QueuePanel*>()); }, true);
  add(
      "view.theme", tr("&Dark or light"), "", tr("Changes between the dark and the light theme"),
      [this] { setDark(!theme_.dark); }, false);
  add(
      "view.keys", tr("&Keys"), "F1; ?", tr("All keys"),
      [this] {
        QDialog dialog(this);
        dialog.setWindowTitle(tr("Keys"));
        auto* layout = new QVBoxLayout(&dialog);
        auto* page = new QTextBrowser(&dialog);
        page->setHtml(actions_.helpPage() + gesturePage());
        layout->addWidget(page);
        auto* buttons = new QDialogButtonBox(QDialogButtonBox::Close, &dialog);
        connect(buttons, &QDialogButtonBox::rejected, &dialog, &QDialog::reject);
        layout->addWidget(buttons);
        dialog.resize(640, 720);
        dialog.exec();
      },
      false);
}

void MainWindow::buildRunActions() {
  const auto add = [this](const char* id, const QString& text, const char* keys,
                          const QString& help, std::function<void()> run) {
    actions_.add({QString::fromLatin1(id), tr("&Run"), text, QString::fromLatin1(keys), help,
                  std::move(run), false});
  };
  add("run.start", tr("&Run"), "Ctrl+Return; F5",
      tr("Runs the graph as it is on the screen, or goes on"), [this] { startRun(); });
  add("run.queue", tr("Add to the &queue"), "Ctrl+Shift+Return",
      tr("Runs the graph as it is now after those that wait"), [this] { queueRun(); });
  add("run.resume", tr("&Go on with the run"), "Shift+F5",
      tr("Resumes the run that is shown from its last checkpoint"), [this] { resumeRun(); });
  add("run.attach", tr("&Attach to a run..."), "",
      tr("Watches a run that another process does, or looks at one that has ended"), [this] {
        const QString folder =
            QFileDialog::getExistingDirectory(this, tr("Run folder"), paths_.runs);
        if (!folder.isEmpty()) openPath(folder);
      });
  add("run.stop", tr("&Stop"), "Ctrl+Alt+Return",
      tr("Stops after this iteration, with a checkpoint"), [this] { stopRun(); });
  add("run.pause", tr("&Pause"), "F6", tr("Waits after this iteration"),
      [this] { withTab([](GraphTab& tab) { tab.ask(GraphTab::Ask::pause); }); });
  add("run.step", tr("S&tep an iteration"), "F10",
      tr("Runs one iteration (of one that is held within, the rest), then waits"),
      [this] { stepRun(QStringLiteral("step")); });
  add("run.step_node", tr("Step a &node"), "F11", tr("Runs one node, then waits before the next"),
      [this] { stepRun(QStringLiteral("step_node")); });
  add("run.to_node", tr("Run &to the node"), "Ctrl+F10",
      tr("Runs until the selected node is about to"), [this] { runToSelected(); });
  add("run.checkpoint", tr("&Checkpoint now"), "", tr("Writes a checkpoint after this iteration"),
      [this] { withTab([](GraphTab& tab) { tab.ask(GraphTab::Ask::checkpoint); }); });
  add("run.breakpoint", tr("&Breakpoint"), "F9",
      tr("Holds the run before the selected nodes; again: it does not"), [this] {
        withTab([](GraphTab& tab) {
          for (const std::string& name : tab.scene().selectedNodes()) tab.toggleBreakpoint(name);
        });
      });
  add("run.breakpoint_if", tr("Breakpoint with a condition..."), "Shift+F9",
      tr("Holds the run before the selected node, or before an iteration, once a metric says so"),
      [this] { askCondition(); });
}

namespace {

enum class RunSign { start, pause, stop };

QIcon runIcon(RunSign sign, const QColor& color) {
  constexpr double kSize = 16;
  constexpr int kScale = 4;  // fine screens take it as it is, others a smaller one of it
  QPixmap pixmap(static_cast<int>(kSize) * kScale, static_cast<int>(kSize) * kScale);
  pixmap.setDevicePixelRatio(kScale);
  pixmap.fill(Qt::transparent);
  QPainter painter(&pixmap);
  painter.setRenderHint(QPainter::Antialiasing);
  painter.setPen(Qt::NoPen);
  painter.setBrush(color);
  switch (sign) {
    case RunSign::start: painter.drawPolygon(QPolygonF({{4, 2}, {14, 8}, {4, 14}})); break;
    case RunSign::pause:
      painter.drawRect(QRectF(3.5, 2.5, 3.5, 11));
      painter.drawRect(QRectF(9, 2.5, 3.5, 11));
      break;
    case RunSign::stop: painter.drawRect(QRectF(3, 3, 10, 10)); break;
  }
  return {pixmap};
}

}  // namespace

QWidget* MainWindow::runButtons() {
  auto* box = new QWidget(this);
  auto* layout = new QHBoxLayout(box);
  layout->setContentsMargins(0, 0, 6, 0);
  layout->setSpacing(2);
  const auto add = [&](const char* id, const QString& text, RunSign sign, const QColor& color) {
    QAction* action = actions_.action(QString::fromLatin1(id));
    auto* button = new QToolButton(box);
    button->setText(text);
    button->setIcon(runIcon(sign, color));
    button->setToolButtonStyle(Qt::ToolButtonTextBesideIcon);
    button->setAutoRaise(true);
    button->setFixedHeight(menuBar()->sizeHint().height());  // no higher than the menus beside it
    button->setFocusPolicy(Qt::NoFocus);
    button->setAccessibleName(text);
    button->setToolTip(action->toolTip());
    button->setEnabled(action->isEnabled());
    connect(action, &QAction::enabledChanged, button, &QToolButton::setEnabled);
    connect(button, &QToolButton::clicked, action, &QAction::trigger);
    layout->addWidget(button);
  };
  add("run.start", tr("Run"), RunSign::start, theme_.done);
  add("run.pause", tr("Pause"), RunSign::pause, theme_.warning);
  add("run.stop", tr("Stop"), RunSign::stop, theme_.error);
  return box;
}

void MainWindow::buildDocks() {
  const auto dock = [this](const char* id, const QString& title, QWidget* content,
                           Qt::DockWidgetArea area) {
    auto* widget = new QDockWidget(title, this);
    widget->setObjectName(QString::fromLatin1(id));
    widget->setWidget(content);
    addDockWidget(area, widget);
    return widget;
  };
  fillLibrary();
  auto* libraryDock = dock("library", tr("Nodes"), library_, Qt::LeftDockWidgetArea);
  auto* parameterDock = dock("parameters", tr("Parameters"), parameters_, Qt::RightDockWidgetArea);
  auto* pageDock = dock("page", tr("About the node"), nodePage_, Qt::RightDockWidgetArea);
  tabifyDockWidget(parameterDock, pageDock);
  parameterDock->raise();
  auto* rewardDock = dock("rewards", tr("Rewards"), rewards_, Qt::BottomDockWidgetArea);
  auto* diffDock = dock("differences", tr("Differences"), diff_, Qt::BottomDockWidgetArea);
  auto* queueDock =
      dock("queue", tr("Queue"), new QueuePanel(*queue_, this), Qt::BottomDockWidgetArea);
  auto* problemDock = dock("problems", tr("Problems"), problems_, Qt::BottomDockWidgetArea);
  log_->setReadOnly(true);
  log_->setMaximumBlockCount(20000);
  log_->setAccessibleName(tr("Log"));
  auto* logDock = dock("log", tr("Log"), log_, Qt::BottomDockWidgetArea);
  tabifyDockWidget(problemDock, rewardDock);
  tabifyDockWidget(rewardDock, logDock);
  tabifyDockWidget(logDock, diffDock);
  tabifyDockWidget(diffDock, queueDock);
  problemDock->raise();
  resizeDocks({libraryDock, parameterDock}, {210, 320}, Qt::Horizontal);
  resizeDocks({rewardDock}, {280}, Qt::Vertical);
}

void MainWindow::fillLibrary() {
  library_->setHeaderHidden(true);
  library_->setAccessibleName(tr("Node types"));
  std::map<std::string, QTreeWidgetItem*> families;
  for (const auto& [id, node] : catalogue_->nodes()) {
    const std::string family = id.substr(0, id.find('.'));
    QTreeWidgetItem*& parent = families[family];
    if (!parent) parent = new QTreeWidgetItem(library_, {QString::fromStdString(family)});
    auto* item =
        new QTreeWidgetItem(parent, {QString::fromStdString(id.substr(family.size() + 1))});
    item->setToolTip(0, QString::fromStdString(node.title));
    item->setData(0, Qt::UserRole, QString::fromStdString(id));
  }
  connect(library_, &QTreeWidget::itemClicked, this, [this](QTreeWidgetItem* item) {
    const QString id = item->data(0, Qt::UserRole).toString();
    if (!id.isEmpty()) showNodePage(id.toStdString());
  });
  connect(library_, &QTreeWidget::itemActivated, this, [this](QTreeWidgetItem* item) {
    const QString id = item->data(0, Qt::UserRole).toString();
    if (id.isEmpty()) return;
    withTab([&](GraphTab& tab) {
      const QPointF at = tab.canvas().freePlace() + QPointF(0, NodeView::kTitle);
      tab.canvas().addNodeAt(id.toStdString(), at, std::nullopt, {});
    });
  });
}

QWidget* MainWindow::welcomePage() {
  gallery_ = new Gallery(catalogue_, this);
  gallery_->setRecent(recentThere());
  gallery_->setFolder(paths_.graphs);
  connect(gallery_, &Gallery::newWanted, this, [this] { newGraph(); });
  connect(gallery_, &Gallery::openWanted, this, [this](const QString& path) { openPath(path); });
  connect(gallery_, &Gallery::runWanted, this, [this](const QString& path) {
    if (openPath(path)) startRun();
  });
  return gallery_;
}

}  // namespace rewardloom

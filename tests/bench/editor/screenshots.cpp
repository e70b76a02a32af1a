// The pictures of the README, from the editor itself: rewardloom-editor-screenshots FOLDER
// [WIDTHxHEIGHT]. QT_SCALE_FACTOR=2 gives those of a fine screen.
#include <QApplication>
#include <QDir>
#include <QDockWidget>
#include <QElapsedTimer>
#include <QTableView>
#include <QTemporaryDir>

#include "editor/document/graph_layout.h"
#include "editor/editor_style.h"
#include "editor/panels/search_popup.h"
#include "editor/rewards/rewards_dock.h"
#include "editor/window/gallery.h"
#include "editor/window/graph_tab.h"
#include "editor/window/main_window.h"
#include "engine/io/durable_file.h"

namespace rewardloom {
namespace {

class Photographer {
 public:
  Photographer(std::shared_ptr<const Catalogue> catalogue, QString folder, QSize size)
      : catalogue_(std::move(catalogue)), folder_(std::move(folder)), size_(size) {
    QDir().mkpath(folder_);
  }

  void all() {
    for (const bool dark : {true, false}) {
      dark_ = dark;
      gallery();
      big();
      error();
      containers();
      running();
    }
  }

 private:
  std::unique_ptr<MainWindow> open(const char* graph) {
    const QString graphs = QStringLiteral(REWARDLOOM_SOURCE_DIR "/graphs/");
    auto window = std::make_unique<MainWindow>(
        catalogue_, EditorPaths{QStringLiteral(REWARDLOOM_PROGRAM), graphs, work_.path() + "/runs",
                                work_.path() + "/journals"});
    window->setUnattended(true);
    window->setDark(dark_);
    window->resize(size_);
    window->show();
    if (graph) window->openPath(graphs + QString::fromLatin1(graph));
    settle(600);
    return window;
  }

  static void settle(int ms) {
    QElapsedTimer clock;
    clock.start();
    while (clock.elapsed() < ms) QApplication::processEvents(QEventLoop::AllEvents, 20);
  }

  void take(MainWindow& window, const char* name) {
    settle(200);
    const QString file = QStringLiteral("%1/%2-%3.png")
                             .arg(folder_, QString::fromLatin1(name),
                                  dark_ ? QStringLiteral("dark") : QStringLiteral("light"));
    window.grab().save(file);
    std::printf("%s\n", qPrintable(file));
    std::fflush(stdout);
  }

  void gallery() {
    const auto window = open(nullptr);
    window->gallery().readAll();
    take(*window, "gallery");
  }

  void big() {
    const auto window = open("grpo-arithmetic.json");
    GraphTab& tab = *window->currentTab();
    tab.model().edit("grow", [](Document& d) {
      const std::vector<std::string> pipeline = {"tasks", "actor", "rollout", "check",
                                                 "adv",   "clip",  "update",  "reward"};
      for (int i = 0; i < 24; ++i) duplicateNodes(d, {}, pipeline, {}, true);
      d.layout = Json::object();
    });
    tab.layOut(false);
    settle(4000);
    tab.canvas().fitAll();
    take(*window, "big");
  }

  void error() {
    const auto window = open("grpo-arithmetic.json");
    GraphTab& tab = *window->currentTab();
    tab.model().edit("break", [&](Document& d) {
      disconnectPorts(d, {}, {{"check", "rewards"}, "adv", "rewards"});
      setParameter(d, {}, "clip", "low", -3);
      tab.scene().keepSuggested(d);
      addNode(d, {}, "future.node", {900, 640});
      d.node("reward")->mode = NodeMode::mute;
    });
    tab.model().checkNow();
    tab.canvas().fitAll();
    tab.scene().selectNodes({"clip"});
    take(*window, "error");
    window->actions().run(QStringLiteral("view.diff"));
    take(*window, "differences");
    tab.canvas().setFocus();
    window->actions().run(QStringLiteral("node.add"));
    window->searchPopup().setQuery(QStringLiteral("adv"));
    settle(200);
    window->searchPopup().grab().save(
        QStringLiteral("%1/search-%2.png").arg(folder_, dark_ ? "dark" : "light"));
    window->searchPopup().hide();
  }

  void containers() {
    const auto window = open("17-cooper.json");
    take(*window, "containers");
    GraphTab& tab = *window->currentTab();
    if (tab.model().document().subgraphs.empty()) return;
    tab.scene().setScope(tab.model().document().subgraphs.front().name);
    settle(800);
    take(*window, "inside");
  }

  void running() {
    const auto window = open("grpo-arithmetic.json");
    GraphTab& tab = *window->currentTab();
    tab.setBreakpoint({}, QStringLiteral("iteration >= 12"));
    tab.setBreakpoint("adv", QStringLiteral("iteration >= 12"));
    window->startRun();
    QElapsedTimer clock;
    clock.start();
    while (tab.run().state() != RunState::paused && clock.elapsed() < 120000) settle(50);
    window->rewards().showPort(QStringLiteral("check"), QStringLiteral("rewards"));
    for (auto* dock : window->findChildren<QDockWidget*>()) {
      if (dock->objectName() == QStringLiteral("rewards")) dock->raise();
    }
    settle(1500);
    window->rewards().samples().table().selectRow(0);
    settle(500);
    take(*window, "running");
    window->rewards().showView(QStringLiteral("Quantiles"));
    window->rewards().showView(QStringLiteral("Metrics"));
    take(*window, "curves");
    window->stopRun();
    while (tab.run().isActive() && clock.elapsed() < 180000) settle(50);
  }

  std::shared_ptr<const Catalogue> catalogue_;
  QString folder_;
  QSize size_;
  QTemporaryDir work_;
  bool dark_ = true;
};

}  // namespace
}  // namespace rewardloom

int main(int argc, char** argv) {
  if (qEnvironmentVariableIsEmpty("QT_QPA_PLATFORM")) qputenv("QT_QPA_PLATFORM", "offscreen");
  QApplication app(argc, argv);
  QApplication::setStyle(new rewardloom::EditorStyle);  // the application owns it
  QApplication::setApplicationName(QStringLiteral("rewardloom-editor-screenshots"));
  if (argc < 2) {
    std::fprintf(stderr, "usage: rewardloom-editor-screenshots FOLDER [WIDTHxHEIGHT]\n");
    return 2;
  }
  QSize size(1600, 1000);
  if (argc > 2) {
    const QStringList parts = QString::fromLocal8Bit(argv[2]).split(QChar('x'));
    if (parts.size() == 2) size = QSize(parts[0].toInt(), parts[1].toInt());
  }
  using namespace rewardloom;
  const auto catalogue = std::make_shared<const Catalogue>(
      Catalogue::from_json(Json::parse(read_file(REWARDLOOM_NODES_JSON))));
  Photographer(catalogue, QString::fromLocal8Bit(argv[1]), size).all();
  return 0;
}

// rewardloom-editor [GRAPH|RUN...]
#include <QApplication>
#include <QCommandLineParser>
#include <QFileInfo>
#include <QIcon>
#include <QStandardPaths>

#include "editor/document/journal.h"
#include "editor/editor_style.h"
#include "editor/run/catalogue_reader.h"
#include "editor/window/main_window.h"
#include "engine/core/problem.h"

namespace rewardloom {
namespace {

QString firstExisting(const QStringList& paths) {
  for (const QString& path : paths) {
    if (QFileInfo::exists(path)) return QFileInfo(path).absoluteFilePath();
  }
  return {};
}

int editorMain(QApplication& app) {
  QCommandLineParser parser;
  parser.setApplicationDescription(
      QStringLiteral("Designs reward-driven training pipelines and watches their rewards."));
  parser.addHelpOption();
  parser.addVersionOption();
  parser.addPositionalArgument(QStringLiteral("files"),
                               QStringLiteral("graph files or run folders"),
                               QStringLiteral("[GRAPH|RUN...]"));
  const QCommandLineOption plugin(QStringLiteral("plugin"),
                                  QStringLiteral("a plug-in with more node types"),
                                  QStringLiteral("FILE"));
  const QCommandLineOption runs(QStringLiteral("runs"),
                                QStringLiteral("where runs are written (runs)"),
                                QStringLiteral("DIR"), QStringLiteral("runs"));
  parser.addOption(plugin);
  parser.addOption(runs);
  parser.process(app);
  const QString folder = QCoreApplication::applicationDirPath();
  EditorPaths paths;
  paths.program = firstExisting({folder + QStringLiteral("/rewardloom")});
  if (paths.program.isEmpty()) {
    paths.program = QStandardPaths::findExecutable(QStringLiteral("rewardloom"));
  }
  paths.graphs = firstExisting({QStringLiteral("graphs"), folder + QStringLiteral("/../../graphs"),
                                folder + QStringLiteral("/../share/rewardloom/graphs")});
  paths.runs = QFileInfo(parser.value(runs)).absoluteFilePath();
  paths.journals = Journal::standardFolder();
  const QString written = firstExisting({folder + QStringLiteral("/../share/rewardloom/nodes.json"),
                                         folder + QStringLiteral("/../generated/nodes.json")});
  CatalogueReading reading = readCatalogue(paths.program, written, parser.values(plugin));
  paths.plugins = reading.plugins;
  auto catalogue = std::make_shared<const Catalogue>(std::move(reading.catalogue));
  MainWindow window(std::move(catalogue), paths);
  window.show();
  for (const Problem& problem : reading.problems) window.report(problem);
  window.offerRecovery();
  for (const QString& file : parser.positionalArguments()) window.openPath(file);
  return QApplication::exec();
}

}  // namespace
}  // namespace rewardloom

int main(int argc, char** argv) {
  QApplication app(argc, argv);
  QApplication::setOrganizationName(QStringLiteral("RewardLoom"));
  QApplication::setApplicationName(QStringLiteral("rewardloom-editor"));
  QApplication::setStyle(new rewardloom::EditorStyle);  // the application owns it
  QApplication::setDesktopFileName(QStringLiteral("rewardloom-editor"));
  QApplication::setWindowIcon(QIcon(QStringLiteral(":/rewardloom.png")));
  try {
    return rewardloom::editorMain(app);
  } catch (const rewardloom::Failure& failure) {
    qCritical("%s", rewardloom::format(failure.problem()).c_str());
    return 1;
  }
}

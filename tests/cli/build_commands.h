// Compiles further code with the commands that built this program.
#pragma once
#include <QFileInfo>
#include <QProcess>
#include <QRegularExpression>

#include "tests/cli/program.h"

namespace rewardloom::testing {

inline QString build_folder() {
  return QFileInfo(QFileInfo(QStringLiteral(REWARDLOOM_PROGRAM)).path()).path();
}

/// The command that compiled a source whose path holds `part`, up to its output.
inline QString compile_command(const QString& part) {
  const QByteArray text = read_all(build_folder() + "/compile_commands.json");
  if (text.isEmpty()) return {};
  for (const Json& entry : Json::parse(text.toStdString())) {
    if (!QString::fromStdString(entry.at("file")).contains(part)) continue;
    QString command = QString::fromStdString(entry.at("command"));
    command.remove(QRegularExpression(" -o \\S+ -c \\S+$"));
    command.remove(QRegularExpression(" '?-DREWARDLOOM_(NODE_ID|NODE_REGISTER|TEST_RUN)=\\S+"));
    return command;
  }
  return {};
}

/// Runs a shell command in the build folder; its complaints where it fails.
inline QByteArray complaint(const QString& command) {
  QProcess shell;
  shell.setWorkingDirectory(build_folder());
  shell.setProcessChannelMode(QProcess::MergedChannels);
  shell.start("sh", {"-c", command});
  if (!shell.waitForFinished(300'000)) return "timed out";
  const QByteArray out = shell.readAll();
  return shell.exitCode() == 0 ? QByteArray() : "failed: " + out.right(4000);
}

}  // namespace rewardloom::testing

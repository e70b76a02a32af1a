#include "editor/document/journal.h"

#include <signal.h>

#include <QCoreApplication>
#include <QDateTime>
#include <QDir>
#include <QFileInfo>
#include <QStandardPaths>
#include <QUuid>

#include "engine/core/problem.h"
#include "engine/io/durable_file.h"

namespace rewardloom {
namespace {

constexpr int kDelayMs = 400;

bool isRunning(qint64 process) {
  return process > 0 && (::kill(static_cast<pid_t>(process), 0) == 0 || errno == EPERM);
}

Json content(const QString& file) {
  const Json json = Json::parse(read_file(file.toStdString()), nullptr, false);
  if (json.is_object() && json.contains("text") && json["text"].is_string()) return json;
  throw Failure("journal-broken", "the recovered file is damaged: " + file.toStdString());
}

}  // namespace

Journal::Journal(GraphModel& model, QString folder, QObject* parent)
    : QObject(parent), model_(model), folder_(std::move(folder)) {
  QDir().mkpath(folder_);
  file_ = QStringLiteral("%1/%2-%3.journal")
              .arg(folder_)
              .arg(QCoreApplication::applicationPid())
              .arg(QUuid::createUuid().toString(QUuid::Id128).left(12));
  timer_.setSingleShot(true);
  timer_.setInterval(kDelayMs);
  connect(&timer_, &QTimer::timeout, this, &Journal::flush);
  // Not restarted by every edit: the first unsaved one is never older than the delay.
  connect(&model_, &GraphModel::edited, this, [this] {
    if (!timer_.isActive()) timer_.start();
  });
  connect(&model_.history(), &QUndoStack::cleanChanged, this, [this](bool clean) {
    if (clean) discard();
  });
}

Journal::~Journal() { discard(); }

void Journal::flush() {
  timer_.stop();
  if (!model_.isModified()) return;
  const Json json{{"path", model_.path().toStdString()},
                  {"title", model_.title().toStdString()},
                  {"process", QCoreApplication::applicationPid()},
                  {"text", model_.document().text()}};
  try {
    write_durably(file_.toStdString(), json.dump());
    complained_ = false;
  } catch (const Failure& failure) {
    if (!std::exchange(complained_, true)) {
      Q_EMIT failed(QString::fromStdString(failure.problem().text));
    }
  }
}

void Journal::discard() {
  timer_.stop();
  QFile::remove(file_);
}

std::vector<Recovery> Journal::left(const QString& folder) {
  std::vector<Recovery> list;
  const QDir dir(folder);
  for (const QFileInfo& info : dir.entryInfoList({QStringLiteral("*.journal")}, QDir::Files)) {
    if (isRunning(info.fileName().section(QChar('-'), 0, 0).toLongLong())) continue;
    Recovery recovery;
    recovery.journal = info.absoluteFilePath();
    recovery.modified = info.lastModified().toSecsSinceEpoch();
    try {
      const Json json = content(recovery.journal);
      recovery.path = QString::fromStdString(json.value("path", ""));
      recovery.title = QString::fromStdString(json.value("title", ""));
    } catch (const Failure&) {
      recovery.title = QObject::tr("damaged journal %1").arg(info.fileName());
    }
    list.push_back(std::move(recovery));
  }
  return list;
}

Document Journal::read(const Recovery& recovery) {
  const Json json = content(recovery.journal);
  return Document::parse(json["text"].get<std::string>(), recovery.path.toStdString());
}

void Journal::remove(const Recovery& recovery) { QFile::remove(recovery.journal); }

QString Journal::standardFolder() {
  return QStandardPaths::writableLocation(QStandardPaths::AppDataLocation) +
         QStringLiteral("/journals");
}

}  // namespace rewardloom

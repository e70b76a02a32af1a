#include "editor/document/journal.h"

#include <signal.h>

#include <QCoreApplication>
#include <QDateTime>
#include <QDir>
#include <QFileInfo>
#include <QStandardPaths>
#include <QUuid>
#include <memory>
#include <sstream>

#include "engine/core/problem.h"
#include "engine/io/durable_file.h"

namespace rewardloom {
namespace {

// Between an unsaved edit and its way to the disk.
constexpr int kDelayMs = 100;

QString safeOf(const QString& journal) { return journal + QStringLiteral(".safe"); }

/// When a process began, as text that no other one has; empty where there is none.
std::string startOf(qint64 process) {
  try {
    const std::string stat = read_file("/proc/" + std::to_string(process) + "/stat");
    std::istringstream fields(stat.substr(std::min(stat.rfind(')') + 1, stat.size())));
    std::string field;
    for (int i = 0; i < 20; ++i) fields >> field;  // the 22nd of all is the start, in ticks
    return read_file("/proc/sys/kernel/random/boot_id").substr(0, 36) + " " + field;
  } catch (const Failure&) {
    return {};
  }
}

/// Whether the editor that wrote the journal still lives. Its number alone may belong to another
/// program by now.
bool isRunning(qint64 process, const Json& journal) {
  const bool there = process > 0 && (::kill(static_cast<pid_t>(process), 0) == 0 || errno == EPERM);
  const auto started = journal.find("started");
  if (!there || started == journal.end() || !started->is_string()) return there;
  const std::string start = startOf(process);
  return start.empty() || start == started->get<std::string>();
}

Json content(const QString& file) {
  const Json json = Json::parse(read_file(file.toStdString()), nullptr, false);
  if (json.is_object() && json.contains("text") && json["text"].is_string()) return json;
  throw Failure("journal-broken", "the recovered file is damaged: " + file.toStdString());
}

/// What the journal holds, or else its safe copy: a power cut may have left the first one empty.
Json newest(const QString& journal) {
  try {
    return content(journal);
  } catch (const Failure&) {
    if (!QFileInfo::exists(safeOf(journal))) throw;
  }
  return content(safeOf(journal));
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
  connect(&timer_, &QTimer::timeout, this, &Journal::write);
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
  write();
  quick_.finish();
  safe_.finish();
}

void Journal::write() {
  timer_.stop();
  if (!model_.isModified()) return;
  // The text of a large graph takes as long as a frame: it is made in the other thread, of a copy.
  const auto document = std::make_shared<const Document>(model_.document());
  Json json{{"path", model_.path().toStdString()},
            {"title", model_.title().toStdString()},
            {"process", QCoreApplication::applicationPid()},
            {"started", startOf(QCoreApplication::applicationPid())}};
  quick_.give([this, document, json = std::move(json), file = file_.toStdString()]() mutable {
    json["text"] = document->text();
    const auto bytes = std::make_shared<const std::string>(
        json.dump(-1, ' ', false, Json::error_handler_t::replace));
    const auto attempt = [this](const std::string& path, const std::string& text, Durability how) {
      QString fault;
      try {
        write_durably(path, text, how);
      } catch (const Failure& failure) {
        fault = QString::fromStdString(failure.problem().text);
      }
      told_.give();
      const auto tell = [this, fault]() REWARDLOOM_TASK_SHELL {
        told_.take();
        complain(fault);
      };
      QMetaObject::invokeMethod(this, tell, Qt::QueuedConnection);
    };
    attempt(file, *bytes, Durability::buffered);
    safe_.give([attempt, bytes, path = safeOf(QString::fromStdString(file)).toStdString()] {
      attempt(path, *bytes, Durability::synced);
    });
  });
}

/// Once, until writing succeeds again.
void Journal::complain(const QString& fault) {
  if (fault.isEmpty()) {
    complained_ = false;
  } else if (!std::exchange(complained_, true)) {
    Q_EMIT failed(fault);
  }
}

void Journal::discard() {
  timer_.stop();
  quick_.cancel();
  safe_.cancel();
  QFile::remove(file_);
  QFile::remove(safeOf(file_));
}

std::vector<Recovery> Journal::left(const QString& folder) {
  std::vector<Recovery> list;
  const QDir dir(folder);
  const QStringList patterns{QStringLiteral("*.journal"), QStringLiteral("*.journal.safe")};
  QStringList seen;
  for (const QFileInfo& info : dir.entryInfoList(patterns, QDir::Files)) {
    Recovery recovery;
    recovery.journal = info.absoluteFilePath();
    if (recovery.journal.endsWith(QStringLiteral(".safe"))) recovery.journal.chop(5);
    if (seen.contains(recovery.journal)) continue;
    seen << recovery.journal;
    recovery.modified = info.lastModified().toSecsSinceEpoch();
    Json json = Json::object();
    try {
      json = newest(recovery.journal);
      recovery.path = QString::fromStdString(json.value("path", ""));
      recovery.title = QString::fromStdString(json.value("title", ""));
    } catch (const Failure&) {
      recovery.title = QObject::tr("damaged journal %1").arg(info.fileName());
    }
    if (isRunning(info.fileName().section(QChar('-'), 0, 0).toLongLong(), json)) continue;
    list.push_back(std::move(recovery));
  }
  return list;
}

Document Journal::read(const Recovery& recovery) {
  const Json json = newest(recovery.journal);
  return Document::parse(json["text"].get<std::string>(), recovery.path.toStdString());
}

void Journal::remove(const Recovery& recovery) {
  QFile::remove(recovery.journal);
  QFile::remove(safeOf(recovery.journal));
}

QString Journal::standardFolder() {
  return QStandardPaths::writableLocation(QStandardPaths::AppDataLocation) +
         QStringLiteral("/journals");
}

}  // namespace rewardloom

#include "editor/run/run_watch.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstring>

#include "engine/core/json.h"
#include "engine/io/durable_file.h"
#include "engine/io/run_reader.h"

namespace rewardloom {
namespace {

constexpr int kPeriodMs = 500;

/// Whether a process runs in this folder: it then holds the lock file.
bool isHeld(const QString& folder) {
  const QByteArray path = (folder + QStringLiteral("/lock")).toLocal8Bit();
  const int file = ::open(path.constData(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return false;
  const bool held = ::flock(file, LOCK_SH | LOCK_NB) != 0;
  ::close(file);
  return held;
}

QString faultOfPipe(const QString& path, int error) {
  switch (error) {
    case ENOENT:
      return QObject::tr(
          "this run takes no commands (an older version started it, or its file "
          "system has no pipes): Ctrl-C where it was started stops it");
    case ENXIO:
      return QObject::tr(
                 "nobody hears at %1: the run begins or ends just now, or another machine "
                 "does it")
          .arg(path);
    case EACCES:
      return QObject::tr("%1 may not be written: another user started the run").arg(path);
    default:
      return QObject::tr("%1 cannot be written: %2")
          .arg(path, QString::fromLocal8Bit(std::strerror(error)));
  }
}

}  // namespace

RunWatch::RunWatch(QObject* parent) : QObject(parent) {
  timer_.setInterval(kPeriodMs);
  connect(&timer_, &QTimer::timeout, this, &RunWatch::refresh);
}

void RunWatch::attach(const QString& folder) {
  detach();
  folder_ = folder;
  refresh();
  if (live_) timer_.start();
}

void RunWatch::detach() {
  timer_.stop();
  folder_.clear();
  activities_.clear();
  live_ = paused_ = stopping_ = false;
}

void RunWatch::refresh() {
  if (folder_.isEmpty()) return;
  live_ = isHeld(folder_);
  readInfo();
  readStore();
  if (live_ && state_ == QStringLiteral("running")) {
    if (paused_) state_ = QStringLiteral("paused");
    if (stopping_) state_ = QStringLiteral("stopping");
  }
  if (!live_) timer_.stop();
  Q_EMIT changed();
}

QString RunWatch::send(const QString& command) {
  if (folder_.isEmpty()) return tr("nothing runs here");
  live_ = isHeld(folder_);
  if (!live_) return tr("nothing runs in %1 any more").arg(folder_);
  std::signal(SIGPIPE, SIG_IGN);  // its reader may go away between here and the write
  const QString path = folder_ + QStringLiteral("/control");
  const int pipe =
      ::open(path.toLocal8Bit().constData(), O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
  if (pipe < 0) return faultOfPipe(path, errno);
  struct stat status {};
  const bool isPipe = ::fstat(pipe, &status) == 0 && S_ISFIFO(status.st_mode);
  const QByteArray line = command.toLatin1() + '\n';
  const bool written = isPipe && ::write(pipe, line.constData(),
                                         static_cast<std::size_t>(line.size())) == line.size();
  const int error = errno;
  ::close(pipe);
  if (!isPipe) return tr("%1 is no pipe").arg(path);
  if (!written) return faultOfPipe(path, error);
  if (command == QStringLiteral("stop")) stopping_ = true;
  refresh();
  return {};
}

void RunWatch::readInfo() {
  try {
    const Json json = Json::parse(read_file((folder_ + "/run.json").toStdString()), nullptr, false);
    if (!json.is_object()) return;
    const auto text = [&](const char* key) {
      return json.contains(key) && json[key].is_string()
                 ? QString::fromStdString(json[key].get<std::string>())
                 : QString();
    };
    const auto number = [&](const char* key) {
      return json.contains(key) && json[key].is_number() ? json[key].get<qint64>() : qint64{0};
    };
    state_ = text("state");
    graphHash_ = text("graph_hash");
    iterations_ = number("iterations");
    completed_ = number("completed");
    if (state_ == QStringLiteral("running") && !live_) state_ = QStringLiteral("crashed");
    if (json.contains("problem") && json["problem"].is_object()) {
      failedNode_ = json["problem"].value("node", "");
      failure_ = QString::fromStdString(json["problem"].value("message", ""));
    }
  } catch (const Failure& failure) {
    // The folder is going away, or not ours to read.
    state_ = QString::fromStdString(failure.problem().text);
  }
}

void RunWatch::readStore() {
  try {
    RunReader reader(folder_.toStdString());
    if (const auto last = reader.last_iteration()) {
      completed_ = std::max<qint64>(completed_, *last);
    }
    paused_ = false;
    for (const EventRow& event : reader.events()) {
      if (event.kind == "paused") paused_ = true;
      if (event.kind == "resumed" || event.kind == "resume") paused_ = false;
    }
    activities_.clear();
    for (const NodeRow& row : reader.nodes()) {
      NodeActivity& activity = activities_[row.node];
      activity.state = row.firings > 0 ? NodeState::done : NodeState::idle;
      activity.count = row.firings;
      activity.seconds = row.seconds;
    }
  } catch (const Failure&) {
    activities_.clear();
  }
  if (failedNode_.empty()) return;
  activities_[failedNode_].state = NodeState::failed;
  activities_[failedNode_].error = failure_;
}

}  // namespace rewardloom

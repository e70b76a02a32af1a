#include "editor/run/run_watch.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

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

}  // namespace

RunWatch::RunWatch(QObject* parent) : QObject(parent) {
  timer_.setInterval(kPeriodMs);
  connect(&timer_, &QTimer::timeout, this, &RunWatch::refresh);
}

void RunWatch::attach(const QString& folder) {
  folder_ = folder;
  refresh();
  if (live_) timer_.start();
}

void RunWatch::detach() {
  timer_.stop();
  folder_.clear();
  activities_.clear();
  live_ = false;
}

void RunWatch::refresh() {
  if (folder_.isEmpty()) return;
  live_ = isHeld(folder_);
  readInfo();
  readStore();
  if (!live_) timer_.stop();
  Q_EMIT changed();
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
  } catch (const Failure&) {
    state_.clear();  // the folder is going away, or not ours to read
  }
}

void RunWatch::readStore() {
  try {
    RunReader reader(folder_.toStdString());
    if (const auto last = reader.last_iteration()) {
      completed_ = std::max<qint64>(completed_, *last);
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

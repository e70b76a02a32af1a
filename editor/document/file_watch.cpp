#include "editor/document/file_watch.h"

#include <QFileInfo>

#include "engine/io/durable_file.h"

namespace rewardloom {
namespace {

constexpr int kSettleMs = 150;  // writers that are not done yet

}  // namespace

FileWatch::FileWatch(GraphModel& model, QObject* parent) : QObject(parent), model_(model) {
  settle_.setSingleShot(true);
  settle_.setInterval(kSettleMs);
  connect(&settle_, &QTimer::timeout, this, &FileWatch::look);
  const auto soon = [this] { settle_.start(); };
  connect(&watcher_, &QFileSystemWatcher::fileChanged, this, soon);
  connect(&watcher_, &QFileSystemWatcher::directoryChanged, this, soon);
  connect(&model_, &GraphModel::pathChanged, this, &FileWatch::follow);
  connect(&model_, &GraphModel::savedTextChanged, this, [this] { look(); });
  follow();
}

void FileWatch::follow() {
  const QStringList before = watcher_.files() + watcher_.directories();
  if (!before.isEmpty()) watcher_.removePaths(before);
  told_ = State::same;
  if (model_.path().isEmpty()) return;
  const QFileInfo info(model_.path());
  // The folder tells of a file that is replaced or comes back.
  watcher_.addPath(info.absolutePath());
  if (info.exists()) watcher_.addPath(info.absoluteFilePath());
}

FileWatch::State FileWatch::look() {
  const QString path = model_.path();
  if (path.isEmpty() || !model_.savedText()) return State::same;
  State now = State::same;
  if (!QFileInfo::exists(path)) {
    now = State::gone;
  } else {
    // A replaced file is another one to the system.
    if (!watcher_.files().contains(path)) watcher_.addPath(path);
    try {
      if (read_file(path.toStdString()) != *model_.savedText()) now = State::changed;
    } catch (const Failure&) {
      now = State::gone;
    }
  }
  if (now == told_ && now != State::changed) return now;
  told_ = now;
  if (now == State::changed) Q_EMIT changed();
  if (now == State::gone) Q_EMIT gone();
  if (now == State::same) Q_EMIT same();
  return now;
}

}  // namespace rewardloom

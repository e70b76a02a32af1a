// A run that another process does, or that has ended: its state and its nodes from its folder.
#pragma once
#include <QObject>
#include <QString>
#include <QTimer>
#include <map>
#include <string>

#include "editor/canvas/node_view.h"

namespace rewardloom {

class RunWatch final : public QObject {
  Q_OBJECT

 public:
  explicit RunWatch(QObject* parent = nullptr);

  /// Follows a run folder until it has ended. What cannot be read reads as nothing.
  void attach(const QString& folder);
  void detach();
  bool isAttached() const { return !folder_.isEmpty(); }
  QString folder() const { return folder_; }
  /// Whether a process holds the folder now.
  bool isLive() const { return live_; }
  /// "running", "paused", "stopping", "done", "interrupted", "failed"; "crashed" where it says that
  /// it runs but nothing does; what cannot be read, where that is so.
  QString state() const { return state_; }
  qint64 completed() const { return completed_; }
  qint64 iterations() const { return iterations_; }
  QString graphHash() const { return graphHash_; }
  const std::map<std::string, NodeActivity>& activities() const { return activities_; }
  /// Held between two iterations, by whoever.
  bool isPaused() const { return paused_; }
  void refresh();
  /// Gives the process in the folder a command, in a word: pause, resume, step, checkpoint, stop (a
  /// second one ends it at once). What keeps it from hearing of it, in words, or nothing.
  QString send(const QString& command);

 Q_SIGNALS:
  void changed();

 private:
  void readInfo();
  void readStore();

  QString folder_;
  QTimer timer_;
  bool live_ = false;
  bool paused_ = false;
  bool stopping_ = false;  ///< asked for from here
  QString state_;
  QString graphHash_;
  qint64 completed_ = 0;
  qint64 iterations_ = 0;
  std::string failedNode_;
  QString failure_;
  std::map<std::string, NodeActivity> activities_;
};

}  // namespace rewardloom

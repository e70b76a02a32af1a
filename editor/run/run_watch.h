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
  /// "running", "done", "interrupted", "failed"; "crashed" where it says that it runs but nothing
  /// does.
  QString state() const { return state_; }
  qint64 completed() const { return completed_; }
  qint64 iterations() const { return iterations_; }
  QString graphHash() const { return graphHash_; }
  const std::map<std::string, NodeActivity>& activities() const { return activities_; }
  void refresh();

 Q_SIGNALS:
  void changed();

 private:
  void readInfo();
  void readStore();

  QString folder_;
  QTimer timer_;
  bool live_ = false;
  QString state_;
  QString graphHash_;
  qint64 completed_ = 0;
  qint64 iterations_ = 0;
  std::string failedNode_;
  QString failure_;
  std::map<std::string, NodeActivity> activities_;
};

}  // namespace rewardloom

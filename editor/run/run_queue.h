// Runs that wait for their turn: one after the other, in an order that can be changed.
#pragma once
#include <QObject>
#include <QString>
#include <functional>
#include <vector>

#include "editor/run/run_process.h"

namespace rewardloom {

struct QueuedRun {
  int id = 0;  ///< given by the queue
  QString title;
  RunRequest request;
  quintptr owner = 0;  ///< whose run it is, for who starts it
};

class RunQueue final : public QObject {
  Q_OBJECT

 public:
  using QObject::QObject;

  /// Asked before a run is started: whether anything runs now.
  std::function<bool()> busy = [] { return false; };

  int add(QueuedRun run);
  /// Up (negative) or down, as far as it goes.
  void move(int id, int by);
  void remove(int id);
  const std::vector<QueuedRun>& waiting() const { return waiting_; }
  /// Starts the first one if nothing runs; called when a run has ended.
  void advance();
  /// While held nothing is started; what is there stays.
  void setHeld(bool held);
  bool isHeld() const { return held_; }

 Q_SIGNALS:
  void changed();
  /// The run that was first is no longer in the queue.
  void start(const rewardloom::QueuedRun& run);
  /// It left the queue without being started.
  void removed(const rewardloom::QueuedRun& run);

 private:
  std::vector<QueuedRun> waiting_;
  int lastId_ = 0;
  bool held_ = false;
};

}  // namespace rewardloom

// The queue of runs: what waits, in which order.
#pragma once
#include <QWidget>

class QLabel;
class QListWidget;
class QToolButton;

namespace rewardloom {

class RunQueue;

class QueuePanel final : public QWidget {
  Q_OBJECT

 public:
  explicit QueuePanel(RunQueue& queue, QWidget* parent = nullptr);

 private:
  void fill();
  int selected() const;

  RunQueue& queue_;
  QListWidget* list_;
  QLabel* empty_;
  QToolButton* hold_;
};

}  // namespace rewardloom

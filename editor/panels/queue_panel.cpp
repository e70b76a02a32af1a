#include "editor/panels/queue_panel.h"

#include <QHBoxLayout>
#include <QLabel>
#include <QListWidget>
#include <QToolButton>
#include <QVBoxLayout>

#include "editor/run/run_queue.h"

namespace rewardloom {

QueuePanel::QueuePanel(RunQueue& queue, QWidget* parent)
    : QWidget(parent),
      queue_(queue),
      list_(new QListWidget(this)),
      empty_(new QLabel(tr("Nothing waits. Run > Add to the queue puts the graph on the screen "
                           "here; queued runs go one after the other."),
                        this)),
      hold_(new QToolButton(this)) {
  auto* layout = new QVBoxLayout(this);
  layout->setContentsMargins(6, 6, 6, 6);
  auto* row = new QHBoxLayout;
  const auto button = [&](const QString& text, const QString& name, std::function<void()> act) {
    auto* made = new QToolButton(this);
    made->setText(text);
    made->setAccessibleName(name);
    made->setToolTip(name);
    connect(made, &QToolButton::clicked, this, [act = std::move(act)] { act(); });
    row->addWidget(made);
  };
  button(QString(QChar(0x2191)), tr("Earlier"), [this] { queue_.move(selected(), -1); });
  button(QString(QChar(0x2193)), tr("Later"), [this] { queue_.move(selected(), 1); });
  button(QString(QChar(0x2715)), tr("Remove from the queue"),
         [this] { queue_.remove(selected()); });
  hold_->setCheckable(true);
  hold_->setText(tr("Hold"));
  hold_->setAccessibleName(tr("Hold the queue"));
  hold_->setToolTip(tr("Start nothing from the queue until this is released"));
  connect(hold_, &QToolButton::toggled, this, [this](bool on) { queue_.setHeld(on); });
  row->addWidget(hold_);
  row->addStretch(1);
  layout->addLayout(row);
  empty_->setWordWrap(true);
  layout->addWidget(empty_);
  layout->addWidget(list_, 1);
  list_->setAccessibleName(tr("Queue of runs"));
  connect(&queue_, &RunQueue::changed, this, &QueuePanel::fill);
  fill();
}

int QueuePanel::selected() const {
  const QListWidgetItem* item = list_->currentItem();
  return item ? item->data(Qt::UserRole).toInt() : 0;
}

void QueuePanel::fill() {
  const int before = selected();
  list_->clear();
  for (const QueuedRun& run : queue_.waiting()) {
    QString text = run.title;
    if (!run.request.sets.isEmpty()) {
      text += QStringLiteral("   ") + run.request.sets.join(QStringLiteral("  "));
    }
    if (!run.request.resume.isEmpty()) text += tr("   resumed");
    auto* item = new QListWidgetItem(text, list_);
    item->setData(Qt::UserRole, run.id);
    if (run.id == before) list_->setCurrentItem(item);
  }
  if (!list_->currentItem() && list_->count() > 0) list_->setCurrentRow(0);
  list_->setVisible(list_->count() > 0);
  empty_->setVisible(list_->count() == 0);
}

}  // namespace rewardloom

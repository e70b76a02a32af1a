// A view that paints itself, as no plot of curves could: its picture is drawn once and kept until
// the data change, its cursor over it.
#pragma once
#include <QImage>

#include "editor/rewards/reward_view.h"

namespace rewardloom {

class PaintedView : public RewardView {
  Q_OBJECT

 public:
  using RewardView::RewardView;
  void drawOn(QPaintDevice& device) override;

 protected:
  virtual void drawPicture(QPainter& painter) const = 0;
  virtual void drawCursor(QPainter& painter) const = 0;
  /// The picture is drawn anew before it is shown.
  void changed();
  void themeChanged() override { changed(); }
  void cursorMoved() override { update(); }
  void paintEvent(QPaintEvent* event) override;

 private:
  QImage picture_;
  bool stale_ = true;
};

}  // namespace rewardloom

// A choice among long names that shows, closed, as much of the chosen one as fits.
#pragma once
#include <QComboBox>

namespace rewardloom {

class SeriesBox final : public QComboBox {
  Q_OBJECT

 public:
  /// Item data: a shorter text for where the item's own does not fit.
  static constexpr int kShortText = Qt::UserRole + 1;

  using QComboBox::QComboBox;
  QSize minimumSizeHint() const override { return {48, QComboBox::minimumSizeHint().height()}; }

 protected:
  void paintEvent(QPaintEvent* event) override;
};

}  // namespace rewardloom

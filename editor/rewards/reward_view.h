// What the views of a run have in common: one cursor over all of them, and files made of what is
// seen.
#pragma once
#include <QTextStream>
#include <QWidget>
#include <optional>

#include "editor/theme.h"

namespace rewardloom {

class RewardView : public QWidget {
  Q_OBJECT

 public:
  RewardView(const Theme& theme, const QString& name, QWidget* parent = nullptr);
  void setTheme(const Theme& theme);
  void setCursorIteration(std::optional<std::int64_t> iteration);
  std::optional<std::int64_t> cursorIteration() const { return cursor_; }
  /// All of it, as on the screen, onto a picture or a device that takes shapes.
  virtual void drawOn(QPaintDevice& device) = 0;
  /// The numbers that are drawn, as comma-separated values.
  virtual void writeCsv(QTextStream& out) const = 0;
  QSize sizeHint() const override { return {500, 220}; }
  QSize minimumSizeHint() const override { return {140, 64}; }

 Q_SIGNALS:
  void iterationHovered(qint64 iteration);
  void hoverEnded();
  /// A click: the iteration that all views should stay at.
  void iterationChosen(qint64 iteration);

 protected:
  virtual void themeChanged() = 0;
  virtual void cursorMoved() = 0;
  const Theme& theme() const { return theme_; }
  /// A sentence in the middle, where there is nothing to draw.
  void drawNotice(QPainter& painter, const QString& text) const;
  void leaveEvent(QEvent* event) override;

 private:
  Theme theme_;
  std::optional<std::int64_t> cursor_;
};

/// A field of a CSV record: quoted where it has to be.
QString csvField(const QString& text);
/// Seventeen digits, so that it reads back as the same number; nothing for NaN.
QString csvNumber(double value);

}  // namespace rewardloom

// What the views of a run have in common: one cursor over all of them, a picture that is drawn only
// when its data change, and files made of what is seen.
#pragma once
#include <QImage>
#include <QTextStream>
#include <QWidget>
#include <optional>

#include "editor/theme.h"

namespace rewardloom {

class RewardView : public QWidget {
  Q_OBJECT

 public:
  RewardView(const Theme& theme, const QString& name, QWidget* parent = nullptr);
  virtual void setTheme(const Theme& theme);
  void setCursorIteration(std::optional<std::int64_t> iteration);
  std::optional<std::int64_t> cursorIteration() const { return cursor_; }
  /// All of it, as on the screen, with any painter.
  void draw(QPainter& painter) const;
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
  virtual void drawPicture(QPainter& painter) const = 0;
  virtual void drawCursor(QPainter& painter) const = 0;
  /// Whether the picture says something about the cursor, as a legend with values does.
  virtual bool picturesCursor() const { return false; }
  /// The picture is drawn anew before it is shown.
  void changed();
  const Theme& theme() const { return theme_; }
  /// A sentence in the middle, where there is nothing to draw.
  void drawNotice(QPainter& painter, const QString& text) const;
  void paintEvent(QPaintEvent* event) override;
  void resizeEvent(QResizeEvent* event) override;
  void leaveEvent(QEvent* event) override;

 private:
  Theme theme_;
  std::optional<std::int64_t> cursor_;
  QImage picture_;
};

/// A field of a CSV record: quoted where it has to be.
QString csvField(const QString& text);
/// Seventeen digits, so that it reads back as the same number; nothing for NaN.
QString csvNumber(double value);

}  // namespace rewardloom

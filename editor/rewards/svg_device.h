// Paints into scalable vector graphics (SVG 1.1): what QPainter draws, as shapes and as text.
#pragma once
#include <QByteArray>
#include <QPaintDevice>
#include <QSize>
#include <memory>

namespace rewardloom {

/// Paint on it, end the painter, then take svg().
class SvgDevice final : public QPaintDevice {
 public:
  SvgDevice(QSize size, const QString& title);
  ~SvgDevice() override;
  QPaintEngine* paintEngine() const override;
  QByteArray svg() const;

 protected:
  int metric(PaintDeviceMetric metric) const override;

 private:
  class Engine;
  QSize size_;
  QString title_;
  std::unique_ptr<Engine> engine_;
};

}  // namespace rewardloom

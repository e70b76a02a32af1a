// Qt's own look, mended where it cannot be seen on a dark window.
#pragma once
#include <QProxyStyle>

namespace rewardloom {

class EditorStyle final : public QProxyStyle {
 public:
  EditorStyle();
  void drawPrimitive(PrimitiveElement element, const QStyleOption* option, QPainter* painter,
                     const QWidget* widget) const override;
};

}  // namespace rewardloom

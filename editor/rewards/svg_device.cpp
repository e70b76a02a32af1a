#include "editor/rewards/svg_device.h"

#include <QBuffer>
#include <QImage>
#include <QPaintEngine>
#include <QPainterPath>
#include <QPixmap>
#include <cmath>

namespace rewardloom {
namespace {

QString number(double value) {
  if (!std::isfinite(value)) return QStringLiteral("0");
  QString text = QString::number(value, 'f', 2);
  while (text.endsWith(QChar('0'))) text.chop(1);
  if (text.endsWith(QChar('.'))) text.chop(1);
  return text == QStringLiteral("-0") ? QStringLiteral("0") : text;
}

QString point(QPointF at) { return number(at.x()) + QChar(' ') + number(at.y()); }

QString pathText(const QPainterPath& path) {
  QString text;
  for (int i = 0; i < path.elementCount(); ++i) {
    const QPainterPath::Element element = path.elementAt(i);
    switch (element.type) {
      case QPainterPath::MoveToElement: text += QChar('M') + point(element); break;
      case QPainterPath::LineToElement: text += QChar('L') + point(element); break;
      case QPainterPath::CurveToElement: text += QChar('C') + point(element); break;
      case QPainterPath::CurveToDataElement: text += QChar(' ') + point(element); break;
    }
  }
  return text;
}

/// fill="#rrggbb" fill-opacity="0.5", or the same for a stroke.
QString paintText(const char* what, const QColor& color) {
  QString text =
      QStringLiteral(" %1=\"%2\"").arg(QString::fromLatin1(what), color.name(QColor::HexRgb));
  if (color.alpha() < 255) {
    text +=
        QStringLiteral(" %1-opacity=\"%2\"").arg(QString::fromLatin1(what), number(color.alphaF()));
  }
  return text;
}

}  // namespace

class SvgDevice::Engine final : public QPaintEngine {
 public:
  Engine() : QPaintEngine(QPaintEngine::AllFeatures) {}

  bool begin(QPaintDevice*) override { return true; }
  bool end() override {
    closeClip();
    return true;
  }
  Type type() const override { return QPaintEngine::User; }

  void updateState(const QPaintEngineState& state) override {
    const auto dirty = state.state();
    if (dirty & DirtyPen) pen_ = state.pen();
    if (dirty & DirtyBrush) brush_ = state.brush();
    if (dirty & DirtyFont) font_ = state.font();
    if (dirty & DirtyTransform) transform_ = state.transform();
    if (dirty & DirtyOpacity) opacity_ = state.opacity();
    if (dirty & (DirtyClipEnabled | DirtyClipPath | DirtyClipRegion)) {
      closeClip();
      if (dirty & DirtyClipPath) clip_ = transform_.map(state.clipPath());
      if (dirty & DirtyClipRegion) {
        clip_ = QPainterPath();
        clip_.addRegion(state.clipRegion());
        clip_ = transform_.map(clip_);
      }
      const bool none = !state.isClipEnabled() || state.clipOperation() == Qt::NoClip;
      if (none) clip_ = QPainterPath();
    }
  }

  void drawPath(const QPainterPath& path) override {
    openClip();
    body_ += QStringLiteral("<path d=\"%1\"%2/>\n").arg(pathText(path), style(true));
  }
  void drawPolygon(const QPointF* points, int count, PolygonDrawMode mode) override {
    openClip();
    QString list;
    for (int i = 0; i < count; ++i) list += point(points[i]) + QChar(' ');
    const bool open = mode == PolylineMode;
    body_ += QStringLiteral("<%1 points=\"%2\"%3/>\n")
                 .arg(open ? QStringLiteral("polyline") : QStringLiteral("polygon"), list.trimmed(),
                      style(!open));
  }
  using QPaintEngine::drawPolygon;

  void drawImage(const QRectF& target, const QImage& image, const QRectF& source,
                 Qt::ImageConversionFlags) override {
    openClip();
    QByteArray png;
    QBuffer buffer(&png);
    buffer.open(QIODevice::WriteOnly);
    image.copy(source.toRect()).save(&buffer, "PNG");
    // Cells of a heat map are not to be blurred into one another.
    body_ += QStringLiteral(
                 "<image x=\"%1\" y=\"%2\" width=\"%3\" height=\"%4\" preserveAspectRatio=\"none\" "
                 "style=\"image-rendering:pixelated\"%5 href=\"data:image/png;base64,%6\"/>\n")
                 .arg(number(target.x()), number(target.y()), number(target.width()),
                      number(target.height()), placing(), QString::fromLatin1(png.toBase64()));
  }
  void drawPixmap(const QRectF& target, const QPixmap& pixmap, const QRectF& source) override {
    drawImage(target, pixmap.toImage(), source, Qt::AutoColor);
  }

  void drawTextItem(const QPointF& at, const QTextItem& item) override {
    openClip();
    const QFont& font = item.font();
    const int pixels = font.pixelSize() > 0
                           ? font.pixelSize()
                           : static_cast<int>(std::lround(font.pointSizeF() * 96 / 72));
    // The width is given, so that another program's font does not run over its neighbours.
    body_ += QStringLiteral(
                 "<text x=\"%1\" y=\"%2\" font-family=\"%3, sans-serif\" font-size=\"%4\"%5%6 "
                 "textLength=\"%7\" lengthAdjust=\"spacingAndGlyphs\"%8 "
                 "xml:space=\"preserve\">%9</text>\n")
                 .arg(number(at.x()), number(at.y()), font.family().toHtmlEscaped())
                 .arg(pixels)
                 .arg(font.bold() ? QStringLiteral(" font-weight=\"bold\"") : QString(),
                      paintText("fill", pen_.color()), number(item.width()), placing(),
                      item.text().toHtmlEscaped());
  }

  QString body() const { return body_; }

 private:
  QString placing() const {
    QString text;
    if (!transform_.isIdentity()) {
      text += QStringLiteral(" transform=\"matrix(%1 %2 %3 %4 %5 %6)\"")
                  .arg(transform_.m11())
                  .arg(transform_.m12())
                  .arg(transform_.m21())
                  .arg(transform_.m22())
                  .arg(number(transform_.dx()), number(transform_.dy()));
    }
    if (opacity_ < 1) text += QStringLiteral(" opacity=\"%1\"").arg(number(opacity_));
    return text;
  }

  QString style(bool filled) const {
    const bool fills = filled && brush_.style() != Qt::NoBrush;
    QString text = fills ? paintText("fill", brush_.color()) : QStringLiteral(" fill=\"none\"");
    if (pen_.style() != Qt::NoPen) {
      const double width = pen_.widthF() > 0 ? pen_.widthF() : 1;
      text += paintText("stroke", pen_.color()) +
              QStringLiteral(" stroke-width=\"%1\"").arg(number(width));
      if (pen_.style() != Qt::SolidLine) {
        QStringList dashes;
        for (const double dash : pen_.dashPattern()) dashes << number(dash * width);
        text += QStringLiteral(" stroke-dasharray=\"%1\"").arg(dashes.join(QChar(' ')));
      }
    }
    return text + placing();
  }

  void openClip() {
    if (clip_.isEmpty() || clipOpen_) return;
    ++clips_;
    body_ += QStringLiteral(
                 "<clipPath id=\"c%1\"><path d=\"%2\"/></clipPath><g clip-path=\"url(#c%1)\">\n")
                 .arg(clips_)
                 .arg(pathText(clip_));
    clipOpen_ = true;
  }
  void closeClip() {
    if (clipOpen_) body_ += QStringLiteral("</g>\n");
    clipOpen_ = false;
  }

  QString body_;
  QPen pen_;
  QBrush brush_;
  QFont font_;
  QTransform transform_;
  QPainterPath clip_;
  bool clipOpen_ = false;
  double opacity_ = 1;
  int clips_ = 0;
};

SvgDevice::SvgDevice(QSize size, const QString& title)
    : size_(size), title_(title), engine_(std::make_unique<Engine>()) {}

SvgDevice::~SvgDevice() = default;

QPaintEngine* SvgDevice::paintEngine() const { return engine_.get(); }

int SvgDevice::metric(PaintDeviceMetric metric) const {
  switch (metric) {
    case PdmWidth: return size_.width();
    case PdmHeight: return size_.height();
    case PdmWidthMM: return static_cast<int>(std::lround(size_.width() * 25.4 / 96));
    case PdmHeightMM: return static_cast<int>(std::lround(size_.height() * 25.4 / 96));
    case PdmDpiX:
    case PdmDpiY:
    case PdmPhysicalDpiX:
    case PdmPhysicalDpiY: return 96;
    case PdmNumColors: return 1 << 24;
    case PdmDepth: return 24;
    case PdmDevicePixelRatio: return 1;
    case PdmDevicePixelRatioScaled: return static_cast<int>(devicePixelRatioFScale());
    default: return QPaintDevice::metric(metric);  // newer versions of Qt ask for more
  }
}

QByteArray SvgDevice::svg() const {
  return QStringLiteral(
             "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
             "<svg xmlns=\"http://www.w3.org/2000/svg\" version=\"1.1\" width=\"%1\" "
             "height=\"%2\" viewBox=\"0 0 %1 %2\">\n<title>%3</title>\n%4</svg>\n")
      .arg(size_.width())
      .arg(size_.height())
      .arg(title_.toHtmlEscaped(), engine_->body())
      .toUtf8();
}

}  // namespace rewardloom

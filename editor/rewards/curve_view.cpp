#include "editor/rewards/curve_view.h"

#include <QMouseEvent>
#include <QPainter>
#include <algorithm>
#include <cmath>

#include "editor/rewards/custom_plot.h"

namespace rewardloom {
namespace {

constexpr int kMark = 14;
constexpr int kMarkGap = 6;
constexpr int kEntryGap = 14;
constexpr int kLine = 4;  // QCustomPlot cuts the lowest row of pixels off
constexpr int kSide = 8;
constexpr int kClick = 4;  // pixels that a click may be a drag
constexpr int kRoomForTitle = 150;
constexpr double kLegendShare = 0.45;

/// An entry that needs no plottable: several graphs make one band, and hair lines want a mark that
/// is seen.
class LegendMark final : public QCPAbstractLegendItem {
 public:
  LegendMark(QCPLegend* legend, LegendEntry entry)
      : QCPAbstractLegendItem(legend), entry_(std::move(entry)) {}

 protected:
  void draw(QCPPainter* painter) override {
    const QRect area = mRect;
    const double middle = area.center().y() + 0.5;
    painter->setPen(QPen(entry_.color, 3, entry_.line, Qt::FlatCap));
    painter->drawLine(QPointF(area.left(), middle), QPointF(area.left() + kMark, middle));
    painter->setPen(QPen(mTextColor));
    painter->setFont(mFont);
    painter->drawText(area.adjusted(kMark + kMarkGap, 0, 0, 0),
                      Qt::AlignLeft | Qt::AlignVCenter | Qt::TextDontClip, entry_.text);
  }
  QSize minimumOuterSizeHint() const override {
    const QFontMetrics metrics(mFont);
    return {kMark + kMarkGap + metrics.horizontalAdvance(entry_.text), metrics.height() + kLine};
  }

 private:
  LegendEntry entry_;
};

/// There is no iteration 0.5.
class IterationTicker final : public QCPAxisTicker {
 protected:
  double getTickStep(const QCPRange& range) override {
    return std::max(1.0, std::round(QCPAxisTicker::getTickStep(range)));
  }
};

}  // namespace

CurveView::CurveView(const Theme& theme, const QString& name, QWidget* parent)
    : RewardView(theme, name, parent),
      plot_(new QCustomPlot(this)),
      cursorLine_(new QCPItemStraightLine(plot_)),
      remark_(new QCPTextElement(plot_)) {
  plot_->hide();
  plot_->setFocusPolicy(Qt::NoFocus);
  // Layers that are buffered by themselves cost a pass over all pixels each.
  plot_->layer(QStringLiteral("overlay"))->setMode(QCPLayer::lmLogical);
  plot_->setPlottingHints(QCP::phCacheLabels);
  plot_->setAutoAddPlottableToLegend(false);
  plot_->setInteractions(QCP::iRangeDrag | QCP::iRangeZoom);
  plot_->axisRect()->setRangeDrag(Qt::Horizontal);
  plot_->axisRect()->setRangeZoom(Qt::Horizontal);
  plot_->axisRect()->setMinimumMargins({6, 6, kSide, 4});
  // The legend stands above the plot, so that it never hides a curve.
  QCPLayoutGrid* layout = plot_->plotLayout();
  layout->insertRow(0);
  layout->insertRow(1);
  layout->addElement(0, 0, plot_->legend);
  layout->addElement(1, 0, remark_);
  layout->setRowSpacing(0);
  layout->setRowStretchFactor(0, 0.001);
  layout->setRowStretchFactor(1, 0.001);
  plot_->legend->setVisible(true);
  plot_->legend->setBorderPen(Qt::NoPen);
  plot_->legend->setBrush(Qt::NoBrush);
  plot_->legend->setMargins({kSide, 4, kSide, 0});
  plot_->legend->setRowSpacing(0);
  plot_->legend->setColumnSpacing(kEntryGap);
  plot_->legend->setFillOrder(QCPLegend::foColumnsFirst);
  remark_->setTextFlags(Qt::AlignLeft | Qt::AlignVCenter);
  remark_->setMargins({kSide, 0, kSide, 0});
  cursorLine_->setLayer(QStringLiteral("axes"));
  for (QCPAxis* axis : {plot_->xAxis, plot_->yAxis, plot_->yAxis2}) {
    axis->setNumberFormat(QStringLiteral("gb"));
    axis->setNumberPrecision(5);
    axis->setSubTicks(false);
    axis->setTickLengthIn(0);
    axis->setTickLengthOut(3);
  }
  plot_->xAxis2->setVisible(true);
  plot_->yAxis2->setVisible(true);
  for (QCPAxis* axis : {plot_->xAxis2, plot_->yAxis2}) {
    axis->setTicks(false);
    axis->setTickLabels(false);
  }
  connect(plot_, &QCustomPlot::beforeReplot, this, &CurveView::prepare);
  connect(plot_->xAxis, qOverload<const QCPRange&>(&QCPAxis::rangeChanged), this,
          &CurveView::rangeMoved);
  connectMouse();
}

void CurveView::connectMouse() {
  connect(plot_, &QCustomPlot::mousePress, this,
          [this](QMouseEvent* event) { pressed_ = event->position(); });
  connect(plot_, &QCustomPlot::mouseMove, this, [this](QMouseEvent* event) {
    if (event->buttons() != Qt::NoButton) return;
    if (const auto iteration = iterationUnder(event->position())) {
      Q_EMIT iterationHovered(*iteration);
    }
  });
  connect(plot_, &QCustomPlot::mouseRelease, this, [this](QMouseEvent* event) {
    const bool dragged = (event->position() - pressed_).manhattanLength() >= kClick;
    if (dragged || event->button() != Qt::LeftButton) return;
    if (const auto iteration = iterationUnder(event->position())) {
      Q_EMIT iterationChosen(*iteration);
    }
  });
  connect(plot_, &QCustomPlot::mouseDoubleClick, this, &CurveView::showAll);
}

QCPGraph* CurveView::addGraph() { return plot_->addGraph(); }

QCPGraph* CurveView::addRightGraph() {
  plot_->yAxis2->setTicks(true);
  plot_->yAxis2->setTickLabels(true);
  return plot_->addGraph(plot_->xAxis, plot_->yAxis2);
}

void CurveView::changed() {
  stale_ = true;
  const bool something = notice().isEmpty();
  plot_->setVisible(something);
  if (!something) return update();
  if (isVisible()) plot_->replot(QCustomPlot::rpQueuedReplot);
}

void CurveView::showAll() {
  zoomed_ = false;
  changed();
}

void CurveView::themeChanged() {
  undressed_ = true;
  changed();
}

void CurveView::changeEvent(QEvent* event) {
  RewardView::changeEvent(event);
  if (event->type() == QEvent::FontChange) themeChanged();
}

void CurveView::cursorMoved() {
  if (isVisible() && plot_->isVisible()) plot_->replot(QCustomPlot::rpQueuedReplot);
}

void CurveView::resizeEvent(QResizeEvent* event) {
  RewardView::resizeEvent(event);
  stale_ = true;
  plot_->setGeometry(rect());
}

void CurveView::showEvent(QShowEvent* event) {
  RewardView::showEvent(event);
  changed();
}

void CurveView::paintEvent(QPaintEvent*) {
  QPainter painter(this);
  painter.fillRect(rect(), theme().canvas);
  if (!plot_->isVisible()) drawNotice(painter, notice());
}

void CurveView::drawOn(QPaintDevice& device) {
  if (const QString text = notice(); !text.isEmpty()) {
    QPainter painter(&device);
    painter.setFont(font());
    painter.fillRect(rect(), theme().canvas);
    return drawNotice(painter, text);
  }
  prepare();
  QCPPainter painter(&device);
  if (device.paintEngine()->type() == QPaintEngine::User) painter.setMode(QCPPainter::pmVectorized);
  plot_->toPainter(&painter, width(), height());
}

void CurveView::rangeMoved() {
  if (preparing_) return;
  const AxisRange all = across();
  const QCPRange seen = plot_->xAxis->range();
  stale_ = true;
  zoomed_ = seen.size() < all.span();
  if (!zoomed_) return;
  // Neither out of the run nor so near that nothing is left of it.
  const double least = std::min(all.span(), overIterations() ? 2.0 : all.span() * 1e-4);
  const double span = std::max(seen.size(), least);
  const double low = std::clamp(seen.center() - span / 2, all.low, all.high - span);
  preparing_ = true;
  plot_->xAxis->setRange(low, low + span);
  preparing_ = false;
}

void CurveView::prepare() {
  if (!notice().isEmpty()) return;
  preparing_ = true;
  if (std::exchange(undressed_, false)) {
    dressFrame();
    dress();
  }
  if (std::exchange(stale_, false)) {
    const AxisRange all = across();
    if (!zoomed_) plot_->xAxis->setRange(all.low, all.high);
    plot_->xAxis->setTicker(overIterations() ? QSharedPointer<QCPAxisTicker>(new IterationTicker)
                                             : QSharedPointer<QCPAxisTicker>(new QCPAxisTicker));
    plot_->xAxis->ticker()->setTickCount(std::clamp(width() / 90, 2, 10));
    for (QCPAxis* axis : {plot_->yAxis, plot_->yAxis2}) {
      axis->ticker()->setTickCount(std::clamp(height() / 45, 2, 6));
    }
    plot_->xAxis->setLabel(height() >= kRoomForTitle ? acrossTitle() : QString());
    const QCPRange seen = plot_->xAxis->range();
    fill({seen.lower, seen.upper},
         std::max(1, static_cast<int>(std::ceil(width() * devicePixelRatioF()))));
  }
  layOutLegend();
  layOutRemark();
  placeCursor();
  preparing_ = false;
}

void CurveView::dressFrame() {
  const Theme& t = theme();
  plot_->setBackground(QBrush(t.canvas));
  for (QCPAxis* axis : {plot_->xAxis, plot_->yAxis, plot_->xAxis2, plot_->yAxis2}) {
    axis->setBasePen(QPen(t.faintText, 0));
    axis->setTickPen(QPen(t.faintText, 0));
    axis->setTickLabelFont(font());
    axis->setTickLabelColor(t.faintText);
    axis->setLabelFont(font());
    axis->setLabelColor(t.faintText);
    axis->setLabelPadding(0);
    axis->grid()->setPen(QPen(t.grid, 0));
    axis->grid()->setZeroLinePen(QPen(t.nodeBorder, 0));
  }
  plot_->xAxis->grid()->setVisible(false);
  plot_->legend->setFont(font());
  plot_->legend->setTextColor(t.text);
  remark_->setFont(font());
  cursorLine_->setPen(QPen(t.selection, 1.5));
}

void CurveView::layOutLegend() {
  QCPLegend& list = *plot_->legend;
  std::vector<LegendEntry> entries = legend();
  const QFontMetrics metrics(font());
  const int room = width() - 2 * kSide;
  int widest = 1;
  for (LegendEntry& entry : entries) {
    entry.text = metrics.elidedText(entry.text, Qt::ElideMiddle, room - kMark - kMarkGap);
    widest = std::max(widest, kMark + kMarkGap + metrics.horizontalAdvance(entry.text));
  }
  const auto columns =
      static_cast<std::size_t>(std::max(1, (room + kEntryGap) / (widest + kEntryGap)));
  const auto rows = static_cast<std::size_t>(height() * kLegendShare / (metrics.height() + kLine));
  // The first ones, as many as leave most of the height to the plot.
  entries.resize(std::min(entries.size(), columns * rows));
  list.clearItems();
  list.setWrap(static_cast<int>(columns));
  for (LegendEntry& entry : entries) list.addItem(new LegendMark(&list, std::move(entry)));
}

void CurveView::layOutRemark() {
  const Remark said = remark();
  const int height = said.text.isEmpty() ? 0 : QFontMetrics(font()).height() + kLine;
  remark_->setVisible(height > 0);
  remark_->setText(QFontMetrics(font()).elidedText(said.text, Qt::ElideRight, width() - 2 * kSide));
  remark_->setTextColor(said.color.isValid() ? said.color : theme().faintText);
  // Without a least size a text would take a line even where it is empty.
  remark_->setMinimumSize(1, std::max(1, height));
  remark_->setMaximumSize(QWIDGETSIZE_MAX, std::max(1, height));
}

void CurveView::placeCursor() {
  const double x = cursorIteration() ? placeOf(*cursorIteration()) : std::nan("");
  cursorLine_->setVisible(std::isfinite(x));
  if (!std::isfinite(x)) return;
  cursorLine_->point1->setCoords(x, 0);
  cursorLine_->point2->setCoords(x, 1);
}

std::optional<std::int64_t> CurveView::iterationAt(double x) const { return std::llround(x); }

std::optional<std::int64_t> CurveView::iterationUnder(QPointF at) const {
  if (!plot_->axisRect()->rect().contains(at.toPoint())) return std::nullopt;
  return iterationAt(plot_->xAxis->pixelToCoord(at.x()));
}

}  // namespace rewardloom

#include "editor/rewards/proxy_gold_panel.h"

#include <QComboBox>
#include <QHBoxLayout>
#include <QLabel>
#include <QToolButton>
#include <algorithm>

#include "editor/rewards/run_data.h"
#include "editor/rewards/series_box.h"

namespace rewardloom {
namespace {

constexpr std::size_t kMostCompared = 24;
constexpr double kClearlyWorse = 1.25;

}  // namespace

ProxyGoldPanel::ProxyGoldPanel(const Theme& theme, QWidget* parent)
    : QWidget(parent),
      plot_(new ProxyGoldPlot(theme, this)),
      proxy_(new SeriesBox(this)),
      gold_(new SeriesBox(this)),
      kl_(new SeriesBox(this)),
      rootKl_(new QToolButton(this)) {
  auto* layout = new QVBoxLayout(this);
  layout->setContentsMargins(4, 4, 4, 4);
  layout->setSpacing(4);
  auto* head = new QHBoxLayout;
  const auto add = [&](QComboBox* box, const QString& label, const QString& help,
                       std::string ProxyGoldNames::*name) {
    auto* text = new QLabel(label, this);
    text->setBuddy(box);
    head->addWidget(text);
    head->addWidget(box, 1);
    box->setToolTip(help);
    box->setAccessibleName(label);
    box->setSizeAdjustPolicy(QComboBox::AdjustToMinimumContentsLengthWithIcon);
    box->setMinimumContentsLength(3);
    box->setMaxVisibleItems(30);
    connect(box, &QComboBox::activated, this, [this, box, name](int index) {
      wanted_.*name = index <= 0 ? std::string() : box->itemText(index).toStdString();
      draw();
    });
  };
  add(gold_, tr("Gold"), tr("The reward that is measured but never trained on"),
      &ProxyGoldNames::gold);
  add(proxy_, tr("Proxy"), tr("The reward that the policy is trained on"), &ProxyGoldNames::proxy);
  add(kl_, tr("KL"), tr("The policy's divergence from its reference"), &ProxyGoldNames::kl);
  rootKl_->setText(QStringLiteral("√KL"));
  rootKl_->setToolTip(tr("Draws over the square root of the divergence instead of iterations"));
  rootKl_->setCheckable(true);
  head->addWidget(rootKl_);
  layout->addLayout(head);
  layout->addWidget(plot_, 1);
  connect(rootKl_, &QToolButton::toggled, this, [this](bool on) {
    plot_->setAcross(on ? ProxyGoldPlot::Across::rootKl : ProxyGoldPlot::Across::iterations);
  });
  fillChoices();
}

void ProxyGoldPanel::setData(RunData* data) {
  data_ = data;
  wanted_ = {};
  shown_ = {};
  known_ = 0;
  fillChoices();
  refresh();
}

void ProxyGoldPanel::setAcross(ProxyGoldPlot::Across across) {
  rootKl_->setChecked(across == ProxyGoldPlot::Across::rootKl);
}

void ProxyGoldPanel::choose(const ProxyGoldNames& wanted) {
  wanted_ = wanted;
  const auto set = [](QComboBox* box, const std::string& name) {
    box->setCurrentIndex(std::max(0, box->findText(QString::fromStdString(name))));
  };
  set(proxy_, wanted.proxy);
  set(gold_, wanted.gold);
  set(kl_, wanted.kl);
  draw();
}

void ProxyGoldPanel::fillChoices() {
  const std::vector<std::string> names = data_ ? data_->seriesNames() : std::vector<std::string>();
  if (known_ != 0 && names.size() == known_) return;
  known_ = names.size();
  pairs_ = proxy_gold_pairs(names);
  QStringList items{tr("none")};
  for (const std::string& name : names) items << QString::fromStdString(name);
  const auto fill = [&](QComboBox* box, const std::string& wanted) {
    box->clear();
    box->addItems(items);
    box->setCurrentIndex(std::max(0, box->findText(QString::fromStdString(wanted))));
  };
  fill(proxy_, wanted_.proxy);
  fill(gold_, wanted_.gold);
  fill(kl_, wanted_.kl);
}

double ProxyGoldPanel::fallOf(const ProxyGoldNames& names) const {
  const MetricSeries* proxy = data_->series(names.proxy);
  const MetricSeries* gold = data_->series(names.gold);
  if (!proxy || !gold) return 0;
  const auto found = overoptimisation(curvePoints(*proxy), curvePoints(*gold));
  return found && found->suspect ? found->gold_at_peak - found->gold_now : 0;
}

/// What was not chosen by hand: of pairs that are equally certain, the one in which gold has fallen
/// furthest at proxy's gain; it only gives way to one that has clearly fallen further.
ProxyGoldNames ProxyGoldPanel::resolve() const {
  std::vector<ProxyGoldNames> fitting;
  for (const ProxyGoldNames& pair : pairs_) {
    if (!wanted_.gold.empty() && pair.gold != wanted_.gold) continue;
    if (wanted_.gold.empty() && !wanted_.proxy.empty() && pair.proxy != wanted_.proxy) continue;
    if (!fitting.empty() && pair.certainty < fitting.front().certainty) continue;
    if (fitting.size() < kMostCompared) fitting.push_back(pair);
  }
  ProxyGoldNames best = fitting.empty() ? ProxyGoldNames() : fitting.front();
  if (fitting.size() > 1) {
    double fall = fallOf(best);
    const auto now = std::find_if(fitting.begin(), fitting.end(), [&](const ProxyGoldNames& pair) {
      return pair.gold == shown_.gold && pair.proxy == shown_.proxy;
    });
    if (now != fitting.end()) {
      best = *now;
      fall = fallOf(best);
    }
    for (const ProxyGoldNames& pair : fitting) {
      const double other = fallOf(pair);
      if (other <= 0 || other <= fall * kClearlyWorse) continue;
      best = pair;
      fall = other;
    }
  }
  if (!wanted_.gold.empty()) best.gold = wanted_.gold;
  if (!wanted_.proxy.empty()) best.proxy = wanted_.proxy;
  if (!wanted_.kl.empty()) best.kl = wanted_.kl;
  return best;
}

void ProxyGoldPanel::refresh() {
  fillChoices();
  draw();
}

void ProxyGoldPanel::draw() {
  ProxyGoldData drawn;
  if (data_) {
    shown_ = resolve();
    drawn.names = shown_;
    const auto take = [&](const std::string& name, std::vector<CurvePoint>& points) {
      const MetricSeries* series = name.empty() ? nullptr : data_->series(name);
      if (series) points = curvePoints(*series);
    };
    take(shown_.proxy, drawn.proxy);
    take(shown_.gold, drawn.gold);
    take(shown_.kl, drawn.kl);
  }
  const auto tell = [&](QComboBox* box, const std::string& name) {
    const QString last = shortName(name).section(QChar('/'), -1);
    box->setItemText(0, name.empty() ? tr("none") : tr("%1 (auto)").arg(last));
    box->setItemData(0, last, SeriesBox::kShortText);
    box->setItemData(0,
                     name.empty()
                         ? tr("Chosen automatically: there is none yet")
                         : tr("Chosen automatically: %1").arg(QString::fromStdString(name)),
                     Qt::ToolTipRole);
  };
  tell(proxy_, shown_.proxy);
  tell(gold_, shown_.gold);
  tell(kl_, shown_.kl);
  rootKl_->setEnabled(!shown_.kl.empty());
  plot_->setData(std::move(drawn));
}

}  // namespace rewardloom

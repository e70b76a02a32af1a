// The actions of the reward views.
#include <QStatusBar>

#include "editor/rewards/rewards_dock.h"
#include "editor/window/main_window.h"

namespace rewardloom {

void MainWindow::buildRewardActions() {
  connect(rewards_, &RewardsDock::statusText, this,
          [this](const QString& text) { statusBar()->showMessage(text, 8000); });
  const auto add = [this](const QString& id, const QString& text, const char* keys,
                          const QString& help, std::function<void()> run) {
    actions_.add({QStringLiteral("rewards.") + id, tr("Re&wards"), text, QString::fromLatin1(keys),
                  help, std::move(run), false});
  };
  struct View {
    const char* id;
    QString tab;
    QString text;
    const char* keys;
  };
  for (const View& view : {View{"distribution", tr("Distribution"), tr("&Distribution"), "Alt+1"},
                           View{"quantiles", tr("Quantiles"), tr("&Quantiles"), "Alt+2"},
                           View{"parts", tr("Parts"), tr("&Parts of the reward"), "Alt+3"},
                           View{"groups", tr("Groups"), tr("&Groups: spread and signal"), "Alt+4"},
                           View{"step", tr("At the step"), tr("Histogram at the &step"), "Alt+5"},
                           View{"proxy_gold", tr("Proxy and gold"), tr("Pro&xy and gold"), "Alt+6"},
                           View{"metrics", tr("Metrics"), tr("&Metrics"), "Alt+7"}}) {
    add(QString::fromLatin1(view.id), view.text, view.keys, tr("Shows this view of the run"),
        [this, tab = view.tab] {
          raise(rewards_);
          rewards_->showView(tab);
        });
  }
  add(QStringLiteral("root_kl"), tr("Proxy and gold over √&KL"), "",
      tr("Draws proxy and gold over the square root of the policy's divergence"), [this] {
        raise(rewards_);
        rewards_->showView(tr("Proxy and gold"));
        rewards_->proxyGold().setAcross(ProxyGoldPlot::Across::rootKl);
      });
  add(QStringLiteral("back"), tr("An iteration &back"), "Alt+,",
      tr("All reward views go to the iteration before"), [this] { rewards_->stepBy(-1); });
  add(QStringLiteral("on"), tr("An iteration &on"), "Alt+.",
      tr("All reward views go to the next iteration"), [this] { rewards_->stepBy(1); });
  add(QStringLiteral("follow"), tr("&Follow the run"), "Alt+End",
      tr("All reward views stay at the newest iteration"), [this] { rewards_->pin(std::nullopt); });
  add(QStringLiteral("export"), tr("&Export this view..."), "",
      tr("Writes the view that was last under the mouse as PNG, SVG or CSV"),
      [this] { rewards_->exportView(); });
  add(QStringLiteral("export_all"), tr("Export &all views..."), "",
      tr("Writes every view as PNG, SVG and CSV, and the listed rollouts as CSV"),
      [this] { rewards_->exportAllViews(); });
}

}  // namespace rewardloom

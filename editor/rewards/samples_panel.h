// The browser of recorded rollouts: a table of any length, the chosen one in full, its tokens.
#pragma once
#include <QElapsedTimer>
#include <QTimer>
#include <QWidget>
#include <functional>
#include <optional>

#include "editor/rewards/rollout_model.h"
#include "editor/rewards/run_data.h"
#include "editor/rewards/token_strip.h"

class QLabel;
class QLineEdit;
class QTableView;
class QTextBrowser;
class QToolButton;

namespace rewardloom {

class SamplesPanel final : public QWidget {
  Q_OBJECT

 public:
  explicit SamplesPanel(const Theme& theme, QWidget* parent = nullptr);
  void setTheme(const Theme& theme);
  void setData(RunData* data);
  void showPort(const ProbeKey& key);
  /// Only rollouts of these iterations whose value lies in that range.
  void setRegion(const std::optional<HeatRegion>& region);
  /// Only rollouts of one iteration, until told otherwise.
  void setIteration(std::optional<std::int64_t> iteration);
  void refresh();
  /// Reads all that is left to read at once instead of little by little; for tests and files.
  void readAll();
  bool isReading() const { return reading_.isActive(); }
  const RolloutModel& rollouts() const { return *model_; }
  QTableView& table() { return *table_; }
  TokenPanel& tokens() { return *tokens_; }
  void search(const QString& text);
  /// The rows that are listed, as comma-separated values.
  QString csv() const;

 Q_SIGNALS:
  void iterationChosen(qint64 iteration);
  void regionCleared();

 protected:
  void showEvent(QShowEvent* event) override;

 private:
  void restart();
  void readSome();
  bool readChunk();
  void filter();
  RolloutFilter wanted() const;
  /// Changes the model while the chosen rollout stays chosen and where it is on the screen.
  void change(const std::function<void()>& change);
  void showCount();
  void showRollout(const QModelIndex& index);
  void showTokens(const Rollout& rollout);

  RunData* data_ = nullptr;
  ProbeKey key_;
  std::optional<HeatRegion> region_;
  std::optional<std::int64_t> iteration_;
  RolloutModel* model_;
  QLineEdit* search_;
  QLabel* count_;
  QToolButton* clear_;
  QTableView* table_;
  QTextBrowser* detail_;
  TokenPanel* tokens_;
  QTimer reading_;
  QTimer filtering_;
  QTimer refreshing_;
  QElapsedTimer filtered_;
  Iterations left_{0, -1};    ///< older iterations that are still to be read
  std::int64_t readTo_ = -1;  ///< up to here all is read
  std::int64_t perIteration_ = 16;
  std::optional<std::pair<std::int64_t, std::int64_t>> chosen_;  ///< iteration and row
  std::optional<TokenTexts> texts_;                              ///< learned once per run
  bool capped_ = false;
};

}  // namespace rewardloom

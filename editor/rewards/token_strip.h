// The tokens of one rollout with what is known of each: reward, advantage, log-ratio, divergence.
#pragma once
#include <QWidget>
#include <map>
#include <vector>

#include "editor/theme.h"
#include "engine/io/run_rows.h"

class QComboBox;
class QLabel;

namespace rewardloom {

/// One quantity of every token; one value alone is that of the whole answer.
struct TokenQuantity {
  QString name;
  QString help;
  std::vector<double> values;
  bool perToken() const { return values.size() > 1; }
};

struct TokenTable {
  std::vector<QString> tokens;    ///< texts; ids as "#17" where the text of a token is not known
  std::vector<std::int64_t> ids;  ///< of the tokens; empty where the run did not record them
  std::vector<TokenQuantity> quantities;
  QString note;  ///< what is missing, in words
};

/// What single tokens say, by id, in runs of a version that did not record it: learned from answers
/// of as many tokens as characters, which is so where every token is a character. Nine in ten must
/// agree.
using TokenTexts = std::map<std::int64_t, QString>;
TokenTexts learnTokenTexts(const std::vector<SampleRow>& rows);

/// Joins what every port kept of one rollout. Log-ratio and divergence of a port of
/// log-probabilities are of the sampling policy to that port's: d = log p(sampling) - log p(port),
/// k3 = e^-d - 1 + d.
TokenTable tokenTable(const SampleRow& chosen, const std::vector<SampleRow>& sameRow,
                      const TokenTexts& texts = {});
/// The port among those rows that recorded tokens, or null.
const SampleRow* rowWithTokens(const std::vector<SampleRow>& sameRow);

/// Draws the tokens in lines, coloured by one quantity; all numbers of a token are in its tip.
class TokenStrip final : public QWidget {
  Q_OBJECT

 public:
  explicit TokenStrip(const Theme& theme, QWidget* parent = nullptr);
  void setTheme(const Theme& theme);
  void setTable(TokenTable table);
  void setQuantity(int index);
  const TokenTable& table() const { return table_; }
  int heightForWidth(int width) const override;
  bool hasHeightForWidth() const override { return true; }
  QSize sizeHint() const override { return {200, static_cast<int>(height_)}; }

 protected:
  void paintEvent(QPaintEvent* event) override;
  void mouseMoveEvent(QMouseEvent* event) override;
  void resizeEvent(QResizeEvent* event) override;

 private:
  void layOut(int width);
  double valueOf(const TokenQuantity& quantity, std::size_t token) const;

  Theme theme_;
  TokenTable table_;
  int quantity_ = 0;
  std::vector<QRectF> cells_;
  double height_ = 0;
};

/// A choice of the quantity, its scale, and the strip.
class TokenPanel final : public QWidget {
  Q_OBJECT

 public:
  explicit TokenPanel(const Theme& theme, QWidget* parent = nullptr);
  void setTheme(const Theme& theme);
  void setTable(TokenTable table);
  const TokenTable& table() const { return strip_->table(); }

 private:
  void choose();

  QComboBox* quantity_;
  QLabel* scale_;
  QLabel* note_;
  TokenStrip* strip_;
  QString wanted_;
};

}  // namespace rewardloom

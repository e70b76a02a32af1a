// A box to type into and a list of what fits: for adding nodes, for commands, for finding in the
// graph.
#pragma once
#include <QFrame>
#include <functional>
#include <vector>

#include "editor/search/fuzzy.h"

class QLabel;
class QLineEdit;
class QListWidget;

namespace rewardloom {

class SearchPopup final : public QFrame {
  Q_OBJECT

 public:
  explicit SearchPopup(QWidget* parent = nullptr);

  /// Opens at a place of the screen; `chosen` gets the entry's id.
  void open(QPoint globalPos, const QString& hint, std::vector<SearchEntry> entries,
            std::function<void(const QString&)> chosen);
  void setQuery(const QString& query);
  QStringList shownIds() const;

 protected:
  bool eventFilter(QObject* watched, QEvent* event) override;

 private:
  void refresh();
  void choose();
  void describe();

  QLineEdit* query_;
  QListWidget* list_;
  QLabel* doc_;
  std::vector<SearchEntry> entries_;
  std::function<void(const QString&)> chosen_;
};

}  // namespace rewardloom

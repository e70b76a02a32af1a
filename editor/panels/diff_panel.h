// What differs between the graph on the screen and a file, node by node; a click goes there.
#pragma once
#include <QWidget>
#include <optional>

#include "editor/document/graph_diff.h"
#include "editor/document/graph_model.h"
#include "editor/theme.h"

class QLabel;
class QTreeWidget;

namespace rewardloom {

class DiffPanel final : public QWidget {
  Q_OBJECT

 public:
  explicit DiffPanel(QWidget* parent = nullptr);
  void setTheme(const Theme& theme);
  /// The graph on the screen; what it was compared with is forgotten.
  void setModel(GraphModel* model);
  /// Compares with the file that it was loaded from, now and after every edit.
  void compareWithSaved();
  /// The same with another graph file. A file that cannot be read is said so in the panel.
  void compareWith(const QString& file);
  const std::vector<Difference>& shown() const { return shown_; }

 Q_SIGNALS:
  /// A path as problems name it, and the parameter or port.
  void goTo(const QString& node, const QString& port);

 private:
  void compare();
  void fill();
  QColor colorOf(Difference::Kind kind) const;

  GraphModel* model_ = nullptr;
  Theme theme_;
  std::optional<Document> other_;
  QString otherName_;
  std::vector<Difference> shown_;
  QLabel* summary_;
  QTreeWidget* tree_;
};

}  // namespace rewardloom

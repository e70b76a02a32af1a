// Every action of the editor in one table: menus, keys, the command palette and the help page are
// made from it.
#pragma once
#include <QKeySequence>
#include <QString>
#include <functional>
#include <map>
#include <vector>

class QAction;
class QMenuBar;
class QWidget;

namespace rewardloom {

struct ActionEntry {
  QString id;    ///< "edit.undo"
  QString menu;  ///< "Edit"
  QString text;  ///< "&Undo"
  QString keys;  ///< "Ctrl+Z; ..."
  QString help;  ///< a sentence
  std::function<void()> run;
  bool onCanvas = false;  ///< its keys count only while the canvas has the focus
};

class ActionTable {
 public:
  void add(ActionEntry entry) { entries_.push_back(std::move(entry)); }
  const std::vector<ActionEntry>& entries() const { return entries_; }
  /// QActions for `window` and, for those of the canvas, with the canvas' focus only.
  void install(QWidget& window, QWidget& canvasArea);
  void fillMenus(QMenuBar& bar) const;
  QAction* action(const QString& id) const;
  void run(const QString& id) const;
  /// Two entries that answer to the same key in the same place, as "id and id: key".
  std::vector<QString> clashes() const;
  /// All keys by menu, as HTML.
  QString helpPage() const;

 private:
  std::vector<ActionEntry> entries_;
  std::map<QString, QAction*> actions_;
};

}  // namespace rewardloom

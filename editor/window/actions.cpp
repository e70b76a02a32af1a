#include "editor/window/actions.h"

#include <QAction>
#include <QMenu>
#include <QMenuBar>
#include <QWidget>

namespace rewardloom {
namespace {

QList<QKeySequence> sequences(const QString& keys) {
  QList<QKeySequence> list;
  for (const QString& key : keys.split(QStringLiteral("; "), Qt::SkipEmptyParts)) {
    list << QKeySequence(key.trimmed());
  }
  return list;
}

}  // namespace

void ActionTable::install(QWidget& window, QWidget& canvasArea) {
  for (const ActionEntry& entry : entries_) {
    auto* action = new QAction(entry.text, &window);
    action->setShortcuts(sequences(entry.keys));
    action->setToolTip(entry.help);
    action->setStatusTip(entry.help);
    action->setObjectName(entry.id);
    action->setShortcutContext(entry.onCanvas ? Qt::WidgetWithChildrenShortcut
                                              : Qt::WindowShortcut);
    QObject::connect(action, &QAction::triggered, &window, [run = entry.run] { run(); });
    (entry.onCanvas ? canvasArea : window).addAction(action);
    actions_[entry.id] = action;
  }
}

void ActionTable::fillMenus(QMenuBar& bar) const {
  std::map<QString, QMenu*> menus;
  for (const ActionEntry& entry : entries_) {
    if (entry.menu.isEmpty()) continue;
    QMenu*& menu = menus[entry.menu];
    if (!menu) menu = bar.addMenu(entry.menu);
    menu->addAction(actions_.at(entry.id));
  }
}

QAction* ActionTable::action(const QString& id) const {
  const auto it = actions_.find(id);
  return it == actions_.end() ? nullptr : it->second;
}

void ActionTable::run(const QString& id) const {
  for (const ActionEntry& entry : entries_) {
    if (entry.id == id) return entry.run();
  }
}

std::vector<QString> ActionTable::clashes() const {
  std::vector<QString> list;
  std::map<QString, QString> taken;
  for (const ActionEntry& entry : entries_) {
    for (const QKeySequence& key : sequences(entry.keys)) {
      const auto [it, fresh] = taken.emplace(key.toString(), entry.id);
      if (!fresh) {
        list.push_back(QStringLiteral("%1 and %2: %3").arg(it->second, entry.id, key.toString()));
      }
    }
  }
  return list;
}

QString ActionTable::helpPage() const {
  QString html;
  QString menu;
  for (const ActionEntry& entry : entries_) {
    if (entry.keys.isEmpty()) continue;
    const QString title = QString(entry.menu).remove(QChar('&'));
    // Those without a menu, like the arrow keys, stand with the ones before.
    if (title != menu && !title.isEmpty()) {
      if (!menu.isEmpty()) html += QStringLiteral("</table>");
      html += QStringLiteral("<h3>%1</h3><table cellpadding='3'>").arg(title);
      menu = title;
    }
    QStringList keys;
    for (const QKeySequence& key : sequences(entry.keys)) {
      keys << key.toString(QKeySequence::NativeText);
    }
    html += QStringLiteral("<tr><td width='190'><b>%1</b></td><td>%2</td></tr>")
                .arg(keys.join(QStringLiteral(" or ")).toHtmlEscaped(), entry.help.toHtmlEscaped());
  }
  return html + QStringLiteral("</table>");
}

}  // namespace rewardloom

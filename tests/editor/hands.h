// Mouse and keyboard at a real window: events go the way those of the system go, through the
// window under the pointer and the widget with the focus.
#pragma once
#include <QApplication>
#include <QFileDialog>
#include <QLineEdit>
#include <QMenu>
#include <QProcess>
#include <QTimer>
#include <QWidget>
#include <QWindow>

#include "tests/qt_test.h"

namespace rewardloom {

class Hands {
 public:
  /// Shows the window and gives it the keys.
  explicit Hands(QWidget& window) : window_(window) {
    window.show();
    activate();
  }

  void key(int key, Qt::KeyboardModifiers modifiers = Qt::NoModifier) {
    QTest::keyClick(front(), static_cast<Qt::Key>(key), modifiers);
    QCoreApplication::processEvents();
  }
  void type(const QString& text) {
    for (const QChar letter : text) QTest::keyClick(front(), letter.toLatin1());
    QCoreApplication::processEvents();
  }
  void click(QPoint global, Qt::KeyboardModifiers modifiers = Qt::NoModifier) {
    press(global, modifiers);
    release(global, modifiers);
  }
  void click(QWidget* widget) { click(widget->mapToGlobal(widget->rect().center())); }
  void doubleClick(QPoint global) {
    QWindow* at = front();
    QTest::mouseDClick(at, Qt::LeftButton, Qt::NoModifier, at->mapFromGlobal(global));
    QCoreApplication::processEvents();
  }
  void drag(QPoint from, QPoint to) {
    press(from);
    for (int i = 1; i <= 8; ++i) move(from + (to - from) * i / 8);
    release(to);
  }
  void press(QPoint global, Qt::KeyboardModifiers modifiers = Qt::NoModifier) {
    QWindow* at = front();
    QTest::mousePress(at, Qt::LeftButton, modifiers, at->mapFromGlobal(global));
    QCoreApplication::processEvents();
  }
  void move(QPoint global) {
    QWindow* at = front();
    QTest::mouseMove(at, at->mapFromGlobal(global));
    QCoreApplication::processEvents();
  }
  void release(QPoint global, Qt::KeyboardModifiers modifiers = Qt::NoModifier) {
    QWindow* at = front();
    QTest::mouseRelease(at, Qt::LeftButton, modifiers, at->mapFromGlobal(global));
    QCoreApplication::processEvents();
  }
  /// Into a field: click, all of it, the text, Return.
  void fill(QWidget* field, const QString& text, int end = Qt::Key_Return) {
    click(field);
    key(Qt::Key_A, Qt::ControlModifier);
    type(text);
    key(end);
  }
  /// Types a path into the file dialog that the next step opens.
  void answerFileDialog(const QString& path) {
    later([this, path] {
      auto* dialog = qobject_cast<QFileDialog*>(QApplication::activeModalWidget());
      if (!dialog) return false;
      auto* name = dialog->findChild<QLineEdit*>();
      name->setFocus();
      key(Qt::Key_A, Qt::ControlModifier);
      type(path);
      key(Qt::Key_Return);
      return true;
    });
  }
  /// Chooses the entry of the menu that the next step opens.
  void answerMenu(const QString& start) {
    later([this, start] {
      auto* menu = qobject_cast<QMenu*>(QApplication::activePopupWidget());
      if (!menu) return false;
      for (QAction* action : menu->actions()) {
        if (!action->text().startsWith(start)) continue;
        click(menu->mapToGlobal(menu->actionGeometry(action).center()));
        return true;
      }
      menu->close();
      return true;
    });
  }
  /// Tries `act` every few milliseconds until it says that it was done.
  static void later(std::function<bool()> act) {
    auto* timer = new QTimer(qApp);
    timer->setInterval(20);
    QObject::connect(timer, &QTimer::timeout, timer,
                     [timer, act = std::move(act), tries = 0]() mutable {
                       if (++tries > 500) timer->deleteLater();
                       timer->stop();
                       if (act()) {
                         timer->deleteLater();
                       } else {
                         timer->start();
                       }
                     });
    timer->start();
  }

 private:
  /// Also where no window manager does it, at the start and when a dialog has closed.
  void activate() const {
    window_.activateWindow();
    if (QTest::qWaitForWindowActive(&window_, 500)) return;
    QProcess::execute("xdotool", {"windowfocus", QString::number(window_.winId())});
    if (!QTest::qWaitForWindowActive(&window_)) qFatal("the window does not become active");
  }
  QWindow* front() const {
    if (QWidget* popup = QApplication::activePopupWidget()) return popup->windowHandle();
    if (QWidget* modal = QApplication::activeModalWidget()) return modal->windowHandle();
    if (!QApplication::activeWindow()) activate();
    return window_.windowHandle();
  }
  QWidget& window_;
};

/// The widget that assistive software knows by this name.
inline QWidget* named(QWidget& root, const QString& name) {
  for (QWidget* widget : root.findChildren<QWidget*>()) {
    if (widget->accessibleName() == name && widget->isVisible()) return widget;
  }
  return nullptr;
}

}  // namespace rewardloom

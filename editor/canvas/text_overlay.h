// A text that is edited where it stands on the canvas.
#pragma once
#include <QPlainTextEdit>
#include <functional>

namespace rewardloom {

/// Lives until it is left: Return (Ctrl+Return where lines are allowed) or a click elsewhere takes
/// the text, Escape does not.
class TextOverlay final : public QPlainTextEdit {
  Q_OBJECT

 public:
  TextOverlay(const QString& text, bool lines, std::function<void(const QString&)> taken,
              QWidget* parent);

 protected:
  void keyPressEvent(QKeyEvent* event) override;
  void focusOutEvent(QFocusEvent* event) override;

 private:
  void finish(bool take);

  bool lines_;
  std::function<void(const QString&)> taken_;
};

}  // namespace rewardloom

// A question above a graph that does not stop the work: a text and buttons.
#pragma once
#include <QFrame>
#include <functional>
#include <utility>
#include <vector>

class QHBoxLayout;
class QLabel;

namespace rewardloom {

class NoticeBar final : public QFrame {
  Q_OBJECT

 public:
  explicit NoticeBar(QWidget* parent = nullptr);

  struct Choice {
    QString text;
    std::function<void()> act;
    bool stays = false;  ///< the question stays after this answer
  };
  void ask(const QString& text, std::vector<Choice> choices);
  void dismiss();
  QString text() const;

 private:
  QLabel* label_;
  QHBoxLayout* layout_;
  std::vector<QWidget*> buttons_;
};

}  // namespace rewardloom

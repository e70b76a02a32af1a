#include "editor/panels/notice_bar.h"

#include <QHBoxLayout>
#include <QLabel>
#include <QPushButton>

namespace rewardloom {

NoticeBar::NoticeBar(QWidget* parent)
    : QFrame(parent), label_(new QLabel(this)), layout_(new QHBoxLayout(this)) {
  setFrameShape(QFrame::StyledPanel);
  setAutoFillBackground(true);
  setBackgroundRole(QPalette::ToolTipBase);
  setAccessibleName(tr("Notice"));
  layout_->setContentsMargins(10, 6, 10, 6);
  label_->setWordWrap(true);
  layout_->addWidget(label_, 1);
  hide();
}

void NoticeBar::ask(const QString& text, std::vector<Choice> choices) {
  for (QWidget* button : std::exchange(buttons_, {})) button->deleteLater();
  label_->setText(text);
  for (Choice& choice : choices) {
    auto* button = new QPushButton(choice.text, this);
    layout_->addWidget(button);
    buttons_.push_back(button);
    connect(button, &QPushButton::clicked, this, [this, choice = std::move(choice)] {
      if (!choice.stays) dismiss();
      if (choice.act) choice.act();
    });
  }
  show();
}

void NoticeBar::dismiss() { hide(); }

QString NoticeBar::text() const { return isHidden() ? QString() : label_->text(); }

}  // namespace rewardloom

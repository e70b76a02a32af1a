// Asks for the values of a sweep.
#pragma once
#include <QDialog>

#include "engine/core/declaration.h"

class QLabel;
class QLineEdit;
class QPushButton;

namespace rewardloom {

class SweepDialog final : public QDialog {
  Q_OBJECT

 public:
  SweepDialog(ParameterDeclaration parameter, const Json& current, QWidget* parent);

  const Json& values() const { return values_; }

 private:
  void read();

  ParameterDeclaration parameter_;
  Json values_;
  QLineEdit* line_;
  QLabel* said_;
  QPushButton* accept_;
};

}  // namespace rewardloom

// The welcome page: what was open lately, and every graph of the gallery with a picture, what it
// shows and its paper. One click opens, one runs.
#pragma once
#include <QTimer>
#include <QWidget>
#include <vector>

#include "editor/theme.h"

class QGridLayout;
class QLabel;
class QLineEdit;
class QListWidget;
class QPushButton;
class QScrollArea;

namespace rewardloom {

class Gallery final : public QWidget {
  Q_OBJECT

 public:
  Gallery(std::shared_ptr<const Catalogue> catalogue, QWidget* parent = nullptr);

  void setTheme(const Theme& theme);
  void setRecent(const QStringList& paths);
  /// The graphs of a folder; they are read little by little, so that the page is there at once.
  void setFolder(const QString& folder);
  /// Reads what waits; for tests and pictures.
  void readAll();
  int shownCards() const;

 Q_SIGNALS:
  void newWanted();
  void openWanted(const QString& path);
  void runWanted(const QString& path);

 protected:
  bool eventFilter(QObject* watched, QEvent* event) override;

 private:
  struct Card {
    QString path;
    QString words;  ///< what the filter looks through
    QWidget* widget = nullptr;
    QLabel* picture = nullptr;
    QLabel* title = nullptr;
    QLabel* paper = nullptr;
    QLabel* about = nullptr;
    bool read = false;
  };
  void addCard(const QString& path);
  void readOne(Card& card);
  void arrange();

  std::shared_ptr<const Catalogue> catalogue_;
  Theme theme_;
  QLineEdit* filter_;
  QListWidget* recent_;
  QLabel* recentTitle_;
  QScrollArea* scroll_;
  QWidget* cardArea_;
  QGridLayout* grid_;
  std::vector<Card> cards_;
  QTimer reader_;
  int columns_ = 0;
};

}  // namespace rewardloom

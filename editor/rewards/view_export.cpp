#include "editor/rewards/view_export.h"

#include <QBuffer>
#include <QFileInfo>
#include <QImage>
#include <QSaveFile>
#include <QTextStream>

#include "editor/rewards/reward_view.h"
#include "editor/rewards/svg_device.h"
#include "engine/core/problem.h"

namespace rewardloom {
namespace {

constexpr double kSharpness = 2;

QByteArray pngOf(RewardView& view) {
  QImage image(view.size() * kSharpness, QImage::Format_RGB32);
  image.setDevicePixelRatio(kSharpness);
  view.drawOn(image);
  QByteArray bytes;
  QBuffer buffer(&bytes);
  buffer.open(QIODevice::WriteOnly);
  image.save(&buffer, "PNG");
  return bytes;
}

QByteArray svgOf(RewardView& view) {
  SvgDevice device(view.size(), view.accessibleName());
  view.drawOn(device);
  return device.svg();
}

QByteArray csvOf(const RewardView& view) {
  QString text;
  QTextStream stream(&text);
  view.writeCsv(stream);
  stream.flush();
  return text.toUtf8();
}

}  // namespace

void writeExport(const QString& path, const QByteArray& bytes) {
  QSaveFile file(path);
  const bool written =
      file.open(QIODevice::WriteOnly) && file.write(bytes) == bytes.size() && file.commit();
  if (written) return;
  throw Failure("view-export",
                path.toStdString() + " cannot be written: " + file.errorString().toStdString(),
                "choose another place, or free some space");
}

void exportView(RewardView& view, const QString& path) {
  const QString ending = QFileInfo(path).suffix().toLower();
  if (ending == QStringLiteral("png")) return writeExport(path, pngOf(view));
  if (ending == QStringLiteral("svg")) return writeExport(path, svgOf(view));
  if (ending == QStringLiteral("csv")) return writeExport(path, csvOf(view));
  throw Failure("view-export",
                path.toStdString() + " ends in none of the formats that views are written in",
                "end the file's name in .png, .svg or .csv");
}

}  // namespace rewardloom

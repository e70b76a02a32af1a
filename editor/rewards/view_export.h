// Reward views as files: the picture as PNG or SVG, the numbers as CSV.
#pragma once
#include <QString>

namespace rewardloom {

class RewardView;

/// The format is the file's ending: .png (twice the screen's size), .svg or .csv. Throws Failure
/// `view-export` for another ending or where the file cannot be written.
void exportView(RewardView& view, const QString& path);

/// Writes a file that appears whole or not at all; Failure `view-export` where that fails.
void writeExport(const QString& path, const QByteArray& bytes);

}  // namespace rewardloom

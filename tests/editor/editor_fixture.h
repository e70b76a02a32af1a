// What the editor's tests share: the real node types and the shipped graphs.
#pragma once
#include <QCoreApplication>
#include <memory>

#include "editor/document/graph_model.h"
#include "engine/io/durable_file.h"

namespace rewardloom {

/// The catalogue that the build wrote for the editor.
inline std::shared_ptr<const Catalogue> testCatalogue() {
  return std::make_shared<const Catalogue>(
      Catalogue::from_json(Json::parse(read_file(REWARDLOOM_NODES_JSON))));
}

inline QString graphFile(const char* name) {
  return QStringLiteral(REWARDLOOM_SOURCE_DIR "/graphs/") + QString::fromLatin1(name);
}

}  // namespace rewardloom

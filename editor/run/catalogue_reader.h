// Where the editor's node types come from: written at build time, or asked of the program, which
// loads plug-ins in a process of its own.
#pragma once
#include <QString>
#include <QStringList>
#include <vector>

#include "engine/core/catalogue.h"
#include "engine/core/problem.h"

namespace rewardloom {

struct CatalogueReading {
  Catalogue catalogue;
  QStringList plugins;            ///< those that could be loaded
  std::vector<Problem> problems;  ///< a plug-in that crashes, hangs or refuses, with its last words
};

/// `written`: the nodes.json of the build, may be empty. A plug-in that cannot be loaded is left
/// out and named. Throws Failure `catalogue-missing` if there are no node types at all.
CatalogueReading readCatalogue(const QString& program, const QString& written,
                               const QStringList& plugins, int timeoutMs = 60000);

}  // namespace rewardloom

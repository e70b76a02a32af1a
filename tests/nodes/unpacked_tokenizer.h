// The tokenizers of published models, where they are there.
#pragma once
#include <QProcess>
#include <string>

#include "tests/nodes/model_files.h"

namespace rewardloom {

struct UnpackedTokenizer {
  std::string json;
  Json config;
};

/// tokenizer.json, unpacked, and tokenizer_config.json of `name` in the shared folder.
inline UnpackedTokenizer unpacked_tokenizer(const std::string& name) {
  const std::filesystem::path base = model_files::shared() / "tokenizers" / name;
  QProcess unpack;
  unpack.start("gunzip", {"-c", QString::fromStdString(base.string() + ".tokenizer.json.gz")});
  unpack.waitForFinished();
  return {unpack.readAllStandardOutput().toStdString(),
          read_json(base.string() + ".tokenizer_config.json")};
}

}  // namespace rewardloom

// Starts the real program, as a shell would.
#pragma once
#include <QDir>
#include <QFile>
#include <QProcess>
#include <QTemporaryDir>
#include <vector>

#include "engine/core/json.h"

namespace rewardloom::testing {

struct Finished {
  int status = -1;
  QByteArray out;
  QByteArray err;

  /// Every line of standard output as JSON; throws where one is none.
  std::vector<Json> lines() const {
    std::vector<Json> all;
    for (const QByteArray& line : out.split('\n')) {
      if (!line.isEmpty()) all.push_back(Json::parse(line.toStdString()));
    }
    return all;
  }
};

constexpr int kPatience = 120'000;  // milliseconds

inline void prepare(QProcess& process, const QStringList& arguments, const QString& folder) {
  process.setProgram(QStringLiteral(REWARDLOOM_PROGRAM));
  process.setArguments(arguments);
  process.setWorkingDirectory(folder);
  QProcessEnvironment environment = QProcessEnvironment::systemEnvironment();
  environment.insert(QStringLiteral("COLUMNS"), QStringLiteral("120"));
  process.setProcessEnvironment(environment);
}

/// Runs the program to its end; status -1 if it did not start, crashed or took too long.
inline Finished run_program(const QStringList& arguments, const QString& folder,
                            const QByteArray& input = {}) {
  QProcess process;
  prepare(process, arguments, folder);
  process.start();
  process.write(input);
  process.closeWriteChannel();
  Finished finished;
  if (!process.waitForFinished(kPatience)) return finished;
  if (process.exitStatus() == QProcess::NormalExit) finished.status = process.exitCode();
  finished.out = process.readAllStandardOutput();
  finished.err = process.readAllStandardError();
  return finished;
}

inline QByteArray read_all(const QString& path) {
  QFile file(path);
  return file.open(QIODevice::ReadOnly) ? file.readAll() : QByteArray();
}

inline void write_all(const QString& path, const QByteArray& bytes) {
  QFile file(path);
  if (file.open(QIODevice::WriteOnly)) file.write(bytes);
}

/// A graph that takes milliseconds per iteration, with all that a run has: rewards, metrics,
/// training.
inline constexpr const char* kSmallGraph = R"({
  "rewardloom": 1, "name": "small", "settings": {"iterations": 4, "checkpoint_every": 2},
  "nodes": {
    "tasks":   {"type": "data.arithmetic", "params": {"digits": 1, "batch": 4}},
    "actor":   {"type": "text.policy", "params": {"init": "random", "characters": "0123456789+-*=",
                "config": {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1,
                           "num_attention_heads": 2, "num_key_value_heads": 2}}},
    "rollout": {"type": "sample.generate", "inputs": {"policy": "actor.policy", "prompts": "tasks.prompts"},
                "params": {"group_size": 4, "max_tokens": 2}},
    "check":   {"type": "reward.prefix_match", "inputs": {"completions": "rollout.completions"}},
    "adv":     {"type": "advantage.group", "inputs": {"rewards": "check.rewards"}},
    "clip":    {"type": "loss.policy_clip"},
    "update":  {"type": "optimize.policy", "inputs": {"policy": "actor.policy", "completions": "rollout.completions",
                "advantages": "adv.advantages", "terms": ["clip.term"]}, "params": {"learning_rate": 1e-3}},
    "measure": {"type": "eval.accuracy", "inputs": {"completions": "rollout.completions"}}
  }
})";

}  // namespace rewardloom::testing

#include "editor/run/catalogue_reader.h"

#include <QProcess>

#include "engine/io/durable_file.h"

namespace rewardloom {
namespace {

struct Answer {
  bool ok = false;
  std::string json;
  std::string fault;
};

Answer ask(const QString& program, const QStringList& plugins, int timeoutMs) {
  QStringList arguments{QStringLiteral("nodes"), QStringLiteral("--json")};
  for (const QString& plugin : plugins) arguments << QStringLiteral("--plugin") << plugin;
  QProcess process;
  process.start(program, arguments);
  Answer answer;
  if (!process.waitForFinished(timeoutMs)) {
    answer.fault = process.error() == QProcess::FailedToStart
                       ? process.errorString().toStdString()
                       : "it did not answer within " + std::to_string(timeoutMs / 1000) + " s";
    process.kill();
    process.waitForFinished(1000);
    return answer;
  }
  const std::string said = process.readAllStandardError().trimmed().toStdString();
  if (process.exitStatus() == QProcess::CrashExit) {
    answer.fault = said.empty() ? "it crashes while it is loaded" : "it crashes: " + said;
    return answer;
  }
  answer.ok = process.exitCode() == 0;
  answer.json = process.readAllStandardOutput().toStdString();
  if (!answer.ok) {
    answer.fault = said.empty() ? "status " + std::to_string(process.exitCode()) : said;
  }
  return answer;
}

bool parsed(Answer& answer, Catalogue& catalogue) {
  if (!answer.ok) return false;
  const Json json = Json::parse(answer.json, nullptr, false);
  if (json.is_discarded()) {
    answer.fault = "what it writes is no JSON";
    return false;
  }
  try {
    catalogue = Catalogue::from_json(json);
  } catch (const Failure& failure) {
    answer.fault = failure.problem().text;
    return false;
  } catch (const nlohmann::json::exception& error) {
    answer.fault = error.what();
    return false;
  }
  return true;
}

Problem pluginProblem(const QString& plugin, const std::string& fault) {
  return {Severity::error,
          "plugin-failed",
          {plugin.toStdString(), "", ""},
          "this plug-in was left out: " + fault,
          "its nodes are drawn as unknown; build it against this version, or start without it",
          {}};
}

}  // namespace

CatalogueReading readCatalogue(const QString& program, const QString& written,
                               const QStringList& plugins, int timeoutMs) {
  CatalogueReading reading;
  if (!plugins.isEmpty()) {
    Answer answer = ask(program, plugins, timeoutMs);
    if (parsed(answer, reading.catalogue)) {
      reading.plugins = plugins;
      return reading;
    }
    // One of them spoils it for all: which?
    for (const QString& plugin : plugins) {
      Catalogue alone;
      Answer single = plugins.size() == 1 ? answer : ask(program, {plugin}, timeoutMs);
      if (parsed(single, alone)) {
        reading.plugins << plugin;
      } else {
        reading.problems.push_back(pluginProblem(plugin, single.fault));
      }
    }
    answer = ask(program, reading.plugins, timeoutMs);
    if (!reading.plugins.isEmpty() && parsed(answer, reading.catalogue)) return reading;
    reading.plugins.clear();
  }
  Answer plain;
  if (written.isEmpty()) {
    plain = ask(program, {}, timeoutMs);
  } else {
    plain.json = read_file(written.toStdString());
    plain.ok = true;
  }
  if (parsed(plain, reading.catalogue)) return reading;
  throw Failure("catalogue-missing",
                "the node types could not be read from " +
                    (written.isEmpty() ? program : written).toStdString() + ": " + plain.fault,
                "build or install the program rewardloom beside the editor");
}

}  // namespace rewardloom

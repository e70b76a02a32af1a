// What the tests of engine/io share: expected failures, raw files, and Python as an independent
// reader.
#pragma once
#include <QtCore/QProcess>
#include <QtCore/QStandardPaths>
#include <QtCore/QTemporaryDir>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "engine/core/problem.h"
#include "tests/qt_test.h"

namespace rewardloom {

/// The problem that `action` fails with; one with code "no-failure" if it does not fail.
template <typename Action>
Problem failure_of(Action&& action) {
  try {
    action();
  } catch (const Failure& failure) {
    return failure.problem();
  }
  return {Severity::note, "no-failure", {}, {}, {}, {}};
}

/// A folder that goes away with the test.
class TestFolder {
 public:
  std::filesystem::path operator/(const std::string& name) const {
    return std::filesystem::path(folder_.path().toStdString()) / name;
  }
  std::filesystem::path path() const { return folder_.path().toStdString(); }

 private:
  QTemporaryDir folder_;
};

inline void write_raw(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

inline std::string read_raw(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline std::size_t files_in(const std::filesystem::path& folder) {
  const std::filesystem::directory_iterator begin(folder);
  return static_cast<std::size_t>(std::distance(begin, std::filesystem::directory_iterator()));
}

inline bool has_python() { return !QStandardPaths::findExecutable("python3").isEmpty(); }

/// What `script` prints (standard library only); its errors appear in the log and fail the caller's
/// comparison.
inline std::string python(const std::string& script, const QStringList& arguments = {}) {
  QProcess process;
  process.start("python3", QStringList{"-c", QString::fromStdString(script)} + arguments);
  if (!process.waitForFinished(60000)) return "python3 did not finish";
  const std::string errors = process.readAllStandardError().toStdString();
  if (!errors.empty()) qWarning("%s", errors.c_str());
  return process.readAllStandardOutput().toStdString();
}

inline QString qt(const std::filesystem::path& path) {
  return QString::fromStdString(path.string());
}
inline QString qt(const std::string& text) { return QString::fromStdString(text); }

}  // namespace rewardloom

#define REQUIRE_PYTHON() \
  if (!has_python()) QSKIP("needs python3")

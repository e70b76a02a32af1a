#include "editor/run/run_process.h"

#include <QFileInfo>
#include <QRegularExpression>

namespace rewardloom {
namespace {

constexpr qsizetype kMostLogLines = 20000;
constexpr qsizetype kLongestLine = 64 << 20;

QString text(const Json& event, const char* key) {
  const auto it = event.find(key);
  if (it == event.end() || !it->is_string()) return {};
  return QString::fromStdString(it->get<std::string>());
}

qint64 number(const Json& event, const char* key) {
  const auto it = event.find(key);
  return it != event.end() && it->is_number() ? it->get<qint64>() : 0;
}

}  // namespace

QString runStateText(RunState state) {
  switch (state) {
    case RunState::idle: return QObject::tr("not run");
    case RunState::starting: return QObject::tr("starting");
    case RunState::running: return QObject::tr("running");
    case RunState::paused: return QObject::tr("paused");
    case RunState::stopping: return QObject::tr("stopping");
    case RunState::done: return QObject::tr("done");
    case RunState::interrupted: return QObject::tr("stopped");
    case RunState::failed: return QObject::tr("failed");
  }
  return {};
}

QString faultOfCondition(const QString& condition) {
  static const QRegularExpression shape(QRegularExpression::anchoredPattern(
      QStringLiteral("[^<>=!\\s][^<>=!]*(<=|>=|==|!=|<|>)\\s*([^<>=!]+)")));
  const auto match = shape.match(condition.trimmed());
  bool number = false;
  if (match.hasMatch()) match.captured(2).trimmed().toDouble(&number);
  if (number) return {};
  return QObject::tr("\"%1\" is no condition: write METRIC > NUMBER or iteration >= NUMBER")
      .arg(condition);
}

RunProcess::RunProcess(QObject* parent) : QObject(parent) {
  connect(&process_, &QProcess::readyReadStandardOutput, this, [this] {
    buffer_ += process_.readAllStandardOutput();
    qsizetype start = 0;
    for (qsizetype end; (end = buffer_.indexOf('\n', start)) >= 0; start = end + 1) {
      readLine(buffer_.mid(start, end - start));
    }
    buffer_.remove(0, start);
    if (buffer_.size() > kLongestLine) buffer_.clear();
  });
  connect(&process_, &QProcess::readyReadStandardError, this, [this] {
    for (const QByteArray& line : process_.readAllStandardError().split('\n')) {
      if (!line.trimmed().isEmpty()) note(QString::fromUtf8(line));
    }
  });
  connect(&process_, &QProcess::finished, this, &RunProcess::onExit);
  connect(&process_, &QProcess::errorOccurred, this, [this](QProcess::ProcessError error) {
    if (error != QProcess::FailedToStart) return;
    Problem problem{Severity::error,
                    "run-not-started",
                    {},
                    QStringLiteral("%1 could not be started: %2")
                        .arg(process_.program(), process_.errorString())
                        .toStdString(),
                    "set the path of the rewardloom program",
                    {}};
    note(QString::fromStdString(problem.text));
    Q_EMIT problemArrived(problem);
    setState(RunState::failed);
    Q_EMIT finished();
  });
}

RunProcess::~RunProcess() {
  process_.disconnect(this);
  if (process_.state() == QProcess::NotRunning) return;
  process_.terminate();  // it writes a checkpoint
  if (!process_.waitForFinished(3000)) process_.kill();
  process_.waitForFinished(1000);
}

bool RunProcess::isActive() const { return process_.state() != QProcess::NotRunning; }

void RunProcess::start(const RunRequest& request) {
  QStringList arguments{QStringLiteral("run"), QStringLiteral("--json")};
  if (request.resume.isEmpty()) {
    arguments << request.graph;
  } else {
    arguments << QStringLiteral("--resume") << request.resume;
  }
  if (!request.out.isEmpty()) arguments << QStringLiteral("--out") << request.out;
  if (request.iterations > 0) {
    arguments << QStringLiteral("--iterations") << QString::number(request.iterations);
  }
  for (const QString& set : request.sets) arguments << QStringLiteral("--set") << set;
  for (const QString& place : request.breakpoints) arguments << QStringLiteral("--break") << place;
  for (const QString& plugin : request.plugins) arguments << QStringLiteral("--plugin") << plugin;
  buffer_.clear();
  activities_.clear();
  log_.clear();
  folder_.clear();
  heldAt_.clear();
  ended_ = false;
  iteration_ = iterations_ = first_ = 0;
  note(request.program + QChar(' ') + arguments.join(QChar(' ')));
  setState(RunState::starting);
  process_.start(request.program, arguments);
}

void RunProcess::send(const Json& command) {
  if (!isActive()) return;
  process_.write(QByteArray::fromStdString(command.dump()) + '\n');
}

void RunProcess::stop() {
  if (!isActive()) return;
  if (state_ == RunState::stopping) {
    process_.kill();
    return;
  }
  send({{"command", "stop"}});
  setState(RunState::stopping);
}

void RunProcess::pause() { send({{"command", "pause"}}); }
void RunProcess::resume() { send({{"command", "resume"}}); }
void RunProcess::stepIteration() { send({{"command", "step"}}); }
void RunProcess::stepNode() { send({{"command", "step_node"}}); }
void RunProcess::runTo(const QString& node) {
  send({{"command", "run_to"}, {"node", node.toStdString()}});
}
void RunProcess::addBreakpoint(const QString& place) {
  send({{"command", "break"}, {"at", place.toStdString()}});
}
void RunProcess::removeBreakpoint(const QString& node) {
  send({{"command", "unbreak"}, {"node", node.isEmpty() ? "-" : node.toStdString()}});
}
void RunProcess::checkpoint() { send({{"command", "checkpoint"}}); }

void RunProcess::setParameter(const QString& node, const QString& parameter, const Json& value) {
  send({{"command", "set"},
        {"node", node.toStdString()},
        {"param", parameter.toStdString()},
        {"value", value}});
}

double RunProcess::secondsLeft() const {
  const qint64 done = iteration_ - first_;
  if (done <= 0 || !clock_.isValid()) return -1;
  const double each = static_cast<double>(clock_.elapsed()) / 1000.0 / static_cast<double>(done);
  return each * static_cast<double>(iterations_ - iteration_);
}

void RunProcess::setState(RunState state) {
  if (state_ == state) return;
  state_ = state;
  Q_EMIT stateChanged();
}

void RunProcess::note(const QString& line) {
  log_ << line;
  if (log_.size() > kMostLogLines) log_.erase(log_.begin(), log_.begin() + kMostLogLines / 10);
  Q_EMIT logged(line);
}

void RunProcess::readLine(const QByteArray& line) {
  const Json event = Json::parse(line.toStdString(), nullptr, false);
  if (!event.is_object()) {
    note(QString::fromUtf8(line));
    return;
  }
  const QString kind = text(event, "event");
  if (kind == QStringLiteral("start")) {
    folder_ = text(event, "folder");
    graphHash_ = text(event, "graph_hash");
    first_ = iteration_ = number(event, "first");
    iterations_ = number(event, "iterations");
    clock_.start();
    setState(RunState::running);
    Q_EMIT started();
  } else if (kind == QStringLiteral("metrics")) {
    std::map<std::string, double> values;
    if (event.contains("values") && event["values"].is_object()) {
      for (const auto& [name, value] : event["values"].items()) {
        if (value.is_number()) values[name] = value;
      }
    }
    iteration_ = number(event, "iteration") + 1;
    Q_EMIT metricsArrived(iteration_ - 1, values);
  } else if (kind == QStringLiteral("nodes")) {
    onNodes(event);
  } else if (kind == QStringLiteral("alarm") || kind == QStringLiteral("problem")) {
    onProblem(event);
  } else if (kind == QStringLiteral("stopped")) {
    onStopped(event);
  } else if (kind == QStringLiteral("paused")) {
    setHeld({});
    setState(RunState::paused);
  } else if (kind == QStringLiteral("resumed")) {
    setHeld({});
    setState(RunState::running);
  } else if (kind == QStringLiteral("stopping")) {
    setState(RunState::stopping);
  } else if (kind == QStringLiteral("checkpoint")) {
    note(tr("checkpoint at iteration %1").arg(number(event, "iteration")));
  } else if (kind == QStringLiteral("error")) {
    note(tr("%1 was not done").arg(text(event, "command")));
    if (event.contains("problem") && event["problem"].is_object()) onProblem(event["problem"]);
  } else if (kind == QStringLiteral("end")) {
    onEnd(event);
  }
}

void RunProcess::setHeld(const std::string& node) {
  if (node == heldAt_) return;
  if (const auto it = activities_.find(heldAt_); it != activities_.end()) it->second.held = false;
  heldAt_ = node;
  if (!node.empty()) activities_[node].held = true;
  Q_EMIT activityChanged();
}

void RunProcess::onStopped(const Json& event) {
  const QString node = text(event, "node");
  const QString breakpoint = text(event, "breakpoint");
  setHeld(node.toStdString());
  note(tr("held before %1, iteration %2%3")
           .arg(node.isEmpty() ? tr("the iteration") : node)
           .arg(number(event, "iteration"))
           .arg(breakpoint.isEmpty() ? QString() : tr(" (%1)").arg(breakpoint)));
  setState(RunState::paused);
  Q_EMIT stoppedAt(node, breakpoint);
}

void RunProcess::onNodes(const Json& event) {
  std::set<std::string> running;
  if (event.contains("running") && event["running"].is_array()) {
    for (const Json& name : event["running"]) {
      if (name.is_string()) running.insert(name.get<std::string>());
    }
  }
  if (event.contains("nodes") && event["nodes"].is_array()) {
    for (const Json& row : event["nodes"]) {
      if (!row.is_object() || !row.contains("node")) continue;
      NodeActivity& activity = activities_[row["node"].get<std::string>()];
      const qint64 count = number(row, "firings");
      activity.state =
          count > activity.count || activity.count == 0 ? NodeState::done : NodeState::cached;
      if (count == 0) activity.state = NodeState::idle;
      activity.count = count;
      const auto seconds = row.find("seconds");
      if (seconds != row.end() && seconds->is_number()) activity.seconds = *seconds;
    }
  }
  for (auto& [name, activity] : activities_) {
    if (activity.state == NodeState::running) activity.state = NodeState::done;
  }
  for (const std::string& name : running) activities_[name].state = NodeState::running;
  Q_EMIT activityChanged();
}

void RunProcess::onProblem(const Json& event) {
  Problem problem;
  problem.severity = text(event, "severity") == QStringLiteral("error")  ? Severity::error
                     : text(event, "severity") == QStringLiteral("note") ? Severity::note
                                                                         : Severity::warning;
  problem.code = text(event, "code").toStdString();
  problem.where = {text(event, "file").toStdString(), text(event, "node").toStdString(),
                   text(event, "port").toStdString()};
  problem.text = text(event, "message").toStdString();
  problem.help = text(event, "help").toStdString();
  if (event.contains("iteration") && event["iteration"].is_number()) {
    problem.iteration = event["iteration"].get<std::int64_t>();
  }
  if (problem.severity == Severity::error && !problem.where.node.empty()) {
    NodeActivity& activity = activities_[problem.where.node];
    activity.state = NodeState::failed;
    activity.error = QString::fromStdString(problem.text);
    Q_EMIT activityChanged();
  }
  note(QString::fromStdString(format(problem)));
  Q_EMIT problemArrived(problem);
}

void RunProcess::onEnd(const Json& event) {
  ended_ = true;
  if (!text(event, "folder").isEmpty()) folder_ = text(event, "folder");
  const QString state = text(event, "state");
  if (event.contains("problem") && event["problem"].is_object()) onProblem(event["problem"]);
  setState(state == QStringLiteral("done")          ? RunState::done
           : state == QStringLiteral("interrupted") ? RunState::interrupted
                                                    : RunState::failed);
}

void RunProcess::onExit(int code, QProcess::ExitStatus status) {
  setHeld({});
  for (auto& [name, activity] : activities_) {
    if (activity.state != NodeState::running) continue;
    activity.state = ended_ ? NodeState::done : NodeState::failed;
    if (!ended_) activity.error = tr("the run ended while this node ran");
  }
  if (!ended_) {
    Problem problem;
    problem.code = "run-crashed";
    problem.text = status == QProcess::CrashExit
                       ? "the run's process crashed or was killed"
                       : "the run's process ended with status " + std::to_string(code);
    problem.help = folder_.isEmpty()
                       ? "look at the log"
                       : "resume it from its last checkpoint; the log has its last words";
    for (const auto& [name, activity] : activities_) {
      if (activity.state == NodeState::failed) problem.where.node = name;
    }
    note(QString::fromStdString(format(problem)));
    Q_EMIT problemArrived(problem);
    setState(RunState::failed);
  }
  Q_EMIT activityChanged();
  Q_EMIT finished();
}

}  // namespace rewardloom

#include "engine/cli/run_control.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>

namespace rewardloom::cli {
namespace {

// A signal handler can reach nothing but globals.
std::atomic<int> signals_seen{0};
std::atomic<int> signal_pipe{-1};

extern "C" void note_signal(int) {
  const int saved = errno;
  if (signals_seen.fetch_add(1) > 0) _exit(kInterrupted);
  const char byte = 1;
  if (write(signal_pipe.load(), &byte, 1) != 1) _exit(kInterrupted);
  errno = saved;
}

void handle_signals(void (*handler)(int)) {
  struct sigaction action = {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

const std::vector<std::string>& command_names() {
  static const std::vector<std::string> names = {"pause",      "resume", "step",  "stop",
                                                 "checkpoint", "set",    "break", "unbreak",
                                                 "step_node",  "run_to"};
  return names;
}

RunCommand::Kind kind_of(const std::string& name) {
  const auto& names = command_names();
  const auto it = std::find(names.begin(), names.end(), name);
  if (it != names.end()) return static_cast<RunCommand::Kind>(it - names.begin());
  const std::vector<std::string> near = nearest(name, names);
  throw Failure("unknown-command", fmt::format("there is no command {}", name),
                near.empty() ? "the commands are " + listed(names, "and")
                             : "did you mean " + listed(near) + "?");
}

std::string assignment_of(const Json& json) {
  if (json.contains("assignment")) return json["assignment"].get<std::string>();
  if (!json.contains("node") || !json.contains("param") || !json.contains("value")) {
    throw Failure("command-shape", "set lacks what to set",
                  R"(write {"command": "set", "assignment": "node.param=value"})");
  }
  return fmt::format("{}.{}={}", json["node"].get<std::string>(), json["param"].get<std::string>(),
                     json["value"].dump());
}

RunCommand command_from_json(std::string_view line) {
  try {
    const Json json = Json::parse(line);
    RunCommand command;
    command.kind = kind_of(json.at("command").get<std::string>());
    if (command.kind == RunCommand::set) command.assignment = assignment_of(json);
    if (command.kind == RunCommand::break_at) command.place = json.at("at").get<std::string>();
    if (command.kind == RunCommand::run_to) command.place = json.at("node").get<std::string>();
    if (command.kind == RunCommand::unbreak) command.place = json.value("node", "");
    return command;
  } catch (const nlohmann::json::exception& error) {
    throw Failure("command-shape", fmt::format("a command that cannot be read: {}", error.what()),
                  R"(write {"command": "pause"}, or just pause)");
  }
}

std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

}  // namespace

RunCommand parse_command(std::string_view line) {
  line = trimmed(line);
  if (line.starts_with("{")) return command_from_json(line);
  const std::size_t blank = line.find_first_of(" \t");
  RunCommand command;
  command.kind = kind_of(std::string(line.substr(0, blank)));
  const std::string_view rest = blank == std::string_view::npos ? "" : trimmed(line.substr(blank));
  const bool placed = command.kind == RunCommand::break_at || command.kind == RunCommand::run_to;
  if (placed && rest.empty()) {
    throw Failure("command-shape", fmt::format("{} lacks a place", line.substr(0, blank)),
                  "write break NODE, break NODE if METRIC > NUMBER, or run_to NODE");
  }
  if (placed || command.kind == RunCommand::unbreak) {
    command.place = rest;
    return command;
  }
  if (command.kind != RunCommand::set && rest.empty()) return command;
  if (command.kind != RunCommand::set || rest.empty()) {
    throw Failure("command-shape",
                  rest.empty() ? "set lacks what to set"
                               : fmt::format("{} takes no argument", line.substr(0, blank)),
                  "only set takes one: set node.param=value");
  }
  command.assignment = rest;
  return command;
}

RunControl::RunControl(Run& run, RunReport& report, bool read_commands)
    : run_(run),
      report_(report),
      pipe_(run.folder()),
      sources_{Source{read_commands ? STDIN_FILENO : -1, false}, Source{pipe_.descriptor(), true}} {
  if (pipe2(end_pipe_.data(), O_CLOEXEC) != 0) {
    throw Failure("no-pipe", "the system gives no pipe", "too many files are open");
  }
  signals_seen = 0;
  signal_pipe = end_pipe_[1];
  handle_signals(note_signal);
  thread_ = std::thread([this] { listen(); });
}

RunControl::~RunControl() {
  handle_signals(SIG_DFL);
  const char byte = 0;
  if (write(end_pipe_[1], &byte, 1) == 1) thread_.join();
  close(end_pipe_[0]);
  close(end_pipe_[1]);
}

void RunControl::listen() {
  std::array<pollfd, 3> watched = {pollfd{end_pipe_[0], POLLIN, 0},
                                   pollfd{sources_[0].descriptor, POLLIN, 0},
                                   pollfd{sources_[1].descriptor, POLLIN, 0}};
  for (;;) {
    if (poll(watched.data(), watched.size(), -1) < 0) continue;
    if (watched[0].revents != 0) {
      char byte = 0;
      if (read(end_pipe_[0], &byte, 1) != 1 || byte == 0) return;
      report_.stopping();
      run_.stop();
    }
    // At its end standard input says nothing any more; the run goes on.
    for (std::size_t i = 0; i < sources_.size(); ++i) {
      if (watched[i + 1].revents != 0 && !read_from(sources_[i])) watched[i + 1].fd = -1;
    }
  }
}

bool RunControl::read_from(Source& source) {
  std::array<char, 4096> buffer;
  const ssize_t count = read(source.descriptor, buffer.data(), buffer.size());
  if (count < 0) return errno == EINTR || errno == EAGAIN;
  std::string& text = source.unfinished_line;
  text.append(buffer.data(), static_cast<std::size_t>(count));
  if (count == 0 && !text.empty()) text += '\n';
  std::size_t end = 0;
  while ((end = text.find('\n')) != std::string::npos) {
    const std::string line = text.substr(0, end);
    text.erase(0, end + 1);
    if (!trimmed(line).empty()) obey(line, source.outside);
  }
  return count > 0;
}

/// As a signal does.
void RunControl::ask_to_stop() {
  if (signals_seen.fetch_add(1) > 0) _exit(kInterrupted);
  report_.stopping();
  run_.stop();
}

void RunControl::obey(const std::string& line, bool from_outside) {
  try {
    const RunCommand command = parse_command(line);
    switch (command.kind) {
      case RunCommand::pause: run_.pause(true); break;
      case RunCommand::resume: run_.pause(false); break;
      case RunCommand::step: run_.step(); break;
      case RunCommand::stop: from_outside ? ask_to_stop() : run_.stop(); break;
      case RunCommand::checkpoint: run_.checkpoint(); break;
      case RunCommand::set: run_.set(command.assignment); break;
      case RunCommand::break_at: run_.add_breakpoint(command.place); break;
      case RunCommand::step_node: run_.step_node(); break;
      case RunCommand::run_to: run_.run_to(command.place); break;
      case RunCommand::unbreak:
        if (command.place.empty()) {
          run_.remove_breakpoints();
        } else {
          run_.remove_breakpoint(command.place == "-" ? std::string() : command.place);
        }
        break;
    }
    report_.command_done(line);
  } catch (const Failure& failure) {
    report_.command_failed(line, failure.problem());
  }
}

}  // namespace rewardloom::cli

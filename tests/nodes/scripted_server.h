// A small HTTP server of plain sockets that does what a test says, faults included; it shares no
// code with the client that it tests.
#pragma once
#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <functional>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "engine/core/json.h"

namespace rewardloom::testing {

struct SeenRequest {
  std::string line;                            ///< e.g. "POST /v1/completions HTTP/1.1"
  std::map<std::string, std::string> headers;  ///< names in lower case
  Json body;
  std::size_t number = 0;  ///< from 0, in order of arrival
  double at = 0;           ///< seconds since the server started
};

/// Bytes to send, and what happens before and after.
struct ServerAct {
  std::string bytes;
  double delay = 0;       ///< seconds before them
  double byte_pause = 0;  ///< seconds between single bytes
  bool hang = false;      ///< keep the connection open and silent instead
  bool close = false;     ///< end the connection behind them
};

inline ServerAct respond(int status, const std::string& body, const std::string& headers = "") {
  return {"HTTP/1.1 " + std::to_string(status) + " Scripted\r\nContent-Type: application/json\r\n" +
          headers + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body};
}
inline ServerAct respond(const Json& json) { return respond(200, json.dump()); }

class ScriptedServer {
 public:
  using Script = std::function<ServerAct(const SeenRequest&)>;

  /// With a context it speaks TLS.
  explicit ScriptedServer(Script script, SSL_CTX* tls = nullptr)
      : script_(std::move(script)), tls_(tls), listener_(::socket(AF_INET, SOCK_STREAM, 0)) {
    std::signal(SIGPIPE, SIG_IGN);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
        ::listen(listener_, 64) != 0 ||
        ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
      throw std::runtime_error("no port to listen on");
    }
    port_ = ntohs(address.sin_port);
    acceptor_ = std::thread([this] { accept_all(); });
  }
  ~ScriptedServer() {
    stopping_ = true;
    ::shutdown(listener_, SHUT_RDWR);
    acceptor_.join();
    {
      const std::lock_guard lock(mutex_);
      for (const int socket : sockets_) ::shutdown(socket, SHUT_RDWR);
    }
    for (std::thread& thread : threads_) thread.join();
    for (const int socket : sockets_) ::close(socket);
    ::close(listener_);
  }

  int port() const { return port_; }
  std::string url(const char* scheme = "http") const {
    return std::string(scheme) + "://127.0.0.1:" + std::to_string(port_) + "/v1";
  }
  std::vector<SeenRequest> seen() const {
    const std::lock_guard lock(mutex_);
    return seen_;
  }
  /// Most requests that were in work at once.
  int peak() const { return peak_; }

 private:
  struct Channel {
    int socket;
    SSL* ssl;
    long read(char* data, int size) const {
      return ssl ? SSL_read(ssl, data, size) : ::recv(socket, data, size, 0);
    }
    bool write(const std::string& text) const {
      for (std::size_t sent = 0; sent < text.size();) {
        const int size = static_cast<int>(std::min<std::size_t>(text.size() - sent, 1 << 16));
        const long n = ssl ? SSL_write(ssl, text.data() + sent, size)
                           : ::send(socket, text.data() + sent, size, MSG_NOSIGNAL);
        if (n <= 0) return false;
        sent += static_cast<std::size_t>(n);
      }
      return true;
    }
  };

  void accept_all() {
    for (;;) {
      const int socket = ::accept(listener_, nullptr, nullptr);
      if (socket < 0) return;
      const std::lock_guard lock(mutex_);
      sockets_.push_back(socket);
      threads_.emplace_back([this, socket] { serve(socket); });
    }
  }

  void serve(int socket) {
    SSL* const ssl = tls_ ? SSL_new(tls_) : nullptr;
    const Channel channel{socket, ssl};
    if (!ssl || (SSL_set_fd(ssl, socket) == 1 && SSL_accept(ssl) == 1)) {
      std::string pending;
      while (!stopping_ && serve_one(channel, pending)) {
      }
    }
    ::shutdown(socket, SHUT_RDWR);
    if (ssl) SSL_free(ssl);
  }

  bool serve_one(const Channel& channel, std::string& pending) {
    SeenRequest request;
    if (!read_request(channel, pending, request)) return false;
    const int now = ++active_;
    for (int before = peak_; now > before && !peak_.compare_exchange_weak(before, now);) {
    }
    {
      const std::lock_guard lock(mutex_);
      request.number = seen_.size();
      request.at = seconds();
      seen_.push_back(request);
    }
    const bool going_on = perform(channel, script_(request));
    return going_on;
  }

  bool perform(const Channel& channel, const ServerAct& act) {
    wait(act.delay);
    if (act.hang) wait(1e9);
    // Counted out before the last byte: the client may ask again at once.
    if (act.byte_pause > 0) {
      for (const char c : act.bytes) {
        if (stopping_ || !channel.write(std::string(1, c))) break;
        wait(act.byte_pause);
      }
      --active_;
    } else {
      --active_;
      if (!channel.write(act.bytes)) return false;
    }
    return !act.close && !act.hang;
  }

  static bool read_request(const Channel& channel, std::string& pending, SeenRequest& request) {
    const auto fill = [&] {
      char buffer[4096];
      const long n = channel.read(buffer, sizeof buffer);
      if (n > 0) pending.append(buffer, static_cast<std::size_t>(n));
      return n > 0;
    };
    while (pending.find("\r\n\r\n") == std::string::npos) {
      if (!fill()) return false;
    }
    std::size_t at = pending.find("\r\n");
    const std::size_t end = pending.find("\r\n\r\n");
    request.line = pending.substr(0, at);
    while (at < end) {
      const std::size_t next = std::min(pending.find("\r\n", at + 2), end);
      std::string header = pending.substr(at + 2, next - at - 2);
      const std::size_t colon = header.find(':');
      std::string name = header.substr(0, colon);
      std::transform(name.begin(), name.end(), name.begin(), ::tolower);
      request.headers[name] = header.substr(header.find_first_not_of(' ', colon + 1));
      at = next;
    }
    const std::size_t length = std::stoul(request.headers["content-length"]);
    while (pending.size() < end + 4 + length) {
      if (!fill()) return false;
    }
    request.body = Json::parse(pending.substr(end + 4, length), nullptr, false);
    pending.erase(0, end + 4 + length);
    return true;
  }

  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }
  void wait(double duration) const {
    const double end = seconds() + duration;
    while (!stopping_ && seconds() < end) {
      std::this_thread::sleep_for(std::chrono::duration<double>(std::min(0.005, end - seconds())));
    }
  }

  const Script script_;
  SSL_CTX* const tls_;
  const int listener_;
  int port_ = 0;
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::atomic<bool> stopping_ = false;
  std::atomic<int> active_ = 0;
  std::atomic<int> peak_ = 0;
  mutable std::mutex mutex_;
  std::vector<SeenRequest> seen_;
  std::vector<int> sockets_;
  std::vector<std::thread> threads_;
  std::thread acceptor_;
};

}  // namespace rewardloom::testing

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <QTemporaryDir>
#include <fstream>
#include <memory>

#include "engine/core/problem.h"
#include "nodes/sample/answer_cache.h"
#include "nodes/sample/openai_api.h"
#include "nodes/sample/remote_client.h"
#include "tests/nodes/scripted_server.h"
#include "tests/qt_test.h"

using namespace rewardloom;
using namespace rewardloom::testing;

namespace {

using Clock = std::chrono::steady_clock;

double since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

const Json kGood = {{"answer", 42}};

RemoteOptions options_for(const std::string& url) {
  RemoteOptions o;
  o.url = parse_url(url);
  o.path = "/chat/completions";
  o.timeout = 0.3;
  o.deadline = 5;
  o.retries = 2;
  o.backoff = 0.01;
  o.backoff_limit = 0.05;
  return o;
}

std::vector<RemoteRequest> numbered(int count) {
  std::vector<RemoteRequest> list;
  for (int i = 0; i < count; ++i) list.push_back({{{"i", i}, {"seed", 100}}, std::to_string(i)});
  return list;
}

/// Asks with hooks that take {"answer": 42} alone.
struct Asked {
  std::vector<RemoteOutcome> outcomes;
  std::map<std::size_t, std::string> given_up;
  double seconds = 0;

  Asked(
      const RemoteOptions& options, const std::vector<RemoteRequest>& requests, AnswerCache& cache,
      std::function<bool()> cancelled = [] { return false; }) {
    AskHooks hooks;
    hooks.accept = [](std::size_t, const Json& reply) {
      if (reply != kGood) throw Failure("test", "not what was asked for");
    };
    hooks.give_up = [this](std::size_t i, const std::string& reason) { given_up[i] = reason; };
    hooks.cancelled = std::move(cancelled);
    const auto start = Clock::now();
    outcomes = ask_all(options, requests, Random({1, 2, 3}), cache, hooks);
    seconds = since(start);
  }
};

Asked ask(const RemoteOptions& options, int count = 1) {
  AnswerCache none;
  return Asked(options, numbered(count), none);
}

Failure failure_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Failure& failure) {
    return failure;
  }
  return Failure("none", "nothing was thrown");
}

/// A server certificate for 127.0.0.1 that is its own authority.
class Certificate {
 public:
  explicit Certificate(const std::string& file) : context_(SSL_CTX_new(TLS_server_method())) {
    EVP_PKEY* const key = EVP_EC_gen("P-256");
    X509* const certificate = X509_new();
    X509_set_version(certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    X509_NAME* const name = X509_get_subject_name(certificate);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>("127.0.0.1"), -1, -1, 0);
    X509_set_issuer_name(certificate, name);
    X509_set_pubkey(certificate, key);
    X509_EXTENSION* const names =
        X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, "IP:127.0.0.1");
    X509_add_ext(certificate, names, -1);
    X509_EXTENSION_free(names);
    X509_sign(certificate, key, EVP_sha256());
    SSL_CTX_use_certificate(context_, certificate);
    SSL_CTX_use_PrivateKey(context_, key);
    const std::unique_ptr<FILE, int (*)(FILE*)> out(std::fopen(file.c_str(), "w"), std::fclose);
    PEM_write_X509(out.get(), certificate);
    X509_free(certificate);
    EVP_PKEY_free(key);
  }
  ~Certificate() { SSL_CTX_free(context_); }
  SSL_CTX* context() const { return context_; }

 private:
  SSL_CTX* const context_;
};

}  // namespace

class TestRemote : public QObject {
  Q_OBJECT
 private Q_SLOTS:
  void addresses_are_taken_apart() {
    const Url a = parse_url("http://127.0.0.1:8000/v1/");
    QVERIFY(!a.tls && a.host == "127.0.0.1" && a.port == 8000 && a.path == "/v1");
    const Url b = parse_url("https://api.example.org/openai/v1");
    QVERIFY(b.tls && b.host == "api.example.org" && b.port == 443 && b.path == "/openai/v1");
    const Url c = parse_url("http://[::1]:9/v1");
    QVERIFY(c.host == "::1" && c.port == 9);
    QCOMPARE(c.origin(), std::string("http://[::1]:9"));
    for (const char* bad :
         {"ftp://x/", "127.0.0.1:80", "http:///v1", "http://x:0/", "http://x:99999", "http://x:8o/",
          "http://x/v1?key=1", "http://[::1/v1", "http://x y/"}) {
      QCOMPARE(failure_of([&] { parse_url(bad); }).problem().code, std::string("remote-url"));
    }
  }

  void a_secret_in_an_address_is_refused_and_not_repeated() {
    for (const char* url : {"https://me:hunter2@example.org/v1", "https://me:#/hunter2@x.org"}) {
      const Failure failure = failure_of([&] { parse_url(url); });
      QCOMPARE(failure.problem().code, std::string("remote-url"));
      QVERIFY(std::string(failure.what()).find("hunter2") == std::string::npos);
    }
  }

  void retry_after_is_a_number_or_a_date() {
    QCOMPARE(retry_after_seconds("7", 0).value(), 7.0);
    QCOMPARE(retry_after_seconds("0.25", 0).value(), 0.25);
    // RFC 9110 names this moment: 784111777 seconds after the epoch.
    QCOMPARE(retry_after_seconds("Sun, 06 Nov 1994 08:49:37 GMT", 784111770).value(), 7.0);
    QCOMPARE(retry_after_seconds("Sun, 06 Nov 1994 08:49:37 GMT", 784111999).value(), 0.0);
    QVERIFY(!retry_after_seconds("soon", 0) && !retry_after_seconds("-3", 0));
  }

  void pauses_double_up_to_the_limit_and_are_drawn() {
    RemoteOptions o;
    o.backoff = 1;
    o.backoff_limit = 6;
    const double expected[] = {1, 2, 4, 6, 6};
    for (int k = 1; k <= 5; ++k) {
      double low = 1e9, high = 0;
      for (std::uint64_t i = 0; i < 200; ++i) {
        const double pause = backoff_seconds(o, k, Random({1, 2, 3}, i, k));
        QCOMPARE(pause, backoff_seconds(o, k, Random({1, 2, 3}, i, k)));
        low = std::min(low, pause);
        high = std::max(high, pause);
      }
      QVERIFY(low >= expected[k - 1] / 2 && low < expected[k - 1] * 0.55);
      QVERIFY(high < expected[k - 1] && high > expected[k - 1] * 0.95);
    }
    QVERIFY(backoff_seconds(o, 5000, Random({1, 2, 3})) <= 6);
  }

  void a_passing_fault_is_asked_again_data() {
    QTest::addColumn<QByteArray>("bytes");
    QTest::addColumn<QString>("unusual");
    const auto row = [](const char* name, const std::string& bytes, const char* kind = "") {
      QTest::newRow(name) << QByteArray::fromStdString(bytes) << kind;
    };
    const std::string good = kGood.dump();
    for (const int status : {408, 409, 425, 429, 500, 502, 503, 529}) {
      row(std::to_string(status).c_str(), respond(status, "{}").bytes);
    }
    row("garbage", "\x01\x02\xff\xfe not http at all\r\n\r\n", "close");
    row("closed at once", "", "close");
    row("cut stream", "HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n" + good, "close");
    row("cut chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n{\"an", "close");
    row("cut json", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"answ", "close");
    row("no json", respond(200, "<html>busy</html>").bytes);
    row("bytes that are no text", respond(200, "{\"answer\": \"\xff\xfe\"}").bytes);
    row("wrong shape", respond(200, "[1, 2]").bytes);
    row("error with status 200", respond(200, R"({"error": {"message": "busy"}})").bytes);
    row("never answers", "", "hang");
    row("header without end", "HTTP/1.1 200 OK\r\nX: " + std::string(10000, 'a'), "slow");
  }
  void a_passing_fault_is_asked_again() {
    QFETCH(QByteArray, bytes);
    QFETCH(QString, unusual);
    ScriptedServer server([&](const SeenRequest& request) {
      if (request.number > 0) return respond(kGood);
      ServerAct act{bytes.toStdString()};
      act.close = unusual == "close";
      act.hang = unusual == "hang";
      act.byte_pause = unusual == "slow" ? 0.01 : 0;
      return act;
    });
    const Asked asked = ask(options_for(server.url()));
    QVERIFY2(asked.given_up.empty(), asked.given_up.empty() ? "" : asked.given_up.at(0).c_str());
    QVERIFY(asked.outcomes[0].answered);
    QCOMPARE(asked.outcomes[0].tries, 2);
    QVERIFY(asked.seconds < 1.5);
  }

  void what_stays_wrong_is_given_up_with_its_reason_data() {
    QTest::addColumn<QByteArray>("bytes");
    QTest::addColumn<QString>("unusual");
    QTest::addColumn<QString>("words");
    QTest::addColumn<int>("tries");
    const auto bytes = [](const ServerAct& act) { return QByteArray::fromStdString(act.bytes); };
    QTest::newRow("500") << bytes(respond(500, R"({"error": {"message": "out of memory"}})")) << ""
                         << "3 tries: status 500: out of memory" << 3;
    QTest::newRow("400") << bytes(respond(400, R"({"error": "prompt too long"})")) << ""
                         << "1 tries: status 400: prompt too long" << 1;
    QTest::newRow("no json") << bytes(respond(200, "<html>\x07")) << ""
                             << "3 tries: the reply is no JSON: <html> " << 3;
    QTest::newRow("wrong shape") << bytes(respond(200, "{}")) << ""
                                 << "3 tries: not what was asked for" << 3;
    QTest::newRow("silent") << QByteArray() << "hang"
                            << "3 tries: no answer within 0.3" << 3;
    QTest::newRow("drip") << QByteArray(10000, ' ').prepend("HTTP/1.1 200 OK\r\n\r\n") << "slow"
                          << "3 tries: no answer within 0.3" << 3;
    QTest::newRow("cut") << QByteArray("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{") << "close"
                         << "3 tries: the reply is cut off or no HTTP" << 3;
  }
  void what_stays_wrong_is_given_up_with_its_reason() {
    QFETCH(QByteArray, bytes);
    QFETCH(QString, unusual);
    QFETCH(QString, words);
    QFETCH(int, tries);
    ScriptedServer server([&](const SeenRequest&) {
      ServerAct act{bytes.toStdString()};
      act.close = unusual == "close";
      act.hang = unusual == "hang";
      act.byte_pause = unusual == "slow" ? 0.01 : 0;
      return act;
    });
    const Asked asked = ask(options_for(server.url()));
    QVERIFY(!asked.outcomes[0].answered);
    QVERIFY2(asked.given_up.at(0).starts_with(words.toStdString()), asked.given_up.at(0).c_str());
    QCOMPARE(asked.outcomes[0].tries, tries);
    QVERIFY(asked.seconds < 2);
  }

  void a_refused_connection_is_given_up() {
    int port = 0;
    {
      const ScriptedServer gone([](const SeenRequest&) { return respond(kGood); });
      port = gone.port();
    }
    const Asked asked = ask(options_for("http://127.0.0.1:" + std::to_string(port)), 3);
    QCOMPARE(asked.given_up.size(), std::size_t{3});
    QCOMPARE(asked.given_up.at(2), std::string("3 tries: no connection"));
    QVERIFY(asked.seconds < 1);
  }

  void a_huge_reply_is_refused_while_it_comes() {
    const ScriptedServer server(
        [](const SeenRequest&) { return respond(200, "\"" + std::string(8 << 20, 'x') + "\""); });
    RemoteOptions o = options_for(server.url());
    o.timeout = 5;
    o.http.body_limit = 1 << 20;
    const Asked asked = ask(o);
    QCOMPARE(asked.given_up.at(0), std::string("3 tries: the reply is longer than 1048576 bytes"));
  }

  void retry_after_holds_every_request() {
    const ScriptedServer server([](const SeenRequest& request) {
      return request.number == 0 ? respond(429, "{}", "Retry-After: 1\r\n") : respond(kGood);
    });
    RemoteOptions o = options_for(server.url());
    o.concurrency = 1;
    const Asked asked = ask(o, 2);
    QVERIFY(asked.outcomes[0].answered && asked.outcomes[1].answered);
    const auto seen = server.seen();
    QCOMPARE(seen.size(), std::size_t{3});
    QVERIFY(seen[1].at - seen[0].at >= 0.99 && seen[1].at - seen[0].at < 1.5);
  }

  void a_wait_beyond_the_deadline_is_not_begun() {
    const ScriptedServer server(
        [](const SeenRequest&) { return respond(429, "{}", "Retry-After: 3600\r\n"); });
    const Asked asked = ask(options_for(server.url()), 2);
    QVERIFY(asked.seconds < 1);
    QVERIFY2(asked.given_up.at(0).find("leaves no time for try 2; before: status 429") !=
                 std::string::npos,
             asked.given_up.at(0).c_str());
    QCOMPARE(asked.given_up.size(), std::size_t{2});
  }

  void the_deadline_ends_all_of_it() {
    const ScriptedServer server([](const SeenRequest&) { return ServerAct{.hang = true}; });
    RemoteOptions o = options_for(server.url());
    o.timeout = 60;
    o.deadline = 0.5;
    o.concurrency = 2;
    const Asked asked = ask(o, 9);
    QVERIFY2(asked.seconds < 1, std::to_string(asked.seconds).c_str());
    QCOMPARE(asked.given_up.size(), std::size_t{9});
    QVERIFY(server.seen().size() <= 3);
  }

  void stopping_the_run_ends_all_of_it() {
    const ScriptedServer server([](const SeenRequest&) { return ServerAct{.hang = true}; });
    RemoteOptions o = options_for(server.url());
    o.timeout = o.deadline = 60;
    const auto start = Clock::now();
    AnswerCache none;
    const Failure failure =
        failure_of([&] { Asked(o, numbered(4), none, [&] { return since(start) > 0.2; }); });
    QCOMPARE(failure.problem().code, std::string("cancelled"));
    QVERIFY(since(start) < 0.7);
  }

  void no_more_requests_at_once_than_asked_for() {
    const ScriptedServer server([](const SeenRequest&) {
      ServerAct act = respond(kGood);
      act.delay = 0.03;
      return act;
    });
    RemoteOptions o = options_for(server.url());
    o.concurrency = 3;
    const Asked asked = ask(o, 20);
    QVERIFY(asked.given_up.empty());
    QCOMPARE(server.peak(), 3);
    QCOMPARE(server.seen().size(), std::size_t{20});
    std::vector<int> bodies;
    for (const SeenRequest& request : server.seen()) bodies.push_back(request.body["i"]);
    std::sort(bodies.begin(), bodies.end());
    for (int i = 0; i < 20; ++i) QCOMPARE(bodies[i], i);
  }

  void only_an_unusable_reply_changes_the_seed() {
    const ScriptedServer server([](const SeenRequest& request) {
      if (request.number == 0) return respond(503, "{}");
      return request.number == 1 ? respond(200, "{}") : respond(kGood);
    });
    const Asked asked = ask(options_for(server.url()));
    QCOMPARE(asked.outcomes[0].tries, 3);
    QCOMPARE(asked.outcomes[0].unusable, 1);
    const auto seen = server.seen();
    QCOMPARE(seen[0].body["seed"].get<int>(), 100);
    QCOMPARE(seen[1].body["seed"].get<int>(), 100);
    QCOMPARE(seen[2].body["seed"].get<int>(), 101);
  }

  void a_refused_key_ends_everything_and_is_never_shown_data() {
    QTest::addColumn<int>("status");
    for (const int status : {301, 401, 403, 404, 405}) {
      QTest::newRow(std::to_string(status).c_str()) << status;
    }
  }
  void a_refused_key_ends_everything_and_is_never_shown() {
    QFETCH(int, status);
    const std::string key = "sk-" + std::string(40, 'q');
    const ScriptedServer server([&](const SeenRequest& request) {
      // Far enough inside that an excerpt cuts through it.
      return respond(status, "{\"error\": {\"message\": \"" + std::string(270, '.') +
                                 request.headers.at("authorization") + "\"}}");
    });
    RemoteOptions o = options_for(server.url());
    o.http.bearer = key;
    o.concurrency = 2;
    const Failure failure = failure_of([&] { ask(o, 10); });
    QCOMPARE(failure.problem().code, std::string("remote-refused"));
    QVERIFY(std::string(failure.what()).find("sk-q") == std::string::npos);
    QVERIFY(server.seen().size() <= 4);
    QCOMPARE(server.seen()[0].headers.at("authorization"), "Bearer " + key);
    QVERIFY(server.seen()[0].line == "POST /v1/chat/completions HTTP/1.1");
  }

  void a_key_that_is_no_header_is_refused() {
    RemoteOptions o = options_for("http://127.0.0.1:1");
    o.http.bearer = "sk-x\r\nHost: elsewhere";
    const Failure failure = failure_of([&] { ask(o); });
    QCOMPARE(failure.problem().code, std::string("api-key"));
    QVERIFY(std::string(failure.what()).find("sk-x") == std::string::npos);
  }

  void a_certificate_must_be_trusted() {
    QTemporaryDir folder;
    const std::string file = folder.filePath("ca.pem").toStdString();
    const Certificate certificate(file);
    const ScriptedServer server([](const SeenRequest&) { return respond(kGood); },
                                certificate.context());
    RemoteOptions o = options_for(server.url("https"));
    o.timeout = 3;
    QCOMPARE(failure_of([&] { ask(o); }).problem().code, std::string("remote-certificate"));
    QVERIFY(server.seen().empty());
    o.http.ca_file = file;
    QVERIFY(ask(o, 5).given_up.empty());
    o.http.ca_file = file + ".none";
    QCOMPARE(failure_of([&] { ask(o); }).problem().code, std::string("remote-certificate"));
  }

  void a_cache_gives_back_what_it_was_given() {
    QTemporaryDir folder;
    const std::string file = folder.filePath("deep/answers.jsonl").toStdString();
    const std::string a = request_key("1", {{"x", 1}}), b = request_key("2", {{"x", 1}});
    QVERIFY(a != b && a.size() == 64);
    // By coreutils: printf 'a\n1' | sha256sum.
    QCOMPARE(request_key("a", 1),
             std::string("4f395a2e9ea1c0680348d384135458270e9e6f5af3576151fec246b7b6de98e6"));
    {
      AnswerCache cache(file);
      cache.store(a, {{"reply", "one"}});
      cache.store(b, {{"reply", "two\n"}});
      QCOMPARE(cache.find(b)->at("reply").get<std::string>(), std::string("two\n"));
    }
    // A line that a kill cut short, as the last thing in the file.
    std::ofstream(file, std::ios::app) << "{\"key\":\"" << std::string(64, 'f') << "\",\"reply\":";
    {
      AnswerCache cache(file);
      QCOMPARE(cache.size(), std::size_t{2});
      QVERIFY(!cache.find(std::string(64, 'f')));
      cache.store(std::string(64, 'c'), {{"reply", "three"}});
      cache.store(a, {{"reply", "newer"}});
      QCOMPARE(cache.find(std::string(64, 'c'))->at("reply").get<std::string>(),
               std::string("three"));
    }
    const AnswerCache again(file);
    QCOMPARE(again.find(a)->at("reply").get<std::string>(), std::string("newer"));
    QCOMPARE(again.find(std::string(64, 'c'))->at("reply").get<std::string>(),
             std::string("three"));
    QCOMPARE(failure_of([] { AnswerCache("/proc/none/x"); }).problem().code,
             std::string("answer-cache"));
  }

  void a_cached_request_is_not_made_again_failures_included() {
    QTemporaryDir folder;
    const std::string file = folder.filePath("answers.jsonl").toStdString();
    const ScriptedServer server([](const SeenRequest& request) {
      return request.body["i"] == 1 ? respond(400, R"({"error": "no"})") : respond(kGood);
    });
    const RemoteOptions o = options_for(server.url());
    {
      AnswerCache cache(file);
      QCOMPARE(Asked(o, numbered(3), cache).given_up.size(), std::size_t{1});
    }
    QCOMPARE(server.seen().size(), std::size_t{3});
    AnswerCache cache(file);
    const Asked again(o, numbered(4), cache);
    QCOMPARE(server.seen().size(), std::size_t{4});
    QCOMPARE(again.given_up.at(1), std::string("1 tries: status 400: no"));
    QVERIFY(again.outcomes[0].answered && again.outcomes[2].answered && again.outcomes[3].answered);
  }

  void a_failure_that_ends_the_run_is_not_kept() {
    QTemporaryDir folder;
    const std::string file = folder.filePath("answers.jsonl").toStdString();
    const ScriptedServer server([](const SeenRequest& request) {
      return request.number == 0 ? respond(400, "{}") : respond(kGood);
    });
    const RemoteOptions o = options_for(server.url());
    {
      AnswerCache cache(file);
      AskHooks hooks;
      hooks.accept = [](std::size_t, const Json&) {};
      hooks.give_up = [](std::size_t, const std::string& why) { throw Failure("row-failed", why); };
      hooks.cancelled = [] { return false; };
      const Failure failure = failure_of([&] {
        ask_all(o, numbered(1), Random({1, 2, 3}), cache, hooks);
      });
      QCOMPARE(failure.problem().code, std::string("row-failed"));
    }
    AnswerCache cache(file);
    QVERIFY(Asked(o, numbered(1), cache).outcomes[0].answered);
  }

  void a_reply_must_have_the_answers_asked_for() {
    const auto read = [](const char* text, std::size_t count = 1) {
      return failure_of([&] { read_answers(RemoteApi::chat, Json::parse(text), count); }).problem();
    };
    QCOMPARE(read("[]").text, std::string("the reply has no list of choices"));
    QCOMPARE(read(R"({"choices": 3})").text, std::string("the reply has no list of choices"));
    QCOMPARE(read(R"({"choices": []})", 2).text, std::string("asked for 2 answers, got 0"));
    QCOMPARE(read(R"({"choices": [7]})").text, std::string("a choice is no object"));
    QCOMPARE(read(R"({"choices": [{"message": null}]})").text,
             std::string("a choice has no message.content"));
    QCOMPARE(read(R"({"choices": [{"message": {"content": null},
                                   "finish_reason": "content_filter"}]})")
                 .text,
             std::string("a choice has no message.content (finish_reason content_filter)"));
    QVERIFY(read(R"({"error": {"code": 7}})").text.find("\"code\":7") != std::string::npos);
  }
};

REWARDLOOM_TEST(TestRemote)
#include "test_remote.moc"

// A model on llama.cpp's own RPC server says the same as one in this process.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <string>
#include <thread>

#include "check.h"
#include "luci/engine.h"
#include "luci/errors.h"
#include "run_requests.h"

static sockaddr_in address(int port) {
    sockaddr_in where{};
    where.sin_family = AF_INET;
    where.sin_port = htons(static_cast<uint16_t>(port));
    where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return where;
}

static int free_port() {
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in where = address(0);
    socklen_t size = sizeof(where);
    CHECK(bind(fd, reinterpret_cast<sockaddr *>(&where), size) == 0);
    CHECK(getsockname(fd, reinterpret_cast<sockaddr *>(&where), &size) == 0);
    close(fd);
    return ntohs(where.sin_port);
}

static bool is_listening(int port) {
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    const sockaddr_in where = address(port);
    const bool ok = connect(fd, reinterpret_cast<const sockaddr *>(&where), sizeof(where)) == 0;
    close(fd);
    return ok;
}

static pid_t start_server(const char * program, int port) {
    const std::string port_text = std::to_string(port);
    const pid_t pid = fork();
    if (pid == 0) {
        // The tree's own server reads its messages unaligned. What is tested is our side of the
        // wire, so there a finding is told and does not end the process.
        setenv("UBSAN_OPTIONS", "halt_on_error=0", 1);
        execl(program, program, "--host", "127.0.0.1", "--port", port_text.c_str(), "--threads",
              "1", static_cast<char *>(nullptr));
        _exit(127);
    }
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (!is_listening(port) && std::chrono::steady_clock::now() < end) {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return pid;
}

// Arguments: the folder of models, llama.cpp's ggml-rpc-server.
int main(int, char ** argv) {
    luci::LoadParams params = load_params(std::string(argv[1]) + "/llama.gguf");
    luci::LoadProgress progress;
    Outcome here;
    {
        luci::Engine engine(params, progress);
        here = answer(engine, make_request(tokens(60, 1), 24));
        for (const luci::BufferMemory & buffer : engine.memory()) {
            CHECK(buffer.name.find("RPC") == std::string::npos);
        }
    }
    const int port = free_port();
    const pid_t server = start_server(argv[2], port);
    {
        params.rpc_servers = {"127.0.0.1:" + std::to_string(port)};
        luci::Engine engine(params, progress);
        const Outcome there = answer(engine, make_request(tokens(60, 1), 24));
        CHECK(here.tokens.size() == 24);
        CHECK(there.tokens == here.tokens);
        uint64_t there_bytes = 0;
        for (const luci::BufferMemory & buffer : engine.memory()) {
            if (buffer.name.find("RPC") != std::string::npos) {
                there_bytes += buffer.weights_bytes;
            }
        }
        CHECK(there_bytes > 0);
    }
    kill(server, SIGKILL);
    waitpid(server, nullptr, 0);
    return check::result();
}

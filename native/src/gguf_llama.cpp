// What the validator asks of the pinned llama.cpp: its list of architectures and its template
// parser. Both get text that has passed luci's own checks, and neither sees the file.
#include <exception>

#include "jinja/lexer.h"
#include "jinja/parser.h"
#include "llama-arch.h"
#include "luci/validate.h"

namespace luci::gguf {

bool knows_architecture(const std::string & name) {
    return llm_arch_from_string(name) != LLM_ARCH_UNKNOWN;
}

void parse_template(const std::string & key, const std::string & text, uint64_t offset,
                    Findings & findings) {
    try {
        jinja::lexer lexer;
        jinja::parse_from_tokens(lexer.tokenize(text));
    } catch (const std::exception & error) {
        const std::string reason = error.what();
        findings.error(
            "T02", offset,
            key + " cannot be parsed: " + shown(reason.substr(0, reason.find('\n')), 160) + ".");
    }
}

}  // namespace luci::gguf

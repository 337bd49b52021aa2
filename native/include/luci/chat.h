// Chat templates: from messages to prompt tokens, and from the answer's text back to content,
// thinking and tool calls. The one file of luci that knows llama-common's chat code.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <chat.h>  // llama-common; in angle brackets, as this file has the same name
#include "luci/media.h"
#include "luci/model.h"
#include "luci/sampler.h"
#include "luci/types.h"

namespace luci {

// Splits one answer into its parts as it grows.
class ChatParser {
public:
    ChatParser(const common_chat_params & params, bool parse_tool_calls);

    // Appends text of the answer and adds what became visible to `event` (text, reasoning,
    // tool_calls).
    void feed(const std::string & text, bool is_last, Event & event);

    bool has_tool_calls() const { return !message_.tool_calls.empty(); }

private:
    common_chat_msg parse(bool is_last);

    common_chat_parser_params params_;
    std::string raw_;
    common_chat_msg message_;
    std::vector<std::string> tool_call_ids_;
};

struct RenderedChat {
    std::vector<llama_token> tokens;  // with stand-ins for embeddings, see MediaPrompt
    std::vector<MediaPiece> media;
    GrammarSpec grammar;                        // for tool calls or a JSON schema
    std::vector<std::string> stops;             // that the template asks for
    std::vector<llama_token> preserved_tokens;  // control tokens that are part of the answer's text
    std::unique_ptr<ChatParser> parser;         // null = the text is the content
};

class Chat {
public:
    // `template_override` is Jinja source; empty = the model's own template, or ChatML where it has
    // none; an encoder-decoder model then gets the last message as it is. Throws ModelLoadError
    // when the template does not parse. `projector` turns images and sound into tokens; null = the
    // model takes none.
    Chat(const Model & model, const std::string & template_override, Projector * projector);

    // True when the template is the model's own or the override, not the ChatML stand-in.
    bool has_template() const;

    // Renders request.messages_json. The text of control tokens inside user and tool messages stays
    // text. Throws RequestError for JSON, tools or messages that the template cannot take.
    RenderedChat render(const Request & request) const;

private:
    RenderedChat render_plain(const Request & request) const;
    std::vector<llama_token> tokenize(const std::vector<PromptPart> & parts) const;
    MediaPrompt tokenize_media(const std::vector<PromptPart> & parts,
                               const Request & request) const;

    const Model & model_;
    Projector * projector_;
    common_chat_templates_ptr templates_;
    std::vector<std::string> control_texts_;
};

}  // namespace luci

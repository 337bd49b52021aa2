#include "luci/chat.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <random>

#include "luci/errors.h"

namespace luci {

namespace {

constexpr int64_t MAX_MEDIA = 1024;

std::string random_hex(size_t n_digits) {
    static thread_local std::mt19937_64 generator{std::random_device{}()};
    static const char digits[] = "0123456789abcdef";
    std::string text;
    for (size_t i = 0; i < n_digits; i++) {
        text += digits[generator() % 16];
    }
    return text;
}

// Replaces each control token's text in `content` by mark + its number in `literals` + U+E001.
// `control_texts` has longer ones first.
void protect(std::string & content, const std::vector<std::string> & control_texts,
             const std::string & mark, std::vector<std::string> & literals) {
    std::array<std::vector<const std::string *>, 256> by_first_byte;
    for (const std::string & control : control_texts) {
        by_first_byte[static_cast<uint8_t>(control[0])].push_back(&control);
    }
    std::string marked;
    size_t done = 0;
    for (size_t at = 0; at < content.size();) {
        const auto & candidates = by_first_byte[static_cast<uint8_t>(content[at])];
        const auto found =
            std::find_if(candidates.begin(), candidates.end(), [&](const std::string * control) {
                return content.compare(at, control->size(), *control) == 0;
            });
        if (found == candidates.end()) {
            at++;
            continue;
        }
        marked.append(content, done, at - done);
        marked += mark + std::to_string(literals.size()) + "\xEE\x80\x81";
        literals.push_back(**found);
        at += (*found)->size();
        done = at;
    }
    marked.append(content, done);
    content = std::move(marked);
}

// Turns a part {"type": "media", "index": i} into text that the template carries to its place.
void mark_media(common_json & part, const std::string & mark) {
    if (part.is_object() && part.contains("type") && part.at("type").is_string() &&
        part.at("type").get<std::string>() == "media" && part.contains("index")) {
        const int64_t index = part.at("index").get<int64_t>();
        if (index < 0 || index >= MAX_MEDIA) {
            throw RequestError("invalid_request",
                               "A message names medium " + std::to_string(index) + "; at most " +
                                   std::to_string(MAX_MEDIA) + " come with a request.");
        }
        part = common_json::parse("{\"type\": \"media_marker\", \"text\": \"\"}");
        part.at("text") = common_json::make(mark + "m" + std::to_string(index) + "\xEE\x80\x81");
    }
}

void protect_message(common_json & message, const std::vector<std::string> & control_texts,
                     const std::string & mark, std::vector<std::string> & literals) {
    if (!message.is_object() || !message.contains("role") || !message.contains("content") ||
        !message.at("role").is_string()) {
        return;
    }
    const std::string role = message.at("role").get<std::string>();
    if (role != "user" && role != "tool") {
        return;
    }
    common_json & content = message.at("content");
    const auto protect_value = [&](common_json & value) {
        std::string text = value.get<std::string>();
        protect(text, control_texts, mark, literals);
        value = common_json::make(text);
    };
    if (content.is_string()) {
        protect_value(content);
    } else if (content.is_array()) {
        for (size_t i = 0; i < content.size(); i++) {
            if (content.at(i).is_object() && content.at(i).contains("text") &&
                content.at(i).at("text").is_string()) {
                protect_value(content.at(i).at("text"));
            }
            mark_media(content.at(i), mark);
        }
    }
}

common_chat_tool_choice tool_choice(const std::string & name) {
    if (name == "required") {
        return COMMON_CHAT_TOOL_CHOICE_REQUIRED;
    }
    return name == "none" ? COMMON_CHAT_TOOL_CHOICE_NONE : COMMON_CHAT_TOOL_CHOICE_AUTO;
}

}  // namespace

ChatParser::ChatParser(const common_chat_params & params, bool parse_tool_calls) : params_(params) {
    params_.reasoning_format = COMMON_REASONING_FORMAT_DEEPSEEK;
    params_.parse_tool_calls = parse_tool_calls;
    if (!params.parser.empty()) {
        params_.parser.load(params.parser);
    }
}

common_chat_msg ChatParser::parse(bool is_last) {
    try {
        return common_chat_parse(raw_, !is_last, params_);
    } catch (const std::exception &) {
        // A model may break its own format. What was understood so far stays, and nothing of the
        // rest is lost.
        common_chat_msg message = message_;
        if (is_last && message.empty()) {
            message.content = raw_;
        }
        return message;
    }
}

void ChatParser::feed(const std::string & text, bool is_last, Event & event) {
    raw_ += text;
    if (raw_.empty()) {
        return;
    }
    common_chat_msg message = parse(is_last);
    message.set_tool_call_ids(tool_call_ids_, [] { return "call_" + random_hex(24); });
    std::vector<common_chat_msg_diff> diffs;
    try {
        diffs = common_chat_msg_diff::compute_diffs(message_, message);
    } catch (const std::exception &) {
        return;  // the new reading takes something back; the next text decides
    }
    for (const common_chat_msg_diff & diff : diffs) {
        event.text += diff.content_delta;
        event.reasoning += diff.reasoning_content_delta;
        if (diff.tool_call_index != std::string::npos) {
            event.tool_calls.push_back({static_cast<int32_t>(diff.tool_call_index),
                                        diff.tool_call_delta.id, diff.tool_call_delta.name,
                                        diff.tool_call_delta.arguments});
        }
    }
    message_ = std::move(message);
}

Chat::Chat(const Model & model, const std::string & template_override, Projector * projector)
    : model_(model), projector_(projector) {
    try {
        templates_ = common_chat_templates_init(model.get(), template_override);
    } catch (const std::exception & error) {
        throw ModelLoadError(std::string("The chat template does not parse: ") + error.what() +
                             ". Give another one with --chat-template.");
    }
    for (llama_token token = 0; token < model.n_vocab(); token++) {
        if (llama_vocab_is_control(model.vocab(), token)) {
            const char * text = llama_vocab_get_text(model.vocab(), token);
            // One character is nobody's marker, and breaking it up would change ordinary text.
            if (text != nullptr && std::string(text).size() >= 2) {
                control_texts_.emplace_back(text);
            }
        }
    }
    // Longer ones first, so that a marker is not broken up by one that is part of it.
    std::sort(control_texts_.begin(), control_texts_.end(),
              [](const std::string & a, const std::string & b) { return a.size() > b.size(); });
}

bool Chat::has_template() const {
    return common_chat_templates_was_explicit(templates_.get());
}

// Cuts a rendered prompt at the marks: text of the template, control texts of a user that stay
// text, media.
static std::vector<PromptPart> split_prompt(const std::string & prompt,
                                            const std::vector<std::string> & literals,
                                            const std::string & mark) {
    std::vector<PromptPart> parts;
    size_t at = 0;
    for (size_t begin = prompt.find(mark); begin != std::string::npos;
         begin = prompt.find(mark, at)) {
        const size_t end = prompt.find("\xEE\x80\x81", begin);
        parts.push_back({prompt.substr(at, begin - at), true, -1});
        size_t number = 0;
        const bool is_media = prompt.compare(begin + mark.size(), 1, "m") == 0;
        const char * digits = prompt.data() + begin + mark.size() + (is_media ? 1 : 0);
        const char * digits_end = prompt.data() + std::min(end, prompt.size());
        const auto [read, error] = std::from_chars(digits, std::max(digits, digits_end), number);
        if (error != std::errc() || read != digits_end || end == std::string::npos ||
            (is_media ? number >= MAX_MEDIA : number >= literals.size())) {
            throw RequestError("invalid_request",
                               "The chat template cuts messages in the middle of a control token's "
                               "text or of a place for an image; leave that text out, or use "
                               "another template.");
        }
        if (is_media) {
            parts.push_back({"", false, static_cast<int32_t>(number)});
        } else {
            parts.push_back({literals[number], false, -1});
        }
        at = end + 3;
    }
    parts.push_back({prompt.substr(at), true, -1});
    return parts;
}

std::vector<llama_token> Chat::tokenize(const std::vector<PromptPart> & parts) const {
    std::vector<llama_token> tokens;
    for (size_t i = 0; i < parts.size(); i++) {
        const std::vector<llama_token> more =
            model_.tokenize(parts[i].text, i == 0, parts[i].parse_special);
        tokens.insert(tokens.end(), more.begin(), more.end());
    }
    return tokens;
}

MediaPrompt Chat::tokenize_media(const std::vector<PromptPart> & parts,
                                 const Request & request) const {
    if (projector_ == nullptr) {
        throw RequestError("media_not_supported",
                           "This model takes no images and no sound: it was loaded without a "
                           "projector. Load it with the mmproj file that belongs to it, or send "
                           "text alone.");
    }
    size_t n_placed = 0;
    for (const PromptPart & part : parts) {
        if (part.media >= static_cast<int32_t>(request.media.size())) {
            throw RequestError("invalid_request", "A message names medium " +
                                                      std::to_string(part.media) + " of " +
                                                      std::to_string(request.media.size()) + ".");
        }
        n_placed += part.media >= 0;
    }
    if (n_placed != request.media.size()) {
        throw RequestError("media_not_supported",
                           "The chat template put " + std::to_string(n_placed) + " of " +
                               std::to_string(request.media.size()) +
                               " images and sounds into the prompt. Give the model another "
                               "template with --chat-template.");
    }
    return projector_->tokenize(parts, request.media);
}

// The messages of a model that knows no chat: the user's last one, below what the system says.
static std::string plain_prompt(const std::vector<common_chat_msg> & messages) {
    if (messages.empty() || messages.back().role != "user") {
        const std::string last = messages.empty() ? "none" : messages.back().role;
        throw RequestError("invalid_request",
                           "The last message has to be the user's for a model without a chat "
                           "template, and it is of the role '" +
                               last + "'. Send the user's message last.");
    }
    std::string prompt;
    for (const common_chat_msg & message : messages) {
        if (message.role == "system" || message.role == "developer") {
            prompt += message.render_content() + "\n\n";
        }
    }
    return prompt + messages.back().render_content();
}

RenderedChat Chat::render_plain(const Request & request) const {
    RenderedChat rendered;
    rendered.grammar = user_grammar(request.sampling);
    if (!request.media.empty()) {
        throw RequestError(
            "media_not_supported",
            "An encoder-decoder model takes no images and no sound; send text alone.");
    }
    if (!request.tools_json.empty() && request.tool_choice != "none") {
        throw RequestError("invalid_request",
                           "This model has no chat template that could tell it of tools; send the "
                           "messages without tools.");
    }
    std::string prompt;
    try {
        prompt = plain_prompt(
            common_chat_msgs_parse_oaicompat(common_json::parse(*request.messages_json)));
    } catch (const RequestError &) {
        throw;
    } catch (const std::exception & error) {
        throw RequestError("invalid_request", std::string("These messages cannot be read: ") +
                                                  error.what() + ". Check roles and contents.");
    }
    rendered.tokens = model_.tokenize(prompt, true, false);
    return rendered;
}

RenderedChat Chat::render(const Request & request) const {
    // The template that llama.cpp takes where a file has none would be text to such a model.
    if (model_.is_encoder_decoder() && !has_template()) {
        return render_plain(request);
    }
    // A broken schema or grammar is named as such; below, everything that fails is about the
    // template.
    const GrammarSpec own_grammar = user_grammar(request.sampling);
    std::vector<std::string> literals;
    // U+E000 is private use: no tokenizer or template gives it a meaning; the random part keeps a
    // user from forging it.
    const std::string mark = "\xEE\x80\x80" + random_hex(16) + ":";
    common_chat_params params;
    bool has_tools = false;
    try {
        common_json messages = common_json::parse(*request.messages_json);
        for (size_t i = 0; messages.is_array() && i < messages.size(); i++) {
            protect_message(messages.at(i), control_texts_, mark, literals);
        }
        common_chat_templates_inputs inputs;
        inputs.messages = common_chat_msgs_parse_oaicompat(messages);
        if (!request.tools_json.empty()) {
            inputs.tools =
                common_chat_tools_parse_oaicompat(common_json::parse(request.tools_json));
        }
        has_tools = !inputs.tools.empty();
        inputs.tool_choice = tool_choice(request.tool_choice);
        inputs.parallel_tool_calls = request.parallel_tool_calls;
        inputs.enable_thinking = request.enable_thinking;
        inputs.reasoning_format = COMMON_REASONING_FORMAT_DEEPSEEK;
        inputs.json_schema = request.sampling.json_schema;
        params = common_chat_templates_apply(templates_.get(), inputs);
    } catch (const RequestError &) {
        throw;
    } catch (const std::exception & error) {
        throw RequestError("invalid_request",
                           std::string("The chat template cannot take these messages: ") +
                               error.what() + ". Check roles, contents and tools.");
    }

    RenderedChat rendered;
    const std::vector<PromptPart> parts = split_prompt(params.prompt, literals, mark);
    const bool has_media = std::any_of(parts.begin(), parts.end(),
                                       [](const PromptPart & part) { return part.media >= 0; });
    if (request.media.empty() && !has_media) {
        rendered.tokens = tokenize(parts);
    } else {
        MediaPrompt prompt = tokenize_media(parts, request);
        rendered.tokens = std::move(prompt.tokens);
        rendered.media = std::move(prompt.pieces);
    }
    rendered.stops = params.additional_stops;
    if (!request.sampling.grammar.empty()) {
        rendered.grammar = own_grammar;
    } else {
        rendered.grammar.gbnf = params.grammar;
        rendered.grammar.is_lazy = params.grammar_lazy;
        rendered.grammar.generation_prompt = params.generation_prompt;
    }
    for (const std::string & text : params.preserved_tokens) {
        const std::vector<llama_token> ids = model_.tokenize(text, false, true);
        if (ids.size() == 1) {
            rendered.preserved_tokens.push_back(ids[0]);
        }
    }
    for (common_grammar_trigger trigger : params.grammar_triggers) {
        if (trigger.type == COMMON_GRAMMAR_TRIGGER_TYPE_WORD) {
            const std::vector<llama_token> ids = model_.tokenize(trigger.value, false, true);
            if (ids.size() == 1) {
                trigger.type = COMMON_GRAMMAR_TRIGGER_TYPE_TOKEN;
                trigger.token = ids[0];
                rendered.preserved_tokens.push_back(ids[0]);
            }
        }
        rendered.grammar.triggers.push_back(trigger);
    }
    if (params.format != COMMON_CHAT_FORMAT_CONTENT_ONLY &&
        !(params.parser.empty() && !has_tools)) {
        rendered.parser =
            std::make_unique<ChatParser>(params, has_tools && request.tool_choice != "none");
    }
    return rendered;
}

}  // namespace luci

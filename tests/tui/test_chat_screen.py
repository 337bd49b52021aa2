from textual import events

from luci_tui.engine import frames
from luci_tui.errors import ModelLoadError, RequestError, WorkerLostError
from luci_tui.tui.screens.chat import State
from tests.support.keys import Keys, presses
from tests.support.screen import (
    chat_app,
    chat_screen,
    prompt_of,
    shown_text,
    wait_for_text,
    wait_until,
)
from tests.support.scripted_engine import Gate, ScriptedEngine, done, text, thought

SIZE = (80, 24)


async def test_empty_chat_says_what_to_do() -> None:
    app = chat_app(ScriptedEngine())
    async with app.run_test(size=SIZE) as pilot:
        await wait_for_text(pilot, "ready")
        assert "Type a request and press Enter" in shown_text(app)
        assert "model.gguf · llama 1B Q8_0 · context 512" in shown_text(app)


async def test_prompt_sent_shows_the_answer_and_the_truth_line() -> None:
    engine = ScriptedEngine([text("Hello "), text("**you**"), done()])
    app = chat_app(engine)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press(*"hi there", "enter")
        await wait_for_text(pilot, "TTFT")
        shown = shown_text(app)
        assert "> hi there" in shown
        assert "Hello you" in shown
        assert "context 30/512 · 50.0 tok/s · TTFT 12 ms" in shown
        assert engine.requests[0].messages_json == '[{"role": "user", "content": "hi there"}]'


async def test_second_prompt_carries_the_first_turn() -> None:
    engine = ScriptedEngine([text("one"), done()], [text("two"), done()])
    app = chat_app(engine)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("a", "enter")
        await wait_for_text(pilot, "one")
        await pilot.press("b", "enter")
        await wait_for_text(pilot, "two")
    assert engine.requests[1].messages_json == (
        '[{"role": "user", "content": "a"}, {"role": "assistant", "content": "one"}, '
        '{"role": "user", "content": "b"}]'
    )


async def test_answer_is_shown_while_it_grows() -> None:
    gate = Gate()
    app = chat_app(ScriptedEngine([text("begun "), gate, text("ended"), done()]))
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("a", "enter")
        await wait_for_text(pilot, "begun")
        assert chat_screen(app).state is State.ANSWERING
        gate.opened.set()
        await wait_for_text(pilot, "begun ended")


async def test_escape_stops_the_answer_and_keeps_what_came() -> None:
    engine = ScriptedEngine([text("partial"), Gate(), done()], [text("next"), done()])
    app = chat_app(engine)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("a", "enter")
        await wait_for_text(pilot, "partial")
        await pilot.press("escape")
        await wait_for_text(pilot, "stopped by you")
        assert "partial" in shown_text(app)
        assert engine.n_cancelled == 1
        await pilot.press("b", "enter")
        await wait_for_text(pilot, "next")


async def test_prompt_typed_while_the_model_is_busy_waits_its_turn() -> None:
    gate = Gate()
    engine = ScriptedEngine([text("one"), gate, done()], [text("two"), done()])
    app = chat_app(engine)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("a", "enter")
        await wait_for_text(pilot, "one")
        await pilot.press("b", "enter")
        await wait_for_text(pilot, "1 waiting")
        gate.opened.set()
        await wait_for_text(pilot, "two")


async def test_escape_gives_waiting_prompts_back() -> None:
    engine = ScriptedEngine([text("one"), Gate()])
    app = chat_app(engine)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("a", "enter")
        await wait_for_text(pilot, "one")
        await pilot.press(*"later", "enter")
        await wait_for_text(pilot, "1 waiting")
        await pilot.press("escape")
        await wait_until(pilot, lambda: prompt_of(app).text == "later")
        assert len(engine.requests) == 1


async def test_refused_request_is_one_sentence_and_the_chat_goes_on() -> None:
    refusal = RequestError(
        "The prompt has 900 tokens; the context 512.", code="context_length_exceeded"
    )
    engine = ScriptedEngine([refusal], [text("fine"), done()])
    app = chat_app(engine)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("a", "enter")
        await wait_for_text(
            pilot, "Error: The prompt has 900 tokens; the context 512. Ctrl-N starts"
        )
        await pilot.press("b", "enter")
        await wait_for_text(pilot, "fine")
    assert engine.requests[1].messages_json == '[{"role": "user", "content": "b"}]'


async def test_lost_worker_keeps_the_text_and_ctrl_r_loads_again() -> None:
    lost = WorkerLostError("The worker was killed by signal 9.")
    engine = ScriptedEngine([text("half an ans"), lost], [text("back"), done()])
    app = chat_app(engine)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("a", "enter")
        await wait_for_text(pilot, "signal 9. Ctrl-R loads the model again.")
        assert "half an ans" in shown_text(app)
        assert "the answer broke off here" in shown_text(app)
        await pilot.press("b", "enter")
        await wait_for_text(pilot, "No model is loaded")
        await pilot.press("ctrl+r")
        await wait_for_text(pilot, "ready")
        assert engine.n_loads == 2
        await pilot.press("enter")
        await wait_for_text(pilot, "back")


async def test_model_that_does_not_load_is_one_sentence_and_ctrl_r_tries_again() -> None:
    engine = ScriptedEngine(load=[ModelLoadError("model.gguf is empty.")])
    app = chat_app(engine)
    async with app.run_test(size=SIZE) as pilot:
        await wait_for_text(pilot, "Error: model.gguf is empty. Ctrl-R tries again.")
        await pilot.press("ctrl+r")
        await wait_for_text(pilot, "ready")


async def test_loading_shows_how_far_it_is() -> None:
    gate = Gate()
    app = chat_app(ScriptedEngine(load=[gate]))
    async with app.run_test(size=SIZE) as pilot:
        await wait_for_text(pilot, "loading 50%")
        gate.opened.set()
        await wait_for_text(pilot, "ready")


async def test_prompt_progress_is_shown() -> None:
    gate = Gate()
    progress = frames.PromptProgress(request_id=1, n_done=100, n_total=400)
    app = chat_app(ScriptedEngine([progress, gate, text("x"), done()]))
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("a", "enter")
        await wait_for_text(pilot, "reading the prompt 100/400")
        gate.opened.set()
        await wait_for_text(pilot, "TTFT")


async def test_command_model_shows_the_bare_command_and_its_doubt() -> None:
    engine = ScriptedEngine([text("find . -name '*.py' *x*"), done()], [text("ls"), done()])
    app = chat_app(engine, is_command_model=True, review=lambda _request, _answer: ("*.py",))
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press(*"find", "enter")
        await wait_for_text(pilot, "doubtful: '*.py' is not in your request")
        assert "find . -name '*.py' *x*" in shown_text(app)
        await pilot.press("b", "enter")
        await wait_until(pilot, lambda: len(engine.requests) == 2)
    assert engine.requests[1].messages_json == '[{"role": "user", "content": "b"}]'


async def test_control_characters_and_markup_of_a_model_are_harmless() -> None:
    answer = "a\x1b[2Jb \x1b]52;c;aGk=\x07c [red]d[/red] <b>e</b> \u202ef"
    app = chat_app(ScriptedEngine([text(answer[:4]), text(answer[4:]), done()]))
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("a", "enter")
        await wait_for_text(pilot, "TTFT")
        assert "ab c [red]d[/red] <b>e</b> f" in shown_text(app)


async def test_error_sentence_with_markup_and_escapes_is_harmless() -> None:
    app = chat_app(ScriptedEngine([RequestError("bad [/x] \x1b[31mname")]))
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("a", "enter")
        await wait_for_text(pilot, "Error: bad [/x] name")


async def test_thinking_is_folded_and_ctrl_t_shows_it() -> None:
    app = chat_app(ScriptedEngine([thought("let me see"), text("42"), done()]))
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("a", "enter")
        await wait_for_text(pilot, "Thinking (10 characters")
        assert "let me see" not in shown_text(app)
        await pilot.press("ctrl+t")
        await wait_for_text(pilot, "let me see")


async def test_dropped_tokens_are_said() -> None:
    app = chat_app(ScriptedEngine([text("x"), done(dropped_tokens=12)]))
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("a", "enter")
        await wait_for_text(pilot, "12 tokens did not fit and were left out")


async def test_new_chat_forgets_the_turns() -> None:
    engine = ScriptedEngine([text("one"), done()], [text("two"), done()])
    app = chat_app(engine)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("a", "enter")
        await wait_for_text(pilot, "TTFT")
        await pilot.press("ctrl+n")
        await wait_for_text(pilot, "Type a request")
        await pilot.press("b", "enter")
        await wait_for_text(pilot, "two")
    assert engine.requests[1].messages_json == '[{"role": "user", "content": "b"}]'


async def test_transcript_follows_until_the_person_scrolls() -> None:
    gate = Gate()
    lines = "".join(f"line {number}\n\n" for number in range(60))
    app = chat_app(ScriptedEngine([text(lines), gate, text("the very end"), done()]))
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("a", "enter")
        await wait_for_text(pilot, "line 59")
        await pilot.press("pageup", "pageup")
        await wait_until(pilot, lambda: "line 59" not in shown_text(app))
        gate.opened.set()
        await wait_until(pilot, lambda: chat_screen(app).state is State.READY)
        assert "the very end" not in shown_text(app)
        await pilot.press("pagedown", "pagedown", "pagedown")
        await wait_for_text(pilot, "the very end")


async def test_resize_keeps_prompt_and_status_in_view() -> None:
    app = chat_app(ScriptedEngine([text("word " * 100), done()]))
    async with app.run_test(size=(120, 36)) as pilot:
        await pilot.press("a", "enter")
        await wait_for_text(pilot, "TTFT")
        await pilot.resize_terminal(*SIZE)
        await wait_until(pilot, lambda: app.screen.query_one("#prompt").region.right == 80)
        lines = shown_text(app).splitlines()
        assert len(lines) == 24
        assert lines[0].strip().startswith("ready")
        assert app.screen.query_one("#prompt").region.bottom == 23


async def test_up_and_down_walk_the_history() -> None:
    engine = ScriptedEngine([text("1"), done()], [text("2"), done()])
    app = chat_app(engine)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press(*"one", "enter")
        await wait_until(pilot, lambda: len(engine.requests) == 1)
        await pilot.press(*"two", "enter")
        await wait_until(pilot, lambda: len(engine.requests) == 2)
        prompt = prompt_of(app)
        await pilot.press(*"draft", "up", "up")
        assert prompt.text == "one"
        await pilot.press("down", "down")
        assert prompt.text == "draft"


async def test_ctrl_j_starts_a_line_and_enter_sends_both() -> None:
    engine = ScriptedEngine([text("1"), done()])
    app = chat_app(engine)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("a", "ctrl+j", "b", "enter")
        await wait_until(pilot, lambda: len(engine.requests) == 1)
    assert engine.requests[0].messages_json == '[{"role": "user", "content": "a\\nb"}]'


async def test_question_mark_in_an_empty_prompt_opens_help() -> None:
    app = chat_app(ScriptedEngine())
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("question_mark")
        await wait_for_text(pilot, "Esc closes this page.")
        await pilot.press("escape")
        await wait_for_text(pilot, "Type a request")
        await pilot.press("w", "question_mark")
        assert prompt_of(app).text == "w?"


async def test_ctrl_c_without_a_selection_says_how_to_quit() -> None:
    app = chat_app(ScriptedEngine())
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await pilot.press("ctrl+c")
        await wait_for_text(pilot, "Nothing is selected to copy")
        assert app.is_running


async def test_ctrl_q_during_an_answer_closes_the_engine() -> None:
    engine = ScriptedEngine([text("partial"), Gate()])
    app = chat_app(engine)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("a", "enter")
        await wait_for_text(pilot, "partial")
        await pilot.press("ctrl+q")
    await app.close_engine()
    assert engine.n_cancelled == 1
    assert engine.is_closed


async def test_ctrl_o_copies_the_last_reply() -> None:
    app = chat_app(ScriptedEngine([text("ls -l\n"), done()]), is_command_model=True)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("a", "enter")
        await wait_for_text(pilot, "TTFT")
        await pilot.press("ctrl+o")
        await wait_until(pilot, lambda: app.clipboard == "ls -l")


async def test_keys_that_arrive_at_once_keep_their_order() -> None:
    engine = ScriptedEngine([text("ok"), done()])
    app = chat_app(engine)
    async with app.run_test(size=SIZE) as pilot:
        await wait_for_text(pilot, "ready")
        for key in (*"lisst", "left", "backspace", "end", "ctrl+j", *"src", "enter"):
            app.post_message(events.Key(key, key if len(key) == 1 else None))
        await wait_until(pilot, lambda: len(engine.requests) == 1)
    assert engine.requests[0].messages_json == '[{"role": "user", "content": "list\\nsrc"}]'


async def test_code_fence_that_comes_in_pieces_is_shown_whole() -> None:
    answer = "Do this:\n\n```sh\nls -l | wc\necho [a]\n```\n\n1. one\n2. two\n"
    engine = ScriptedEngine([*(text(char) for char in answer), done()])
    app = chat_app(engine)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("a", "enter")
        await wait_for_text(pilot, "TTFT")
        shown = shown_text(app)
        for line in ("Do this:", "ls -l | wc", "echo [a]", "1. one", "2. two"):
            assert line in shown


async def test_answer_without_an_end_is_told() -> None:
    app = chat_app(ScriptedEngine([text("half")]))
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("a", "enter")
        await wait_for_text(pilot, "ended the answer without saying why")
        assert "the answer broke off here" in shown_text(app)


async def test_fault_of_the_app_itself_is_told_and_the_screen_stays() -> None:
    app = chat_app(ScriptedEngine())
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("a", "enter")
        await wait_for_text(pilot, "Something in luci itself failed")
        await pilot.press("ctrl+r")
        await wait_for_text(pilot, "ready")


# ---- keys


@presses("prompt.newline", "prompt.send", "chat.stop", "chat.new", "chat.reload")
async def test_keys_of_prompt_and_answer(keys: Keys) -> None:
    engine = ScriptedEngine([text("partial"), Gate()])
    app = chat_app(engine)
    async with app.run_test(size=SIZE) as pilot:
        await wait_for_text(pilot, "ready")
        for number, key in enumerate(("ctrl+j", "alt+enter", "shift+enter"), start=1):
            await pilot.press("a")
            has_line = "a\n" * number
            await keys.press(
                pilot, "prompt.newline", key, lambda lines=has_line: prompt_of(app).text == lines
            )
        await keys.press(pilot, "prompt.send", "enter", "partial")
        await keys.press(pilot, "chat.stop", "escape", "stopped by you")
        await keys.press(pilot, "chat.new", "ctrl+n", "Type a request and press Enter")
        await keys.press(pilot, "chat.reload", "ctrl+r", lambda: engine.n_loads == 2)


@presses("chat.thinking", "chat.copy", "chat.up", "chat.down")
async def test_keys_of_the_last_reply(keys: Keys) -> None:
    lines = "\n\n".join(f"line {number}" for number in range(60))
    app = chat_app(ScriptedEngine([thought("let me see"), text(lines), done()]))
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("a", "enter")
        await wait_for_text(pilot, "TTFT")
        await keys.press(pilot, "chat.copy", "ctrl+o", lambda: app.clipboard == lines)
        await keys.press(pilot, "chat.up", "pageup", lambda: "line 59" not in shown_text(app))
        await keys.press(pilot, "chat.down", "pagedown", "line 59")
        await pilot.press(*["pageup"] * 10)
        await wait_for_text(pilot, "Thinking (10 characters")
        await keys.press(pilot, "chat.thinking", "ctrl+t", "let me see")
        await pilot.press("ctrl+t")
        await wait_until(pilot, lambda: "let me see" not in shown_text(app))

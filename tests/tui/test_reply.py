import asyncio

from textual.app import App, ComposeResult
from textual.widgets.markdown import MarkdownBlock

from luci_tui.tui.widgets.message import Reply


class OneReply(App[None]):
    """Nothing but a reply that grows."""

    def __init__(self) -> None:
        super().__init__()
        self.reply = Reply(is_plain=False, redraw_s=60)

    def compose(self) -> ComposeResult:
        yield self.reply

    def drawn(self) -> str:
        return "\n".join(block._content.plain for block in self.reply.query(MarkdownBlock))


async def test_reply_given_an_end_while_it_is_drawn_for_the_first_time_then_all_is_drawn() -> None:
    app = OneReply()
    async with app.run_test():
        app.reply.add("one answer", "")
        async with asyncio.timeout(10):
            await asyncio.gather(app.reply.finish(), app.reply.finish())
        assert app.drawn() == "one answer"


async def test_reply_given_a_stop_while_it_is_drawn_then_what_came_is_drawn() -> None:
    app = OneReply()
    async with app.run_test():
        app.reply.add("first\n\n", "")
        stopped = asyncio.create_task(app.reply.finish())
        await asyncio.sleep(0)
        stopped.cancel()
        await asyncio.gather(stopped, return_exceptions=True)
        assert stopped.cancelled()
        app.reply.add("second", "")
        async with asyncio.timeout(10):
            await app.reply.finish()
        assert app.drawn() == "first\nsecond"

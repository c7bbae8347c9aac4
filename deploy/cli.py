"""The command `gallery`: every command is registered here, and imports what it needs when it runs."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from deploy import (
    cli_dashboards,
    cli_dead_letters,
    cli_demo,
    cli_docs,
    cli_events,
    cli_exports,
    cli_faces,
    cli_replay,
    cli_stack,
    cli_store,
    cli_workers,
    console,
)

app: Final = typer.Typer(
    name="gallery",
    help="Live analytics for photo galleries at events: Kafka events in, exact ClickHouse metrics out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
topics: Final = typer.Typer(
    help="The topics of the catalogue on the broker.", no_args_is_help=True, rich_markup_mode=None
)


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Full logs, and tracebacks of errors.")] = False,
) -> None:
    console.Debug.on = debug


app.command()(cli_stack.up)
app.command()(cli_stack.down)
app.command()(cli_stack.status)
app.command()(cli_stack.logs)
app.command("settings")(cli_stack.show_settings)
app.add_typer(topics, name="topics")
topics.command("create")(cli_events.create_topics)
topics.command("check")(cli_events.check_topics)
app.command()(cli_demo.demo)
app.command()(cli_events.publish)
app.command()(cli_events.simulate)
app.command()(cli_events.schemas)
app.command()(cli_workers.ingest)
app.command()(cli_workers.refresh)
app.add_typer(cli_faces.faces, name="faces")
app.command()(cli_workers.viewer)
app.command()(cli_store.migrate)
app.command()(cli_replay.replay)
app.command()(cli_store.rebuild)
app.command()(cli_store.verify)
app.command()(cli_store.report)
app.command()(cli_store.sql)
app.add_typer(cli_dead_letters.dead_letters, name="dead-letters")
app.add_typer(cli_exports.export, name="export")
app.add_typer(cli_dashboards.dashboards, name="dashboards")
app.command()(cli_docs.queries)
app.command()(cli_docs.docs)


def main() -> None:
    """Entry point of the command `gallery`."""
    console.run(app)


if __name__ == "__main__":
    main()

"""The operators' app: `platelake serve`. It starts no Spark."""

from __future__ import annotations

import errno
import socket
from contextlib import closing, suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from jobs.accounts import COMMAND_LINE
from jobs.logs import set_up_logs
from jobs.options import Options
from lakehouse.delta.lake import Lake
from lakehouse.errors import PlatelakeError, UsageError
from lakehouse.settings import Settings, load_settings
from lakehouse.stage import Stage, load_stage, stage_names

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from serving.access.accounts import Accounts
    from serving.context import AppContext


def run_serve(options: Options, host: str, port: int, tls: tuple[Path, Path] | None) -> None:
    """Serve the app until it is stopped. `tls`: certificate and key, PEM."""
    settings, stages = _what_to_serve(options)
    set_up_logs(settings.log_level)  # Before anything logs.
    with closing(_listen(host, port)) as listener:  # Before anything of a running app is touched.
        context = _open_parts(options, settings, stages)
        _serve(context, listener, f"{host}:{port}", tls)


def _serve(
    context: AppContext, listener: socket.socket, where: str, tls: tuple[Path, Path] | None
) -> None:
    import uvicorn

    from serving.app import create_app

    settings = context.settings
    config = uvicorn.Config(
        create_app(context),
        log_level="warning",
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies or None,
        server_header=False,
        ssl_certfile=tls[0] if tls else None,
        ssl_keyfile=tls[1] if tls else None,
        timeout_graceful_shutdown=5,
    )
    say = Console(soft_wrap=True).print
    say(f"The app is at http{'s' if tls else ''}://{where}{settings.root_path}/; Ctrl-C stops it")
    if not context.accounts.everybody():
        say("Nobody can log in yet; `platelake users add NAME --role admin` makes an account")
    with suppress(KeyboardInterrupt):  # It has stopped as it was told to.
        uvicorn.Server(config).run(sockets=[listener])


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens there; raises PlatelakeError where none can."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        listener = socket.create_server((host, port), family=found[0][0])
        # Asyncio sets it on its own listeners alone: an answer's end would wait 40 ms for an ACK.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PlatelakeError(
                f"port {port} of {host} is taken, perhaps by an app that runs already; stop what "
                "uses it, or choose another port by --port"
            ) from None
        reason = error.strerror or error
        raise PlatelakeError(
            f"the app cannot listen on port {port} of {host}: {reason}; choose others by --host "
            "and --port"
        ) from None


def _what_to_serve(options: Options) -> tuple[Settings, list[tuple[Stage, Lake]]]:
    """Return the settings, and the stage that is named, else all stages, each with its lake."""
    if not options.landing:
        raise UsageError("the app puts photos into the landing zone: give its folder by --landing")
    settings = load_settings(lake=options.lake, sql_url=options.sql_url)
    if options.stage or options.stage_file:
        stages = [load_stage(options.stage, options.stage_file)]
    else:
        stages = [load_stage(name) for name in stage_names()] or [load_stage()]
    return settings, [
        (stage, Lake(settings.lake, stage.name, _no_spark, must_exist=True)) for stage in stages
    ]


def _open_parts(
    options: Options, settings: Settings, stages: list[tuple[Stage, Lake]]
) -> AppContext:
    """The app's parts, with its champions asked for once."""
    from ml.registry import registry_of
    from serving.context import open_context

    context = open_context(stages, settings, str(options.landing), registry_of(settings))
    context.look_around()
    return context


def demo_admin(accounts: Accounts) -> tuple[str, str]:
    """Name and new password of the demo's own admin, who is made where there is none."""
    known = {one["name"]: one for one in accounts.everybody()}
    for number in count(1):
        name = f"demo-{number}"
        if name not in known:
            return name, accounts.add(name, "admin", by=COMMAND_LINE)
        if known[name]["role"] == "admin" and not known[name]["disabled"]:
            break
    return name, accounts.reset(name, COMMAND_LINE)


def _no_spark() -> SparkSession:
    raise PlatelakeError("the app starts no Spark")

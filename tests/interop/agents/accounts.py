"""In-band registration (XEP-0077) on a bare stream, since it happens before any log-in."""

from __future__ import annotations

import asyncio

PASSWORD = "secret"
LIMIT = 20.0


async def create(user: str, server: tuple[str, int]) -> None:
    """Make the account, or find it there. Raises RuntimeError."""
    name, _, domain = user.partition("@")
    reader, writer = await asyncio.open_connection(*server)
    try:
        writer.write(f'<stream:stream to="{domain}" version="1.0" xmlns="jabber:client" '
                     f'xmlns:stream="http://etherx.jabber.org/streams">'.encode())
        await asyncio.wait_for(reader.readuntil(b"</stream:features>"), LIMIT)
        writer.write(f'<iq type="set" id="r" to="{domain}"><query xmlns="jabber:iq:register"><username>{name}'
                     f"</username><password>{PASSWORD}</password></query></iq>".encode())
        answer = await asyncio.wait_for(reader.read(4096), LIMIT)
    except (TimeoutError, OSError, asyncio.IncompleteReadError) as error:
        raise RuntimeError(f"account {user}: {error!r}") from error
    finally:
        writer.close()
    if b"result" not in answer and b"conflict" not in answer:
        raise RuntimeError(f"account {user}: {answer.decode(errors='replace')}")

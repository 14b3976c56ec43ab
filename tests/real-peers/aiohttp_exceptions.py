"""Counts the attempts of aiohttp-retry for each kind of failure, with and without `exceptions=`."""

import asyncio
import importlib.metadata
import socket
import sys

import aiohttp
from aiohttp.web import HTTPClientError
from aiohttp_retry import ExponentialRetry, RetryClient

LISTED = {HTTPClientError, aiohttp.ClientConnectorError}

# (failure, exceptions, method): attempts
EXPECTED = {
    ("refused", None, "GET"): 1,
    ("refused", None, "POST"): 1,
    ("refused", "HTTPClientError", "GET"): 1,
    ("refused", "both", "GET"): 3,
    ("refused", "both", "POST"): 3,
    ("refused", "both", "QUERY"): 3,
    ("timeout", "both", "GET"): 1,
    ("closed", "both", "POST"): 1,
    ("502", None, "GET"): 3,
    ("502", None, "POST"): 3,
    ("502", None, "QUERY"): 1,
    ("404", "both", "GET"): 1,
}

EXCEPTIONS = {None: None, "HTTPClientError": {HTTPClientError}, "both": LISTED}


class Attempts:
    """A logger that counts what the package says of its attempts."""

    def __init__(self):
        self.made = 0

    def debug(self, message, *_args, **_kwargs):
        self.made += message.startswith("Attempt ")

    warning = exception = debug


def unused_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


async def serve(reader, writer):
    """Answers `/404` and `/502` by that status, and closes everything else unanswered."""
    head = await reader.readuntil(b"\r\n\r\n")
    target = head.split(b" ")[1][1:]
    if target.isdigit():
        writer.write(b"HTTP/1.1 %s -\r\ncontent-length: 0\r\nconnection: close\r\n\r\n" % target)
        await writer.drain()
    writer.close()


class Silent:
    """A resolver whose answer does not come before the timeout for connecting."""

    async def resolve(self, *_args, **_kwargs):
        await asyncio.sleep(10)

    async def close(self):
        pass


async def attempts(url, exceptions, method, session):
    counted = Attempts()
    options = ExponentialRetry(
        attempts=3,
        statuses={429, 500, 501, 503, 504},
        start_timeout=0.001,
        **({} if exceptions is None else {"exceptions": exceptions}),
    )
    client = RetryClient(client_session=session, logger=counted, retry_options=options)
    try:
        async with client.request(method, url):
            pass
    except (aiohttp.ClientError, asyncio.TimeoutError):
        pass
    return counted.made


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    origin = "http://127.0.0.1:%d" % server.sockets[0].getsockname()[1]
    urls = {
        "refused": f"http://127.0.0.1:{unused_port()}/",
        "timeout": "http://silent.test/",
        "closed": f"{origin}/closed",
        "502": f"{origin}/502",
        "404": f"{origin}/404",
    }
    for package in ("aiohttp", "aiohttp-retry"):
        print(package, importlib.metadata.version(package))
    failed = False
    for (failure, exceptions, method), expected in EXPECTED.items():
        connector = aiohttp.TCPConnector(resolver=Silent())
        limit = aiohttp.ClientTimeout(total=0.2 if failure == "timeout" else 30)
        async with aiohttp.ClientSession(connector=connector, timeout=limit) as session:
            made = await attempts(urls[failure], EXCEPTIONS[exceptions], method, session)
        failed |= made != expected
        wrong = "" if made == expected else f", and not {expected}"
        print(f"{failure:8} exceptions={exceptions!s:15} {method:5} {made}{wrong}")
    for name in ("ClientConnectorCertificateError", "ClientConnectorDNSError"):
        # Both of these are listed by their base; here they are final, since they would come again.
        failed |= not issubclass(getattr(aiohttp, name), aiohttp.ClientConnectorError)
    failed |= issubclass(aiohttp.ConnectionTimeoutError, aiohttp.ClientConnectorError)
    print("not as expected" if failed else "as expected")
    return failed


sys.exit(asyncio.run(main()))

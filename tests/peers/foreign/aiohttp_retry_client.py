"""aiohttp with aiohttp-retry: what a GET takes of the processor.

`check` says whether both are installed; else the arguments are those of the other clients' binaries
(`VARIANT h1 PORT NAME=VALUE...`), of which only workers, warm, requests and slices are heeded.
"""

import asyncio
import sys
import time

import aiohttp
import aiohttp_retry


async def work(client, url, requests):
    for _ in range(requests):
        async with client.get(url) as response:
            assert response.status == 200
            await response.read()


async def crew(client, url, workers, requests):
    await asyncio.gather(*(work(client, url, requests // workers) for _ in range(workers)))


async def main(port, workers=1, warm=0, requests=0, slices=1, **_):
    url = f"http://127.0.0.2:{port}/"
    connector = aiohttp.TCPConnector(limit=workers)
    options = aiohttp_retry.ExponentialRetry(attempts=3, start_timeout=0.001, statuses={503})
    async with aiohttp.ClientSession(connector=connector) as session:
        client = aiohttp_retry.RetryClient(client_session=session, retry_options=options)
        await crew(client, url, workers, warm)
        taken = []
        for _ in range(slices):
            start = time.process_time_ns()
            await crew(client, url, workers, requests)
            taken.append((time.process_time_ns() - start) // requests)
        taken.sort()
        print("cpu", taken[slices // 10])


if sys.argv[1:] != ["check"]:
    settings = dict(setting.split("=") for setting in sys.argv[4:])
    numbers = {name: int(value) for name, value in settings.items() if value.isdigit()}
    asyncio.run(main(sys.argv[3], **numbers))

"""Serves the corpus, asks each client, compares. `tests/real-peers/hostile` runs it."""
import argparse
import asyncio
import collections
import http.client
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import corpus
import judge

HERE = os.path.dirname(os.path.abspath(__file__))
PAGE = os.path.join(HERE, "../../../docs/hostile.md")
WAIT = 1.5
AT_ONCE = 16


# --- the server ---


async def serve_one(cases, reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ", 2)[1].decode()
            kind, number = path.strip("/").split("/")
            case = cases[int(number)]
            if kind == "c":
                writer.write(case.raw)
                await writer.drain()
                if case.ends:
                    return
            else:
                body = f"next-{number}".encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
                await writer.drain()
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError, ValueError, IndexError):
        pass
    finally:
        writer.close()


def start_server(cases):
    """Serves in a thread; returns the origin."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)

    async def main():
        server = await asyncio.start_server(lambda r, w: serve_one(cases, r, w), sock=listener)
        async with server:
            await server.serve_forever()

    threading.Thread(target=lambda: asyncio.run(main()), daemon=True).start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


# --- the clients: each returns {number: (outcome, outcome of the next)} ---


def by_lines(command, cases):
    lines = "".join(f"{case.number} {case.method}\n" for case in cases)
    done = subprocess.run(command, input=lines, capture_output=True, text=True, timeout=1200)
    outcomes = {}
    for line in done.stdout.splitlines():
        parts = line.split("\t")
        if len(parts) == 3 and parts[0].isdigit():
            outcomes[int(parts[0])] = (parts[1], parts[2])
    if not outcomes:
        raise RuntimeError(f"{command[0]}: {done.stderr[-300:]}")
    return outcomes


def in_threads(ask, cases):
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip((case.number for case in cases), pool.map(ask, cases)))


def curl(origin):
    def ask(case):
        with tempfile.TemporaryDirectory() as folder:
            one, two = (os.path.join(folder, name) for name in ("one", "two"))
            common = ["-s", "--http1.1", "--max-time", str(WAIT)]
            head = ["--head"] if case.method == "HEAD" else []
            mark = ["-w", "%{http_code} %{exitcode}\n"]
            command = ["curl", *common, *head, *mark, "-o", one, f"{origin}/c/{case.number}",
                       "--next", *common, *mark, "-o", two, f"{origin}/next/{case.number}"]
            out = subprocess.run(command, capture_output=True, text=True, timeout=30).stdout.splitlines()

            def outcome(line, path, is_head):
                code, exit_code = line.split(" ")
                if exit_code != "0":
                    return f"error {exit_code}"
                body = b"" if is_head or not os.path.exists(path) else open(path, "rb").read()
                return f"ok {int(code)} {body.hex()}"

            lines = (out + ["0 99", "0 99"])[:2]
            return outcome(lines[0], one, bool(head)), outcome(lines[1], two, False)

    return ask


def http_client(origin):
    host = origin.removeprefix("http://")

    def ask(case):
        connection = http.client.HTTPConnection(host, timeout=WAIT)

        def one(method, path):
            try:
                connection.request(method, path)
                response = connection.getresponse()
                outcome = f"ok {response.status} {response.read().hex()}"
                if response.will_close:
                    connection.close()
                return outcome
            except Exception as error:
                connection.close()
                return f"error {type(error).__name__}"

        try:
            return one(case.method, f"/c/{case.number}"), one("GET", f"/next/{case.number}")
        finally:
            connection.close()

    return ask


def aiohttp_outcomes(origin, cases):
    import aiohttp

    async def one(session, method, url):
        try:
            async with session.request(method, url, allow_redirects=False) as response:
                return f"ok {response.status} {(await response.read()).hex()}"
        except Exception as error:
            return f"error {type(error).__name__}"

    async def ask(case, room):
        async with room:
            timeout = aiohttp.ClientTimeout(total=WAIT + 0.5)
            connector = aiohttp.TCPConnector(limit=1)
            async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
                first = await one(session, case.method, f"{origin}/c/{case.number}")
                return case.number, (first, await one(session, "GET", f"{origin}/next/{case.number}"))

    async def main():
        room = asyncio.Semaphore(AT_ONCE)
        return dict(await asyncio.gather(*(ask(case, room) for case in cases)))

    return asyncio.run(main())


def clients(ours, origin):
    """The clients that are there, by name; ours first."""
    found = {
        "session": lambda cases: by_lines([ours, "session", origin], cases),
        "client": lambda cases: by_lines([ours, "client", origin], cases),
        "http.client": lambda cases: in_threads(http_client(origin), cases),
    }
    if shutil.which("curl"):
        found["curl"] = lambda cases: in_threads(curl(origin), cases)
    try:
        import aiohttp  # noqa: F401

        found["aiohttp"] = lambda cases: aiohttp_outcomes(origin, cases)
    except ImportError:
        pass
    if shutil.which("node"):
        script = os.path.join(HERE, "ask.mjs")
        found["node http"] = lambda cases: by_lines(["node", script, "http", origin], cases)
        found["node fetch"] = lambda cases: by_lines(["node", script, "fetch", origin], cases)
    if shutil.which("go"):
        binary = os.path.join(tempfile.mkdtemp(), "ask")
        built = subprocess.run(["go", "build", "-o", binary, os.path.join(HERE, "ask.go")], capture_output=True, text=True)
        if built.returncode == 0:
            found["go"] = lambda cases: by_lines([binary, origin], cases)
        else:
            print("go is left out:", built.stderr.strip()[-200:])
    return found


# --- the comparison ---

OURS = ("session", "client")


def message(outcome):
    """What two clients can agree on: an error, or a status and the bytes of a body."""
    return "error" if outcome.startswith(("error", "hang", "panic")) else outcome.strip()


def is_foreign(case, outcome):
    """Whether an answer to the request after a case is that of somebody else."""
    return outcome.startswith("ok") and outcome != f"ok 200 {f'next-{case.number}'.encode().hex()}"


def compare(cases, outcomes):
    names = list(outcomes)
    others = [name for name in names if name not in OURS]
    failures, desyncs, rules = [], collections.Counter(), collections.Counter()
    agreed = disagreed = 0
    alone = collections.Counter()
    for case in cases:
        got = {name: outcomes[name].get(case.number, ("error none", "error none")) for name in names}
        for name in names:
            if is_foreign(case, got[name][1]):
                desyncs[name] += 1
                if name in OURS:
                    failures.append((case, f"{name} is desynchronised: {got[name][1]}"))
        for name in OURS:
            for outcome in got[name]:
                if outcome.startswith(("hang", "panic")):
                    failures.append((case, f"{name}: {outcome}"))
            # Where the server closes behind its response, the next request may meet that on its way.
            if not got[name][1].startswith("ok") and not case.ends:
                failures.append((case, f"{name}: the next request failed: {got[name][1]}"))
        said = {name: message(got[name][0]) for name in names}
        if len(set(said.values())) == 1:
            agreed += 1
            continue
        disagreed += 1
        rule = judge.rule_for(case.marks)
        if rule:
            rules[(rule[2], rule[3])] += 1
        for name in OURS:
            kind = "error" if said[name] == "error" else "ok"
            is_alone = all(said[other] != said[name] for other in others)
            alone[name] += is_alone
            if rule and kind not in rule[1]:
                failures.append((case, f"{name} has {said[name][:80]!r}, {rule[2]} asks for {rule[1][0]}"))
            elif not rule and is_alone:
                failures.append((case, f"{name} stands alone with {said[name][:80]!r}, and no rule judges it: {said}"))
    return agreed, disagreed, desyncs, rules, alone, failures


def matrix(cases, outcomes):
    """Of each mutation alone, by GET: what each client makes of it."""
    rows = []
    for case in cases:
        if case.method != "GET" or len(case.marks) != 1:
            continue
        cells = []
        for name in outcomes:
            said = message(outcomes[name].get(case.number, ("error none", ""))[0])
            if said == "error":
                cells.append("error")
                continue
            _, status, *body = said.split(" ")
            cells.append(f"{status}, {len(body[0]) // 2 if body else 0} B")
        rows.append((case.marks[0], cells))
    return rows


def page(options, cases, outcomes, result):
    agreed, disagreed, desyncs, rules, alone, failures = result
    names = list(outcomes)
    lines = [
        "# Hostile answers, side by side",
        "",
        f"Written by `tests/real-peers/hostile --seed {options.seed} --count {options.count} --write`.",
        "",
        f"{len(cases)} mutated HTTP/1 responses were served to: {', '.join(names)}. Each client requested the mutated response, then",
        "another one over the same connection if it reused it.",
        "",
        f"- All of them agree on {agreed} cases: the same status and the same bytes, or an error. They disagree on {disagreed}.",
        f"- Ours gave a request the answer of another {sum(desyncs[name] for name in OURS)} times; "
        + ", ".join(f"{name} {desyncs[name]}" for name in names if name not in OURS)
        + ".",
        f"- Ours stood alone (no other client said the same) {alone['session']} times with the session, {alone['client']} with the client.",
        f"- Hangs, panics, broken rules and unjudged differences of ours: {len(failures)}.",
        "",
        "## Disagreements, by the rule that judges them",
        "",
        "Where the rule asks for an error, ours has one. The other rules leave a choice, and say which.",
        "",
        "| cases | RFC | rule |",
        "|---:|---|---|",
    ]
    for (section, why), count in rules.most_common():
        lines.append(f"| {count} | {section} | {why} |")
    lines += ["", "## Each mutation alone, asked for by GET", "", "The plain body has 21 bytes.", ""]
    lines.append("| mutation | " + " | ".join(names) + " |")
    lines.append("|---" * (len(names) + 1) + "|")
    for mark, cells in matrix(cases, outcomes):
        lines.append(f"| {mark} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ours", required=True)
    parser.add_argument("--count", type=int, default=2500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()

    cases = corpus.corpus(options.seed, options.count)
    origin = start_server(cases)
    outcomes = {}
    for name, ask in clients(options.ours, origin).items():
        outcomes[name] = ask(cases)
        print(f"{name}: {len(outcomes[name])} of {len(cases)} cases", flush=True)
    result = compare(cases, outcomes)
    text = page(options, cases, outcomes, result)
    print(text.split("## Each mutation")[0])
    for case, what in result[-1]:
        print(f"case {case.number} {case.method} {'+'.join(case.marks)}: {what}")
    if options.write:
        with open(PAGE, "w") as file:
            file.write(text)
    print("FAILED" if result[-1] else "as expected")
    sys.exit(1 if result[-1] else 0)


main()

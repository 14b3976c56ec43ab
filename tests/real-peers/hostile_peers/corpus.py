"""Mutated HTTP/1 responses: a seeded generator over a grammar of what may be wrong with one.

A case is made of parts (status line, interim responses, fields, framing, body, line ends, what follows). Each part has a
plain form and mutations; each mutation has a name, which the rules in `judge.py` know. A case has one mutation (each
of them comes alone first), or two or three.
"""
import random
from dataclasses import dataclass, field

BODY = b"the body of this case"
FOREIGN = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nforeign"


@dataclass
class Case:
    number: int
    method: str
    marks: list = field(default_factory=list)
    raw: bytes = b""
    ends: bool = False
    """Whether the server closes after the bytes."""


STATUS = {
    "plain": b"HTTP/1.1 200 OK",
    "status-1.0": b"HTTP/1.0 200 OK",
    "status-no-reason": b"HTTP/1.1 200 ",
    "status-no-blank": b"HTTP/1.1 200",
    "status-lower-case": b"http/1.1 200 OK",
    "status-two-blanks": b"HTTP/1.1  200 OK",
    "status-tab": b"HTTP/1.1\t200\tOK",
    "status-2.0": b"HTTP/2.0 200 OK",
    "status-1.9": b"HTTP/1.9 200 OK",
    "status-0.9": b"HTTP/0.9 200 OK",
    "status-two-digits": b"HTTP/1.1 20 OK",
    "status-four-digits": b"HTTP/1.1 2000 OK",
    "status-below-100": b"HTTP/1.1 099 OK",
    "status-above-599": b"HTTP/1.1 799 OK",
    "status-letters": b"HTTP/1.1 2x0 OK",
    "status-negative": b"HTTP/1.1 -20 OK",
    "status-led-by-blank": b" HTTP/1.1 200 OK",
    "status-led-by-empty-line": b"\r\nHTTP/1.1 200 OK",
    "status-icy": b"ICY 200 OK",
    "status-garbage": b"\x16\x03\x01\x00 not http at all",
    "reason-8-bit": b"HTTP/1.1 200 \xe4\xff",
    "reason-tab": b"HTTP/1.1 200 O\tK",
    "reason-control": b"HTTP/1.1 200 O\x01K",
    "reason-nul": b"HTTP/1.1 200 O\x00K",
    "reason-long": b"HTTP/1.1 200 " + b"x" * 5000,
    "reason-bare-cr": b"HTTP/1.1 200 O\rK",
    "status-204": b"HTTP/1.1 204 No Content",
    "status-304": b"HTTP/1.1 304 Not Modified",
    "status-205": b"HTTP/1.1 205 Reset Content",
    "status-500": b"HTTP/1.1 500 Oh",
}
INTERIM = {
    "plain": b"",
    "interim-100": b"HTTP/1.1 100 Continue\r\n\r\n",
    "interim-103": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
    "interim-three": b"HTTP/1.1 102 Processing\r\n\r\n" * 3,
    "interim-many": b"HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n" * 30,
    "interim-with-length": b"HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\n",
    "interim-101": b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
    "interim-1.0": b"HTTP/1.0 100 Continue\r\n\r\n",
}
FIELDS = {
    "plain": b"X-Plain: 1\r\n",
    "field-folded": b"X-Folded: a\r\n b\r\n",
    "field-folded-tab": b"X-Folded: a\r\n\tb\r\n",
    "field-folded-first": b" X-First: folded\r\nX-Plain: 1\r\n",
    "field-blank-before-colon": b"X-Blank : 1\r\n",
    "field-no-colon": b"X-No-Colon\r\n",
    "field-empty-name": b": nameless\r\n",
    "field-name-with-blank": b"X Blank: 1\r\n",
    "field-name-8-bit": b"X-\xe4: 1\r\n",
    "field-name-control": b"X-\x01: 1\r\n",
    "field-name-bracket": b"X(1): 1\r\n",
    "value-nul": b"X-Nul: a\x00b\r\n",
    "value-bare-cr": b"X-Cr: a\rb\r\n",
    "value-control": b"X-Control: a\x01b\r\n",
    "value-delete": b"X-Del: a\x7fb\r\n",
    "value-8-bit": b"X-Text: \xe4\xff\r\n",
    "value-empty": b"X-Empty:\r\n",
    "value-tabs": b"X-Tabs:\t a\tb \t\r\n",
    "value-long": b"X-Long: " + b"x" * 9000 + b"\r\n",
    "fields-90": b"".join(b"X-%d: 1\r\n" % i for i in range(90)),
    "fields-200": b"".join(b"X-%d: 1\r\n" % i for i in range(200)),
    "connection-close": b"Connection: close\r\n",
    "connection-keep-alive": b"Connection: keep-alive\r\n",
    "connection-list": b"Connection: foo, close\r\n",
}
CHUNKED = b"Transfer-Encoding: chunked\r\n"


def length(value):
    return b"Content-Length: " + value + b"\r\n"


SIZE = b"%d" % len(BODY)
# name: (fields, how the body is sent)
FRAMING = {
    "plain": (length(SIZE), "whole"),
    "chunked": (CHUNKED, "chunked"),
    "until-close": (b"", "closes"),
    "length-short": (length(b"%d" % (len(BODY) - 5)), "whole"),
    "length-long": (length(b"%d" % (len(BODY) + 5)), "closes"),
    "length-long-open": (length(b"%d" % (len(BODY) + 5)), "whole"),
    "length-0-with-body": (length(b"0"), "whole"),
    "length-twice-equal": (length(SIZE) * 2, "whole"),
    "length-list-equal": (length(SIZE + b", " + SIZE), "whole"),
    "length-twice-different": (length(SIZE) + length(b"5"), "whole"),
    "length-list-different": (length(SIZE + b", 5"), "whole"),
    "length-negative": (length(b"-1"), "closes"),
    "length-plus": (length(b"+" + SIZE), "whole"),
    "length-hex": (length(b"0x15"), "closes"),
    "length-letters": (length(SIZE + b"a"), "closes"),
    "length-blanks": (length(b"  " + SIZE + b" \t"), "whole"),
    "length-blank-within": (length(b"2 1"), "closes"),
    "length-empty": (length(b""), "closes"),
    "length-leading-zeros": (length(b"000" + SIZE), "whole"),
    "length-2-63": (length(b"9223372036854775808"), "closes"),
    "length-2-64": (length(b"18446744073709551616"), "closes"),
    "length-fraction": (length(SIZE + b".0"), "closes"),
    "coding-capital": (b"Transfer-Encoding: Chunked\r\n", "chunked"),
    "coding-blank-around": (b"Transfer-Encoding:  chunked \r\n", "chunked"),
    "coding-identity": (b"Transfer-Encoding: identity\r\n", "closes"),
    "coding-unknown": (b"Transfer-Encoding: x-none\r\n", "closes"),
    "coding-unknown-chunked": (b"Transfer-Encoding: x-none, chunked\r\n", "chunked"),
    "coding-chunked-unknown": (b"Transfer-Encoding: chunked, x-none\r\n", "chunked-closes"),
    "coding-chunked-identity": (b"Transfer-Encoding: chunked, identity\r\n", "chunked-closes"),
    "coding-chunked-twice": (b"Transfer-Encoding: chunked, chunked\r\n", "chunked-closes"),
    "coding-two-lines": (CHUNKED * 2, "chunked-closes"),
    "coding-empty": (b"Transfer-Encoding:\r\n", "closes"),
    "coding-quoted": (b'Transfer-Encoding: "chunked"\r\n', "chunked-closes"),
    "coding-parameter": (b"Transfer-Encoding: chunked;q=1\r\n", "chunked-closes"),
    "coding-prefix": (b"Transfer-Encoding: xchunked\r\n", "chunked-closes"),
    "coding-tab": (b"Transfer-Encoding:\tchunked\r\n", "chunked"),
    "coding-and-length": (CHUNKED + length(b"5"), "chunked"),
    "length-and-coding": (length(b"5") + CHUNKED, "chunked"),
    "coding-blank-before-colon": (b"Transfer-Encoding : chunked\r\n", "chunked-closes"),
    "length-blank-before-colon": (b"Content-Length : 5\r\n", "closes"),
    "coding-folded": (b"Transfer-Encoding:\r\n chunked\r\n", "chunked"),
    "length-folded": (b"Content-Length:\r\n " + SIZE + b"\r\n", "whole"),
}


def chunks(size=b"%x", extension=b"", end=b"\r\n", data_end=b"\r\n", last=b"0\r\n", trailers=b"", final=b"\r\n"):
    one, two = BODY[:8], BODY[8:]
    out = b""
    for piece in (one, two):
        out += size % len(piece) + extension + end + piece + data_end
    return out + last + trailers + final


CHUNKS = {
    "plain": chunks(),
    "chunk-extension": chunks(extension=b";a=b"),
    "chunk-extension-quoted": chunks(extension=b';a="b;c"'),
    "chunk-extension-quoted-line": chunks(extension=b';a="b\r\nc"'),
    "chunk-extension-long": chunks(extension=b";a=" + b"x" * 3000),
    "chunk-extension-no-name": chunks(extension=b";"),
    "chunk-extension-bare-lf": chunks(extension=b";a\nb"),
    "chunk-size-capital": chunks(size=b"%X"),
    "chunk-size-zeros": chunks(size=b"0000%x"),
    "chunk-size-many-zeros": chunks(size=b"0" * 40 + b"%x"),
    "chunk-size-0x": chunks(size=b"0x%x"),
    "chunk-size-plus": chunks(size=b"+%x"),
    "chunk-size-negative": chunks(size=b"-%x"),
    "chunk-size-blank-after": chunks(size=b"%x "),
    "chunk-size-blank-before": chunks(size=b" %x"),
    "chunk-size-letters": chunks(size=b"%xz"),
    "chunk-size-2-64": b"10000000000000008\r\n" + BODY + b"\r\n0\r\n\r\n",
    "chunk-size-empty": b"\r\n" + BODY + b"\r\n0\r\n\r\n",
    "chunk-lf-after-size": chunks(end=b"\n"),
    "chunk-lf-after-data": chunks(data_end=b"\n"),
    "chunk-nothing-after-data": chunks(data_end=b""),
    "chunk-junk-after-data": chunks(data_end=b"xx\r\n"),
    "chunk-cr-after-size": chunks(end=b"\r"),
    "chunk-last-lf": chunks(last=b"0\n", final=b"\n"),
    "chunk-last-00": chunks(last=b"00\r\n"),
    "chunk-last-missing": chunks(last=b"", final=b""),
    "chunk-last-extension": chunks(last=b"0;a=b\r\n"),
    "chunk-final-line-missing": chunks(final=b""),
    "trailer": chunks(trailers=b"X-Sum: 1\r\n"),
    "trailer-length": chunks(trailers=b"Content-Length: 3\r\n"),
    "trailer-coding": chunks(trailers=b"Transfer-Encoding: chunked\r\n"),
    "trailer-no-colon": chunks(trailers=b"nonsense\r\n"),
    "trailer-folded": chunks(trailers=b"X-Sum: 1\r\n 2\r\n"),
    "trailer-blank-before-colon": chunks(trailers=b"X-Sum : 1\r\n"),
    "trailers-50": chunks(trailers=b"".join(b"X-%d: 1\r\n" % i for i in range(50))),
}
LINES = ["plain", "lines-lf", "lines-mixed", "lines-head-ends-lf", "lines-cr"]
AFTER = ["plain", "surplus-response", "surplus-garbage", "surplus-empty-line"]
CUT = ["plain", "cut-in-head", "cut-in-body", "cut-before-end"]
METHODS = ["GET", "GET", "GET", "GET", "HEAD"]

PARTS = {
    "status": [name for name in STATUS if name != "plain"],
    "interim": [name for name in INTERIM if name != "plain"],
    "fields": [name for name in FIELDS if name != "plain"],
    "framing": [name for name in FRAMING if name != "plain"],
    "chunks": [name for name in CHUNKS if name != "plain"],
    "lines": LINES[1:],
    "after": AFTER[1:],
    "cut": CUT[1:],
}


def build(number, method, choice):
    status = choice.get("status", "plain")
    interim = choice.get("interim", "plain")
    fields = choice.get("fields", "plain")
    framing = choice.get("framing", "plain")
    chunked = choice.get("chunks", "plain")
    if chunked != "plain" and FRAMING[framing][1] not in ("chunked", "chunked-closes"):
        framing = "chunked"
    header, how = FRAMING[framing]
    head = STATUS[status] + b"\r\n" + FIELDS[fields] + header + b"\r\n"
    lines = choice.get("lines", "plain")
    if lines == "lines-lf":
        head = head.replace(b"\r\n", b"\n")
    elif lines == "lines-mixed":
        head = head.replace(b"\r\n", b"\n", 1)
    elif lines == "lines-head-ends-lf":
        head = head[:-2] + b"\n"
    elif lines == "lines-cr":
        head = head.replace(b"\r\n", b"\r")
    body = CHUNKS[chunked] if how.startswith("chunked") else BODY
    bodiless = method == "HEAD" or status in ("status-204", "status-304")
    if bodiless:
        body = b""
    ends = how in ("closes", "chunked-closes") or status == "status-garbage"
    cut = choice.get("cut", "plain")
    if cut == "cut-in-head":
        head, body, ends = head[: max(len(head) * 2 // 3, 1)], b"", True
    elif cut == "cut-in-body":
        body, ends = body[: len(body) // 2], True
    elif cut == "cut-before-end":
        body, ends = body[:-1], True
    raw = INTERIM[interim] + head + body
    after = choice.get("after", "plain")
    if cut == "plain":
        raw += {
            "plain": b"",
            "surplus-response": FOREIGN,
            "surplus-garbage": b"garbage",
            "surplus-empty-line": b"\r\n",
        }[after]
    marks = sorted(mark for mark in (status, interim, fields, framing, chunked, lines, after, cut) if mark != "plain")
    if method == "HEAD":
        marks.append("head")
    return Case(number, method, marks, raw, ends)


def corpus(seed, count):
    """Every mutation alone, by GET and by HEAD, then mixtures until there are `count`; no two alike."""
    rng = random.Random(seed)
    cases, seen = [], set()

    def add(method, choice):
        case = build(len(cases), method, choice)
        key = (method, case.raw, case.ends)
        if key not in seen:
            seen.add(key)
            cases.append(case)

    for method in ("GET", "HEAD"):
        add(method, {})
        for part, names in PARTS.items():
            for name in names:
                add(method, {part: name})
    while len(cases) < count:
        parts = rng.sample(list(PARTS), rng.choice([2, 2, 3]))
        add(rng.choice(METHODS), {part: rng.choice(PARTS[part]) for part in parts})
    return cases

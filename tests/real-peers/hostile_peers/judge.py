"""Which outcome the rules ask of this client where clients disagree.

A rule has the marks that it is about, what this client may do (`error`, `ok`, or both), the section, and why. The first
rule of which a case has a mark holds; rules about errors come first, since one reason to refuse is enough.
"""
EITHER = ("error", "ok")

RULES = [
    # What may never be read as a message, or as the end of one.
    (["coding-unknown", "coding-unknown-chunked", "coding-chunked-unknown", "coding-chunked-identity",
      "coding-chunked-twice", "coding-two-lines", "coding-empty", "coding-quoted", "coding-parameter", "coding-prefix",
      "coding-identity"],
     EITHER, "9112 6.1, 6.3", "a coding that is not one `chunked`: refused, or read until the connection closes, which then ends"),
    (["coding-blank-before-colon", "length-blank-before-colon", "field-blank-before-colon", "trailer-blank-before-colon"],
     EITHER, "9112 5.1", "a proxy removes the blank; a client may refuse the message"),
    (["length-twice-different", "length-list-different", "length-negative", "length-plus", "length-hex", "length-letters",
      "length-blank-within", "length-empty", "length-2-64", "length-2-63", "length-fraction"],
     ("error",), "9112 6.3", "a length that is not one number cannot be recovered from"),
    (["length-list-equal", "length-twice-equal", "length-leading-zeros"], EITHER, "9112 6.3", "one value, repeated or padded, may be read or refused"),
    (["chunk-size-0x", "chunk-size-plus", "chunk-size-negative", "chunk-size-letters", "chunk-size-2-64", "chunk-size-empty",
      "chunk-nothing-after-data", "chunk-junk-after-data", "chunk-size-blank-before", "chunk-cr-after-size"],
     ("error",), "9112 7.1", "no chunk; a size may not be guessed"),
    (["chunk-last-missing", "chunk-final-line-missing", "length-long", "length-long-open", "cut-in-body", "cut-before-end", "cut-in-head"],
     EITHER, "9112 8", "incomplete; an error unless the part that was cut is not needed (a response without a body, one until the close, a last line)"),
    (["status-two-digits", "status-four-digits", "status-letters", "status-negative", "status-garbage", "status-icy", "status-2.0", "status-0.9",
      "status-1.9", "status-led-by-blank", "status-tab", "status-two-blanks", "status-lower-case", "status-no-blank", "status-below-100",
      "reason-nul", "reason-control", "reason-bare-cr"],
     EITHER, "9112 4", "not the grammar; a recipient may be lenient about blanks and reasons"),
    (["status-led-by-empty-line"], EITHER, "9112 2.2", "said of requests only"),
    (["status-above-599"], EITHER, "9110 15", "a status above 599 is invalid, and should be handled as a 5xx"),
    (["field-no-colon", "field-empty-name", "field-name-with-blank", "field-name-8-bit", "field-name-control", "field-name-bracket",
      "field-folded-first", "trailer-no-colon"], EITHER, "9112 5", "not a field; refused or left out"),
    (["value-nul", "value-bare-cr", "value-control", "value-delete"], EITHER, "9110 5.5", "refused, or the byte is replaced"),
    (["field-folded", "field-folded-tab", "coding-folded", "length-folded", "trailer-folded"], EITHER, "9112 5.2", "a user agent replaces the fold by blanks"),
    (["lines-cr"], ("error",), "9112 2.2", "a bare CR ends no line"),
    (["lines-lf", "lines-mixed", "lines-head-ends-lf"], EITHER, "9112 2.2", "a recipient may take a bare LF as the end of a line"),
    (["chunk-lf-after-size", "chunk-lf-after-data", "chunk-last-lf", "chunk-extension-bare-lf", "chunk-extension-quoted-line"], EITHER, "9112 7.1",
     "chunks end by CRLF; some take LF"),
    (["chunk-size-blank-after", "chunk-size-zeros", "chunk-size-many-zeros", "chunk-extension-no-name", "chunk-extension-long",
      "chunk-extension-quoted"], EITHER, "9112 7.1.1", "extensions are ignored; their length may be bounded"),
    (["fields-200", "value-long", "trailers-50", "interim-many", "reason-long"], EITHER, "9110 5.4", "a recipient has limits"),
    (["interim-101"], ("error",), "9110 7.8", "the request did not ask to switch"),
    (["interim-with-length", "interim-1.0", "interim-three", "interim-100", "interim-103"], EITHER, "9110 15.2", "interim responses are passed over; those of HTTP/1.0 are not defined"),
    (["status-1.0", "coding-and-length", "length-and-coding"], EITHER, "9112 6.1, 6.3", "a coding overrides a length, or the message is refused; the connection ends"),
    (["surplus-response", "surplus-garbage", "surplus-empty-line", "length-short", "length-0-with-body"], EITHER, "9112 9.2", "bytes behind a response belong to no response; the one before them is valid"),
    (["trailer-length", "trailer-coding"], EITHER, "9110 6.5.1", "fields of framing in a trailer are ignored"),
    (["status-204", "status-304", "head", "status-205"], EITHER, "9112 6.3", "no body follows, whatever the fields say"),
    (["connection-list", "connection-close"], EITHER, "9110 7.6.1", "options of the connection"),
    (["until-close", "coding-tab", "coding-capital", "coding-blank-around", "coding-blank"], EITHER, "9112 6.3, 7", "plain framings"),
]


BODILESS = {"head", "status-204", "status-304"}


def rule_for(marks):
    """The rule that judges a case: the first that asks for something, or else the first that its marks have.

    A response without a body ends with its head (RFC 9112, 6.3, rule 1), so that no rule about framing asks for anything.
    """
    marks = set(marks)
    if marks & BODILESS:
        marks = {mark for mark in marks if not mark.startswith(("length", "coding", "chunk", "trailer"))}
    found = [rule for rule in RULES if set(rule[0]) & marks]
    strict = [rule for rule in found if rule[1] != EITHER]
    return (strict or found or [None])[0]

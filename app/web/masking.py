"""Hides email addresses from a read-only login, in any text and encoding.

It works on the finished response, so that no page, field or format is forgotten. It looks for every encoding of @ and hides the
text before it: a little too much rather than too little.
"""

import html
import re
from urllib.parse import unquote

from flask import Response, request

from app.persons import normal_email

MASKED_TYPES = ("text/html", "text/csv", "application/json")
HIDDEN = "•••"

AT = re.compile(
    r"""[@＠﹫]
      | (?P<url>%(?:25)*(?:40|u0040))              # in URLs and forms, encoded once or more often
      | %(?:25)*EF%(?:25)*BC%(?:25)*A0             # the full-width @, in UTF-8
      | &(?:amp;)*(?:\#0*64|\#x0*40|commat);       # in HTML
      | (?<!\\)\\++(?:u0040|u\{0*40\}|U00000040|x40|100)   # in JSON and program text, escaped once or more often
      | =40(?=[\w.\[-])                            # in quoted-printable
    """,
    re.VERBOSE | re.IGNORECASE,
)

# Read from the @ to the left, so written backwards: letters in some encoding, and plain ones.
_LETTERS = re.compile(
    r"""(?: ;(?!(?:tl|tg|touq|43\#|0?6[02]\#)&)\w{1,8}\#?(?:;pma)*&   # a letter in HTML: &#39;, but no quote and no bracket
          | \)[^()]{0,64}\(                                            # a comment
          | [0-9a-f]{4}u\\++ | [0-9a-f]{2}x\\++                        # a letter in JSON or program text
          | [^\s"“”„«»<>(),:;\\•]                                           # a plain one; % may begin an encoded one
        )*+""",
    re.VERBOSE | re.IGNORECASE,
)
_URL_LETTERS = re.compile(r"""[^\s"“”„«»<>(),:;\\•=&?/]*+""")
"""In a URL or form these would be encoded themselves, so what they separate is kept."""
_PARAMETER = re.compile(r"(?:[?&]|&amp;)[\w.\[\]-]{1,64}=")
"""A URL's, whose @ need not be encoded."""
_QUOTE = re.compile(r"""(?:\\*+"|&quot;|&#34;|&#x22;|%(?:25)*22)\Z""")
LONGEST_QUOTE = 16
_DOMAIN = re.compile(r"(?:[\w-]|\.(?=[\w-]))+")


def masked(response: Response, *, is_viewer: bool) -> Response:
    """For a read-only login, every email address keeps its first letter and its domain, except the one that the viewer searched
    for."""
    if is_viewer and response.mimetype in MASKED_TYPES and not response.direct_passthrough and not response.is_streamed:
        response.set_data(mask(response.get_data(as_text=True), request.args.get("q", "")))
    return response


def mask(text: str, known: str = "") -> str:
    """known: an address to leave as it is. Runs in time proportional to the text."""
    spared = normal_email(known)
    shown: list[str] = []
    done = floor = 0
    for sign in AT.finditer(text):
        start, end = _before(text, floor, sign)
        floor = sign.end()
        if start == end:
            continue
        shown.append(text[done:start])
        domain = _DOMAIN.match(text, sign.end())
        address = text[start : domain.end()] if domain else ""
        if spared and address and _decoded(address) == spared:
            shown.append(text[start : sign.start()])
        else:
            first = text[start]
            shown.append((first if first.isalnum() else "") + HIDDEN + text[end : sign.start()])
        done = sign.start()
    shown.append(text[done:])
    return "".join(shown)


def _before(text: str, floor: int, sign: re.Match[str]) -> tuple[int, int]:
    """Start and end of the part before the @, not before `floor`. A quoted part may contain anything but its quote."""
    end = sign.start()
    if end == floor or (last := text[end - 1]).isspace():
        return end, end
    closing = _QUOTE.search(text, max(floor, end - LONGEST_QUOTE), end) if last in '";2' else None
    if closing is not None:
        inner_end = end - len(closing[0])
        opening = text.rfind(closing[0], floor, inner_end)
        if opening > text.rfind("\n", floor, inner_end):
            return opening + len(closing[0]), inner_end
        end = inner_end  # there is another @ between the quotes: the text before that one is already hidden
    letters = (_URL_LETTERS if sign["url"] else _LETTERS).match(text[floor:end][::-1])
    assert letters is not None
    start = end - letters.end()
    for parameter in _PARAMETER.finditer(text, start, end):
        start = parameter.end()
    if start > floor and text[start - 1] == "\\" and start < end:
        start += 1  # the letter is that of an escape such as \\n
    return start, end


def _decoded(address: str) -> str:
    """The address, decoded."""
    text = re.sub(r"\\+(?:u00|x)([0-9a-fA-F]{2})", lambda code: chr(int(code[1], 16)), address)
    for _ in range(3):
        text = unquote(html.unescape(text))
    return normal_email(text)

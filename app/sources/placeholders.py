"""Text that stands where an id or a name would be, and is neither: what shops write for a guest, what scripts make of a missing
value, and templates that their tool did not fill. Every reader of ids goes through `identifier_of`, which asks here.

As customer ids, placeholders would make one person of all strangers; as submission ids, one submission of all.
"""

import html
import re
import unicodedata
from urllib.parse import unquote

from app.sources.forms.labels import words

NOTHING = words(
    "null nul nil none undefined nan inf infinity void empty blank missing unset notset unspecified notdefined "
    "novalue noid noclick noclickid nouser nouserid notavailable unavailable notapplicable notfound notprovided na n/a "
    "hiddenvalue true false yes no array object #n/a #null! #ref! #value! #name?"
)
"""What programs, spreadsheets and people write for a missing value. Compared without case, quotes, brackets, spaces, - and _."""
NOBODY = words(
    "guest guestuser guestcustomer guestid anonymous anonymoususer anonymousid anon anonym unknown unknownuser visitor "
    "nobody notloggedin loggedout gast gäst invité invitado ospite convidado"
)
"""What shops and content management systems write where nobody is logged in."""
NOT_A_NAME = words(
    "undefined notset notprovided notavailable n/a hiddenvalue anonymous anonymoususer unknown unknownuser guestuser "
    "guestcustomer"
)
OWN_NAMES = words(
    "clickid cmsclickid dubclickid dubid cmsrf userid customerid externalid customerexternalid dubcustomerid "
    "dubcustomerexternalid gclid gbraid wbraid fbclid fbp fbc ttclid lifatid msclkid gaclientid"
)
"""A field's own name, copied into its value: clickId=click_id, YOUR_CLICK_ID, §clickid§."""
PREFIXES_OF_OWN_NAMES = ("your", "my", "the", "insert", "enter", "add", "put")

MOST_LAYERS = 3
"""Of HTML entities or percent-encoding around a template."""
BARE = re.compile(r"[\s\-_.\"'`()\[\]<>]+")
SIGNS = re.compile(r"[\W_]+")
SEVERAL = re.compile(r"[,;|]+")
TEMPLATE = re.compile(
    r"""
      .*(?:\{\{|\}\}|\$\{|\*\||\|\*|<%|%>|<\?|\?>|\[object).*   # {{x}}, ${x}, *|x|*, <%= x %>, [object Object]
    | \{.* | \[.*\] | <.*>                                       # {x}, [x], <x>
    | ([%\#|])\1*\w[\w.\- ]*\1+                                  # %x%, %%x%%, #x#, |x|
    | [:@$]\w[\w.]*@?                                           # :x, @x.y, @x@, $x
    | __\w+__
    """,
    re.VERBOSE | re.DOTALL,
)
MARKS = re.compile(r"[{}\[\]<>*|%#:@$_]")
"""Every TEMPLATE has one of these."""
ID_TEMPLATE = re.compile(
    r"""
      [{<\[].* | [^{<\[]*[}>\]]                            # half open: its end or its beginning was cut off
    | .*\{\s*[A-Za-z_][\w.\- ]*\}.*                         # clk_{clickId}, @{x}, #{x}
    | ([~!^:@*«])\1*\w[\w.\- ]*[~!^:@*»]+
    | \$.*                                                # $RCAnonymousID:…
    | %[sd]
    | \(.*\)                                              # (none), (not set)
    """,
    re.VERBOSE | re.DOTALL,
)
"""Besides, for ids only: a person may well be called (Bob) or *Bob*."""
ZERO = re.compile(r"[+\-]?(?:0x)?[0.,:_\-\s]*", re.IGNORECASE)
MINUS_ONE = re.compile(r"-1(?:\.0*)?")
CROSSED = re.compile(r"x{3,}|\*{2,}|x{2,}(?:[-_.]x{2,})+", re.IGNORECASE)
"""xxxxx of previews, xxxx-xxxx."""
WITH_NOTHING_INSIDE = re.compile(r".*[_:\-/.=|](?:undefined|null|nan|none)", re.IGNORECASE | re.DOTALL)
"""A prefix with a missing value behind it: user_undefined, clk_null."""
BARE_PREFIX = re.compile(r"[a-z]{2,12}[0-9]?[_:|]")
"""clk_, user:, auth0|: nothing stands behind it."""
SURELY_AN_ID = re.compile(r"[A-Za-z]{1,12}_[A-Za-z0-9]*[0-9][A-Za-z0-9]*|[A-Za-z0]*[1-9][A-Za-z0-9]*")
"""The usual shape, recognized by itself: clk_8f3a, user_42, 1001, 8f3a."""


def is_placeholder(text: str) -> bool:
    """Whether `text` is not an id: a stand-in for a missing one, or a template that was not filled."""
    if SURELY_AN_ID.fullmatch(text):
        return False
    plain = unicodedata.normalize("NFKC", text).strip() if not text.isascii() else text.strip()
    return any(_stands_for_nothing(layer) for layer in _layers(plain))


def is_no_name(text: str) -> bool:
    """Whether `text` stands where a person's name would be. It leaves more words alone than is_placeholder: Guest is a surname."""
    for layer in _layers(text.strip()):
        if MARKS.search(layer) and TEMPLATE.fullmatch(layer):
            return True
    return _bare(text) in NOT_A_NAME


def _stands_for_nothing(text: str) -> bool:
    if any(pattern.fullmatch(text) for pattern in (ZERO, MINUS_ONE, CROSSED, BARE_PREFIX, TEMPLATE, ID_TEMPLATE)):
        return True
    if not any(character.isalnum() for character in text):
        return True
    if _is_own_name(text) or WITH_NOTHING_INSIDE.fullmatch(text):
        return True
    parts = [_bare(part) for part in SEVERAL.split(text)]  # null,null of two form fields of one name
    return all(not part or part in NOTHING or part in NOBODY for part in parts)


def _is_own_name(text: str) -> bool:
    name = SIGNS.sub("", text).casefold()
    return any(name.removeprefix(prefix) in OWN_NAMES for prefix in ("", *PREFIXES_OF_OWN_NAMES))


def _bare(text: str) -> str:
    return BARE.sub("", text).casefold()


def _layers(text: str) -> list[str]:
    """`text`, and what it is once its HTML entities and percent-encoding are undone."""
    layers = [text]
    while len(layers) <= MOST_LAYERS and ("&" in text or "%" in text):
        plain = unquote(html.unescape(text)).strip()
        if plain == text:
            break
        layers.append(plain)
        text = plain
    return layers

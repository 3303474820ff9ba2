"""Text as people's programs save it: UTF-8, or UTF-16 where Windows marks it so, with or without a byte order mark."""

import codecs

_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


def decode_text(content: bytes, errors: str = "strict") -> str:
    """The text without its mark; what cannot be decoded raises UnicodeDecodeError, unless `errors` is 'replace'."""
    encoding = next((name for mark, name in _MARKS.items() if content.startswith(mark)), "utf-8")
    return content.decode(encoding, errors)

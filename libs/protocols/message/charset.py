"""Names of character sets as mail writes them, and octets to text: nothing here raises.

Only names in the table reach Python's codecs.  Looking any name up there would import files and
remember each unknown name for ever, and would offer codecs that are none (punycode, zlib, idna).
"""

from __future__ import annotations

import re
from encodings.aliases import aliases

# Codecs of Python that are no character sets; some raise, some take quadratic time.
_NOT_CHARSETS = (
    *("base64_codec", "bz2_codec", "hex_codec", "idna", "mbcs", "oem", "punycode", "quopri_codec"),
    *("raw_unicode_escape", "rot_13", "undefined", "unicode_escape", "uu_codec", "zlib_codec"),
)
_NO_ALIASES = (
    *("cp720", "cp737", "cp856", "cp874", "cp875", "cp1006", "koi8_r", "koi8_t", "koi8_u"),
    *("mac_cyrillic", "mac_greek", "mac_iceland", "mac_latin2", "mac_roman", "mac_turkish"),
    "utf_8_sig",
)

# What mail says and Python lacks, and sets that are used as if they were their supersets
# (WHATWG Encoding Standard): a Korean message "in" ks_c_5601-1987 is in cp949.
_OURS = {
    "unicode11utf7": "utf_7",
    "unicode11utf8": "utf_8",
    "utf8mb4": "utf_8",
    "xutf8": "utf_8",
    "iso88591": "cp1252",
    "latin1": "cp1252",
    "l1": "cp1252",
    "iso88598i": "iso8859_8",
    "iso88598e": "iso8859_8",
    "iso885911": "cp874",
    "windows874": "cp874",
    "tis620": "cp874",
    "iso88599": "cp1254",
    "latin5": "cp1254",
    "ansi": "cp1252",
    "xansi": "cp1252",
    "xcp1252": "cp1252",
    "shiftjis": "cp932",
    "sjis": "cp932",
    "xsjis": "cp932",
    "mskanji": "cp932",
    "windows31j": "cp932",
    "cswindows31j": "cp932",
    "xeucjp": "euc_jp",
    "iso2022jpms": "iso2022_jp_ext",
    "cp50220": "iso2022_jp_ext",
    "cp50221": "iso2022_jp_ext",
    "ksc56011987": "cp949",
    "ksc56011989": "cp949",
    "ksc5601": "cp949",
    "euckr": "cp949",
    "windows949": "cp949",
    "xwindows949": "cp949",
    "gb2312": "gb18030",
    "gb231280": "gb18030",
    "euccn": "gb18030",
    "gbk": "gb18030",
    "xgbk": "gb18030",
    "cp936": "gb18030",
    "xxbig5": "big5hkscs",
    "big5": "big5hkscs",
    "cnbig5": "big5hkscs",
    "xmaccyrillic": "mac_cyrillic",
    "xmacroman": "mac_roman",
    "macintosh": "mac_roman",
    "xmacce": "mac_latin2",
    "xkoi8r": "koi8_r",
    "koi8": "koi8_r",
}
_SEPARATORS = re.compile(r"[^a-z0-9]")


def _key(name: str) -> str:
    return _SEPARATORS.sub("", name.lower())


def _table() -> dict[str, str]:
    table = {
        _key(name): codec
        for alias, codec in aliases.items()
        if codec not in _NOT_CHARSETS
        for name in (alias, codec)
    }
    return table | {_key(name): name for name in _NO_ALIASES} | _OURS


_CODECS = _table()
# Claims that say nothing: real mail has raw UTF-8 under them.
_GUESS = frozenset(("ascii", ""))
_MAX_NAME = 60


def codec_of(name: str) -> str:
    """The Python codec for a charset name, or the empty string when it is unknown."""
    return _CODECS.get(_key(name[:_MAX_NAME]), "")


def decode_text(data: bytes, charset: str = "") -> str:
    """The text of octets in a charset; unknown or absent: UTF-8 if valid, else windows-1252.

    Faulty sequences become U+FFFD.  The text may hold NUL or, out of UTF-7, lone surrogates;
    `storable` removes them.
    """
    codec = codec_of(charset) if charset else ""
    if codec in _GUESS:
        try:
            return data.decode()
        except UnicodeDecodeError:
            codec = "cp1252"
    return data.decode(codec, "replace")


def storable(text: str) -> str:
    """The text without NUL and lone surrogates, so that a PostgreSQL TEXT takes it."""
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode()
    return text.replace("\0", "")

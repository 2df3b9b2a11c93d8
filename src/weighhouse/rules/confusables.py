"""Characters of other scripts that are drawn like ASCII ones, and a text with all of them made ASCII.

The pairs are those of the Unicode security data (UTS #39, `confusables.txt`) whose one side is an ASCII letter, digit or
separator of names and whose other side is Latin, Greek, Cyrillic, Armenian or Cherokee, or a dash or slash. Added are small
letters that fonts draw as small capitals (the Cyrillic k, m, t and v, the Greek k, t and x) and the long dash. Compatibility
forms (full width, mathematical, circled, superscript) are left to NFKC.
"""

import unicodedata

_PAIRS = (
    ("‐‑‒–⁃−—", "-"),
    ("∕⁄𝈺", "/"),
    ("ꝚƧꙄ", "2"),
    ("𝈆ꞫȜƷꝪЗӠ", "3"),
    ("Ꮞ", "4"),
    ("Ƽ", "5"),
    ("бᏮ", "6"),
    ("𝈒", "7"),
    ("ȣȢ", "8"),
    ("Ꝯ", "9"),
    ("ΑАᎪ", "A"),
    ("ꞴΒВᏴ", "B"),
    ("ϹСᏟ", "C"),
    ("Ꭰ", "D"),
    ("ΕЕᎬ", "E"),
    ("𝈓ꞘϜ", "F"),
    ("ԌᏀᏳ", "G"),
    ("ΗНᎻ", "H"),
    ("ꞲͿЈᎫ", "J"),
    ("ΚКᏦ", "K"),
    ("𝈪Ꮮ", "L"),
    ("ΜϺМᎷ", "M"),
    ("Ν", "N"),
    ("ΟОՕ", "O"),
    ("ΡРᏢ", "P"),
    ("𝈖ƦᎡᏒ", "R"),
    ("ЅՏᏕᏚ", "S"),
    ("ΤТᎢ", "T"),
    ("Ս", "U"),
    ("𝈍ѴᏙ", "V"),
    ("ԜᎳᏔ", "W"),
    ("ꞳΧХ", "X"),
    ("ΥϒУҮᎩᎽ", "Y"),
    ("ΖᏃ", "Z"),
    ("ɑαа", "a"),
    ("ƄЬᏏв", "b"),
    ("ᴄϲсꮯ", "c"),
    ("ԁᏧ", "d"),
    ("ꬲеҽ", "e"),
    ("ꬵꞙẝք", "f"),
    ("ɡᶃƍց", "g"),
    ("һհᏂ", "h"),
    ("ıɪɩιιͺіꙇӏꭵᎥ", "i"),
    ("ϳј", "j"),
    ("кκ", "k"),
    ("ƖǀΙІӀ", "l"),
    ("м", "m"),
    ("ոռ", "n"),
    ("ᴏᴑꬽοσоօ", "o"),
    ("ρϱр", "p"),
    ("ԛգզ", "q"),
    ("ꭇꭈᴦгꮁ", "r"),
    ("ꜱƽѕꮪ", "s"),
    ("тτ", "t"),
    ("ꞟᴜꭎꭒʋυս", "u"),
    ("ᴠνѵꮩ", "v"),
    ("ɯᴡѡԝաꮃ", "w"),
    ("хχ", "x"),
    ("ɣᶌʏỿꭚγуү", "y"),
    ("ᴢꮓ", "z"),
)
_TABLE = {ord(character): ascii_one for drawn, ascii_one in _PAIRS for character in drawn}
# Nothing is seen of these: joiners, marks of direction, soft hyphen, variation selectors.
_UNSEEN: dict[int, None] = dict.fromkeys(
    (0xAD, 0x34F, 0x61C, 0x180E, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070), 0xFEFF)
)
_UNSEEN |= dict.fromkeys(range(0xFE00, 0xFE10))


def as_ascii(text: str) -> str:
    """The text with every character that is drawn like an ASCII one made that one; marks and unseen ones are dropped.

    What looks like no ASCII character stays as it is.

    >>> as_ascii("b\u0435rt-b\u0430se"), as_ascii("\uff42ert")
    ('bert-base', 'bert')
    """
    if text.isascii():
        return text
    # The table first: NFKC makes a long s an s, while people read an f.
    plain = unicodedata.normalize("NFKD", text.translate(_UNSEEN).translate(_TABLE))
    bare = "".join(character for character in plain if not unicodedata.combining(character))
    return unicodedata.normalize("NFKC", bare).translate(_TABLE)

r"""The body of a Project Gutenberg edition, without the header and the footer put around it.

The Project Gutenberg eBook of The War of the Worlds ...
*** START OF THE PROJECT GUTENBERG EBOOK THE WAR OF THE WORLDS ***

the body: its first line with text to its last, lines ending in \n

*** END OF THE PROJECT GUTENBERG EBOOK THE WAR OF THE WORLDS ***
the licence ...
"""

import codecs
import re

_START = re.compile(rb"^\*\*\* ?START OF TH[EIS]+ PROJECT GUTENBERG EBOOK[^\n]*\n", re.MULTILINE)
_END = re.compile(rb"^\*\*\* ?END OF TH[EIS]+ PROJECT GUTENBERG EBOOK", re.MULTILINE)


def body_of(edition: bytes) -> bytes:
    r"""Return what stands between header and footer, blank lines around it and CR dropped.

    An edition without them is all body, so that the body of a body is itself.

    Example:
        >>> head = b"*** START OF THE PROJECT GUTENBERG EBOOK X ***\r\n"
        >>> foot = b"*** END OF THE PROJECT GUTENBERG EBOOK X ***\r\nlicence"
        >>> body_of(b"about\r\n" + head + b"\r\n To be\r\n\r\n" + foot)
        b' To be\n'
    """
    text = edition.removeprefix(codecs.BOM_UTF8).replace(b"\r\n", b"\n")
    start, end = _START.search(text), _END.search(text)
    text = text[start.end() if start else 0 : end.start() if end else len(text)]
    return text.strip(b"\n") + b"\n"

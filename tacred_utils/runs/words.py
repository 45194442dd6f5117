"""A plain sentence as words, much as TACRED's are split, and where an entity's text stands among them."""

import re
from collections.abc import Sequence

from tacred_utils.ground.errors import UserError
from tacred_utils.ground.files import nfc

_WORD = re.compile(
    r"""-[LR][RSC]B- | `` | '' | --+ | \.\.+  # named brackets and quotes, dashes, dots
    | '(?:s|re|ve|ll|d|m)\b                   # a clitic that is split off already
    | \w+://\S*[\w/] | \bUS\$ | \.\d+          # addresses, a currency, .22
    | (?<!\w) (?: (?:[^\W\d_]{1,2}\.){2,} | [^\W\d_]\.  # U.S., Ph.D., J.
      | (?:Mrs?|Ms|Dr|Prof|Sen|Rep|Gov|Gen|Lt|Col|Capt|Sgt|Rev|St|Jr|Sr|Inc|Corp|Co|Cos|Ltd|Bros|vs|etc
      |Jan|Feb|Mar|Apr|Aug|Sept|Sep|Oct|Nov|Dec)\. ) (?![\w-])
    | \w+ (?: (?: \.?- | [.'&/@] | (?<=\d)[,:](?=\d) ) \w+ )*  # with what stands inside: co-chair, O'Hara, 1,000
    | \S""",
    re.VERBOSE,
)
_CLITIC = re.compile(r"(?i)(?<=\w)(?=(?:n't|'(?:s|re|ve|ll|d|m))$)")
_TYPED = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "—": " -- ", "…": " ... "})
_NAMES = {"(": "-LRB-", ")": "-RRB-", "[": "-LSB-", "]": "-RSB-", "{": "-LCB-", "}": "-RCB-"}
PLAIN = {name: sign for sign, name in _NAMES.items()} | {"``": '"', "''": '"'}  # named signs as they are written
LISTED = 40  # words or places that an error shows at the most


def words(sentence: str, named: bool = False) -> list[str]:
    """The words of a sentence, which end at blanks; punctuation and clitics (`'s`, `n't`) are words of their own.

    Abbreviations and initials keep their dot, and what is split already stays as it is. Stanford's tools, with which
    TACRED was made, give brackets and double quotes names (`-LRB-`, two backticks); `named` does so too.
    """
    found = [part for word in _WORD.findall(nfc(sentence).translate(_TYPED)) for part in _CLITIC.split(word)]
    if not named:
        return found
    quotes = 0
    for place, word in enumerate(found):
        quotes += word == '"'
        found[place] = ("``" if quotes % 2 else "''") if word == '"' else _NAMES.get(word, word)
    return found


def locate(text: str, token: Sequence[str], option: str, named: bool) -> tuple[int, int]:
    """First and last word of the one place where a text stands, from 0; the option's name is for errors.

    Raises `UserError` for a text that does not stand there as whole words, or in several places, which it lists.
    """
    mention = words(text, named)
    width, quotes = len(mention), ("``", "''")  # a quote opens or closes by what stands before it
    alike = [[quotes if word in quotes else word for word in part] for part in (token, mention)]
    starts = [at for at in range(len(token) - width + 1) if mention and alike[0][at : at + width] == alike[1]]
    if not starts:
        listed = " ".join(f"{number} {word!r}" for number, word in enumerate(token[:LISTED]))
        raise UserError(
            f"{option} {text!r}: does not stand in the sentence as whole words, in this spelling; its words are, by "
            f"number, {listed}{' …' if len(token) > LISTED else ''}; give a text of these, or {option}-at FIRST:LAST."
        )
    if len(starts) > 1:
        places = [f"{at}:{at + width - 1} ({_around(token, at, at + width)!r})" for at in starts[:LISTED]]
        more = " and further on" * (len(starts) > LISTED)
        raise UserError(
            f"{option} {text!r}: stands in {len(starts)} places of the sentence, at words {', '.join(places)}{more}; "
            f"choose one with {option}-at, for example {option}-at {starts[0]}:{starts[0] + width - 1}."
        )
    return starts[0], starts[0] + width - 1


def _around(token: Sequence[str], start: int, end: int) -> str:
    before, after = token[max(0, start - 2) : start], token[end : end + 2]
    return " ".join([*before, f"[{' '.join(token[start:end])}]", *after])

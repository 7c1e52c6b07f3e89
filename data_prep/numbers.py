"""Numbers in transcripts, written out as they are said: "$25" is "twenty-five dollars", "-5" is "minus five".

The words of numbers are those of Unicode's CLDR, by unicode-rbnf, for some eighty languages; the words for signs are in
`SIGNS`. What a transcript does not tell (whether 1-2 is a range or a score) is left as it is; its characters are then
counted when they are dropped.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from data_prep.entries import CorpusError

if TYPE_CHECKING:
    from unicode_rbnf import RbnfEngine

LARGEST = 10**15  # above it digits are read one by one
NUM_PHONE_DIGITS = 7  # so many without separators are read one by one
CURRENCIES = "$€£¥"


@dataclass(frozen=True)
class Signs:
    """Says how a language reads what stands beside a number, and how it writes one."""

    decimal: str = "."  # between a number and its fraction; the other of "." and "," parts thousands, as a space may
    plus: str | None = None
    percent: str | None = None
    degrees: str | None = None
    celsius: str = "celsius"
    to: str | None = None  # between the ends of a range
    clock: str = " "  # between hours and minutes
    whole_hour: str | None = None  # after an hour without minutes
    currencies: Mapping[str, tuple[str, str, str, str]] = field(default_factory=dict)  # one, several, a cent, cents
    join: str = " "  # between a currency and its hundredths
    ordinal: str | None = None  # what follows the digits of an ordinal, as a regular expression


def _money(*words: str) -> dict[str, tuple[str, str, str, str]]:
    return {sign: tuple(part.split("/")) for sign, part in zip(CURRENCIES, words)}  # pyright: ignore[reportReturnType]


SIGNS = {
    "en": Signs(
        plus="plus",
        percent="percent",
        degrees="degrees",
        to="to",
        whole_hour="o'clock",
        currencies=_money(
            "dollar/dollars/cent/cents", "euro/euros/cent/cents", "pound/pounds/penny/pence", "yen/yen//"
        ),
        join=" and ",
        ordinal="st|nd|rd|th",
    ),
    "de": Signs(
        decimal=",",
        plus="plus",
        percent="Prozent",
        degrees="Grad",
        to="bis",
        clock=" Uhr ",
        whole_hour="Uhr",
        currencies=_money("Dollar/Dollar/Cent/Cent", "Euro/Euro/Cent/Cent", "Pfund/Pfund/Penny/Pence", "Yen/Yen//"),
    ),
    "fr": Signs(
        decimal=",",
        plus="plus",
        percent="pour cent",
        degrees="degrés",
        to="à",
        clock=" heures ",
        whole_hour="heures",
        currencies=_money(
            "dollar/dollars/cent/cents", "euro/euros/centime/centimes", "livre/livres/penny/pence", "yen/yens//"
        ),
        join=" et ",
        ordinal="ère|er|re|ème|e",
    ),
    "es": Signs(
        decimal=",",
        plus="más",
        percent="por ciento",
        degrees="grados",
        to="a",
        currencies=_money(
            "dólar/dólares/centavo/centavos",
            "euro/euros/céntimo/céntimos",
            "libra/libras/penique/peniques",
            "yen/yenes//",
        ),
        join=" con ",
        ordinal="º|ª",
    ),
    "it": Signs(
        decimal=",",
        plus="più",
        percent="per cento",
        degrees="gradi",
        to="a",
        currencies=_money(
            "dollaro/dollari/centesimo/centesimi",
            "euro/euro/centesimo/centesimi",
            "sterlina/sterline/penny/pence",
            "yen/yen//",
        ),
        join=" e ",
        ordinal="º|ª",
    ),
    "nl": Signs(
        decimal=",",
        plus="plus",
        percent="procent",
        degrees="graden",
        to="tot",
        clock=" uur ",
        whole_hour="uur",
        currencies=_money("dollar/dollar/cent/cent", "euro/euro/cent/cent", "pond/pond/penny/pence", "yen/yen//"),
        join=" en ",
        ordinal="ste|de|e",
    ),
    "pt": Signs(
        decimal=",",
        plus="mais",
        percent="por cento",
        degrees="graus",
        to="a",
        currencies=_money(
            "dólar/dólares/centavo/centavos", "euro/euros/cêntimo/cêntimos", "libra/libras/pêni/pence", "iene/ienes//"
        ),
        join=" e ",
        ordinal="º|ª",
    ),
}
COMMA = (  # languages that write a comma before the fraction
    "af be bg bs ca cs da de el eo es et fi fo fr hr hu hy id is it ka kk ky lb lt lv mk nl nn no pl pt qu ro ru se sk "
    "sl sq sr sv tr uk vi"
)
SCALES = {"en": "thousand|million|billion|trillion", "de": "Millionen?|Milliarden?", "fr": "millions?|milliards?"}
FRACTIONS = {"½": "one half", "¼": "one quarter", "¾": "three quarters"}  # English only


class NumberSpeller:
    """Writes out the numbers of transcripts in one language.

    Raises:
        CorpusError: no numbers are known of the language, or unicode-rbnf is not installed.
    """

    def __init__(self, language: str) -> None:
        self.language = language.replace("-", "_")
        self._base = self.language.partition("_")[0]
        self._engine = _engine(self.language)
        self._signs = SIGNS.get(self._base, Signs(decimal="," if self._base in COMMA.split() else "."))
        self._point, self._minus = self._said_point(), self._said_minus()
        self._tokens = self._pattern()

    def spell(self, text: str) -> str:
        """Returns the text with its numbers in words; a text without digits is given back as it is."""
        if not any(character.isdigit() or character in FRACTIONS for character in text):
            return text
        if self._base == "en":
            text = re.sub(r"(?<=\d)\s?([½¼¾])", lambda found: f" and {_half(found[1])}", text)
            text = re.sub("[½¼¾]", lambda found: FRACTIONS[found[0]], text)
        return self._tokens.sub(self._said, text)

    def _pattern(self) -> re.Pattern[str]:
        point, comma = (",", ".") if self._signs.decimal == "," else (".", ",")
        cut, inside = (rf"[{re.escape(comma)} \u00a0\u202f'’]", "[.,]") if point == "," else ("[,\u00a0\u202f]", r"\.")
        thousands = rf"(?!0)\d{{1,3}}(?:{cut}\d{{3}})+(?![\d,])(?:{re.escape(point)}\d+)?"
        number = rf"{thousands}|\d+(?:{inside}\d+)*"
        ordinal = rf"|(?P<ordinal>{self._signs.ordinal})\b" if self._signs.ordinal else ""
        scale = rf"(?:\s(?P<scale>{SCALES[self._base]})\b)?" if self._base in SCALES else "(?P<scale>(?!))?"
        signs = re.escape(CURRENCIES)
        decade = r"(?<=0)['’]?s\b" if self._base == "en" else "(?!)"
        return re.compile(
            rf"(?P<phone>\+?\d+(?:-\d+){{2,}}|\d{{3}}-\d{{4}}(?!\d))"
            rf"|(?P<time>(?<![\d:])(?:[01]?\d|2[0-4]):[0-5]\d(?![\d:]))(?P<half>\s?[ap]\.?m\b\.?)?"
            rf"|(?P<sign>(?<!\w)(?<!\d\s)[-−+](?=[{signs}]?\d))?(?:(?P<before>[{signs}])\s?(?P<inner>[-−](?=\d))?)?"
            rf"(?P<number>{number})(?P<decade>{decade})?"
            rf"(?P<after>\s?[{signs}%]|\s?°\s?(?:[CF]\b)?{ordinal})?{scale}"
            rf"(?P<range>\s?[–—]\s?(?=\d))?"
        )

    def _said(self, found: re.Match[str]) -> str:
        said = self._said_match(found)
        text, start, end = found.string, found.start(), found.end()
        lead = " " if start and (text[start - 1].isalnum()) else ""
        trail = " " if end < len(text) and text[end].isalnum() else ""
        return f"{lead}{said}{trail}"

    def _said_match(self, found: re.Match[str]) -> str:
        if found["phone"]:
            plus = f"{self._signs.plus or '+'} " if found["phone"].startswith("+") else ""
            return plus + self._digits(found["phone"])
        if found["time"]:
            return self._time(found["time"], found["half"])
        words = self._amount(found)
        if sign := found["sign"] or found["inner"]:
            words = f"{self._signs.plus or '+'} {words}" if sign == "+" else f"{self._minus} {words}"
        if found["range"]:
            words += f" {self._signs.to} " if self._signs.to else found["range"]
        return words

    def _amount(self, found: re.Match[str]) -> str:
        """Returns a number with what is written before and after it."""
        written, after = found["number"], (found["after"] or "").strip()
        sign = found["before"] or (after if after in CURRENCIES else "")
        if sign and (money := self._signs.currencies.get(sign)):
            return self._money(written, found["scale"], money)
        scale = f" {found['scale']}" if found["scale"] else ""
        if found["decade"]:
            return self._by_rules(int(written), "spellout-numbering-year").removesuffix("y") + (
                "ies" if written[-2] != "0" and written[-2:] != "10" else "s"
            )
        if "ordinal" in found.groupdict() and found["ordinal"]:
            return self._ordinal(written, found["ordinal"])
        words = self._number(written, is_alone=not (after or found["before"] or found["sign"] or scale)) + scale
        if after.startswith("°") and self._signs.degrees:
            unit = {"C": f" {self._signs.celsius}", "F": " fahrenheit"}.get(after[-1], "")
            return f"{words} {self._signs.degrees}{unit}"
        if after == "%" and self._signs.percent:
            return f"{words} {self._signs.percent}"
        return f"{found['before'] or ''}{words}{after}"

    def _money(self, written: str, scale: str | None, money: tuple[str, str, str, str]) -> str:
        one, several, cent, cents = money
        whole, _, rest = self._plain(written).partition(".")
        if scale or (rest and (len(rest) != 2 or not cent)):
            scaled = f" {scale}" if scale else ""
            return f"{self._number(written, is_alone=False)}{scaled} {several}"
        parts = []
        if int(whole) or not int(rest or 0):
            parts.append(f"{self._cardinal(whole)} {one if int(whole) == 1 else several}")
        if int(rest or 0):
            parts.append(f"{self._cardinal(str(int(rest)))} {cent if int(rest) == 1 else cents}")
        return self._signs.join.join(parts)

    def _plain(self, written: str) -> str:
        """Digits with a point before the fraction, or several points where it is no number but a version."""
        plain = re.sub(r"[ \u00a0\u202f'’]", "", written)
        if self._signs.decimal == ".":
            return plain.replace(",", "")
        if re.fullmatch(r"\d{1,3}(\.\d{3})+(,\d+)?", plain):
            plain = plain.replace(".", "")
        return plain.replace(",", ".")

    def _number(self, written: str, *, is_alone: bool) -> str:
        plain = self._plain(written)
        if plain.count(".") > 1:
            return f" {self._point or '.'} ".join(self._cardinal(part) for part in plain.split("."))
        whole, _, rest = plain.partition(".")
        if rest:
            return f"{self._cardinal(whole)} {self._point or self._signs.decimal} {self._digits(rest)}"
        is_year = (
            is_alone and whole == written and len(whole) == 4 and (1100 <= int(whole) < 2000 or int(whole) >= 2010)
        )
        if is_year and int(whole) < 2100:
            return self._by_rules(int(whole), "spellout-numbering-year")
        return self._cardinal(whole, is_alone=is_alone and whole == written)

    def _cardinal(self, digits: str, *, is_alone: bool = False) -> str:
        is_long = int(digits) >= LARGEST or (is_alone and len(digits) >= NUM_PHONE_DIGITS)
        if (len(digits) > 1 and digits.startswith("0")) or is_long:
            return self._digits(digits)
        return self._by_rules(int(digits))

    def _ordinal(self, written: str, ending: str) -> str:
        plain = self._plain(written)
        if "." in plain or int(plain) >= LARGEST:
            return f"{self._number(written, is_alone=False)} {ending}"
        feminine = ending in ("ª", "ère", "re")
        names = ["spellout-ordinal-feminine" if feminine else "spellout-ordinal-masculine", "spellout-ordinal"]
        return self._by_rules(int(plain), *names)

    def _time(self, written: str, half: str | None) -> str:
        hours, minutes = written.split(":")
        hour = self._by_rules(int(hours))
        behind = (half or self._signs.whole_hour or "").strip()
        said = f" {behind}" if behind else ""
        if minutes == "00":
            return f"{hour}{said}" if said or self._base == "en" else f"{hour} {self._by_rules(0)}"
        zero = "oh " if self._base == "en" and minutes.startswith("0") else ""
        return f"{hour}{self._signs.clock}{zero}{self._by_rules(int(minutes))}" + (f" {half.strip()}" if half else "")

    def _digits(self, text: str) -> str:
        return " ".join(self._by_rules(int(character)) for character in text if character.isdigit())

    def _by_rules(self, number: int, *names: str) -> str:
        names = tuple(name for name in names if name in self._engine.rulesets) or ("spellout-numbering",)
        rules: dict[str, Any] = {"ruleset_names": [names[0]]} if names[0] in self._engine.rulesets else {}
        # Words of several parts are written as the transcripts are: without hyphens, soft ones too.
        return self._engine.format_number(number, **rules).text.replace("-", " ").replace("\u00ad", "")

    def _said_point(self) -> str | None:
        """Returns the word between a number and its fraction, where the language reads the fraction digit by digit."""
        said, whole, part = (self._engine.format_number(each).text.split() for each in ("7.6", 7, 6))
        inside = said[len(whole) : len(said) - len(part)]
        return " ".join(inside) if inside and [*whole, *inside, *part] == said else None

    def _said_minus(self) -> str:
        """Returns the word before a number below zero."""
        said, five = self._engine.format_number(-5).text, self._engine.format_number(5).text
        return said.removesuffix(five).strip() if said.endswith(five) else "-"


def _half(fraction: str) -> str:
    return {"½": "a half", "¼": "a quarter"}.get(fraction, FRACTIONS[fraction])


def knows_numbers(language: str) -> bool:
    """Returns whether there are words for the numbers of a language."""
    names = {language.replace("-", "_"), re.split("[-_]", language)[0]}
    return bool(names & set(_rules().get_supported_languages()))


def _engine(language: str) -> "RbnfEngine":
    rules = _rules()
    if not knows_numbers(language):
        known = ", ".join(sorted(rules.get_supported_languages()))
        raise CorpusError(
            f"--language {language}: no words for its numbers are known; expected one of {known}, or none to leave "
            f"digits as they are"
        )
    base = language.partition("_")[0]
    return rules.for_language(language if language in rules.get_supported_languages() else base)


def _rules() -> "type[RbnfEngine]":
    try:
        from unicode_rbnf import RbnfEngine
    except ImportError as error:
        raise CorpusError("--language: unicode-rbnf is not installed; pip install unicode-rbnf") from error
    return RbnfEngine

"""The checker behind the annotations of asr/ in the tests: beartype, with an int welcome where a float is."""

from beartype import BeartypeConf, beartype

typecheck = beartype(conf=BeartypeConf(is_pep484_tower=True))

"""The tests; `typechecker` is loaded here because jaxtyping finds it as an attribute of this package."""

from tests.support import typechecker  # noqa: F401

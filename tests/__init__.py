"""The tests; `typechecker` is loaded here because jaxtyping finds it as an attribute of this package."""

from tests import typechecker as typechecker

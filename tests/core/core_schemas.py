"""Hypothesis strategies for JSON Schemas over every keyword, and for the small values that they are about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

DRAFT_2020 = "https://json-schema.org/draft/2020-12/schema"
DRAFT_07 = "http://json-schema.org/draft-07/schema#"
TYPES = ("null", "boolean", "integer", "number", "string", "array", "object")
# The same in every regular expression dialect, so that our engine and the oracle's can't differ over them.
PATTERNS = ("^a", "b$", "[ab]", "^[a-c]+$", "1", "^$", "a.b", "^(a|b)*$")

names = st.sampled_from("abcd")
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-3, 4)
    | st.sampled_from([0.5, 1.0, 1.5, 2.0, -0.5])
    | st.text("ab1é", max_size=3)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(names, values, max_size=4)
counts = st.integers(0, 3)
numbers = st.integers(-3, 4) | st.sampled_from([0.5, 1.5])

Draw = Callable[[st.SearchStrategy[Any]], Any]


class Maker:
    """Draws one schema. ``here`` are the definitions that may be referred to at the same value without a circle."""

    def __init__(self, draw: Draw, draft: str) -> None:
        self.draw = draw
        self.draft = draft
        self.defs = "definitions" if draft == DRAFT_07 else "$defs"
        self.keywords: dict[str, Callable[[int, tuple[str, ...]], Any]] = {
            "type": lambda depth, here: draw(
                st.sampled_from(TYPES) | st.lists(st.sampled_from(TYPES), min_size=1, unique=True)
            ),
            "const": lambda depth, here: draw(values),
            "enum": lambda depth, here: draw(st.lists(values, min_size=1, max_size=4)),
            "minimum": lambda depth, here: draw(numbers),
            "maximum": lambda depth, here: draw(numbers),
            "exclusiveMinimum": lambda depth, here: draw(numbers),
            "exclusiveMaximum": lambda depth, here: draw(numbers),
            "multipleOf": lambda depth, here: draw(st.sampled_from([1, 2, 3, 0.5])),
            "minLength": lambda depth, here: draw(counts),
            "maxLength": lambda depth, here: draw(counts),
            "pattern": lambda depth, here: draw(st.sampled_from(PATTERNS)),
            "minItems": lambda depth, here: draw(counts),
            "maxItems": lambda depth, here: draw(counts),
            "uniqueItems": lambda depth, here: draw(st.booleans()),
            "minProperties": lambda depth, here: draw(counts),
            "maxProperties": lambda depth, here: draw(counts),
            "required": lambda depth, here: draw(st.lists(names, max_size=2, unique=True)),
            "properties": lambda depth, here: self.map(names, depth),
            "patternProperties": lambda depth, here: self.map(st.sampled_from(PATTERNS), depth),
            "additionalProperties": lambda depth, here: self.below(depth),
            "propertyNames": lambda depth, here: self.below(depth),
            "contains": lambda depth, here: self.below(depth),
            "allOf": lambda depth, here: self.several(depth, here),
            "anyOf": lambda depth, here: self.several(depth, here),
            "oneOf": lambda depth, here: self.several(depth, here),
            "not": lambda depth, here: self.schema(depth - 1, here),
            "if": lambda depth, here: self.schema(depth - 1, here),
            "then": lambda depth, here: self.schema(depth - 1, here),
            "else": lambda depth, here: self.schema(depth - 1, here),
            "title": lambda depth, here: "a title",
            "default": lambda depth, here: draw(values),
        }
        if draft == DRAFT_07:
            self.keywords["items"] = lambda depth, here: (
                draw(st.booleans()) and self.several(depth, ()) or self.below(depth)
            )
            self.keywords["additionalItems"] = lambda depth, here: self.below(depth)
            self.keywords["dependencies"] = self.dependencies
        else:
            self.keywords["items"] = lambda depth, here: self.below(depth)
            self.keywords["prefixItems"] = lambda depth, here: [
                self.below(depth) for _ in range(draw(st.integers(1, 2)))
            ]
            self.keywords["minContains"] = lambda depth, here: draw(counts)
            self.keywords["maxContains"] = lambda depth, here: draw(counts)
            self.keywords["unevaluatedItems"] = lambda depth, here: self.below(depth)
            self.keywords["unevaluatedProperties"] = lambda depth, here: self.below(depth)
            self.keywords["dependentRequired"] = lambda depth, here: draw(
                st.dictionaries(names, st.lists(names, max_size=2, unique=True), max_size=2)
            )
            self.keywords["dependentSchemas"] = lambda depth, here: {
                name: self.schema(depth - 1, here) for name in draw(st.lists(names, max_size=2, unique=True))
            }

    def schema(self, depth: int, here: tuple[str, ...]) -> Any:
        if depth <= 0:
            return self.draw(st.booleans() | st.builds(dict, type=st.sampled_from(TYPES)))
        if here and self.draw(st.integers(0, 5)) == 0:
            return {"$ref": f"#/{self.defs}/{self.draw(st.sampled_from(here))}"}
        chosen = self.draw(st.lists(st.sampled_from(sorted(self.keywords)), min_size=1, max_size=4, unique=True))
        return {keyword: self.keywords[keyword](depth, here) for keyword in chosen}

    def below(self, depth: int) -> Any:
        """A schema for a part of the value, where any definition may be referred to again."""
        if self.draw(st.integers(0, 9)) == 0:
            return {"$ref": "#"}
        return self.schema(depth - 1, ("d0", "d1", "d2"))

    def several(self, depth: int, here: tuple[str, ...]) -> list[Any]:
        return [self.schema(depth - 1, here) for _ in range(self.draw(st.integers(1, 3)))]

    def map(self, keys: st.SearchStrategy[str], depth: int) -> dict[str, Any]:
        return {key: self.below(depth) for key in self.draw(st.lists(keys, max_size=3, unique=True))}

    def dependencies(self, depth: int, here: tuple[str, ...]) -> dict[str, Any]:
        chosen = self.draw(st.lists(names, max_size=2, unique=True))
        return {
            name: self.schema(depth - 1, here)
            if self.draw(st.booleans())
            else self.draw(st.lists(names, max_size=2, unique=True))
            for name in chosen
        }

    def document(self) -> dict[str, Any]:
        root = self.schema(3, ("d0", "d1", "d2"))
        root = root if isinstance(root, dict) else {"not": not root}
        if self.draft == DRAFT_07 and "$ref" in root:
            root = {"allOf": [root]}  # in draft-07 a $ref hides what stands beside it
        below = {"d0": ("d1", "d2"), "d1": ("d2",), "d2": ()}
        defs = {name: self.schema(2, here) for name, here in below.items()}
        return {"$schema": self.draft, **root, self.defs: defs}


@st.composite
def schemas(draw: Draw, draft: str = DRAFT_2020) -> dict[str, Any]:
    """A whole schema document of ``draft``."""
    return Maker(draw, draft).document()


@st.composite
def tool_schemas(draw: Draw) -> dict[str, Any]:
    """A schema as tools have them: an object with properties, of which some may be anything at all."""
    maker = Maker(draw, DRAFT_2020)
    document = maker.document()
    document["type"] = "object"
    document["properties"] = maker.map(names, 3)
    return document
